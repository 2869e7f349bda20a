"""The recordings in a ``.npz`` are what its arrays say, or refused in one line."""

import io
import os
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_bundle import npz
from edge_bundle.errors import RecordingRefused
from edge_bundle.npz import load_npz, read_concatenated, read_npz
from edge_bundle.tensor import UNLABELLED

NOBODY = 65534
VALUES = np.arange(20, dtype=np.float32).reshape(10, 2)


def save(folder: Path, **arrays: Any) -> Path:
    path = folder / "some.npz"
    np.savez(path, **arrays)
    return path


def refusal(source: Path) -> str:
    with pytest.raises(RecordingRefused) as refused:
        read_concatenated(source)
    assert str(refused.value).startswith(str(source))
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_values_alone_are_one_recording_that_nobody_labelled(tmp_path: Path) -> None:
    found = read_concatenated(save(tmp_path, values=VALUES))
    ((values, code),) = found.parts()
    np.testing.assert_array_equal(values, VALUES)
    assert (code, found.labels, found.channels, found.rate_hz) == (UNLABELLED, (), None, None)


def test_each_recording_has_its_own_values_and_code(tmp_path: Path) -> None:
    path = save(
        tmp_path,
        values=VALUES.astype(np.int16),
        lengths=np.array([4, 0, 6], np.uint8),
        y=np.array([1, UNLABELLED, 0], np.int8),
        y_labels=["p", "q"],
        channels=["a", "b"],
        rate_hz=np.array([10]),
    )
    found = read_concatenated(path)
    assert [(v.tolist(), code) for v, code in found.parts()] == [
        (VALUES[:4].tolist(), 1),
        ([], UNLABELLED),
        (VALUES[4:].tolist(), 0),
    ]
    assert (found.labels, found.channels, found.rate_hz) == (("p", "q"), ("a", "b"), 10.0)


def test_names_that_are_bytes_are_the_text_that_they_hold(tmp_path: Path) -> None:
    labels = np.array([b"walk", "zurück".encode()])
    path = save(tmp_path, values=VALUES, channels=np.array([b"a", b"b"]), y=[1], y_labels=labels)
    found = read_concatenated(path)
    assert (found.channels, found.labels) == (("a", "b"), ("walk", "zurück"))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"samples": VALUES}, "expected an array 'values', found samples"),
        ({}, "found nothing"),
        ({"values": VALUES[:, 0]}, "values: float32 [10], expected real numbers"),
        ({"values": np.float32(1)}, "values: float32 [], expected real numbers"),
        ({"values": VALUES.astype(str)}, "expected real numbers"),
        ({"values": VALUES.astype(complex)}, "values: complex128 [10, 2], expected real numbers"),
        ({"values": VALUES.astype(object)}, "not a readable .npz"),
        ({"values": VALUES, "rate_hz": np.array([None])}, "not a readable .npz"),
        ({"values": VALUES, "lengths": [4, 5]}, "lengths: sum 9, expected the 10 samples"),
        ({"values": VALUES, "lengths": [11, -1]}, "lengths[1]: -1, expected a count of samples"),
        ({"values": VALUES, "lengths": [1 << 62] * 4 + [10]}, "lengths: sum 18446744073709551626"),
        ({"values": VALUES, "lengths": [10.0]}, "lengths: float64 [1], expected counts"),
        ({"values": VALUES, "lengths": ["10"]}, "lengths: <U2 [1], expected counts"),
        ({"values": VALUES, "lengths": [[4], [6]]}, "lengths: int64 [2, 1], expected counts"),
        (
            {"values": VALUES, "y": [0, 1], "y_labels": ["p", "q"]},
            "expected an index for each of 1",
        ),
        ({"values": VALUES, "y": [0.5], "y_labels": ["p"]}, "y: float64 [1]"),
        ({"values": VALUES, "y": [1], "y_labels": ["p"]}, "y: from 1 to 1, y_labels has 1 labels"),
        ({"values": VALUES, "y": [-2], "y_labels": ["p"]}, "y: from -2"),
        ({"values": VALUES, "y": [0]}, "y_labels has 0 labels"),
        ({"values": VALUES, "y": [1], "y_labels": "pq"}, "y_labels has 1 labels"),
        (
            {"values": VALUES, "y": [0], "y_labels": [["p", "q"]]},
            "y_labels: <U1 [1, 2], expected names",
        ),
        ({"values": VALUES, "channels": [b"a", b"\xff"]}, "channels: |S1 [2], expected names"),
        ({"values": VALUES, "rate_hz": [10.0, 10.0]}, "rate_hz: float64 [2], expected one number"),
        ({"values": VALUES, "rate_hz": "fast"}, "rate_hz: <U4 [], expected one number"),
        ({"values": VALUES, "rate_hz": 0}, "rate_hz: 0, expected a finite number > 0"),
        ({"values": VALUES, "rate_hz": -8000}, "rate_hz: -8000, expected a finite number > 0"),
        ({"values": VALUES, "rate_hz": np.nan}, "rate_hz: nan, expected a finite number > 0"),
        ({"values": VALUES, "rate_hz": np.inf}, "rate_hz: inf, expected a finite number > 0"),
    ],
)
def test_wrong_npz_is_refused(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    assert message in refusal(save(tmp_path, **arrays))


def test_file_that_cannot_be_opened_is_no_damaged_one(tmp_path: Path) -> None:
    for file, kind in ((tmp_path, IsADirectoryError), (tmp_path / "no.npz", FileNotFoundError)):
        for read in (read_npz, load_npz, read_concatenated):
            with pytest.raises(kind):
                read(file)


def test_file_that_one_may_not_read_is_no_damaged_one(tmp_path: Path) -> None:
    path, me = save(tmp_path, values=VALUES), os.geteuid()
    path.chmod(0)
    os.seteuid(me or NOBODY)  # root may read every file
    try:
        with pytest.raises(PermissionError):
            read_npz(path)
    finally:
        os.seteuid(me)


def test_file_that_unpacks_to_too_much_is_refused_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "some.npz"
    np.savez_compressed(path, values=np.zeros((100_000, 2), np.float32))
    monkeypatch.setattr(npz, "MAX_BYTES", 500_000)
    assert "bytes unpacked, at most 500000" in refusal(path)


def test_array_with_an_absurd_header_is_refused(tmp_path: Path) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f4", "fortran_order": False, "shape": (10**13, 2)}
    )
    path = tmp_path / "some.npz"
    with zipfile.ZipFile(path, "w") as out:
        out.writestr("values.npy", header.getvalue())
    assert "not a readable .npz" in refusal(path)


def test_member_that_is_no_array_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "some.npz"
    with zipfile.ZipFile(path, "w") as out:
        out.writestr("values", b"not an array")
    assert "expected real numbers" in refusal(path)


@given(st.data(), st.booleans())
def test_damaged_npz_is_refused_or_the_same(data: st.DataObject, compressed: bool) -> None:
    buffer = io.BytesIO()
    arrays: dict[str, Any] = {"values": VALUES, "lengths": np.array([4, 6]), "y": [0, 1]}
    (np.savez_compressed if compressed else np.savez)(buffer, **arrays, y_labels=["p", "q"])
    damaged = bytearray(buffer.getvalue())
    position = data.draw(st.integers(0, len(damaged) - 1))
    damaged[position] ^= data.draw(st.integers(1, 255))
    if data.draw(st.booleans()):
        del damaged[position:]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "some.npz"
        path.write_bytes(damaged)
        try:
            read = read_concatenated(path)
        except RecordingRefused:
            return
    np.testing.assert_array_equal(np.concatenate([v for v, _ in read.parts()]), VALUES)
