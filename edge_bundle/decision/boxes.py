"""Boxes of a detector: where they are in the picture, and which of them are the same thing.

Corners are left, top, right, bottom, in fractions of the picture.
"""

import numpy as np
import numpy.typing as npt

from edge_bundle.decision.rules import Anchors, Detection
from edge_bundle.tensor import Float32Array


def count_anchors(rule: Anchors) -> int:
    """Return how many ``make_anchors`` would make, which may be more than memory holds."""
    return sum(2 * (-(-rule.size // stride)) ** 2 for stride in rule.strides)


def make_anchors(rule: Anchors) -> Float32Array:
    """Return the centres that boxes are relative to.

    A layer has two anchors in each cell of its grid (one for its scale, one between it and the
    next), of the same centre; layers of the same stride share a grid.
    Returns: float32 [n, 2], x and y in fractions of the picture.
    Source: MediaPipe SsdAnchorsCalculator, anchor_offset 0.5, fixed_anchor_size.
    """
    parts = []
    at = 0
    while at < len(rule.strides):
        stride, together = rule.strides[at], 0
        while at < len(rule.strides) and rule.strides[at] == stride:
            at, together = at + 1, together + 2
        cells = -(-rule.size // stride)
        line = (np.arange(cells, dtype=np.float32) + np.float32(0.5)) / np.float32(cells)
        y, x = np.meshgrid(line, line, indexing="ij")
        parts.append(np.repeat(np.stack((x, y), axis=-1).reshape(-1, 2), together, axis=0))
    return np.concatenate(parts)


class BoxReader:
    """Turns a model's box values into corners."""

    def __init__(self, rule: Detection) -> None:
        self._order = rule.order
        self._anchors = make_anchors(rule.anchors) if rule.anchors else None
        self._scale = np.float32(rule.anchors.scale if rule.anchors else 1)

    def read(self, raw: Float32Array, which: npt.NDArray[np.intp]) -> Float32Array:
        """Return the corners of some boxes, within the picture.

        Args:
            raw: float32 [boxes, 4 or more].
            which: intp [n], numbers of boxes.
        Returns: float32 [n, 4].
        """
        values = raw[which, :4]
        if self._order == "yxyx":
            values = values[:, (1, 0, 3, 2)]
        elif self._order == "xywh":
            centre, half = values[:, :2] / self._scale, values[:, 2:] / (2 * self._scale)
            if self._anchors is not None:
                centre = centre + self._anchors[which]
            values = np.concatenate((centre - half, centre + half), axis=1)
        corners: Float32Array = np.clip(values, 0, 1)
        return corners


def suppress(corners: Float32Array, scores: Float32Array, iou: float, most: int) -> list[int]:
    """Return which boxes are kept, the best first: none overlaps a better one by more than ``iou``.

    Args:
        corners: float32 [n, 4].
        scores: float32 [n], finite.
        iou: intersection over union that two boxes may have.
        most: how many are kept at most.
    Source: greedy non-maximum suppression; of the same score the earlier box is the better one.
    """
    sides = np.maximum(corners[:, 2:] - corners[:, :2], 0)
    areas = sides[:, 0] * sides[:, 1]
    waiting = np.argsort(-scores, kind="stable")
    kept: list[int] = []
    while waiting.size and len(kept) < most:
        best, waiting = int(waiting[0]), waiting[1:]
        kept.append(best)
        begin = np.maximum(corners[best, :2], corners[waiting, :2])
        end = np.minimum(corners[best, 2:], corners[waiting, 2:])
        shared = np.maximum(end - begin, 0).prod(axis=1)
        # Multiplied out, or two boxes without an area would be 0 / 0.
        waiting = waiting[shared <= iou * (areas[best] + areas[waiting] - shared)]
    return kept
