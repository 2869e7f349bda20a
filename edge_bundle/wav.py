"""WAV files: a header that is not trusted, and samples as fractions of full scale.

PCM of 8, 16, 24 and 32 bits and 32-bit float, any number of channels, plain or
WAVE_FORMAT_EXTENSIBLE. Source: Microsoft, "Multimedia Programming Interface and Data
Specifications 1.0" (RIFF), and mmreg.h.
"""

import struct
from typing import BinaryIO, Final

import numpy as np
from msgspec import Struct

from edge_bundle.tensor import Float32Array

MAX_CHUNKS: Final = 1024
MAX_RATE_HZ: Final = 1 << 20
MAX_FORMAT_BYTES: Final = 256
UNKNOWN: Final = 0xFFFFFFFF
"""The length that a program writes which does not know it yet: to the end of the file."""
PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
SUBFORMAT_TAIL: Final = bytes.fromhex("000000001000800000aa00389b71")
"""KSDATAFORMAT_SUBTYPE: its first two bytes are the format, these the rest."""


class Wav(Struct, frozen=True):
    """What a WAV file holds."""

    rate_hz: int
    samples: Float32Array
    """float32 [samples, channels]; integers become fractions of full scale, in [-1, 1)."""


class _Format(Struct, frozen=True):
    tag: int
    channels: int
    rate_hz: int
    bits: int


def read_wav(file: BinaryIO, most_bytes: int) -> Wav:
    """Read a WAV file.

    Args:
        most_bytes: of samples as float32; more are refused before they are read.
    Raises: ValueError: no WAV, damaged, cut off, or of a kind that is not read.
    """
    head = file.read(12)
    if len(head) < 12 or head[:4] != b"RIFF" or head[8:] != b"WAVE":
        raise ValueError("no WAV file: it does not begin RIFF….WAVE")
    form: _Format | None = None
    for _ in range(MAX_CHUNKS):
        header = file.read(8)
        if len(header) < 8:
            break
        name, length = header[:4], int.from_bytes(header[4:], "little")
        end = file.tell() + length + (length & 1)
        if name == b"data":
            if form is None:
                raise ValueError("the samples come before their format")
            return Wav(form.rate_hz, _read_samples(file, form, length, most_bytes))
        if name == b"fmt ":
            form = _read_format(file.read(min(length, MAX_FORMAT_BYTES)))
        file.seek(end)
    raise ValueError("cut off, or damaged: there is no chunk of samples in it")


def _read_format(chunk: bytes) -> _Format:
    if len(chunk) < 16:
        raise ValueError(f"a format of {len(chunk)} bytes, expected at least 16")
    tag, channels, rate, _, block, bits = struct.unpack_from("<HHIIHH", chunk)
    if tag == EXTENSIBLE:
        if len(chunk) < 40 or chunk[26:40] != SUBFORMAT_TAIL:
            raise ValueError("an extensible format of a kind that is not read")
        tag = int.from_bytes(chunk[24:26], "little")
    if (tag, bits) not in {(PCM, 8), (PCM, 16), (PCM, 24), (PCM, 32), (FLOAT, 32)}:
        raise ValueError(
            f"format {tag} of {bits} bits, expected PCM of 8, 16, 24 or 32 bits or 32-bit float: "
            "convert it, for example with ffmpeg -i IN.wav -c:a pcm_s16le OUT.wav"
        )
    if not channels:
        raise ValueError("0 channels, expected 1 or more")
    if not 1 <= rate <= MAX_RATE_HZ:
        raise ValueError(f"{rate} Hz, expected 1 to {MAX_RATE_HZ}")
    if block != channels * bits // 8:
        raise ValueError(f"{block} bytes a frame, expected {channels * bits // 8}")
    return _Format(tag, channels, rate, bits)


def _read_samples(file: BinaryIO, form: _Format, length: int, most_bytes: int) -> Float32Array:
    at = file.tell()
    there = file.seek(0, 2) - at
    file.seek(at)
    size = form.bits // 8
    if length == UNKNOWN:
        length = there - there % (size * form.channels)
    if length > there:
        raise ValueError(f"cut off: it says {length} bytes of samples and has {there}")
    if length % (size * form.channels):
        raise ValueError(f"{length} bytes of samples, no whole number of frames")
    if length // size * 4 > most_bytes:
        raise ValueError(f"{length // size} samples, at most {most_bytes // 4}")
    return _scale(file.read(length), form).reshape(-1, form.channels)


def _scale(raw: bytes, form: _Format) -> Float32Array:
    if form.tag == FLOAT:
        return np.frombuffer(raw, "<f4").astype(np.float32)
    if form.bits == 8:  # the only width without a sign
        bytes_ = np.frombuffer(raw, np.uint8).astype(np.float32)
        return np.asarray((bytes_ - 128) / 128, np.float32)
    if form.bits == 24:
        # As the upper three bytes of four, so that the sign is where it belongs.
        wide = np.zeros((len(raw) // 3, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(raw, np.uint8).reshape(-1, 3)
        codes = wide.reshape(-1).view("<i4")
    else:
        codes = np.frombuffer(raw, f"<i{form.bits // 8}")
    full = 1 << (15 if form.bits == 16 else 31)
    samples = codes.astype(np.float32)
    samples /= np.float32(full)
    return samples
