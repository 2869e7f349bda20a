"""The same inputs give the same bytes; whatever else a file is, it is refused in one line."""

import hashlib
import io
import os
import struct
import subprocess
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from unittest.mock import patch

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from edge_bundle import archive, document
from edge_bundle.archive import Bundle, read_bundle, write_bundle
from edge_bundle.errors import BundleRefused
from edge_bundle.manifest import Member
from tests.edge_bundle.bundles import watch_manifest, write_small_bundle

ROOT = Path(__file__).parents[2]
FILES = {"model.onnx": b"not a model", "golden.npz": b"no vectors"}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_small_bundle(tmp_path_factory.mktemp("small"))


def manifest_bytes(**files: bytes) -> bytes:
    members = {n: Member(hashlib.sha256(d).hexdigest(), len(d)) for n, d in FILES.items()}
    members |= {n: Member(hashlib.sha256(d).hexdigest(), len(d)) for n, d in files.items()}
    return document.encode(msgspec.structs.replace(watch_manifest(), files=members))


def zipped(
    members: Mapping[str, bytes | None] | None = None,
    change: Callable[[zipfile.ZipFile], object] = lambda _: None,
    method: int = zipfile.ZIP_STORED,
) -> bytes:
    """Return an archive of the small bundle's members with some changed, or left out by None."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as out:
        for name, data in (
            {"manifest.json": manifest_bytes()} | FILES | dict(members or {})
        ).items():
            if data is not None:
                out.writestr(zipfile.ZipInfo(name), data, method)
        change(out)
    return buffer.getvalue()


def refusal(folder: Path, data: bytes, expected_sha256: str | None = None) -> str:
    path = folder / "any.bundle"
    path.write_bytes(data)
    with pytest.raises(BundleRefused) as refused:
        read_bundle(path, expected_sha256)
    message = str(refused.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


def test_written_bundle_reads_back(small: Bundle) -> None:
    assert small.path.name == "watch-1.0.0-onnx-float.bundle"
    assert small.sha256 == hashlib.sha256(small.path.read_bytes()).hexdigest()
    assert small.length == small.path.stat().st_size
    assert small.model() == FILES["model.onnx"]
    assert small.read("golden.npz") == FILES["golden.npz"]
    assert read_bundle(small.path, small.sha256) == read_bundle(small.path) == small
    assert small.path.stat().st_mode & 0o777 == 0o644


def test_two_writes_give_the_same_bytes_whatever_the_order(small: Bundle, tmp_path: Path) -> None:
    turned = dict(reversed(FILES.items()))
    again = write_bundle(tmp_path / "made" / "on the way", watch_manifest(), turned)
    assert again.path.read_bytes() == small.path.read_bytes()
    assert write_bundle(again.path.parent, watch_manifest(), FILES).sha256 == small.sha256


def test_bytes_do_not_depend_on_the_process(small: Bundle, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from tests.edge_bundle import bundles;"
        "print(bundles.write_small_bundle(Path(sys.argv[1])).sha256)"
    )
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / seed)],
            env={**os.environ, "PYTHONHASHSEED": seed, "TZ": f"UTC{seed}"},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == small.sha256


def test_layout_is_the_contract(small: Bundle) -> None:
    with zipfile.ZipFile(small.path) as opened:
        members = opened.infolist()
    assert [m.filename for m in members] == ["golden.npz", "manifest.json", "model.onnx"]
    assert {m.compress_type for m in members} == {zipfile.ZIP_STORED}
    assert {m.date_time for m in members} == {(1980, 1, 1, 0, 0, 0)}


@given(st.data())
def test_every_truncation_is_refused(small: Bundle, data: st.DataObject) -> None:
    whole = small.path.read_bytes()
    length = data.draw(st.integers(0, len(whole) - 1))
    with tempfile.TemporaryDirectory() as folder:
        refusal(Path(folder), whole[:length])
        refusal(Path(folder), whole[:length], small.sha256)


def flipped(data: bytes, position: int, bits: int) -> bytes:
    changed = bytearray(data)
    changed[position] ^= bits
    return bytes(changed)


@given(st.data(), st.integers(1, 255))
def test_every_flipped_byte_is_refused_by_who_knows_the_hash(
    small: Bundle, data: st.DataObject, bits: int
) -> None:
    whole = small.path.read_bytes()
    position = data.draw(st.integers(0, len(whole) - 1))
    with tempfile.TemporaryDirectory() as folder:
        message = refusal(Path(folder), flipped(whole, position, bits), small.sha256)
    assert f"expected {small.sha256}" in message


def test_flipped_byte_never_changes_what_a_bundle_holds(small: Bundle, tmp_path: Path) -> None:
    """Without a hash to compare, only bytes that say nothing (a time, a mode) may differ."""
    whole, refused = small.path.read_bytes(), 0
    path = tmp_path / "any.bundle"
    manifest_start = whole.index(manifest_bytes()[:40])
    # Every byte outside the manifest's text, whose bytes a checksum protects; some of it there.
    positions = [n for n in range(len(whole)) if not 0 < n - manifest_start < 1700 or n % 100 == 0]
    for position in positions:
        path.write_bytes(flipped(whole, position, 1 << position % 8))
        try:
            bundle = read_bundle(path)
        except BundleRefused:
            refused += 1
            continue
        assert bundle.manifest == small.manifest
        assert {n: bundle.read(n) for n in FILES} == FILES
        assert bundle.sha256 != small.sha256
    assert refused > len(positions) / 2


@given(st.binary(max_size=300))
def test_bytes_that_are_no_bundle_are_refused(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        refusal(Path(folder), data)


@pytest.mark.parametrize(
    "name",
    ["../x", "/etc/passwd", "a/b", "..", ".hidden", "a\\b", "C:x", "x\n", "a" * 129, "ä.npz"],
)
def test_unsafe_member_name_is_refused(tmp_path: Path, name: str) -> None:
    assert "unsafe member name" in refusal(tmp_path, zipped({name: b"x"}))
    assert [p.name for p in tmp_path.iterdir()] == ["any.bundle"]


def test_two_members_of_one_name_are_refused(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = zipped(change=lambda out: out.writestr("model.onnx", b"the other one"))
    assert "two members of one name" in refusal(tmp_path, data)


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compressed_member_is_refused(tmp_path: Path, method: int) -> None:
    assert "compressed or encrypted" in refusal(tmp_path, zipped(method=method))


def patched(data: bytes, name: str, offset: int, code: str, value: int) -> bytes:
    """Return an archive with a field of one member's entry in the directory changed."""
    entry = data.rindex(b"PK\1\2", 0, data.rindex(name.encode()))
    changed = bytearray(data)
    struct.pack_into(code, changed, entry + offset, value)
    return bytes(changed)


