"""A file is known by what it holds, and each kind goes to its own reader."""

from pathlib import Path

import pytest

from convert import intake
from convert.given.source import Source
from convert.importers.imported import Imported
from convert.intake import read_source
from edge_bundle.errors import ConfigError, ModelRefused
from edge_bundle.tensor import TensorSpec
from tests.convert.classifier import Told
from tests.convert.example import MODEL, save, save_small
from tests.convert.tflite.example import INPUT, SCORES, small_model
from tests.edge_bundle.bundles import WAKE_WORD


@pytest.fixture
def trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Load these models without a trial in a child, which takes most of a test's time."""
    monkeypatch.setattr(intake, "require_safe", lambda *_: None)


def read(path: Path) -> Source:
    return read_source(path, trust=False, progress=Told())


def test_onnx_by_content(tmp_path: Path) -> None:
    file = save(tmp_path / "model.bin", MODEL.read_bytes())
    assert (read(file).format, read(file).outputs) == ("onnx", ("probabilities",))


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("name", ["model.tflite", "model.bin", "model.onnx"])
def test_tflite_by_content(tmp_path: Path, name: str) -> None:
    found = read(save(tmp_path / name, small_model()))
    assert (found.format, found.outputs, found.notes) == ("tflite", (SCORES,), ())
    assert found.input == TensorSpec("x", INPUT, "float32")
    assert (found.data, found.file_bytes) == (small_model(), len(small_model()))


def test_tflite_is_run_in_a_process_of_its_own_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(data: bytes, kind: str, name: str) -> None:
        assert (data, kind) == (small_model(), "tflite")
        raise ModelRefused(f"{name}: it ends the whole process")

    monkeypatch.setattr(intake, "require_safe", refuse)
    with pytest.raises(ModelRefused, match=r"m\.tflite: it ends the whole process"):
        read(save(tmp_path / "m.tflite", small_model()))


def test_file_named_tflite_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(ModelRefused, match="not a TFLite file"):
        read(save(tmp_path / "m.tflite", b"something else"))


def test_tflite_that_is_quantized_already() -> None:
    with pytest.raises(ModelRefused, match=r"hey_jarvis\.tflite: .*pack takes the file as it is"):
        read(WAKE_WORD)


def test_file_of_no_kind(tmp_path: Path) -> None:
    with pytest.raises(ModelRefused, match="not an ONNX model"):
        read(save(tmp_path / "m", b"something else"))


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        read(tmp_path / "none.onnx")


def test_model_of_a_framework_says_how_it_came(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exported = save_small(tmp_path / "m.onnx", "scores = MatMul(x, w)").read_bytes()
    imported = Imported(exported, "scikit-learn 1.9.1", "skl2onnx 1.20.0", ("Mind the gap.",))
    monkeypatch.setattr(intake, "import_model", lambda *_: imported)
    found = read(save(tmp_path / "m.pkl", b"pickled"))
    assert (found.data, found.file_bytes) == (exported, 7)
    how = "scikit-learn 1.9.1 model, exported by skl2onnx 1.20.0."
    assert found.notes == (how, "Mind the gap.")
