"""How good an answer is, sample by sample. NumPy alone: the peers' environments import it too.

Each takes the outputs by name, what is right, and the float model's outputs by name, and returns
one figure a sample, so that two models can be compared in pairs.
"""

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
Outputs: TypeAlias = Mapping[str, Array]
"""Each [samples, ...]."""

NOTE: Final = "StatefulPartitionedCall:1"
ONSET: Final = "StatefulPartitionedCall:2"
THRESHOLDS: Final = {NOTE: 0.3, ONSET: 0.5}
"""Above these a cell counts: basic-pitch 0.4.0, ``inference.predict``, its defaults."""


def scores_of(outputs: Outputs) -> Array:
    """Return the classes' scores [samples, classes]: the widest output of real numbers."""
    real = [a for a in outputs.values() if a.dtype.kind == "f"]
    widest = max(real, key=lambda a: a[0].size)
    return widest.reshape(len(widest), -1)


def accuracy(outputs: Outputs, y: Array | None, reference: Outputs | None) -> Array:
    """Return 1.0 where the arg-max is the label, else 0.0."""
    del reference
    if y is None:
        raise ValueError("accuracy needs labels")
    right: Array = (scores_of(outputs).argmax(axis=1) == y).astype(np.float64)
    return right


def agreement(outputs: Outputs, y: Array | None, reference: Outputs | None) -> Array:
    """Return 1.0 where the arg-max is the float model's, else 0.0."""
    del y
    if reference is None:
        raise ValueError("agreement needs the float model's outputs")
    same = scores_of(outputs).argmax(axis=1) == scores_of(reference).argmax(axis=1)
    found: Array = same.astype(np.float64)
    return found


def frame_f1(outputs: Outputs, y: Array | None, reference: Outputs | None) -> Array:
    """Return each window's F1 of active cells, notes and onsets together, against float's.

    A window in which neither has an active cell counts as 1.0.
    """
    del y
    if reference is None:
        raise ValueError("frame_f1 needs the float model's outputs")
    both, ours, theirs = (np.zeros(len(reference[NOTE])) for _ in range(3))
    for name, threshold in THRESHOLDS.items():
        found = outputs[name].reshape(len(both), -1) > threshold
        wanted = reference[name].reshape(len(both), -1) > threshold
        both += (found & wanted).sum(axis=1)
        ours += found.sum(axis=1)
        theirs += wanted.sum(axis=1)
    active = ours + theirs
    f1: Array = np.divide(2 * both, active, out=np.ones_like(active), where=active > 0)
    return f1


METRICS: Final = {"accuracy": accuracy, "agreement": agreement, "frame_f1": frame_f1}