@pytest.mark.parametrize(
    ("offset", "code", "value", "message"),
    [
        (8, "<H", 1, "compressed or encrypted"),
        (10, "<H", 99, "compressed or encrypted"),
        (6, "<H", 99, "zip file version"),
        (24, "<L", 0x7FFFFFFF, "sizes differ"),
        (20, "<L", 0x7FFFFFFF, "sizes differ"),
        (42, "<L", 1, "overlap"),
        (42, "<L", 0x7FFFFFFF, "reach to byte"),
    ],
)
def test_lying_directory_is_refused(
    tmp_path: Path, offset: int, code: str, value: int, message: str
) -> None:
    assert message in refusal(tmp_path, patched(zipped(), "model.onnx", offset, code, value))


def test_declared_size_beyond_the_file_is_refused(tmp_path: Path) -> None:
    data = patched(zipped(), "golden.npz", 20, "<L", 0x7FFFFFFF)
    data = patched(data, "golden.npz", 24, "<L", 0x7FFFFFFF)
    assert "reach to byte" in refusal(tmp_path, data)


def test_member_within_another_is_refused(tmp_path: Path) -> None:
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as out:
        out.writestr("golden.npz", FILES["golden.npz"])
    outer = inner.getvalue()[: 30 + len("golden.npz") + len(FILES["golden.npz"])]
    text = manifest_bytes(**{"model.onnx": outer})
    data = zipped({"golden.npz": None, "manifest.json": text, "model.onnx": outer})
    # A second entry in the directory, for the member that lies in the model's bytes.
    with zipfile.ZipFile(inner) as opened:
        directory = inner.getvalue()[opened.start_dir : -22]
    entry = bytearray(directory)
    struct.pack_into("<L", entry, 42, data.index(outer))
    end = list(archive.END.unpack(data[-22:]))
    end[3], end[4], end[5] = 3, 3, end[5] + len(entry)
    data = data[:-22] + bytes(entry) + archive.END.pack(*end)
    with zipfile.ZipFile(io.BytesIO(data)) as opened:
        assert opened.namelist() == ["manifest.json", "model.onnx", "golden.npz"]
    assert "members overlap" in refusal(tmp_path, data)


