"""The last samples of one stream in preallocated memory. Not thread-safe: ``feed`` guards it."""

from array import array
from bisect import bisect_right
from collections import deque
from collections.abc import Hashable
from itertools import islice
from math import isfinite
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from edge_bundle.tensor import Float32Array

MAX_BREAKS: Final = 1024
FEW_RUNS: Final = 16
"""Memory for so many to begin with; it grows to what the chunks of a source need."""


class Chunk(Struct, frozen=True, gc=False):
    """Samples that a source gives at once."""

    samples: Float32Array
    """float32 [n, channels], in the stream's units."""
    end_ns: int
    """Monotonic time of the last sample."""
    lost: int = 0
    """Samples that the source knows it lost directly before these."""
    restart: bool = False
    """Whether no window may span the place directly before these."""


class Follower(Protocol):
    """What is told of everything that a ring takes, as it takes it."""

    def write(self, samples: Float32Array, end_ns: int) -> None:
        """Take samples that are finite, and follow those before."""

    def broke(self, lost: int) -> None:
        """Note a break, and how many samples are lost there."""


class Ring:
    """Positions count received samples from 0 in 64 bits; memory holds the last ``capacity``."""

    def __init__(self, capacity: int, channels: int, rate_hz: float, speed: float = 1.0) -> None:
        """Make room for ``capacity`` samples.

        Args:
            rate_hz: in the stream's own time.
            speed: how many times faster than that it comes; may be infinite.
        """
        self.capacity = capacity
        self.head = 0
        """Position after the newest sample."""
        self.speed = speed
        self.period_ns = 1e9 / (rate_hz * speed)
        """From one sample to the next as they come."""
        self.step_ns = 1e9 / rate_hz
        """From one sample to the next in the stream's own time."""
        self.span_ns = 0
        """What the newest chunk spans: its first sample is known so much after it was taken."""
        self._samples = np.zeros((capacity, channels), np.float32)
        # Windows are read as bytes: half of what NumPy takes to get ready.
        self._bytes = self._samples.data.cast("B")
        self._stride = self._samples.itemsize * channels
        # Samples come in runs at even distances: of each the head after it, and when that was.
        # Python reads an array's numbers faster than NumPy's.
        self._runs = 0
        self._heads = array("q", bytes(8 * min(capacity, FEW_RUNS)))
        self._ends_ns = array("q", self._heads)
        # The newest run, which is asked for most: its first position, and when its last was.
        self._newest, self._end_ns = 0, 0
        self.breaks = 0
        """How many places there were that no window may span."""
        self.lost = 0
        """How many samples were lost in all."""
        self._breaks: deque[tuple[int, int, int]] = deque(maxlen=MAX_BREAKS)
        self.rate_hz = rate_hz
        self.channels = channels
        self.followers: dict[Hashable, Follower] = {}

    @property
    def tail(self) -> int:
        """Position of the oldest sample still held."""
        return max(0, self.head - self.capacity)

    def append(self, chunk: Chunk) -> None:
        """Take samples, over the oldest ones where the memory is full.

        Samples that are not finite are not kept: they count as lost, and no window spans them.
        """
        samples = chunk.samples
        lost, restart = chunk.lost, chunk.restart
        self.span_ns = int(len(samples) * self.period_ns)
        # The sum of squares is finite only if nothing in it is NaN or infinite, and costs a tenth
        # of looking at every element; where it overflows, every element is looked at.
        if not isfinite(np.vdot(samples, samples)):
            self._append_finite(chunk)
            return
        if lost or restart:
            self.broke(lost)
        self.write(samples, chunk.end_ns)

    def breaks_since(self, seen: int) -> list[tuple[int, int, int]]:
        """Return the breaks behind the first ``seen``: their number, from 1, the position of the
        first sample after them, and how many samples were lost up to there in all.

        Where more came than are remembered the oldest are left out: their numbers are missing,
        the totals stay right.
        """
        new = min(self.breaks - seen, len(self._breaks))
        return list(islice(self._breaks, len(self._breaks) - new, None)) if new else []

    def split(self, chunk: Chunk, count: int) -> tuple[Chunk, Chunk | None]:
        """Return the first ``count`` samples of a chunk, and the rest where there is any."""
        behind = len(chunk.samples) - count
        if behind <= 0:
            return chunk, None
        end_ns = chunk.end_ns - int(behind * self.period_ns)
        first = Chunk(chunk.samples[:count], end_ns, chunk.lost, chunk.restart)
        return first, Chunk(chunk.samples[count:], chunk.end_ns)

    def count_alike(self, chunk: Chunk) -> int:
        """Return how many of the first samples of a chunk are all finite, or all not."""
        if isfinite(np.vdot(chunk.samples, chunk.samples)):  # as ``append``
            return len(chunk.samples)
        finite: npt.NDArray[np.bool_] = np.logical_and.reduce(np.isfinite(chunk.samples), axis=1)
        others = np.flatnonzero(finite != finite[0])
        return int(others[0]) if others.size else len(finite)

    def read(self, start: int, count: int, out: memoryview) -> int:
        """Copy ``count`` samples from ``start`` on into ``out``; they must be held.

        Args:
            out: the bytes of a float32 [count, channels] in C order.
        Returns: the last one's monotonic time.
        """
        stride = self._stride
        begin = start % self.capacity
        end = begin + count
        if end <= self.capacity:
            out[:] = self._bytes[begin * stride : end * stride]
        else:
            first = (self.capacity - begin) * stride
            out[:first] = self._bytes[begin * stride :]
            out[first:] = self._bytes[: (end - self.capacity) * stride]
        last = start + count - 1
        if last >= self._newest:  # as ``time_ns``
            return self._end_ns - int((self.head - 1 - last) * self.period_ns)
        return self.time_ns(last)

    def time_ns(self, position: int) -> int:
        """Return the monotonic time of a sample that is held."""
        if position >= self._newest:
            return self._end_ns - int((self.head - 1 - position) * self.period_ns)
        size = len(self._heads)
        oldest = max(0, self._runs - size)
        run = oldest + bisect_right(
            range(oldest, self._runs - 1), position, key=lambda n: self._heads[n % size]
        )
        at = run % size
        return self._ends_ns[at] - int((self._heads[at] - 1 - position) * self.period_ns)

    def _append_finite(self, chunk: Chunk) -> None:
        finite: npt.NDArray[np.bool_] = np.logical_and.reduce(np.isfinite(chunk.samples), axis=1)
        lost, restart = chunk.lost, chunk.restart
        edges = np.flatnonzero(np.diff(finite)) + 1
        n, begin = len(finite), 0
        for end in [*edges.tolist(), n]:
            if finite[begin]:
                if lost or restart:
                    self.broke(lost)
                behind_ns = int((n - end) * self.period_ns)
                self.write(chunk.samples[begin:end], chunk.end_ns - behind_ns)
                lost, restart = 0, False
            else:
                lost += end - begin
            begin = end
        if lost:
            self.broke(lost)

    def broke(self, lost: int) -> None:
        """Note a place that no window may span, and how many samples are lost there."""
        self.breaks += 1
        self.lost += lost
        self._breaks.append((self.breaks, self.head, self.lost))
        for follower in self.followers.values():
            follower.broke(lost)

    def write(self, samples: Float32Array, end_ns: int) -> None:
        """Take samples that are known to be finite, and follow those before."""
        n = len(samples)
        if not n:
            return
        skipped = max(0, n - self.capacity)
        at = (self.head + skipped) % self.capacity
        first = min(n - skipped, self.capacity - at)
        self._samples[at : at + first] = samples[skipped : skipped + first]
        if first < n - skipped:
            self._samples[: n - skipped - first] = samples[skipped + first :]
        run = self._runs % len(self._heads)
        if self._heads[run] > max(0, self.head + n - self.capacity):  # some of it is still held
            self._remember_more()
            run = self._runs % len(self._heads)
        self._heads[run] = self.head + n
        self._ends_ns[run] = self._end_ns = end_ns
        self._newest = self.head
        self._runs += 1
        self.head += n
        for follower in self.followers.values():
            follower.write(samples, end_ns)

    def _remember_more(self) -> None:
        """Make room for twice as many runs; of one sample each there are as many as samples."""
        size = len(self._heads)
        empty = bytes(8 * min(2 * size, self.capacity))
        heads, ends_ns = array("q", empty), array("q", empty)
        for number in range(max(0, self._runs - size), self._runs):
            at = number % len(heads)
            heads[at], ends_ns[at] = self._heads[number % size], self._ends_ns[number % size]
        self._heads, self._ends_ns = heads, ends_ns
