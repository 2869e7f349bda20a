"""Whether what a model sees and says is still what it was built on, without a label. Pure.

Inputs: the population stability index of each channel against the calibration windows. Output: the
Page-Hinkley test on the score of the best label. Both take the same time for every window.
"""

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


class Drift(Struct, frozen=True):
    """How far what a model sees and says is from what it was built on."""

    channels: tuple[str, ...]
    index: StabilityIndex | None
    """None where the bundle has no reference."""
    scores: PageHinkley

    def push(self, window: Float32Array, score: float) -> None:
        """Look at one window and at the score of its best label."""
        if self.index is not None:
            self.index.push(window)
        self.scores.push(score)

    @property
    def drifted(self) -> bool:
        """Whether the inputs are another population now, or the score has changed."""
        inputs = self.index is not None and max(self.index.values, default=0.0) > PSI_DRIFTED
        return inputs or self.scores.changes > 0
