"""What one model on one stream comes to, counted in memory of fixed size. Pure.

The worker counts and another thread reads, again where the worker came in between.
"""

from collections.abc import Sequence
from math import log2
from typing import Final

from msgspec import Struct, field

STEPS: Final = 8
"""Bins for each doubling: a quantile is at most 9 % above the truth."""
BINS: Final = 44 * STEPS
"""To five hours; what is longer is in the last."""
UNSORTED: Final = 128
"""So many durations are kept before they are put into bins, all at once: for a single one that
takes as long as a tenth of what a prediction does."""


class Histogram:
    """How often durations occurred, in bins of equal ratio."""

    def __init__(self) -> None:
        self.counts = [0] * BINS
        self.total_ns = 0

    def add(self, durations_ns: Sequence[int]) -> None:
        """Count durations; one that is less than none is in the first bin."""
        self.total_ns += sum(durations_ns)
        counts = self.counts
        for ns in durations_ns:
            index = int(log2(ns) * STEPS) if ns > 0 else 0
            counts[index if index < BINS else -1] += 1

    def since(self, before: "Histogram") -> "Histogram":
        """Return what was added after a copy was made."""
        made = Histogram()
        made.counts = [n - b for n, b in zip(self.counts, before.counts, strict=True)]
        made.total_ns = self.total_ns - before.total_ns
        return made

    def copy(self) -> "Histogram":
        """Return the same counts in memory of their own."""
        return self.since(Histogram())

    def mean_ns(self) -> float:
        """Return the mean; 0 where nothing was counted."""
        return self.total_ns / max(1, sum(self.counts))

    def quantile_ns(self, fraction: float) -> float:
        """Return a duration that this part of those counted does not exceed; 0 without any.

        Args:
            fraction: in [0, 1].
        Returns: the upper end of the bin that it lies in.
        """
        wanted, seen = fraction * sum(self.counts), 0
        for index, count in enumerate(self.counts):
            seen += count
            if count and seen >= wanted:
                return float(2.0 ** ((index + 1) / STEPS))
        return 0.0


class Tally(Struct):
    """Counts since the boot."""

    windows: int = 0
    """Predictions made."""
    late: int = 0
    """Windows that were never run: past due, or overwritten before that."""
    failed: int = 0
    """Windows of which no prediction was given because the model, or what follows it, failed."""
    _infer: Histogram = field(default_factory=Histogram)
    _e2e: Histogram = field(default_factory=Histogram)
    _unsorted: list[int] = field(default_factory=list)
    """Of the last windows, both durations in turn."""
    _turn: int = 0
    """Odd while durations are on their way from there into the bins."""

    def add(self, infer_ns: int, e2e_ns: int) -> None:
        """Count a prediction."""
        self.windows += 1
        unsorted = self._unsorted
        unsorted += (infer_ns, e2e_ns)
        if len(unsorted) >= UNSORTED:
            self._turn += 1
            self._unsorted = []
            _sort_in(unsorted, self._infer, self._e2e)
            self._turn += 1

    def read(self) -> tuple[Histogram, Histogram]:
        """Return copies of what the model's part and the whole of each prediction took."""
        while True:
            turn = self._turn
            infer, e2e = self._infer.copy(), self._e2e.copy()
            unsorted = self._unsorted[:]
            if turn == self._turn and turn % 2 == 0:
                _sort_in(unsorted, infer, e2e)
                return infer, e2e


def _sort_in(unsorted: list[int], infer: Histogram, e2e: Histogram) -> None:
    infer.add(unsorted[::2])
    e2e.add(unsorted[1::2])
