"""What a bundle carries beside the model: windows that prove a device, a summary to watch drift."""

import io
from collections.abc import Hashable, Sequence
from itertools import chain, zip_longest
from math import prod
from typing import Final

import numpy as np

from convert.findings import Precision
from convert.given.windows import spread
from edge_bundle.features.steps import Standardise
from edge_bundle.manifest import Manifest
from edge_bundle.tensor import Array, Float32Array

GOLDEN_WINDOWS: Final = 16
STREAM_WINDOWS: Final = 64
"""Of a model that remembers: many say nothing before they have seen some."""
GOLDEN_BYTES: Final = 256 << 10
"""Of windows and scores in all, but for a single window that is larger."""
BINS: Final = 32
SEED: Final = 7
TOKENS: Final = 8
"""Seeded whole numbers are below this: a vocabulary may be small."""
TOLERANCES: Final[dict[Precision, float]] = {
    "int8": 0.02,
    "dynamic": 0.02,
    "fp16": 1e-3,
    "float": 1e-4,
}
"""Of a score in [0, 1], between machines. Measured for int8 between x86-64 and AArch64: nothing for
QOperator files and for uint8 activations with int8 weights, 0.016 with int8 activations. Float
kernels add in another order."""


def golden_tolerance(precision: Precision, scores: Float32Array) -> float:
    """Return how far a device's scores may be from the golden ones, absolute.

    Args:
        precision: of the model.
        scores: float32 [n, scores], of the golden windows.
    Returns: that of scores in [0, 1], times the range of the scores where they are others.
    """
    low, high = min(0.0, float(scores.min())), float(scores.max())
    is_fraction = low == 0.0 and high <= 1.0
    return TOLERANCES[precision] * (1.0 if is_fraction else max(0.0, high) - low)


def count_golden(manifest: Manifest) -> int:
    """Return how many golden windows a bundle may have: fewer of large ones, at least one."""
    most = STREAM_WINDOWS if manifest.stateful else GOLDEN_WINDOWS
    window = prod(manifest.window_shape) * np.dtype(manifest.window_dtype).itemsize
    scores = manifest.scores_count * np.dtype(np.float32).itemsize
    return min(most, max(1, GOLDEN_BYTES // (window + scores)))


def choose_golden(labels: Sequence[Hashable], most: int = GOLDEN_WINDOWS) -> list[int]:
    """Return the numbers of windows that stand for all classes, in turns, early and late ones.

    Args:
        labels: one for each window; all the same where nobody knows.
        most: how many to choose at most.
    """
    classes = {label: [i for i, x in enumerate(labels) if x == label] for label in labels}
    each = -(-most // max(1, len(classes)))
    chosen = [[rows[i] for i in spread(len(rows), each)] for rows in classes.values()]
    in_turns = (i for i in chain.from_iterable(zip_longest(*chosen)) if i is not None)
    return list(in_turns)[:most]


def seed_windows(manifest: Manifest, count: int) -> list[Array]:
    """Return made-up windows within the range of plausible input, always the same.

    Codes of 8 and 16 bits cover their whole range; wider whole numbers are taken for tokens; real
    values are normally distributed as the first step's statistics say, else about 0 with
    deviation 1.

    Args:
        manifest: says what goes in.
        count: how many.
    """
    random = np.random.default_rng(SEED)
    shape, dtype = (count, *manifest.window_shape), np.dtype(manifest.window_dtype)
    taken = manifest.tensors.inputs[manifest.window_input]
    codes: Array
    if manifest.stream and not manifest.features and taken.scale is not None:
        limits = np.iinfo(taken.dtype)
        codes = random.integers(limits.min, limits.max, shape, np.int64, endpoint=True)
        values: Array = (codes - (taken.zero_point or 0)) * taken.scale
    elif dtype.kind == "f":
        values = random.standard_normal(shape)
        first = manifest.features[0] if manifest.features else None
        if isinstance(first, Standardise):
            values = values * first.std + first.mean
    elif dtype.kind in "iu" and dtype.itemsize <= 2:
        limits = np.iinfo(dtype)
        values = random.integers(limits.min, limits.max, shape, np.int64, endpoint=True)
    else:
        values = random.integers(0, 2 if dtype.kind == "b" else TOKENS, shape)
    return list(values.astype(dtype))


def pack_reference(windows: Sequence[Float32Array]) -> bytes:
    """Return ``reference.npz``: by channel ``edges``, ``counts``, ``mean``, ``std``, ``deciles``
    and ``decile_counts``.

    Args:
        windows: float32 [window, channels] each, in the stream's units, at least one.
    Returns: arrays float64 [channels, bins + 1], int64 [channels, bins], float64 [channels] twice,
        float64 [channels, 9] and int64 [channels, 10] as ``edge_bundle.drift`` takes them.
    """
    values = np.concatenate(windows).astype(np.float64)
    pairs = [np.histogram(channel, BINS) for channel in values.T]
    deciles = np.quantile(values, np.arange(1, 10) / 10, axis=0).T.copy()
    places = [np.searchsorted(d, v, side="right") for d, v in zip(deciles, values.T, strict=True)]
    buffer = io.BytesIO()
    # np.savez stamps no time: the same arrays give the same bytes.
    np.savez(
        buffer,
        edges=np.stack([edges for _, edges in pairs]),
        counts=np.stack([counts for counts, _ in pairs]),
        mean=values.mean(axis=0),
        std=values.std(axis=0),
        deciles=deciles,
        decile_counts=np.stack([np.bincount(p, minlength=10) for p in places]),
    )
    return buffer.getvalue()
