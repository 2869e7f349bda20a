"""From scores to a label: pure rules, no clock, no file."""

from math import isfinite

import numpy as np
from msgspec import Struct

from edge_bundle.manifest import Classification
from edge_bundle.tensor import Float32Array

UNKNOWN = "unknown"
SORT_IN_PYTHON = 64
"""Up to so many scores Python's sort beats NumPy's call overhead."""


class Decision(Struct, frozen=True):
    """What is said of one window."""

    label: str
    score: float
    """Score of the best label, in [0, 1] where the model gives probabilities."""
    top: list[tuple[str, float]]
    """Best labels first."""


class Classifier:
    """Turns the scores of one window into a decision."""

    def __init__(self, rule: Classification) -> None:
        self._rule = rule
        self._labels = rule.labels
        self._top = min(rule.top, len(rule.labels))

    def decide(self, scores: Float32Array) -> Decision:
        """Judge one window.

        Args:
            scores: float32, as many as labels, any shape.
        Returns: ``unknown`` with score 0 and no ``top`` where a score is not a finite number.
        """
        values = scores.reshape(-1)
        if self._rule.activation == "softmax":
            values = softmax(values)
        # A sum that is finite has only finite parts; NaN compares false and would hide anywhere.
        if values.size <= SORT_IN_PYTHON:
            listed: list[float] = values.tolist()
            if not isfinite(sum(listed)):
                return Decision(UNKNOWN, 0.0, [])
            best = sorted(range(len(listed)), key=listed.__getitem__, reverse=True)[: self._top]
            top = [(self._labels[i], round(listed[i], 6)) for i in best]
        else:
            if not isfinite(values.sum(dtype=np.float64)):
                return Decision(UNKNOWN, 0.0, [])
            least = np.partition(values, -self._top)[-self._top]
            part = np.flatnonzero(values >= least)
            order = part[np.argsort(-values[part], kind="stable")][: self._top].tolist()
            top = [(self._labels[i], round(float(values[i]), 6)) for i in order]
        label, score = top[0]
        return Decision(label if score >= self._rule.threshold else UNKNOWN, score, top)


def softmax(logits: Float32Array) -> Float32Array:
    """Return exp(x) / sum(exp(x)), shifted by the largest so that nothing overflows.

    Args:
        logits: float32 [n].
    Returns: float32 [n], sums to 1.
    """
    powers = np.exp(logits - logits.max())
    result: Float32Array = powers / powers.sum()
    return result
