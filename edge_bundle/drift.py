"""Whether what a model sees and says is still what it was built on, without a label. Pure.

Inputs: the population stability index of each channel against the calibration windows. Output: the
Page-Hinkley test on how sure the answers are. Both take about the same time for every window.
"""

from math import sqrt
from typing import Final

import numpy as np
from msgspec import Struct

from edge_bundle.errors import BundleRefused
from edge_bundle.tensor import Array, Float32Array

ROWS: Final = 8
"""Samples looked at of each window, spread over it: neighbours say the same."""
BLOCK: Final = 512
"""Samples that are counted at once."""
KEEP: Final = 7 / 8
"""What a block leaves of those before it: about the last 4,096 samples count."""
LEAST_SHARE: Final = 1e-3
"""A bin that nothing fell into counts as so much, or the index would be infinite."""
PSI_DRIFTED: Final = 0.25
"""The usual reading: below 0.1 nothing, up to 0.25 a little, above it another population."""

BATCH: Final = 64
"""Windows of which one mean is made: neighbours say much the same."""
LEARNED: Final = 30
"""Means that say what is usual of a model's scores."""
LEAST_SPREAD: Final = 0.05
"""Of the usual mean: scores that hardly move differ by so much without having changed."""
MOST_OFF: Final = 3.0
"""Standard deviations that one mean counts for at most: an event is no change, what stays is."""
UNCHANGED: Final = 0.5
"""Standard deviations that a mean may be off for ever."""
CHANGED: Final = 30.0
"""Standard deviations off, summed up, that are a change: twelve means far off, more nearer by."""


