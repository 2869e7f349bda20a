"""Samples are what the model takes, or one line says what is wrong with them."""

import re
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from convert.given.samples import Samples, read_labels, read_samples, separate
from convert.given.spec import EMPTY, Spec
from edge_bundle.archive import hash_file
from edge_bundle.errors import ConfigError, RecordingRefused
from edge_bundle.features.steps import Standardise
from edge_bundle.tensor import Array, TensorSpec
from tests.edge_bundle.bundles import LABELS, RECORDING, STREAM

PREPARED = EMPTY.spec
WINDOWS = Spec(stream=STREAM)
VECTOR = TensorSpec("x", (1, 6), "float32")
WATCH = TensorSpec("X", (1, 600), "float32")
TOKENS = TensorSpec("tokens", (1, 5), "int32")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "samples.npz"


def vectors(count: int) -> Array:
    return np.random.default_rng(3).normal(size=(count, 6)).astype(np.float32)


def save(file: Path, x: Array, **others: Any) -> str:
    np.savez(file, x=x, **others)
    return str(file)


def read(source: str, tensor: TensorSpec = VECTOR, spec: Spec = PREPARED) -> Samples:
    return read_samples(source, spec, tensor, to_judge=True)


def refused(source: str, tensor: TensorSpec = VECTOR, spec: Spec = PREPARED) -> str:
    with pytest.raises(RecordingRefused) as stop:
        read(source, tensor, spec)
    assert "\n" not in str(stop.value)
    return str(stop.value)


# Prepared tensors


def test_prepared_samples_are_given_as_they_are(file: Path) -> None:
    x, y = vectors(20), np.arange(20) % 3
    found = read(save(file, x, y=y))
    assert len(found) == 20
    assert found.sha256 == hash_file(file)
    np.testing.assert_array_equal(np.concatenate(list(found.inputs)), x)
    np.testing.assert_array_equal(found.y, y)
    assert all(i.shape == (1, 6) and i.dtype == np.float32 for i in found.inputs)


def test_the_batch_of_one_may_be_spelt_out(file: Path) -> None:
    x = vectors(9)
    found = read(save(file, x[:, None, :]))
    np.testing.assert_array_equal(np.concatenate(list(found.inputs)), x)


@pytest.mark.parametrize("kind", [np.uint8, np.int64, np.float64, np.float16])
def test_numbers_of_any_kind_become_the_models(file: Path, kind: type[np.generic]) -> None:
    x = (np.arange(60).reshape(10, 6) % 250).astype(kind)
    found = read(save(file, x))
    assert found.inputs[3].dtype == np.float32
    np.testing.assert_array_equal(found.inputs[3][0], x[3])


def test_tokens_stay_exact(file: Path) -> None:
    x = np.arange(50).reshape(10, 5) + (1 << 24) - 1  # float32 would merge them in pairs
    found = read(save(file, x), TOKENS)
    assert found.inputs[0].dtype == np.int32
    np.testing.assert_array_equal(np.concatenate(list(found.inputs)), x)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (np.full((10, 5), 2.5, np.float32), "float32 values from 2.5 to 2.5"),
        (np.full((10, 5), 1 << 40), "int64 values from 1099511627776"),
        (np.full((10, 5), (1 << 64) - 1, np.uint64), "uint64 values"),
        (np.full((10, 5), 3e30, np.float32), "float32 values"),
    ],
)
def test_tokens_that_are_no_codes_are_refused(file: Path, wrong: Array, said: str) -> None:
    line = refused(save(file, wrong), TOKENS)
    assert said in line
    assert "input tokens takes int32" in line


def test_codes_below_zero_are_refused_for_an_unsigned_input(file: Path) -> None:
    line = refused(save(file, np.full((9, 5), -1)), TensorSpec("c", (1, 5), "uint8"))
    assert "values from -1 to -1, the model's input c takes uint8" in line


def test_nan_is_named_with_its_place(file: Path) -> None:
    x = vectors(20)
    x[7, 2] = np.nan
    x[9, 0] = np.inf
    assert "x[7, 2]: nan, expected a finite float32 number (2 of 120 values are not)" in refused(
        save(file, x)
    )


def test_a_number_too_large_for_the_model_is_named_with_its_place(file: Path) -> None:
    x = vectors(20).astype(np.float64)
    x[4, 5] = 1e300
    assert "x[4, 5]: 1e+300, expected a finite float32 number" in refused(save(file, x))


