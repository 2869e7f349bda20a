"""From values to a label: yes or no, bounds of quantities, how anomalous a window is."""

from math import inf, isfinite

import numpy as np

from edge_bundle.decision.activation import shorten, sigmoid
from edge_bundle.decision.outcome import Decision
from edge_bundle.decision.rules import (
    ANOMALY,
    HIGH,
    LOW,
    NORMAL,
    OK,
    UNKNOWN,
    Anomaly,
    Quantity,
    Regression,
    Score,
)
from edge_bundle.tensor import Array, Float32Array


class _Judge:
    """One value against a threshold."""

    plain = False

    def __init__(self, below: str, above: str, threshold: float) -> None:
        self._below, self._above, self._threshold = below, above, threshold
        self._value = -inf

    def judge(self, values: Array) -> Decision:
        """Return the answer to one value; ``score`` is that value."""
        value = float(values[0])
        if not isfinite(value):
            self._value = -inf
            return Decision(UNKNOWN, 0.0, [])
        self._value = value = shorten(value)
        label = self._above if value >= self._threshold else self._below
        return Decision(label, value, [(self._above, value)])

    def level(self, _label: str) -> float:
        """Return the value that was judged last."""
        return self._value


class Scorer(_Judge):
    """Yes or no."""

    needs_input = False

    def __init__(self, rule: Score) -> None:
        super().__init__(*rule.labels, rule.threshold)
        self._activation = rule.activation

    def read(self, scores: Float32Array, _taken: Array | None = None) -> Array:
        """Return the score of the second label, [1].

        Args:
            scores: float32, one or two.
        """
        values = scores.reshape(-1)
        if self._activation == "softmax":  # of two
            return sigmoid(values[1:] - values[:1])
        last = values[-1:]
        return sigmoid(last) if self._activation == "sigmoid" else last


class Alarm(_Judge):
    """How far a window is from what the model knows."""

    def __init__(self, rule: Anomaly) -> None:
        super().__init__(NORMAL, ANOMALY, rule.threshold)
        self.needs_input = rule.method == "reconstruction"

    def read(self, scores: Float32Array, taken: Array | None = None) -> Array:
        """Return how anomalous a window is, [1].

        Args:
            scores: float32, what the model gives.
            taken: what it was given, the real values.
        """
        if taken is None:
            return scores.reshape(-1)
        off = np.subtract(taken.reshape(-1), scores.reshape(-1), dtype=np.float64)
        return np.array([off @ off / off.size])


class Gauge:
    """Quantities with bounds."""

    needs_input = False
    plain = True

    def __init__(self, rule: Regression) -> None:
        self._quantities = rule.values
        self._bounded = any(q.low is not None or q.high is not None for q in rule.values)
        self._found: list[float] = []

    def read(self, scores: Float32Array, _taken: Array | None = None) -> Array:
        """Return the values, float32 [values]."""
        return scores.reshape(-1)

    def judge(self, values: Array) -> Decision:
        """Return the values, and the label of the first that is out of bounds.

        ``score`` is that value, or the first one. Without any bounds the label is ``unknown``.
        """
        found: list[float] = values.tolist()
        if not isfinite(sum(found)):
            self._found = []
            return Decision(UNKNOWN, 0.0, [])
        found = [shorten(v) for v in found]
        label, score = OK if self._bounded else UNKNOWN, found[0]
        for quantity, value in zip(self._quantities, found, strict=True):
            if said := _side(quantity, value):
                label, score = said, value
                break
        self._found = found
        told = [(q.name, v, q.unit) for q, v in zip(self._quantities, found, strict=True)]
        return Decision(label, score, [], values=told)

    def level(self, label: str) -> float:
        """Return what was judged last of a label: the first value that is out of bounds there.

        Of one quantity it is its value wherever that is; of several that are all within, -inf.
        """
        if len(self._found) == 1:
            return self._found[0]
        for quantity, value in zip(self._quantities, self._found, strict=False):
            if _side(quantity, value) == label:
                return value
        return -inf if label in {LOW, HIGH} or not self._found else self._found[0]


def _side(quantity: Quantity, value: float) -> str | None:
    if quantity.low is not None and value < quantity.low:
        return LOW
    return HIGH if quantity.high is not None and value > quantity.high else None
