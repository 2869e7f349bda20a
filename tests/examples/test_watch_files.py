"""The committed example files are the very ones that the README describes, and the script that
makes them unpickles nothing else than the data it was written for.
"""

import hashlib
import importlib.util
import json
import os
import pickle
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tests.parts import require_module

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
WATCH = EXAMPLES / "watch"
VERSIONS = ("watch_mlp.onnx", "watch_mlp_v2.onnx")
SHA256 = {
    "watch/SEGLEARN-LICENSE": "8d11b67e67edca1053becb6d4b6c4f43a69b374780903f648c8e04e95bda9b8e",
    "watch/watch_example.npz": "e19e5a92e137d20ce56221f3b5637493271d38bd397b2f163c9a31b5bc45263f",
    "watch/watch_mlp.onnx": "68bf70e9a50173dfee705c885a7011e6abc9d452ab3c2cf0177856f886008fa9",
    "watch/watch_mlp_v2.onnx": "d6b7b5214ed23b1fa9732bf989b81e2cb46835505a37847e983579ea07f8120c",
    "wake_word/hey_jarvis.json": "b153867d818675d8abcc9dace474afe7f83551ae0d5a9b1d71a98681320185af",
    "wake_word/hey_jarvis.tflite": (
        "21a7976add39ee24ec96c63d96b7aaa18e24d1d9824b963e451da8feb4b78b77"
    ),
}

