"""From the scores of classes to a label."""

from math import inf, isfinite

import numpy as np

from edge_bundle.decision.activation import shorten_probability, sigmoid, softmax
from edge_bundle.decision.outcome import Decision
from edge_bundle.decision.rules import UNKNOWN, Classification
from edge_bundle.tensor import Array, Float32Array

SORT_IN_PYTHON = 64
"""Up to so many scores Python's sort beats NumPy's call overhead."""


class Classifier:
    """Turns the scores of one window into a decision."""

    needs_input = False

    def __init__(self, rule: Classification) -> None:
        self._labels = rule.labels
        self._thresholds = [rule.thresholds.get(label, rule.threshold) for label in rule.labels]
        self._activate = {"softmax": softmax, "sigmoid": sigmoid}.get(rule.activation)
        self._top = min(rule.top, len(rule.labels))
        self._order = range(len(rule.labels))
        self._few = len(rule.labels) <= SORT_IN_PYTHON
        self.plain = self._activate is None
        self._last: list[float] | Array = []

    def decide(self, scores: Float32Array) -> Decision:
        """Judge one window.

        Args:
            scores: float32, as many as labels, any shape.
        Returns: ``unknown`` with score 0 and no ``top`` where a score is not a finite number.
        """
        return self.judge(self.read(scores))

    def read(self, scores: Float32Array, _taken: Array | None = None) -> Array:
        """Return the scores of the classes, float32 [labels]."""
        values = scores if scores.ndim == 1 else scores.reshape(-1)
        return values if self._activate is None else self._activate(values)

    def judge(self, values: Array) -> Decision:
        """Return the answer that scores of the classes give."""
        # A sum that is finite has only finite parts; NaN compares false and would hide anywhere.
        if self._few:
            listed: list[float] = values.tolist()
            total = sum(listed)
            if total - total:  # NaN, of NaN and of what is infinite
                return self._unknown()
            best = sorted(self._order, key=listed.__getitem__, reverse=True)[: self._top]
            labels = self._labels
            # What shorten_probability does: a call costs more than it.
            top = [(labels[i], (listed[i] * 1e6 + 0.5) // 1 / 1e6) for i in best]
            self._last = listed
        else:
            if not isfinite(values.sum(dtype=np.float64)):
                return self._unknown()
            least = np.partition(values, -self._top)[-self._top]
            part = np.flatnonzero(values >= least)
            best = part[np.argsort(-values[part], kind="stable")][: self._top].tolist()
            top = [(self._labels[i], shorten_probability(float(values[i]))) for i in best]
            self._last = values
        label, score = top[0]
        return Decision(label if score >= self._thresholds[best[0]] else UNKNOWN, score, top)

    def level(self, label: str) -> float:
        """Return a label's score in the window that was judged last."""
        if not len(self._last):
            return -inf
        return shorten_probability(float(self._last[self._labels.index(label)]))

    def _unknown(self) -> Decision:
        self._last = []
        return Decision(UNKNOWN, 0.0, [])
