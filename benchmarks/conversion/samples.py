"""Labelled samples of the real models, written as ``cal.npz`` and ``eval.npz`` of x and y."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.conversion.metrics import Array

ACTIVITY_LABELS = ("SEATED", "STANDING_UP", "WALKING", "TURNING", "SITTING_DOWN")
"""In the order of the activity model's outputs, as its metadata states it."""
ACTIVITY_WINDOW, ACTIVITY_HOP = 128, 32
ACTIVITY_CALIBRATION = 300
PURE = 0.8
"""A window belongs to a label that so much of it has; between activities there is none."""


@dataclass(frozen=True, slots=True)
class Samples:
    """What a model takes, and what is right."""

    x: Array
    """[samples, ...], of the model's input."""
    y: Array | None = None
    """int64 [samples]: classes. None: the float model's answers are right."""


@dataclass(frozen=True, slots=True)
class Data:
    """Two sets that share no sample."""

    calibration: Samples
    evaluation: Samples


def read_labelled(path: Path) -> Data:
    """Read an ``.npz`` of x, y and the index arrays ``calibration`` and ``evaluation``."""
    with np.load(path, allow_pickle=False) as held:
        x, y = held["x"].astype(np.float32), held["y"].astype(np.int64)
        return Data(
            Samples(x[held["calibration"]], y[held["calibration"]]),
            Samples(x[held["evaluation"]], y[held["evaluation"]]),
        )


def read_activities(folder: Path) -> Data:
    """Cut windows of a wrist's six channels: subjects 1 to 7 to calibrate, 8 and 9 to judge.

    Args:
        folder: a folder a subject, ``s01`` …, with ``*_sw.csv`` of acceleration (m/s²), rotation
            (rad/s), time (ms) and label.
    Returns: x float32 [windows, 128, 6], y the label that the window has.
    """
    first = _windows([p for n in range(1, 8) for p in sorted(folder.glob(f"s{n:02d}/*_sw.csv"))])
    last = _windows([p for n in (8, 9) for p in sorted(folder.glob(f"s{n:02d}/*_sw.csv"))])
    assert first.y is not None
    some = np.linspace(0, len(first.x) - 1, ACTIVITY_CALIBRATION).round().astype(int)
    return Data(Samples(first.x[some], first.y[some]), last)


def write(data: Data, folder: Path) -> tuple[Path, Path]:
    """Write ``cal.npz`` and ``eval.npz`` and return their paths."""
    paths = folder / "cal.npz", folder / "eval.npz"
    for path, samples in zip(paths, (data.calibration, data.evaluation), strict=True):
        arrays = {"x": samples.x} if samples.y is None else {"x": samples.x, "y": samples.y}
        # A dict of str and array fits no overload once a bool keyword exists beside it.
        np.savez(path, allow_pickle=False, **arrays)
    return paths


def _windows(paths: list[Path]) -> Samples:
    x, y = [], []
    for path in paths:
        values = np.loadtxt(path, np.float32, delimiter=",", skiprows=1, usecols=range(6))
        labels = np.loadtxt(path, str, delimiter=",", skiprows=1, usecols=7)
        for start in range(0, len(values) - ACTIVITY_WINDOW + 1, ACTIVITY_HOP):
            window = labels[start : start + ACTIVITY_WINDOW].tolist()
            label, count = Counter(window).most_common(1)[0]
            if count < PURE * ACTIVITY_WINDOW:
                continue
            x.append(values[start : start + ACTIVITY_WINDOW])
            y.append(ACTIVITY_LABELS.index(label))
    return Samples(np.stack(x), np.asarray(y, np.int64))
