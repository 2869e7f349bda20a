"""From the boxes of a detector to the things in a picture."""

from collections.abc import Sequence
from math import inf, prod

import numpy as np

from edge_bundle.decision.activation import sigmoid
from edge_bundle.decision.boxes import BoxReader, suppress
from edge_bundle.decision.outcome import Decision
from edge_bundle.decision.rules import NONE, UNKNOWN, Detection
from edge_bundle.tensor import Array, Float32Array

Found = tuple[str, float, float, float, float, float]


class Detector:
    """Finds the boxes worth telling."""

    needs_input = False
    plain = True

    def __init__(self, rule: Detection, shapes: Sequence[tuple[int, ...]]) -> None:
        """Take the shapes of the outputs of boxes and of scores."""
        self._rule = rule
        self._reader = BoxReader(rule)
        self._box_values = prod(shapes[0])
        self._per_box = shapes[0][-1]
        self._best: list[float] = []

    def read(self, scores: Float32Array, _taken: Array | None = None) -> Array:
        """Return what the model gives, float32: the boxes, and the scores behind them."""
        return scores.reshape(-1)

    def judge(self, values: Array) -> Decision:
        """Return the boxes, and the label and score of the best one.

        ``none`` where no box reaches the threshold, with the best score that there was.
        """
        rule = self._rule
        scores = values[self._box_values :].reshape(-1, len(rule.labels))
        self._best = []
        if not np.isfinite(values).all():
            return Decision(UNKNOWN, 0.0, [])
        if rule.activation == "sigmoid":
            scores = sigmoid(scores)
        self._best = [round(s, 6) for s in scores.max(axis=0).tolist()]
        raw = values[: self._box_values].reshape(-1, self._per_box)
        found: list[Found] = []
        for i, label in enumerate(rule.labels):
            if self._best[i] >= rule.threshold:
                found += self._of_label(raw, scores[:, i], label)
        found.sort(key=lambda box: -box[1])
        del found[rule.most :]
        score = max(self._best)
        if not found:
            return Decision(NONE, score, [], boxes=[])
        top = sorted(zip(rule.labels, self._best, strict=True), key=lambda pair: -pair[1])
        return Decision(found[0][0], score, top[:3], boxes=found)

    def level(self, label: str) -> float:
        """Return a label's best score in the picture that was judged last."""
        if not self._best:
            return -inf
        return max(self._best) if label == NONE else self._best[self._rule.labels.index(label)]

    def _of_label(self, raw: Array, scores: Array, label: str) -> list[Found]:
        rule = self._rule
        rounded = np.round(scores.astype(np.float64), 6)
        which = np.flatnonzero(rounded >= rule.threshold)
        corners = self._reader.read(raw, which)
        kept = suppress(corners, scores[which], rule.iou, rule.most)
        told = np.round(corners.astype(np.float64), 5).tolist()
        told_scores = rounded[which].tolist()
        return [(label, told_scores[i], *told[i]) for i in kept]
