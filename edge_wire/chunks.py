"""Bookkeeping of chunks: which there are, which are missing, which to send.

Pure: bytes and times are arguments; nothing here opens a file or a connection. Chunk 0 of a blob
is its index: the sha256 of every other chunk, one after another.
"""

import hashlib
import re
from typing import Final

from msgspec import Struct, field

from edge_wire.errors import MessageRefused

HASH_BYTES: Final = 32
MAX_CHUNKS: Final = 1 << 16


def count_chunks(length: int, chunk_bytes: int) -> int:
    """Return how many chunks a blob of ``length`` bytes has, without the index."""
    return -(-length // chunk_bytes)


def make_index(blob: bytes, chunk_bytes: int) -> bytes:
    """Return chunk 0 of a blob."""
    pieces = range(0, len(blob), chunk_bytes)
    return b"".join(hashlib.sha256(blob[i : i + chunk_bytes]).digest() for i in pieces)


def to_bitmap(numbers: "set[int]") -> str:
    """Return chunk numbers as a hexadecimal bitmap."""
    return f"{sum(1 << n for n in numbers):x}"


def from_bitmap(text: str, chunks: int) -> set[int]:
    """Return the chunk numbers of a bitmap.

    Args:
        text: hexadecimal; bit n stands for chunk n.
        chunks: how many chunks there are, with the index.
    Raises: MessageRefused: not hexadecimal, or numbers that there are not.
    """
    if len(text) > chunks // 4 + 1:
        raise MessageRefused(f"bitmap of {len(text)} digits for {chunks} chunks")
    if not re.fullmatch(r"[0-9A-Fa-f]+", text):  # int() takes signs, spaces and "0x" as well
        raise MessageRefused("bitmap: not hexadecimal")
    bits = int(text, 16)
    if bits >> chunks:
        raise MessageRefused(f"bitmap: names a chunk beyond {chunks - 1}")
    return {n for n in range(chunks) if bits >> n & 1}


def to_ranges(numbers: "set[int]") -> list[tuple[int, int]]:
    """Return chunk numbers as ranges (first, last), in order."""
    ranges: list[tuple[int, int]] = []
    for n in sorted(numbers):
        if ranges and ranges[-1][1] == n - 1:
            ranges[-1] = (ranges[-1][0], n)
        else:
            ranges.append((n, n))
    return ranges


class Receipt:
    """What a device has of one blob."""

    def __init__(self, length: int, chunk_bytes: int, index_sha256: str) -> None:
        """Expect a blob of ``length`` bytes, whose index has this sha256.

        Raises: MessageRefused: more chunks than anybody should send.
        """
        self.chunks = count_chunks(length, chunk_bytes)
        if not 1 <= self.chunks <= MAX_CHUNKS:
            raise MessageRefused(f"{self.chunks} chunks, expected 1 to {MAX_CHUNKS}")
        self._length = length
        self._chunk_bytes = chunk_bytes
        self._index_sha256 = index_sha256
        self._index: bytes | None = None
        self.missing = set(range(self.chunks + 1))
        """Chunk numbers, 0 being the index."""

    @property
    def complete(self) -> bool:
        """Whether every chunk was accepted."""
        return not self.missing

    def size(self, number: int) -> int:
        """Return how many bytes a chunk has."""
        if number == 0:
            return self.chunks * HASH_BYTES
        return min(self._chunk_bytes, self._length - (number - 1) * self._chunk_bytes)

    def offset(self, number: int) -> int:
        """Return where in the blob a chunk, not the index, begins."""
        return (number - 1) * self._chunk_bytes

    def accept(self, number: int, data: bytes) -> bool:
        """Take a chunk; tell whether it was missing, has the right hash, and so is to be kept.

        Until the index is there no other chunk can be judged, so none is taken.
        """
        if number not in self.missing or len(data) != self.size(number):
            return False
        digest = hashlib.sha256(data).digest()
        if number == 0:
            if digest.hex() != self._index_sha256:
                return False
            self._index = data
        else:
            at = (number - 1) * HASH_BYTES
            if self._index is None or digest != self._index[at : at + HASH_BYTES]:
                return False
        self.missing.discard(number)
        return True

    def next_window(self, size: int) -> set[int]:
        """Return the chunks to ask for next, at most ``size``, the index before all."""
        return set(sorted(self.missing)[:size])


class Wants(Struct):
    """What devices asked for of one blob, merged so that each chunk is sent once for all."""

    chunks: int
    """With the index."""
    settle_s: float
    """How long after the first want others are waited for."""
    allowance: int = 3
    """How many times a blob one device may ask for in a day."""
    _wanted: set[int] = field(default_factory=set)
    _first: float | None = None
    _asked: dict[str, list[tuple[float, int]]] = field(default_factory=dict)

    def add(self, device: str, numbers: "set[int]", now: float) -> bool:
        """Take a device's want; tell whether it counts or was over its allowance.

        Args:
            device: who asks.
            numbers: chunks.
            now: monotonic seconds.
        """
        recent = [(t, n) for t, n in self._asked.get(device, []) if now - t < 86_400]
        if sum(n for _, n in recent) + len(numbers) > self.allowance * self.chunks:
            return False
        self._asked[device] = [*recent, (now, len(numbers))]
        self._wanted |= numbers
        if self._first is None and numbers:
            self._first = now
        return True

    def due(self, now: float) -> float | None:
        """Return in how many seconds the merged wants are to be sent; None where there are none."""
        return None if self._first is None else max(0.0, self._first + self.settle_s - now)

    def take(self) -> set[int]:
        """Return the merged wants and begin anew."""
        taken, self._wanted, self._first = self._wanted, set(), None
        return taken
