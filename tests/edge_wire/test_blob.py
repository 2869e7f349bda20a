"""A blob unpacks to what was signed, or to nothing."""

import random
import tempfile
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from edge_wire.assignment import Encoding
from edge_wire.blob import CHUNK_BYTES, WINDOW_LOG, decode_blob, encode_blob
from edge_wire.chunks import Receipt, make_index
from edge_wire.errors import MessageRefused
from edge_wire.messages import decode, encode
from tests.edge_wire.blobs import sha256

BUNDLE = random.Random(1).randbytes(50_000) + bytes(50_000)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "blob").write_bytes(encode_blob(BUNDLE)[0])
    return tmp_path


def unpack(folder: Path, length: int = len(BUNDLE), digest: str = sha256(BUNDLE)) -> bytes:
    target = folder / "target"
    decode_blob(folder / "blob", target, length, digest)
    return target.read_bytes()


def assert_refused(folder: Path, why: str, **signed: object) -> None:
    with pytest.raises(MessageRefused, match=why):
        unpack(folder, **signed)  # type: ignore[arg-type]
    assert [f.name for f in folder.iterdir()] == ["blob"]


@given(st.binary(min_size=1, max_size=5000), st.integers(1, 40), st.integers(10, 14))
def test_bundle_comes_back(piece: bytes, times: int, chunk_log: int) -> None:
    bundle = piece * times
    blob, encoding = encode_blob(bundle, 1 << chunk_log)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "blob").write_bytes(blob)
        assert unpack(folder, len(bundle), sha256(bundle)) == bundle
    assert decode(encode(encoding), Encoding) == encoding


def test_encoding_describes_the_blob() -> None:
    blob, encoding = encode_blob(BUNDLE)
    assert (encoding.blob_sha256, encoding.length) == (sha256(blob), len(blob))
    assert encoding.index_sha256 == sha256(make_index(blob, CHUNK_BYTES))
    assert encoding.chunk_bytes == CHUNK_BYTES
    receipt = Receipt(encoding.length, encoding.chunk_bytes, encoding.index_sha256)
    assert receipt.accept(0, make_index(blob, CHUNK_BYTES))
    assert encode_blob(BUNDLE) == (blob, encoding)


def test_large_bundle_needs_a_small_window(tmp_path: Path) -> None:
    bundle = random.Random(2).randbytes(3 << 20)
    blob, _ = encode_blob(bundle)
    assert zstandard.get_frame_parameters(blob).window_size <= 1 << WINDOW_LOG
    (tmp_path / "blob").write_bytes(blob)
    assert unpack(tmp_path, len(bundle), sha256(bundle)) == bundle


@pytest.mark.parametrize("short", [1, 2, 49_999, len(BUNDLE)])
def test_blob_that_expands_beyond_the_signed_length_is_refused(folder: Path, short: int) -> None:
    length = len(BUNDLE) - short
    assert_refused(folder, f"more than the signed {length} bytes", length=length)


def test_bomb_writes_no_more_than_the_signed_length(tmp_path: Path) -> None:
    parameters = zstandard.ZstdCompressionParameters.from_level(3, window_log=WINDOW_LOG)
    bomb = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    with (tmp_path / "blob").open("wb") as out:
        for _ in range(64):
            out.write(bomb.compress(bytes(1 << 20)))
        out.write(bomb.flush())
    assert (tmp_path / "blob").stat().st_size < 100_000
    assert_refused(tmp_path, "more than the signed 1000 bytes", length=1000)


def test_shorter_bundle_is_refused(folder: Path) -> None:
    assert_refused(folder, "expected 100001", length=len(BUNDLE) + 1)


def test_other_bundle_of_the_same_length_is_refused(folder: Path) -> None:
    assert_refused(folder, f"sha256 {sha256(BUNDLE)}, expected", digest=sha256(b"other"))


@pytest.mark.parametrize("keep", [0, 1, 4, 10, 1000, -1])
def test_truncated_blob_is_refused(folder: Path, keep: int) -> None:
    blob = (folder / "blob").read_bytes()
    (folder / "blob").write_bytes(blob[:keep])
    assert_refused(folder, "blob: ")


@given(st.data())
def test_damaged_blob_is_refused_or_gives_the_same_bundle(data: st.DataObject) -> None:
    blob = bytearray(encode_blob(BUNDLE[49_000:51_000])[0])
    blob[data.draw(st.integers(0, len(blob) - 1))] ^= data.draw(st.integers(1, 255))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "blob").write_bytes(blob)
        bundle = BUNDLE[49_000:51_000]
        try:
            assert unpack(folder, len(bundle), sha256(bundle)) == bundle
        except MessageRefused:
            assert not (folder / "target").exists()


@pytest.mark.parametrize("blob", [b"", b"PK\3\4 no zstd", bytes(1000)])
def test_what_is_not_zstd_is_refused(tmp_path: Path, blob: bytes) -> None:
    (tmp_path / "blob").write_bytes(blob)
    assert_refused(tmp_path, "blob: ")


def test_blob_that_needs_more_memory_than_a_device_has_is_refused(tmp_path: Path) -> None:
    parameters = zstandard.ZstdCompressionParameters.from_level(3, window_log=WINDOW_LOG + 3)
    bundle = bytes(16 << 20)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    blob = compressor.compress(bundle) + compressor.flush()
    assert zstandard.get_frame_parameters(blob).window_size > 1 << WINDOW_LOG
    (tmp_path / "blob").write_bytes(blob)
    signed = {"length": len(bundle), "digest": sha256(bundle)}
    assert_refused(tmp_path, "blob: .*memory", **signed)


def test_target_that_cannot_be_written_is_the_stores_trouble(folder: Path) -> None:
    target = folder / "none" / "target"
    with pytest.raises(OSError, match="none"):
        decode_blob(folder / "blob", target, len(BUNDLE), sha256(BUNDLE))


def test_failure_while_writing_leaves_nothing(folder: Path) -> None:
    (folder / "blob").unlink()
    (folder / "target").write_bytes(b"left by an earlier attempt")
    with pytest.raises(FileNotFoundError):
        unpack(folder)
    assert not (folder / "target").exists()


@pytest.mark.parametrize("more", [b"\0", b"tail", encode_blob(b"more")[0]])
def test_blob_with_bytes_after_its_end_is_refused(folder: Path, more: bytes) -> None:
    with (folder / "blob").open("ab") as out:
        out.write(more)
    assert_refused(folder, "blob: ")
