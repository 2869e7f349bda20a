"""Which windows prove a model: of one that remembers, the piece of stream that moves it most."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from convert.products.evidence import choose_golden, count_golden
from edge_bundle.golden import run_golden
from edge_bundle.inference import Inference
from edge_bundle.manifest import Stream
from edge_bundle.tensor import Array, Float32Array

HEARD: Final = 4096
"""Windows that are looked through, from the first on."""
HEARD_BYTES: Final = 64 << 20
"""Of their scores."""
TRIED: Final = 8


@dataclass(frozen=True, slots=True)
class Chosen:
    """Golden windows."""

    windows: list[Array]
    fresh: list[int]
    """How many of each one's last samples are new, where it follows the one before; 0 where it
    stands alone. Empty where all do."""


def choose_windows(
    inference: Inference, windows: Sequence[Array], labels: Sequence[Hashable]
) -> Chosen:
    """Return the golden windows of a bundle: one piece of stream for a model that remembers.

    Args:
        inference: of the bundle.
        windows: as it takes them, at least one, in the order in which they came.
        labels: one for each; all the same where nobody knows.
    Raises: ModelRefused: it does not run.
    """
    most = count_golden(inference.manifest)
    if not inference.manifest.stateful:
        return Chosen([windows[i] for i in choose_golden(labels, most)], [])
    stretch = choose_stretch(inference, windows, most)
    chosen = list(windows[stretch.start : stretch.stop])
    return Chosen(chosen, find_fresh(chosen, inference.manifest.stream))


def find_fresh(windows: Sequence[Array], stream: Stream | None) -> list[int]:
    """Return how many samples are new in each window, as ``Chosen.fresh`` has it.

    One whose first samples are the last ones of the window before follows it.
    """
    if stream is None or stream.hop >= stream.window:
        return []
    hop = stream.hop
    follows = [np.array_equal(a[hop:], b[:-hop]) for a, b in pairwise(windows)]
    return [0, *(hop if f else 0 for f in follows)]


def choose_stretch(inference: Inference, windows: Sequence[Array], most: int) -> range:
    """Return the numbers of windows on end in which scores vary most, from a reset at the first.

    All are run once without a reset; where that gave most, stretches are run again from a reset.
    The same windows give the same stretch, and of equal ones the first.

    Args:
        inference: of the model; it is reset.
        windows: as it takes them, at least one.
        most: how many to choose at most.
    Raises: ModelRefused: it does not run.
    """
    room = HEARD_BYTES // (inference.manifest.scores_count * np.dtype(np.float32).itemsize)
    heard = min(len(windows), HEARD, max(most, room))
    if heard <= most:
        return range(heard)
    fresh = find_fresh(windows[:heard], inference.manifest.stream)
    whole = run_golden(inference, windows[:heard], fresh)
    starts = sorted({*range(0, heard - most, max(1, most // 4)), heard - most})
    likely = sorted(starts, key=lambda s: -_vary(whole[s : s + most]))[:TRIED]
    found = {}
    for start in sorted(likely):
        follow = [0, *fresh[start + 1 : start + most]] if fresh else []
        found[start] = _vary(run_golden(inference, windows[start : start + most], follow))
    start = max(found, key=lambda s: found[s])
    return range(start, start + most)


def _vary(scores: Float32Array) -> float:
    """Return how much scores vary; most where one is not finite, which must not go unseen."""
    if not np.isfinite(scores).all():
        return np.inf
    return float(scores.std(axis=0, dtype=np.float64).sum())