@pytest.mark.parametrize(
    ("count", "said"), [(0, "0 samples"), (1, "1 sample,"), (7, "7 samples, expected at least 8")]
)
def test_few_samples_are_refused(file: Path, count: int, said: str) -> None:
    line = refused(save(file, vectors(count)))
    assert said in line
    assert "expected at least 8" in line


def test_labels_of_another_length_are_refused(file: Path) -> None:
    assert "y: 9 values for 10 samples of x" in refused(save(file, vectors(10), y=np.zeros(9)))


def test_label_for_the_whole_file_is_refused(file: Path) -> None:
    assert "y: 1 values for 10 samples of x" in refused(save(file, vectors(10), y=np.int64(3)))


@pytest.mark.parametrize("x", [np.asarray(["a"] * 9), np.float32(1), np.zeros((9, 6), complex)])
def test_x_that_is_no_numbers_is_refused(file: Path, x: Array) -> None:
    assert "expected real numbers" in refused(save(file, x))


def test_samples_of_another_size_are_refused_with_both(file: Path) -> None:
    line = refused(save(file, np.zeros((10, 7), np.float32)))
    assert line.endswith("x: samples of 7, the model's input x takes 1x6")


def test_one_row_is_no_sample_of_an_input_without_a_batch(file: Path) -> None:
    line = refused(save(file, vectors(10)), TensorSpec("x", (4, 6), "float32"))
    assert line.endswith("x: samples of 6, the model's input x takes 4x6")


def test_single_numbers_are_scalars(file: Path) -> None:
    assert "samples of scalars" in refused(save(file, np.zeros(10, np.float32)))


# Layout


def suggested(line: str, x: Array) -> Array:
    """Do what a message says."""
    found = re.search(r"give np\.transpose\(x, \(([0-9, ]+)\)\)$", line)
    assert found, line
    return np.transpose(x, [int(axis) for axis in found[1].split(",")])


def test_nhwc_for_an_nchw_model_is_named(file: Path) -> None:
    x = np.zeros((8, 32, 30, 3), np.float32)
    line = refused(save(file, x), TensorSpec("image", (1, 3, 32, 30), "float32"))
    assert "samples of 32x30x3, the model's input image takes 1x3x32x30" in line
    assert "it looks like NHWC, the model is NCHW" in line
    assert suggested(line, x).shape == (8, 3, 32, 30)


def test_nchw_for_an_nhwc_model_is_named(file: Path) -> None:
    x = np.zeros((8, 3, 32, 32), np.float32)
    line = refused(save(file, x), TensorSpec("image", (1, 32, 32, 3), "float32"))
    assert "it looks like NCHW, the model is NHWC" in line
    assert line.endswith("give np.transpose(x, (0, 2, 3, 1))")


def test_layout_is_named_where_the_batch_is_spelt_out(file: Path) -> None:
    x = np.zeros((8, 1, 49, 10, 1), np.float32)
    line = refused(save(file, x), TensorSpec("mfcc", (1, 1, 49, 10), "float32"))
    assert "it looks like NHWC, the model is NCHW" in line
    assert suggested(line, x).shape == (8, 1, 1, 49, 10)


@given(
    st.lists(st.integers(1, 7), min_size=2, max_size=4),
    st.randoms(use_true_random=False),
    st.booleans(),
)
def test_what_a_message_says_of_the_layout_is_the_way_out(
    tmp_path_factory: pytest.TempPathFactory, inner: list[int], random: Any, spelt_out: bool
) -> None:
    assume(not (spelt_out and len(inner) == 4))
    order = list(inner)
    random.shuffle(order)
    assume(order != inner)
    x = np.arange(8 * np.prod(inner), dtype=np.float32).reshape(8, *([1] * spelt_out), *order)
    file = tmp_path_factory.getbasetemp() / "layout.npz"
    tensor = TensorSpec("x", (1, *inner), "float32")
    turned = suggested(refused(save(file, x), tensor), x)
    assert len(read(save(file, turned), tensor)) == 8


def test_sizes_that_no_order_explains_get_no_advice(file: Path) -> None:
    for found, wanted in permutations([(4, 4, 3), (3, 4, 5), (2, 24), (48,)], 2):
        x = np.zeros((8, *found), np.float32)
        assert "transpose" not in refused(save(file, x), TensorSpec("x", (1, *wanted), "float32"))


def test_channels_before_time_is_said_of_windows_too(file: Path) -> None:
    x = np.zeros((8, 6, 100), np.float32)
    line = refused(save(file, x), WATCH, WINDOWS)
    assert "samples of 6x100, the stream's windows are 100x6" in line
    assert suggested(line, x).shape == (8, 100, 6)


