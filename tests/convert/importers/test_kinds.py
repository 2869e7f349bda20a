"""What a file holds is told by what is in it, before anything is loaded."""

import zipfile
from pathlib import Path

import pytest

from convert.importers.kinds import Kind, recognise
from tests.convert.importers.examples import WATCH


def archive(file: Path, *names: str) -> Path:
    with zipfile.ZipFile(file, "w") as written:
        for name in names:
            written.writestr(name, b"")
    return file


@pytest.mark.parametrize(
    ("name", "members", "kind"),
    [
        ("m.pt2", ("m/archive_format", "m/models/model.json"), Kind.TORCH_PROGRAM),
        ("m.pt2", ("serialized_exported_program.json", "version"), Kind.TORCH_PROGRAM),
        ("m.pt", ("m/archive_format", "m/models/model.json"), Kind.TORCH_PROGRAM),
        ("m.pt", ("m/data.pkl", "m/constants.pkl", "m/code/m.py"), Kind.TORCHSCRIPT),
        ("m.pth", ("m/data.pkl", "m/data/0"), Kind.TORCH_PICKLE),
        ("m.pkl", ("m/data.pkl", "m/data/0"), Kind.TORCH_PICKLE),
        ("m.keras", ("config.json", "metadata.json"), Kind.KERAS_ARCHIVE),
        ("m.zip", ("readme.txt",), None),
        ("m.onnx", ("m/data.pkl", "m/data/0"), None),
    ],
)
def test_archives_are_told_by_their_members(
    tmp_path: Path, name: str, members: tuple[str, ...], kind: Kind | None
) -> None:
    assert recognise(archive(tmp_path / name, *members)) is kind


@pytest.mark.parametrize(
    ("name", "data", "kind"),
    [
        ("m.joblib", b"x\x9c", Kind.SKLEARN_PICKLE),
        ("M.PKL", b"\x80\x05", Kind.SKLEARN_PICKLE),
        ("m.sav", b"\x80\x04", Kind.SKLEARN_PICKLE),
        ("m.pth", b"\x80\x02", Kind.TORCH_PICKLE),
        ("m.keras", b"", Kind.KERAS_ARCHIVE),
        ("m.pt2", b"PK\x03\x04 cut off", Kind.TORCH_PROGRAM),
        ("m.bin", b"\x80\x00", None),
        ("m.tflite", b"\x80\x04", None),
    ],
)
def test_other_files_are_told_by_their_suffix_or_first_bytes(
    tmp_path: Path, name: str, data: bytes, kind: Kind | None
) -> None:
    (tmp_path / name).write_bytes(data)
    assert recognise(tmp_path / name) is kind


def test_folders(tmp_path: Path) -> None:
    assert recognise(tmp_path) is None
    (tmp_path / "saved_model.pb").touch()
    assert recognise(tmp_path) is Kind.SAVED_MODEL


def test_onnx_is_not_imported() -> None:
    assert recognise(WATCH / "watch_mlp.onnx") is None
