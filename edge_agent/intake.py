"""What is checked of every chunk of a source, and counted where it is wrong. Pure.

Nothing here ends a stream: what cannot be used counts as lost, and the place is a break.
"""

from typing import Final

from msgspec.structs import replace

from edge_agent.fit import StreamShape
from edge_agent.ring import Chunk
from edge_bundle.manifest import RATE_TOLERANCE

RATE_S: Final = 30.0
"""A rate is measured over at least so long,"""
RATE_SAMPLES: Final = 200
"""and over at least so many samples."""


class Intake:
    """Between a source and its ring."""

    def __init__(self, shape: StreamShape, speed: float = 1.0) -> None:
        """Describe a stream.

        Args:
            speed: how many times faster than in its own time it comes; may be infinite.
        """
        self._channels = len(shape.channels)
        self._period_ns = 1e9 / (shape.rate_hz * speed)
        self._rate_hz = shape.rate_hz
        self._speed = speed
        self._end_ns: int | None = None
        self._lost = 0
        self._returned = False
        self._misshapen: dict[int, int] = {}
        self._jumps = 0
        self._measured_hz: float | None = None
        self._begin_ns: int | None = None
        self._count = 0

    def accept(self, chunk: Chunk) -> Chunk | None:
        """Return what may go on of a chunk, or None."""
        samples = chunk.samples
        found = samples.shape[1] if samples.ndim == 2 else 0
        if found != self._channels:
            self._misshapen[found] = self._misshapen.get(found, 0) + len(samples)
            self._lost += len(samples) + chunk.lost
            return None
        if not len(samples):
            self._lost += chunk.lost
            return None
        lost, end_ns = chunk.lost + self._lost, chunk.end_ns
        restart = chunk.restart or self._returned
        if self._end_ns is not None and end_ns < self._end_ns:
            end_ns, restart = self._end_ns, True
            self._jumps += 1
        if self._returned:
            lost = max(lost, self._missed(end_ns, len(samples)))
        self._measure(end_ns, len(samples), lost, restart)
        self._end_ns, self._lost, self._returned = end_ns, 0, False
        if (lost, end_ns, restart) == (chunk.lost, chunk.end_ns, chunk.restart):
            return chunk
        return replace(chunk, lost=lost, end_ns=end_ns, restart=restart)

    def interrupted(self) -> None:
        """Note that the source failed: when it is back, what came meanwhile is lost."""
        self._returned = self._end_ns is not None or self._lost > 0

    def problems(self) -> str:
        """Return what was wrong, in words; empty where nothing was."""
        said = [
            f"{count} samples of {found} channels instead of {self._channels}"
            for found, count in sorted(self._misshapen.items())
        ]
        if self._jumps:
            said.append(f"{self._jumps} times samples were older than those before")
        if self._measured_hz is not None:
            said.append(f"{self._measured_hz:.4g} Hz measured, not {self._rate_hz:g} Hz")
        return "; ".join(said)

    def _missed(self, end_ns: int, count: int) -> int:
        """Return how many samples the time since the last one had room for."""
        if self._end_ns is None or not self._period_ns:
            return 0
        return max(0, round((end_ns - self._end_ns) / self._period_ns) - count)

    def _measure(self, end_ns: int, count: int, lost: int, restart: bool) -> None:
        """Measure the rate between breaks; what is lost with a known number counts as there."""
        if not self._period_ns:
            return
        if self._begin_ns is None or (restart and not lost):
            self._begin_ns, self._count = end_ns, 0
            return
        self._count += count + lost
        passed_s = (end_ns - self._begin_ns) / 1e9
        if passed_s < RATE_S or self._count < RATE_SAMPLES:
            return
        measured_hz = self._count / passed_s / self._speed
        right = abs(measured_hz / self._rate_hz - 1) <= RATE_TOLERANCE
        self._measured_hz = None if right else measured_hz
        self._begin_ns, self._count = end_ns, 0
