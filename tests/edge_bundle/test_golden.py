"""Golden vectors prove a device, and nothing passes that is not near what the converter saw."""

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_bundle.archive import write_bundle
from edge_bundle.errors import BundleRefused
from edge_bundle.features.runner import Fresh
from edge_bundle.golden import GoldenResult, check_golden, pack_golden, run_golden
from edge_bundle.inference import Inference
from edge_bundle.runtimes.loader import load_model
from edge_bundle.tensor import Array, Float32Array
from tests.edge_bundle.bundles import (
    MODEL,
    STREAM,
    WAKE_WORD,
    prepared_manifest,
    watch_manifest,
    watch_windows,
    write_watch_bundle,
)
from tests.parts import require_module


@pytest.fixture
def inference() -> Iterator[Inference]:
    opened = Inference(watch_manifest(), load_model(MODEL.read_bytes(), "onnx"))
    yield opened
    opened.close()


def true_vectors(inference: Inference) -> dict[str, Any]:
    with np.load(io.BytesIO(pack_golden(inference, watch_windows()))) as arrays:
        return dict(arrays)


def check(folder: Path, inference: Inference, golden: bytes) -> GoldenResult:
    files = {"model.onnx": MODEL.read_bytes(), "golden.npz": golden}
    return check_golden(write_bundle(folder, watch_manifest(), files), inference)


