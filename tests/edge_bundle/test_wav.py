"""A WAV file is read in every width, or refused in one line; its header is not trusted."""

import contextlib
import io
import struct
import wave

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_bundle.wav import read_wav

MOST = 1 << 20


def make_wav(data: bytes, channels: int, rate: int, bits: int, tag: int = 1) -> bytes:
    """Return a WAV file of such samples."""
    block = channels * bits // 8
    form = struct.pack("<HHIIHH", tag, channels, rate, rate * block, block, bits)
    if tag == 0xFFFE:
        guid = bytes.fromhex("0100000000001000800000aa00389b71")
        form += struct.pack("<HHI", 22, bits, 0) + guid
    chunks = chunk(b"fmt ", form) + chunk(b"LIST", b"odd") + chunk(b"data", data)
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


def chunk(name: bytes, data: bytes) -> bytes:
    return name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) & 1)


def read(data: bytes, most: int = MOST) -> list[list[float]]:
    found: list[list[float]] = read_wav(io.BytesIO(data), most).samples.tolist()
    return found


@pytest.mark.parametrize(
    ("bits", "codes"),
    [
        (8, bytes([0, 64, 128, 255])),
        (16, struct.pack("<4h", -32768, -16384, 0, 32767)),
        (24, b"\0\0\x80" + b"\0\0\xc0" + b"\0\0\0" + b"\xff\xff\x7f"),
        (32, struct.pack("<4i", -(1 << 31), -(1 << 30), 0, (1 << 31) - 1)),
    ],
)
@pytest.mark.parametrize("tag", [1, 0xFFFE])
def test_integers_become_fractions_of_full_scale(bits: int, codes: bytes, tag: int) -> None:
    found = read_wav(io.BytesIO(make_wav(codes, 2, 16000, bits, tag)), MOST)
    assert found.rate_hz == 16000
    assert found.samples.dtype == np.float32
    (low, half), (zero, high) = found.samples.tolist()
    assert (low, half, zero) == (-1.0, -0.5, 0.0)
    assert high == pytest.approx(1, abs=2 ** (1 - bits) + 1e-7)


@pytest.mark.parametrize("channels", [1, 3, 65, 32767])
def test_any_number_of_channels_is_read_side_by_side(channels: int) -> None:
    codes = np.arange(2 * channels, dtype="<i2")
    found = read_wav(io.BytesIO(make_wav(codes.tobytes(), channels, 8000, 16)), MOST)
    assert (found.samples * 32768).tolist() == codes.reshape(2, channels).tolist()


def test_floats_are_taken_as_they_are() -> None:
    assert read(make_wav(struct.pack("<2f", 0.25, -1.5), 1, 8000, 32, 3)) == [[0.25], [-1.5]]


def test_file_of_another_writer_is_read() -> None:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as out:
        out.setnchannels(3)
        out.setsampwidth(2)
        out.setframerate(44100)
        out.writeframes(struct.pack("<6h", 1, 2, 3, 4, 5, 6))
    np.testing.assert_array_equal(
        np.asarray(read(buffer.getvalue())) * 32768, [[1, 2, 3], [4, 5, 6]]
    )


GOOD = make_wav(struct.pack("<4h", 1, 2, 3, 4), 2, 8000, 16)
DATA = GOOD.index(b"data")


def test_length_that_was_not_known_reaches_to_the_end() -> None:
    piped = GOOD[: DATA + 4] + b"\xff" * 4 + GOOD[DATA + 8 :] + b"\1\0"
    assert read(piped) == read(GOOD)


@pytest.mark.parametrize("more", [1, 2, 3, 240, 241, 242])
def test_format_of_any_length_is_passed_with_its_padding(more: int) -> None:
    form = chunk(b"fmt ", GOOD[20:36] + bytes(more))
    assert read(GOOD[:12] + form + GOOD[36:]) == read(GOOD)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "does not begin RIFF"),
        (b"RIFX" + GOOD[4:], "does not begin RIFF"),
        (GOOD[:30], "a format of 10 bytes"),
        (GOOD[:DATA], "there is no chunk of samples"),
        (GOOD[:-2], "cut off: it says 8 bytes of samples and has 6"),
        (GOOD[:12] + chunk(b"data", b"ab"), "samples come before their format"),
        (make_wav(b"abc", 1, 8000, 16), "3 bytes of samples, no whole number of frames"),
        (make_wav(b"", 0, 8000, 16), "0 channels"),
        (make_wav(b"", 1, 0, 16), "0 Hz"),
        (make_wav(b"", 1, 8000, 12), "format 1 of 12 bits, expected PCM"),
        (make_wav(b"", 1, 8000, 8, 7), "format 7 of 8 bits"),
        (make_wav(b"", 1, 8000, 16)[:32] + b"\x09\0" + make_wav(b"", 1, 8000, 16)[34:], "9 bytes"),
        (GOOD[:12] + b"JUNK\xff\xff\xff\x7f", "there is no chunk of samples"),
    ],
)
def test_file_that_is_damaged_or_of_another_kind_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read(data)


def test_more_samples_than_may_be_held_are_refused_unread() -> None:
    with pytest.raises(ValueError, match="4 samples, at most 3"):
        read(GOOD, 12)


@given(st.data())
def test_no_damage_does_more_than_refuse(data: st.DataObject) -> None:
    damaged = bytearray(GOOD)
    position = data.draw(st.integers(0, len(damaged) - 1))
    damaged[position] ^= data.draw(st.integers(1, 255))
    if data.draw(st.booleans()):
        del damaged[position:]
    with contextlib.suppress(ValueError):
        assert read_wav(io.BytesIO(bytes(damaged)), 64).samples.size <= 16
