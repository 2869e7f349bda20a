"""Which windows prove a model: of one that remembers, the piece of stream that moves it most."""

from collections.abc import Hashable, Sequence
from typing import Final

import numpy as np

from convert.products.evidence import choose_golden, count_golden
from edge_bundle.golden import run_golden
from edge_bundle.inference import Inference
from edge_bundle.tensor import Array, Float32Array

HEARD: Final = 4096
"""Windows that are looked through, from the first on."""
HEARD_BYTES: Final = 64 << 20
"""Of their scores."""
TRIED: Final = 8


def choose_windows(
    inference: Inference, windows: Sequence[Array], labels: Sequence[Hashable]
) -> list[Array]:
    """Return the golden windows of a bundle: one piece of stream for a model that remembers.

    Args:
        inference: of the bundle.
        windows: as it takes them, at least one, in the order in which they came.
        labels: one for each; all the same where nobody knows.
    Raises: ModelRefused: it does not run.
    """
    most = count_golden(inference.manifest)
    if inference.manifest.stateful:
        return [windows[i] for i in choose_stretch(inference, windows, most)]
    return [windows[i] for i in choose_golden(labels, most)]


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
    whole = run_golden(inference, windows[:heard])
    starts = sorted({*range(0, heard - most, max(1, most // 4)), heard - most})
    likely = sorted(starts, key=lambda s: -_vary(whole[s : s + most]))[:TRIED]
    found = {s: _vary(run_golden(inference, windows[s : s + most])) for s in sorted(likely)}
    start = max(found, key=lambda s: found[s])
    return range(start, start + most)


def _vary(scores: Float32Array) -> float:
    """Return how much scores vary; most where one is not finite, which must not go unseen."""
    if not np.isfinite(scores).all():
        return np.inf
    return float(scores.std(axis=0, dtype=np.float64).sum())
