"""The way from what a model gives to a decision: the kind of rule, and what the last windows say.

It remembers the last windows of one stream, until ``reset``.
"""

from collections import Counter, deque
from collections.abc import Sequence
from math import isfinite
from typing import Final, Protocol

import numpy as np
from msgspec.structs import replace

from edge_bundle.decision.activation import shorten
from edge_bundle.decision.classes import Classifier
from edge_bundle.decision.detecting import Detector
from edge_bundle.decision.outcome import Decision
from edge_bundle.decision.rules import (
    UNKNOWN,
    Anomaly,
    Classification,
    Detection,
    Regression,
    Rule,
    Score,
)
from edge_bundle.decision.values import Alarm, Gauge, Scorer
from edge_bundle.tensor import Array, Float32Array

LOOK_IN_PYTHON: Final = 64
"""Up to so many values Python beats NumPy's call overhead."""


class Kind(Protocol):
    """What a kind of rule does with one window."""

    needs_input: bool
    """Whether ``read`` wants what the model was given."""
    plain: bool
    """Whether ``read`` returns scores of one dimension as they are."""

    def read(self, scores: Float32Array, taken: Array | None = None) -> Array:
        """Return the values that a mean may be made of, and that ``judge`` takes."""

    def judge(self, values: Array) -> Decision:
        """Return the answer to values; ``unknown``, 0 and no ``top`` where one is not finite."""

    def level(self, label: str) -> float:
        """Return how much spoke for a label in what was judged last."""


class Decider:
    """Judges the windows of one stream in turn."""

    def __init__(self, rule: Rule, shapes: Sequence[tuple[int, ...]]) -> None:
        """Take a rule and the shapes of the outputs that it reads, which fit each other."""
        self.rule = rule
        kind = _make_kind(rule, shapes)
        self.needs_input = kind.needs_input
        self.level, self._read, self.judge = kind.level, kind.read, kind.judge
        smoothing = rule.smoothing
        count = smoothing.windows if smoothing else 0
        self._mean = Mean(count) if smoothing and smoothing.method == "mean" else None
        self._majority = Majority(count) if smoothing and smoothing.method == "majority" else None
        self._alone = smoothing is None
        self.plain = self._alone and kind.plain
        """Whether ``judge`` gives the answer to scores as they are."""

    def decide(self, scores: Float32Array, taken: Array | None = None) -> Decision:
        """Judge the next window.

        Args:
            scores: float32 [n], the outputs that the rule reads, one after another.
            taken: the real values that the model was given, where ``needs_input``.
        """
        values = self._read(scores, taken)
        if self._alone:
            return self.judge(values)
        if self._mean is not None:
            if not _all_finite(values):
                self._mean.reset()  # it would be in the mean of all that follow
                return self.judge(values)
            decision = self.judge(self._mean.push(values))
            return decision if self._mean.full else replace(decision, label=UNKNOWN)
        decision = self.judge(values)
        return decision if self._majority is None else self._majority.push(decision)

    def reset(self) -> None:
        """Forget the windows before: the next one does not follow them."""
        if self._mean is not None:
            self._mean.reset()
        if self._majority is not None:
            self._majority.reset()


class Mean:
    """The mean of the last windows."""

    def __init__(self, windows: int) -> None:
        self._windows = windows
        self._count = 0
        self._kept = np.empty((0, 0))
        self._mean = np.empty(0)
        self._single: deque[float] = deque(maxlen=windows)
        """The last windows where there is one value: NumPy would take four times as long."""

    @property
    def full(self) -> bool:
        """Whether there are as many windows as are wanted."""
        return self._count >= self._windows

    def push(self, values: Array) -> Array:
        """Return the mean of the last windows, or of those that there are.

        Args:
            values: [n].
        Returns: float64 [n], until the next call.
        """
        if self._mean.size != values.size:
            self._kept = np.empty((self._windows, values.size))
            self._mean = np.empty(values.size)
        if values.size == 1:
            self._count += 1
            self._single.append(float(values[0]))
            self._mean[0] = sum(self._single) / len(self._single)
            return self._mean
        self._kept[self._count % self._windows] = values
        self._count += 1
        count = min(self._count, self._windows)
        np.add.reduce(self._kept[:count], axis=0, out=self._mean)
        np.divide(self._mean, count, out=self._mean)
        return self._mean

    def reset(self) -> None:
        """Forget all windows."""
        self._count = 0
        self._single.clear()


class Majority:
    """The label that most of the last windows had; of two as frequent the newer one."""

    def __init__(self, windows: int) -> None:
        self._kept: deque[tuple[str, float]] = deque(maxlen=windows)

    def push(self, decision: Decision) -> Decision:
        """Return a decision with the majority's label, and the mean score of those that said it."""
        self._kept.append((decision.label, decision.score))
        if len(self._kept) != self._kept.maxlen:
            return replace(decision, label=UNKNOWN)
        # A counter keeps the order in which it first met its keys: the newest first.
        ((label, count),) = Counter(label for label, _ in reversed(self._kept)).most_common(1)
        score = sum(score for said, score in self._kept if said == label) / count
        return replace(decision, label=label, score=shorten(score))

    def reset(self) -> None:
        """Forget all windows."""
        self._kept.clear()


def _all_finite(values: Array) -> bool:
    if values.size <= LOOK_IN_PYTHON:  # a sum that is finite has only finite parts
        return isfinite(sum(values.tolist()))
    return bool(np.isfinite(values).all())


def _make_kind(rule: Rule, shapes: Sequence[tuple[int, ...]]) -> Kind:
    match rule:
        case Classification():
            return Classifier(rule)
        case Score():
            return Scorer(rule)
        case Regression():
            return Gauge(rule)
        case Anomaly():
            return Alarm(rule)
        case Detection():
            return Detector(rule, shapes)