Float32Array = npt.NDArray[np.float32]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """``train.py`` as a module; importing it needs neither scikit-learn nor skl2onnx."""
    spec = importlib.util.spec_from_file_location("watch_train", WATCH / "train.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def example() -> dict[str, Any]:
    with np.load(WATCH / "watch_example.npz", allow_pickle=False) as file:
        return dict(file)


@pytest.fixture(scope="module")
def windows(example: dict[str, Any], script: ModuleType) -> Float32Array:
    """float32 [126, 100, 6]."""
    ends = np.cumsum(example["lengths"])[:-1]
    cut, _ = script.cut_windows(
        script.Recording(samples, int(label), 6)
        for samples, label in zip(np.split(example["values"], ends), example["y"], strict=True)
    )
    return np.asarray(cut, np.float32)


def open_model(name: str) -> Any:
    onnxruntime = require_module("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    path = str(WATCH / name)
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("name", SHA256)
def test_committed_file_is_the_one_described(name: str) -> None:
    assert hashlib.sha256((EXAMPLES / name).read_bytes()).hexdigest() == SHA256[name]


def test_example_holds_fourteen_recordings_of_ten_seconds(example: dict[str, Any]) -> None:
    assert example["values"].dtype == np.float32
    assert example["values"].shape == (7000, 6)
    assert np.isfinite(example["values"]).all()
    assert example["lengths"].tolist() == [500] * 14
    assert float(example["rate_hz"]) == 50.0
    assert sorted(example["y"].tolist()) == sorted([*range(7)] * 2)
    assert set(example["side"].tolist()) == {0, 1}


def test_example_names_labels_and_channels_in_the_models_order(
    example: dict[str, Any], script: ModuleType
) -> None:
    assert example["y_labels"].tolist() == script.LABELS
    assert example["channels"].tolist() == script.CHANNELS


@pytest.mark.parametrize("name", VERSIONS)
def test_both_versions_have_one_interface(name: str) -> None:
    model = open_model(name)
    takes = [(tensor.name, tensor.type, tensor.shape) for tensor in model.get_inputs()]
    gives = [(tensor.name, tensor.type, tensor.shape) for tensor in model.get_outputs()]
    assert takes == [("X", "tensor(float)", [None, 600])]
    assert gives == [
        ("label", "tensor(int64)", [None]),
        ("probabilities", "tensor(float)", [None, 7]),
    ]


@pytest.mark.parametrize("name", VERSIONS)
def test_model_is_small_and_of_a_format_that_old_runtimes_read(name: str) -> None:
    raw = (WATCH / name).read_bytes()
    assert len(raw) < 110_000
    # A ModelProto begins with its first field: tag 8 (field 1, a varint), then the IR version.
    assert raw[:2] == bytes([8, 8])


@pytest.mark.parametrize("name", VERSIONS)
def test_model_takes_sample_after_sample(
    name: str, example: dict[str, Any], windows: Float32Array, script: ModuleType
) -> None:
    """Only that order makes sense to it. The share found is of one person, no accuracy."""
    model = open_model(name)
    truth = np.repeat(example["y"], 9)
    flat = script.flatten(windows)
    channel_after_channel = windows.transpose(0, 2, 1).reshape(len(windows), -1)
    labels, probabilities = model.run(None, {"X": flat})
    (garbled,) = model.run(["label"], {"X": channel_after_channel})
    assert flat.shape == (126, 600)
    assert (labels == truth).mean() > 0.7
    assert (garbled == truth).mean() < 0.4
    assert (labels == probabilities.argmax(1)).all()
    assert np.allclose(probabilities.sum(1), 1, atol=1e-5)


def test_versions_really_differ(windows: Float32Array, script: ModuleType) -> None:
    flat = script.flatten(windows)
    (first, likely_first), (second, likely_second) = (
        open_model(name).run(None, {"X": flat}) for name in VERSIONS
    )
    assert (first != second).any()
    assert np.abs(likely_first - likely_second).max() > 0.1


def test_wake_word_settings_name_the_model_beside_them() -> None:
    settings = json.loads((EXAMPLES / "wake_word" / "hey_jarvis.json").read_text("utf-8"))
    notice = (EXAMPLES / "wake_word" / "NOTICE").read_text("utf-8")
    assert (EXAMPLES / "wake_word" / settings["model"]).is_file()
    assert settings["author"] in notice
    assert "Apache License, Version 2.0" in notice


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


def test_other_data_is_refused_before_it_is_unpickled(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, sprung, out = tmp_path / "data.npy", tmp_path / "sprung", tmp_path / "out"
    np.save(data, np.array(Trap(sprung), dtype=object), allow_pickle=True)

    assert script.main(["--data", str(data), "--out", str(out)]) == 2

    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert str(data) in said.err
    assert hashlib.sha256(data.read_bytes()).hexdigest() in said.err
    assert script.DATASET_SHA256 in said.err
    assert not sprung.exists()
    assert not out.exists()
    # The trap does spring, or this test would prove nothing.
    pickle.loads(pickle.dumps(Trap(sprung)))
    assert sprung.exists()


def test_missing_data_file_is_one_line(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    absent = tmp_path / "absent.npy"
    assert script.main(["--data", str(absent), "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"train: {absent}: No such file or directory\n"


def test_without_seglearn_the_line_says_how_to_get_its_data(
    script: ModuleType,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(script, "find_spec", lambda _: None)
    assert script.main(["--out", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert "pip install --no-deps seglearn==1.2.5" in said
    assert said.count("\n") == 1


def test_installed_data_is_found_without_importing_the_package(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "seglearn"
    (package / "data").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')\n")
    (package / "data" / "watch_dataset.npy").touch()
    monkeypatch.delitem(sys.modules, "seglearn", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    assert script.locate_dataset() == package / "data" / "watch_dataset.npy"
    assert "seglearn" not in sys.modules


def test_rotations_are_rotations(script: ModuleType) -> None:
    turns = script.draw_rotations(np.random.default_rng(0), 50, 0.4)
    assert np.allclose(turns @ turns.transpose(0, 2, 1), np.eye(3), atol=1e-5)
    assert np.allclose(np.linalg.det(turns), 1, atol=1e-5)
    angles = np.arccos(np.clip((turns.trace(axis1=1, axis2=2) - 1) / 2, -1, 1))
    assert 0.2 < float(angles.mean()) < 0.5


def test_altered_windows_stay_within_the_shortest_recording(script: ModuleType) -> None:
    recipe = script.RECIPES[1]
    ramp = np.repeat(np.arange(100, dtype=np.float32)[:, None], 6, axis=1)
    altered = script.alter(script.Recording(ramp, 0, 1), recipe, np.random.default_rng(0))
    assert altered.shape == (recipe.copies, 100, 6)
    assert altered.dtype == np.float32
    assert np.isfinite(altered).all()


def test_nothing_about_a_recipe_is_drawn_anew(script: ModuleType, example: dict[str, Any]) -> None:
    recording = script.Recording(example["values"][:500], 5, 6)
    once, again = (
        script.alter(recording, script.RECIPES[1], np.random.default_rng(1)) for _ in range(2)
    )
    assert np.array_equal(once, again)
