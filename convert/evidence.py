"""What a bundle carries beside the model: windows that prove a device, a summary to watch drift."""

import io
from collections.abc import Sequence
from itertools import chain, zip_longest
from typing import Final

import numpy as np

from convert.windows import spread
from edge_bundle.tensor import Float32Array

GOLDEN_WINDOWS: Final = 16
BINS: Final = 32


def choose_golden(labels: Sequence[str], most: int = GOLDEN_WINDOWS) -> list[int]:
    """Return the numbers of windows that stand for all classes, in turns, early and late ones.

    Args:
        labels: one for each window.
        most: how many to choose at most.
    """
    classes = {label: [i for i, x in enumerate(labels) if x == label] for label in labels}
    each = -(-most // max(1, len(classes)))
    chosen = [[rows[i] for i in spread(len(rows), each)] for rows in classes.values()]
    in_turns = (i for i in chain.from_iterable(zip_longest(*chosen)) if i is not None)
    return list(in_turns)[:most]


def pack_reference(windows: Sequence[Float32Array]) -> bytes:
    """Return ``reference.npz``: by channel ``edges``, ``counts``, ``mean`` and ``std``.

    Args:
        windows: float32 [window, channels] each, in the stream's units, at least one.
    Returns: arrays float64 [channels, bins + 1], int64 [channels, bins], float64 [channels] twice.
    """
    values = np.concatenate(windows).astype(np.float64)
    pairs = [np.histogram(channel, BINS) for channel in values.T]
    buffer = io.BytesIO()
    # np.savez stamps no time: the same arrays give the same bytes.
    np.savez(
        buffer,
        edges=np.stack([edges for _, edges in pairs]),
        counts=np.stack([counts for counts, _ in pairs]),
        mean=values.mean(axis=0),
        std=values.std(axis=0),
    )
    return buffer.getvalue()