def packed(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def test_true_bundle_passes(tmp_path: Path) -> None:
    bundle = write_watch_bundle(tmp_path)
    result = check_golden(bundle, Inference.open(bundle))
    assert (result.windows, result.ok, result.tolerance) == (3, True, 1e-4)
    assert result.largest < 1e-6


def test_the_same_vectors_give_the_same_bytes(inference: Inference) -> None:
    assert pack_golden(inference, watch_windows()) == pack_golden(inference, watch_windows())


@pytest.mark.parametrize(("error", "ok"), [(0.9e-4, True), (1.2e-4, False), (1.0, False)])
@pytest.mark.parametrize("window", [0, 2])
def test_score_further_off_than_the_tolerance_fails(
    tmp_path: Path, inference: Inference, window: int, error: float, ok: bool
) -> None:
    arrays = true_vectors(inference)
    arrays["scores"][window, 3] -= error
    result = check(tmp_path, inference, packed(**arrays))
    assert result.ok is ok
    assert result.largest == pytest.approx(error, rel=0.01)


@pytest.mark.parametrize("array", ["windows", "scores"])
@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.filterwarnings("ignore:invalid value")
def test_what_is_no_number_never_passes(
    tmp_path: Path, inference: Inference, array: str, place: int, value: float
) -> None:
    arrays = true_vectors(inference)
    arrays[array][place] = value
    assert not check(tmp_path, inference, packed(**arrays)).ok


@pytest.mark.parametrize(
    "change",
    [
        {"windows": np.zeros((3, 99, 6), np.float32)},
        {"windows": np.zeros((3, 600), np.float32)},
        {"windows": np.zeros((2, 100, 6), np.float32)},
        {"windows": np.float32(0)},
        {"windows": np.full((3, 100, 6), "x")},
        {"windows": np.zeros((3, 100, 6), complex)},
        {"windows": np.full((3, 100, 6), None)},
        {"scores": np.zeros((3, 6), np.float32)},
        {"scores": np.zeros((7, 3), np.float32)},
        {"scores": np.float32(0)},
        {"scores": np.full((3, 7), "0.1")},
        {"windows": np.zeros((0, 100, 6)), "scores": np.zeros((0, 7))},
    ],
)
def test_arrays_of_other_shapes_or_types_are_refused(
    tmp_path: Path, inference: Inference, change: dict[str, Any]
) -> None:
    with pytest.raises(BundleRefused, match=r"golden\.npz: "):
        check(tmp_path, inference, packed(**(true_vectors(inference) | change)))


def zip_without_arrays() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as out:
        out.writestr("windows", b"x")
        out.writestr("scores", b"x")
    return buffer.getvalue()


def npy() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    return buffer.getvalue()


@pytest.mark.parametrize(
    "golden",
    [b"", b"junk", b"PK\3\4 and then nothing", npy(), zip_without_arrays(), packed(windows=1)],
)
def test_damaged_vectors_are_refused(tmp_path: Path, inference: Inference, golden: bytes) -> None:
    with pytest.raises(BundleRefused, match=r"golden\.npz: ") as refused:
        check(tmp_path, inference, golden)
    assert "\n" not in str(refused.value)


# --- windows that follow each other


def overlapping() -> tuple[list[Float32Array], list[int]]:
    hop = STREAM.hop
    samples = np.random.default_rng(5).normal(size=(STREAM.window + 4 * hop, 6)).astype("f4")
    return [samples[i * hop : i * hop + STREAM.window] for i in range(5)], [0, hop, hop, 0, hop]


def test_what_follows_is_run_as_a_device_runs_it(tmp_path: Path) -> None:
    told: list[Fresh] = []

    class Listening(Inference):
        def scores(self, window: Array, fresh: Fresh = None) -> Float32Array:
            told.append(fresh)
            return super().scores(window, fresh)

    inference = Listening(watch_manifest(), load_model(MODEL.read_bytes(), "onnx"))
    windows, fresh = overlapping()
    golden = pack_golden(inference, windows, fresh)
    assert check(tmp_path, inference, golden).largest == 0
    assert told == [None, STREAM.hop, STREAM.hop, None, STREAM.hop] * 2


@pytest.mark.parametrize(
    ("fresh", "message"),
    [
        ([0, 50], r"fresh int64 \[2\], expected counts \[3\]"),
        ([0.0, 50.0, 50.0], r"fresh float64 \[3\], expected counts \[3\]"),
        ([50, 50, 50], "of which the first is 0"),
        ([0, -1, 50], "fresh from -1 to 50, expected 0 to 100 samples"),
        ([0, 50, 101], "fresh from 0 to 101, expected 0 to 100 samples"),
    ],
)
def test_counts_that_cannot_be_are_refused(
    tmp_path: Path, inference: Inference, fresh: list[float], message: str
) -> None:
    with pytest.raises(BundleRefused, match=message):
        check(tmp_path, inference, packed(**true_vectors(inference), fresh=fresh))


# --- prepared tensors


@pytest.fixture
def wake_word() -> Iterator[Inference]:
    require_module("ai_edge_litert")
    opened = Inference(prepared_manifest(), load_model(WAKE_WORD.read_bytes(), "tflite"))
    yield opened
    opened.close()


def check_prepared(folder: Path, inference: Inference, golden: bytes) -> GoldenResult:
    files = {"model.tflite": WAKE_WORD.read_bytes(), "golden.npz": golden}
    return check_golden(write_bundle(folder, prepared_manifest(), files), inference)


def codes(count: int = 12) -> Array:
    return np.random.default_rng(3).integers(-128, 0, (count, 1, 3, 40)).astype(np.int8)


def test_prepared_tensors_are_kept_in_their_own_type(tmp_path: Path, wake_word: Inference) -> None:
    golden = pack_golden(wake_word, codes())
    with np.load(io.BytesIO(golden)) as arrays:
        assert (arrays["windows"].dtype, arrays["windows"].shape) == (np.int8, (12, 1, 3, 40))
        assert (arrays["scores"].dtype, arrays["scores"].shape) == (np.float32, (12, 1))
    assert check_prepared(tmp_path, wake_word, golden).largest == 0


def test_a_stateful_model_is_reset_before_the_first_window_and_not_between_two() -> None:
    resets: list[int] = []

    class Counting(Inference):
        def reset(self) -> None:
            resets.append(len(resets))
            super().reset()

        def scores(self, window: Array, fresh: Fresh = None) -> Float32Array:
            resets.append(-1)
            assert fresh is None
            return super().scores(window, fresh)

    manifest = watch_manifest()
    run_golden(Counting(manifest, load_model(MODEL.read_bytes(), "onnx")), watch_windows())
    assert resets == [0, -1, -1, -1, 4]


@pytest.mark.parametrize("dtype", [np.float32, np.uint8, np.int16, bool])
def test_prepared_windows_of_another_type_are_refused(
    tmp_path: Path, wake_word: Inference, dtype: Any
) -> None:
    scores = np.zeros((12, 1), np.float32)
    with pytest.raises(BundleRefused, match=r"golden\.npz: windows .* expected int8 and numbers"):
        check_prepared(tmp_path, wake_word, packed(windows=codes().astype(dtype), scores=scores))
    with pytest.raises(BundleRefused, match=r"expected \[12, 1, 3, 40\] and \[12, 1\]"):
        check_prepared(tmp_path, wake_word, packed(windows=codes()[:, 0], scores=scores))