def test_too_many_members_are_refused_before_their_directory_is_read(tmp_path: Path) -> None:
    many = zipped({f"m{n}": b"" for n in range(archive.MAX_MEMBERS)})
    huge = bytearray(zipped())
    struct.pack_into("<L", huge, len(huge) - 10, 1 << 29)
    with patch.object(zipfile, "ZipFile", side_effect=AssertionError("opened")):
        assert "at most 16" in refusal(tmp_path, many)
        assert "at most 16" in refusal(tmp_path, bytes(huge))


def test_zip64_directory_is_refused(tmp_path: Path) -> None:
    data = zipped()
    locator = b"PK\6\7" + bytes(16)
    assert "ZIP64" in refusal(tmp_path, data[:-22] + locator + data[-22:])


def test_what_follows_the_archive_is_refused(tmp_path: Path) -> None:
    assert "does not end like a ZIP" in refusal(tmp_path, zipped() + b"more")


def test_manifest_must_be_there_and_be_small(tmp_path: Path) -> None:
    assert "no manifest.json" in refusal(tmp_path, zipped({"manifest.json": None}))
    large = zipped({"manifest.json": b" " * (document.MAX_MANIFEST_BYTES + 1)})
    assert "at most 1048576" in refusal(tmp_path, large)
    assert "manifest.json: not JSON" in refusal(tmp_path, zipped({"manifest.json": b"{"}))


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"golden.npz": None}, "golden.npz: the archive and manifest.json's files differ"),
        ({"more": b"x"}, "more: the archive and manifest.json's files differ"),
        ({"model.onnx": b"longer than it was"}, "model.onnx: the archive and manifest"),
        ({"model.onnx": b"NOT a model"}, "model.onnx: sha256 "),
    ],
)
def test_members_are_those_of_the_manifest(
    tmp_path: Path, members: dict[str, bytes | None], message: str
) -> None:
    assert message in refusal(tmp_path, zipped(members))


def test_member_that_claims_to_be_a_link_is_only_bytes(tmp_path: Path) -> None:
    def link(out: zipfile.ZipFile) -> None:
        info = zipfile.ZipInfo("model.onnx")
        info.create_system, info.external_attr = 3, 0o120777 << 16
        out.writestr(info, FILES["model.onnx"])

    path = tmp_path / "any.bundle"
    path.write_bytes(zipped({"model.onnx": None}, link))
    assert read_bundle(path).model() == FILES["model.onnx"]
    assert [p.name for p in tmp_path.iterdir()] == ["any.bundle"]


def test_file_swapped_after_it_was_opened_is_noticed(tmp_path: Path) -> None:
    bundle = write_small_bundle(tmp_path)
    bundle.path.write_bytes(zipped({"model.onnx": b"another model"}))
    with pytest.raises(BundleRefused, match=r"model\.onnx: sha256 .*, expected"):
        bundle.model()
    bundle.path.write_bytes(zipped({"model.onnx": None}))
    with pytest.raises(BundleRefused, match=r"model\.onnx"):
        bundle.model()


def test_missing_file_folder_and_large_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_bundle(tmp_path / "no.bundle")
    with pytest.raises(IsADirectoryError, match="is a directory, expected a bundle"):
        read_bundle(tmp_path)
    with pytest.raises(BundleRefused, match="/dev/null: not a file"):
        read_bundle(Path("/dev/null"))
    large = tmp_path / "large.bundle"
    with large.open("wb") as file:
        file.truncate(archive.MAX_BUNDLE_BYTES + 1)
    with pytest.raises(BundleRefused, match="at most 1073741824"):
        read_bundle(large)


@pytest.mark.parametrize("step", ["fsync", "replace", "chmod"])
def test_nothing_half_written_stays_when_writing_fails(tmp_path: Path, step: str) -> None:
    kept = write_small_bundle(tmp_path)
    with (
        patch.object(os, step, side_effect=OSError("disk full")),
        pytest.raises(OSError, match="disk full"),
    ):
        write_bundle(tmp_path, watch_manifest(), FILES | {"more": b"x"})
    assert [p.name for p in tmp_path.iterdir()] == [kept.path.name]
    assert read_bundle(kept.path) == kept


@pytest.mark.parametrize(
    "more",
    [
        {f"m{n}": b"" for n in range(archive.MAX_MEMBERS)},
        {"manifest.json": b"{}"},
        {"../x": b"x"},
    ],
)
def test_what_no_device_would_take_is_not_written(tmp_path: Path, more: dict[str, bytes]) -> None:
    kept = write_small_bundle(tmp_path)
    with pytest.raises(BundleRefused) as refused:
        write_bundle(tmp_path, watch_manifest(), FILES | more)
    assert ".part" not in str(refused.value)
    assert [p.name for p in tmp_path.iterdir()] == [kept.path.name]
    assert read_bundle(replace(kept).path) == kept