class StabilityIndex:
    """Compares the samples of the last windows with those of the calibration."""

    def __init__(self, deciles: Array, counts: Array) -> None:
        """Take the reference.

        Args:
            deciles: float64 [channels, 9], finite and not falling.
            counts: int64 [channels, 10], how many of the calibration's samples were in each bin:
                bin n holds what is at least decile n and below the next.
        Raises: BundleRefused: other shapes, or nothing was counted.
        """
        shape = (len(deciles) if deciles.ndim else 0, 9)
        good = deciles.dtype.kind == "f" and counts.dtype.kind in "iu"
        if not good or deciles.shape != shape or counts.shape != (shape[0], 10):
            raise BundleRefused(
                f"reference: deciles {deciles.dtype} {list(deciles.shape)} and decile_counts "
                f"{list(counts.shape)}, expected float [channels, 9] and [channels, 10]"
            )
        if not np.isfinite(deciles).all() or (np.diff(deciles) < 0).any() or (counts < 0).any():
            raise BundleRefused("reference: deciles must not fall, and counts not be negative")
        totals = counts.sum(axis=1, keepdims=True)
        if not totals.all():
            raise BundleRefused("reference: decile_counts: a channel without samples")
        self._deciles = deciles
        self._expected = np.maximum(counts / totals, LEAST_SHARE)
        self._held = np.zeros(counts.shape)
        self._block = np.empty((BLOCK, shape[0]), np.float32)
        self._filled = 0
        self.values: list[float] = []
        """By channel; empty until there was a block of samples."""

    @property
    def channels(self) -> int:
        """How many there are."""
        return len(self._deciles)

    def push(self, window: Float32Array) -> None:
        """Look at one window, float32 [window, channels]."""
        rows = window[:: max(1, len(window) // ROWS)][:ROWS]
        end = self._filled + len(rows)
        if end > BLOCK:
            self._count()
            end = len(rows)
        self._block[self._filled : end] = rows
        self._filled = end

    def _count(self) -> None:
        self._held *= KEEP
        for number, deciles in enumerate(self._deciles):
            bins = np.searchsorted(deciles, self._block[: self._filled, number], side="right")
            self._held[number] += np.bincount(bins, minlength=10)
        self._filled = 0
        share = np.maximum(self._held / self._held.sum(axis=1, keepdims=True), LEAST_SHARE)
        index = ((share - self._expected) * np.log(share / self._expected)).sum(axis=1)
        self.values = [float(v) for v in index]


class PageHinkley:
    """Finds that the mean of a sequence changed, upwards or downwards.

    Source: E. S. Page, Continuous inspection schemes, Biometrika 41 (1954); with the forgetting
    factor and the default values of River's ``drift.PageHinkley``, but for the threshold.
    """

    def __init__(
        self,
        threshold: float = 10.0,
        delta: float = 0.005,
        alpha: float = 1 - 1e-4,
        least: int = 30,
    ) -> None:
        """Begin anew.

        Args:
            threshold: of the cumulated deviation from the mean, in the sequence's own unit.
            delta: deviation of one value that is no change.
            alpha: what a value leaves of the sum before it.
            least: values before anything is found.
        """
        self._threshold, self._delta, self._alpha, self._least = threshold, delta, alpha, least
        self.changes = 0
        """How many were found."""
        self.statistic = 0.0
        """The larger of both tests; a change is found above the threshold."""
        self._n = 0
        self._mean = self._up = self._down = 0.0
        self._least_up, self._most_down = float("inf"), -1.0

    def push(self, value: float) -> bool:
        """Take the next value; tell whether the mean has changed. It begins anew then."""
        self._n += 1
        self._mean += (value - self._mean) / self._n
        deviation = value - self._mean
        self._up = self._alpha * self._up + deviation - self._delta
        self._down = self._alpha * self._down + deviation + self._delta
        self._least_up = min(self._least_up, self._up)
        self._most_down = max(self._most_down, self._down)
        self.statistic = max(self._up - self._least_up, self._most_down - self._down)
        if self._n < self._least or self.statistic <= self._threshold:
            return False
        self.changes += 1
        self._reset()
        return True

    def _reset(self) -> None:
        self._n = 0
        self._mean = self._up = self._down = 0.0
        self._least_up, self._most_down = float("inf"), -1.0


class ScoreChanges:
    """Finds that what a model answers is not as sure as it was, or surer, whatever the unit.

    Page-Hinkley's test takes means of a batch of windows, in standard deviations of the first ones
    after the start or after the last change. What comes and goes within some minutes of windows,
    as speech does or an event, is no change.
    """

    def __init__(self) -> None:
        self._test = PageHinkley(CHANGED, UNCHANGED, least=LEARNED)
        self._usual: list[float] = []
        self._mean = self._spread = 0.0
        self._sum, self._n = 0.0, 0

    @property
    def statistic(self) -> float:
        """Of the test, in standard deviations; a change is found above ``CHANGED``."""
        return self._test.statistic

    @property
    def changes(self) -> int:
        """How many were found."""
        return self._test.changes

    def push(self, value: float) -> None:
        """Take how sure the next window's answer is."""
        self._sum += value
        self._n += 1
        if self._n < BATCH:
            return
        mean = self._sum / self._n
        self._sum, self._n = 0.0, 0
        if len(self._usual) < LEARNED:
            self._usual.append(mean)
            if len(self._usual) == LEARNED:
                self._learn()
        elif self._judge(mean):
            self._usual.clear()

    def _learn(self) -> None:
        self._mean = sum(self._usual) / LEARNED
        variance = sum((m - self._mean) ** 2 for m in self._usual) / (LEARNED - 1)
        self._spread = max(sqrt(variance), LEAST_SPREAD * abs(self._mean)) or 1.0
        for mean in self._usual:
            self._judge(mean)

    def _judge(self, mean: float) -> bool:
        off = (mean - self._mean) / self._spread
        return self._test.push(max(-MOST_OFF, min(MOST_OFF, off)))


class Drift(Struct, frozen=True):
    """How far what a model sees and says is from what it was built on."""

    channels: tuple[str, ...]
    index: StabilityIndex | None
    """None where the bundle has no reference."""
    scores: ScoreChanges

    def push(self, window: Float32Array, certainty: float) -> None:
        """Look at one window, and at how sure its answer is."""
        if self.index is not None:
            self.index.push(window)
        self.scores.push(certainty)

    @property
    def drifted(self) -> bool:
        """Whether the inputs are another population now, or the scores changed since the start."""
        inputs = self.index is not None and max(self.index.values, default=0.0) > PSI_DRIFTED
        return inputs or self.scores.changes > 0