# Windows


def test_windows_of_an_array_go_through_the_features(file: Path) -> None:
    x = np.random.default_rng(4).normal(size=(9, 100, 6)).astype(np.float32)
    spec = Spec(stream=STREAM, features=(Standardise(mean=(1.0,) * 6, std=(2.0,) * 6),))
    found = read(save(file, x), WATCH, spec)
    np.testing.assert_array_equal(found.raw[3], x[3])
    np.testing.assert_allclose(found.inputs[3], (x[3].reshape(1, 600) - 1) / 2, rtol=1e-6)


def test_recordings_give_windows_with_the_names_of_their_classes() -> None:
    found = read(f"{RECORDING}#5,7-10,12,13", WATCH, WINDOWS)
    assert len(found) == 63
    assert found.raw[0].shape == (100, 6)
    assert found.inputs[0].shape == (1, 600)
    assert found.y is not None
    assert set(found.y) == set(LABELS)
    assert found.sha256 == hash_file(RECORDING)
    assert read_labels(found, LABELS).tolist() == [LABELS.index(name) for name in found.y]


def csv(file: Path, labels: list[str]) -> str:
    lines = [",".join([*(c.name for c in STREAM.channels), "label"])]
    lines += [f"{i},1,2,3,4,5,{label}" for i, label in enumerate(labels)]
    file.write_text("\n".join(lines))
    return str(file)


def test_windows_without_a_label_calibrate_and_do_not_judge(tmp_path: Path) -> None:
    source = csv(tmp_path / "day.csv", ["PEN"] * 500 + [""] * 200)
    calibrating = read_samples(source, WINDOWS, WATCH, to_judge=False)
    judging = read_samples(source, WINDOWS, WATCH, to_judge=True)
    assert (len(calibrating), calibrating.y) == (13, None)
    assert judging.y is not None
    assert judging.y.tolist() == ["PEN"] * 9


def test_recording_without_any_label_judges_by_all_its_windows(tmp_path: Path) -> None:
    found = read(csv(tmp_path / "day.csv", [""] * 500), WATCH, WINDOWS)
    assert (len(found), found.y) == (9, None)


# Parts of a file


def test_ranges_name_some_samples(file: Path) -> None:
    x = vectors(40)
    found = read(save(file, x, y=np.arange(40)) + "#0-6,20,38-39")
    assert found.y is not None
    assert found.y.tolist() == [*range(7), 20, 38, 39]
    np.testing.assert_array_equal(found.inputs[7][0], x[20])
    assert found.source.endswith("#0-6,20,38-39")


def test_index_array_names_some_samples(file: Path) -> None:
    source = save(file, vectors(40), y=np.arange(40), test=np.arange(39, 20, -2, dtype=np.uint8))
    found = read(source + "#test")
    assert found.y is not None
    assert found.y.tolist() == list(range(39, 20, -2))


def test_file_name_may_have_a_hash(tmp_path: Path) -> None:
    assert len(read(save(tmp_path / "day #1.npz", vectors(9)))) == 9


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ("0-40", "0-40, the file has samples 0 to 39"),
        ("0-9,60", ": 60, the file has samples 0 to 39"),
        ("0-9,50-60", "50-60, the file has samples 0 to 39"),
        ("0-9,30-20", "30-20, the file has samples 0 to 39"),
        ("0-999999999", "0-999999999, the file has samples 0 to 39"),
        ("first", "expected numbers such as 0-99,120, or the name of an index array"),
        ("tset", "did you mean 'test'"),
        ("0-9,", "expected numbers"),
        ("mask", "mask: bool [40], expected numbers of samples"),
        ("below", "sample -1, the file has samples 0 to 39"),
        ("above", "sample 40, the file has samples 0 to 39"),
    ],
)
def test_part_that_the_file_does_not_have(file: Path, part: str, said: str) -> None:
    indexes = {
        "test": np.arange(10),
        "mask": np.ones(40, bool),
        "below": np.asarray([3, -1, 5]),
        "above": np.asarray([3, 40, 5]),
    }
    with pytest.raises(ConfigError) as stop:
        read(save(file, vectors(40), **indexes) + "#" + part)
    assert said in str(stop.value)


# Files


def test_missing_file_is_named(tmp_path: Path) -> None:
    for source in ("none.npz", "none.npz#0-9"):
        with pytest.raises(ConfigError, match="no such recording"):
            read(str(tmp_path / source))
    for source in (".", "#0-9"):
        with pytest.raises(ConfigError, match="is a directory, expected a recording"):
            read(str(tmp_path / source))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"x" * 100])
