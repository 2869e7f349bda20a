"""One call for every file: what is ours, what is missing, what is refused and why."""

import zipfile
from pathlib import Path

import pytest

from convert.importers import importer
from convert.importers.importer import import_model
from edge_bundle.errors import ConfigError, ModelRefused
from tests.convert.importers.examples import WATCH, fit_forest, require_sklearn, save


def ignore(text: str) -> None:
    """Show no progress."""


def test_what_is_not_a_frameworks_is_left_alone(tmp_path: Path) -> None:
    assert import_model(WATCH / "watch_mlp.onnx", False, ignore) is None
    (tmp_path / "notes.txt").write_text("nothing")
    assert import_model(tmp_path / "notes.txt", False, ignore) is None
    assert import_model(tmp_path, False, ignore) is None


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"m\.pkl: No such file"):
        import_model(tmp_path / "m.pkl", True, ignore)


def test_pickle_runs_nothing_without_trust(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[object, ...]]:
            return Path.touch, (tmp_path / "sprung",)

    file = save(Trap(), tmp_path / "m.pkl")
    with pytest.raises(ConfigError, match=r"can run any program when it is read: add --trust if"):
        import_model(file, False, ignore)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("name", "extra"),
    [("m.pkl", "convert-sklearn"), ("m.pt2", "convert-torch"), ("m.keras", "convert-keras")],
)
def test_missing_package_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, extra: str
) -> None:
    monkeypatch.setattr(importer, "find_spec", lambda _: None)
    (tmp_path / name).touch()
    with pytest.raises(ConfigError, match=rf"pip install 'edgeward\[{extra}\]'"):
        import_model(tmp_path / name, True, ignore)


@pytest.mark.parametrize(
    ("members", "advice"),
    [
        (("m/data.pkl", "m/constants.pkl"), r"TorchScript, .* torch\.export\.save"),
        (("m/data.pkl",), r"pickled PyTorch module .* torch\.onnx\.export"),
    ],
)
def test_what_pytorch_saves_otherwise_is_refused_with_the_way_out(
    tmp_path: Path, members: tuple[str, ...], advice: str
) -> None:
    with zipfile.ZipFile(tmp_path / "m.pt", "w") as archive:
        for name in members:
            archive.writestr(name, b"")
    with pytest.raises(ModelRefused, match=advice):
        import_model(tmp_path / "m.pt", True, ignore)


def test_saved_model_is_refused_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").touch()
    with pytest.raises(ModelRefused, match=r"SavedModel; .* tf2onnx"):
        import_model(tmp_path, True, ignore)


def test_oversized_file_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "m.pkl").open("wb") as file:
        file.truncate(1 << 30)
    with pytest.raises(ModelRefused, match="1073741824 bytes, at most"):
        import_model(tmp_path / "m.pkl", True, ignore)


def test_trusted_pickle_is_exported(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    require_sklearn()
    said: list[str] = []
    imported = import_model(save(fit_forest(), tmp_path / "m.pkl"), True, said.append)
    assert imported is not None
    assert imported.exporter.startswith("skl2onnx ")
    assert said == ["exporting m.pkl with scikit-learn"]
    assert capfd.readouterr() == ("", "")