def test_file_that_is_no_npz_is_refused(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    assert "not a readable .npz" in refused(str(file))


def test_file_that_would_run_a_program_is_refused(file: Path) -> None:
    np.savez(file, x=np.asarray([{}] * 9, object))
    assert "not a readable .npz" in refused(str(file))


def test_file_without_x_is_refused_with_what_it_has(file: Path, tmp_path: Path) -> None:
    np.savez(file, images=vectors(9))
    assert "expected a .npz with an array 'x', found images; recordings need a --spec" in refused(
        str(file)
    )
    np.savez(file)
    assert "found nothing" in refused(str(file))
    assert "found a .csv file" in refused(csv(tmp_path / "day.csv", ["PEN"]))


# Labels


def labelled(y: Array | None) -> Samples:
    x = list(vectors(8 if y is None else len(y)))
    return Samples("eval.npz", "0" * 64, x, x, y)


def test_numbers_and_names_are_both_labels() -> None:
    assert read_labels(labelled(np.asarray([2, 0, 1], np.uint8)), 3).tolist() == [2, 0, 1]
    names = np.asarray(["PEN", "ROW", "PEN"])
    assert read_labels(labelled(names), LABELS).tolist() == [0, 6, 0]


@pytest.mark.parametrize(
    ("y", "classes", "said"),
    [
        ([0, 7, 1], 7, "y: class 7, the model has 7 classes: 0 to 6"),
        ([0, -2, 9], 7, "y: class -2, the model has 7 classes"),
        (["PEN", "RUN"], LABELS, "label 'RUN' is not in decision.labels: PEN, ABD"),
        (["PEN", "RUN"], 7, "names such as 'PEN'; name the classes in a --spec with [decision]"),
        ([0.5, 1.0], 7, "y: float64 [2], expected one class for each of 2 samples"),
        ([[0, 1], [1, 0]], 2, "y: int64 [2, 2], expected one class"),
        (None, 7, "y: none, expected one class for each of 8 samples (or say --metric"),
    ],
)
def test_labels_that_the_model_cannot_say(y: Any, classes: Any, said: str) -> None:
    with pytest.raises(RecordingRefused) as stop:
        read_labels(labelled(None if y is None else np.asarray(y)), classes)
    assert said in str(stop.value)
    assert str(stop.value).startswith("eval.npz: ")


# Calibration and evaluation


def of(x: Array, source: str = "some.npz") -> Samples:
    return Samples(source, "0" * 64, list(x), list(x), np.arange(len(x)))


def test_sets_without_a_common_sample_stay_as_they_are() -> None:
    x = vectors(40)
    calibration = of(x[:20])
    assert separate(calibration, of(x[20:])) is calibration


def test_sets_that_overlap_are_refused_with_how_many() -> None:
    x = vectors(40)
    with pytest.raises(RecordingRefused) as stop:
        separate(of(x[:20], "cal.npz"), of(x[15:], "eval.npz"))
    assert "5 of 25 evaluation samples are also in the calibration cal.npz" in str(stop.value)
    assert str(stop.value).startswith("eval.npz: ")


def test_one_silence_in_both_is_dropped_from_the_calibration() -> None:
    x = vectors(440)
    x[5] = 0.0
    x[430] = -0.0
    kept = separate(of(x[:20]), of(x[20:]))
    assert kept.y is not None
    assert kept.y.tolist() == [i for i in range(20) if i != 5]
    assert len(kept.inputs) == len(kept.raw) == 19


def test_chance_is_one_in_two_hundred() -> None:
    x = vectors(220)
    x[5] = x[219]
    with pytest.raises(RecordingRefused, match="1 of 199 evaluation samples"):
        separate(of(x[:20]), of(x[21:]))
    assert len(separate(of(x[:20]), of(x[20:]))) == 19


def test_a_calibration_of_silences_leaves_too_little() -> None:
    x = vectors(420)
    x[:13] = x[419]
    with pytest.raises(RecordingRefused, match="1 of 400 evaluation samples"):
        separate(of(x[:20]), of(x[20:]))


def test_some_samples_are_taken_with_their_labels() -> None:
    x = vectors(10)
    some = of(x).take([7, 2])
    assert some.y is not None
    assert some.y.tolist() == [7, 2]
    np.testing.assert_array_equal(some.inputs[0], x[7])
    assert labelled(None).take([1, 2]).y is None
