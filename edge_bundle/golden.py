"""Golden vectors: raw windows and the scores the converter saw, run again to prove a device.

The model is reset once, before the first window, and not between two: they are one piece of
stream, so that a stateful model is proven with what it remembers, and features with theirs.
"""

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import numpy as np

from edge_bundle.archive import Bundle
from edge_bundle.errors import BundleRefused
from edge_bundle.inference import Inference
from edge_bundle.npz import load_npz
from edge_bundle.tensor import Array, Float32Array


@dataclass(frozen=True, slots=True)
class GoldenResult:
    """How far a run was from what the converter saw."""

    windows: int
    largest: float
    """Largest absolute difference of a score."""
    tolerance: float

    @property
    def ok(self) -> bool:
        """Whether every score was within tolerance."""
        return self.largest <= self.tolerance


def run_golden(
    inference: Inference, windows: Iterable[Array], fresh: Sequence[int] = ()
) -> Float32Array:
    """Return the scores of windows, float32 [n, scores]: reset once, then one after another.

    Args:
        windows: as ``Inference.scores`` takes them, at least one.
        fresh: how many of the last samples of each are new, where it follows the one before; 0
            where it stands alone. Empty where all do.
    """
    inference.reset()
    pairs = zip(windows, fresh or repeat(0), strict=False)
    scores = np.stack([inference.scores(window, new or None).copy() for window, new in pairs])
    inference.reset()
    return scores


def pack_golden(inference: Inference, windows: Iterable[Array], fresh: Sequence[int] = ()) -> bytes:
    """Run windows and return them with their scores as the bytes of ``golden.npz``.

    Args:
        windows: [n, ...], n > 0: float32 [window, channels] each, or prepared tensors.
        fresh: as ``run_golden`` takes it.
    """
    windows = np.stack(list(windows))
    scores = run_golden(inference, windows, fresh)
    more: dict[str, Any] = {"fresh": np.asarray(fresh, np.int64)} if any(fresh) else {}
    buffer = io.BytesIO()
    # np.savez stamps no time: the same arrays give the same bytes.
    np.savez(buffer, windows=windows, scores=scores, **more)
    return buffer.getvalue()


def check_golden(bundle: Bundle, inference: Inference) -> GoldenResult:
    """Run a bundle's golden windows through its whole path.

    Raises: BundleRefused: if the golden file is damaged or has other shapes than the windows.
    """
    windows, expected, fresh = _read_vectors(bundle)
    difference = np.abs(run_golden(inference, windows, fresh) - expected).max()
    # NaN compares false with everything, and must not pass.
    largest = float("inf") if np.isnan(difference) else float(difference)
    return GoldenResult(len(windows), largest, bundle.manifest.golden.tolerance)


def _read_vectors(bundle: Bundle) -> tuple[Array, Array, list[int]]:
    """Return windows of the type that the path takes, the expected scores, and what is fresh."""
    manifest = bundle.manifest
    where = f"{bundle.path}: {manifest.golden.file}"
    try:
        arrays = load_npz(io.BytesIO(bundle.read(manifest.golden.file)))
        windows, expected = arrays["windows"], arrays["scores"]
    except ValueError as error:
        raise BundleRefused(f"{where}: {error}") from None
    except KeyError as error:
        raise BundleRefused(f"{where}: no array {error}") from None
    prepared = manifest.stream is None
    fits = windows.dtype == manifest.window_dtype if prepared else windows.dtype.kind in "fiu"
    if not windows.ndim or not fits or expected.dtype.kind not in "fiu":
        raise BundleRefused(
            f"{where}: windows {windows.dtype} and scores {expected.dtype}, "
            f"expected {manifest.window_dtype if prepared else 'numbers'} and numbers"
        )
    count = len(windows)
    shapes = (count, *manifest.window_shape), (count, manifest.scores_count)
    if not count or (windows.shape, expected.shape) != shapes:
        raise BundleRefused(
            f"{where}: windows {list(windows.shape)} and scores "
            f"{list(expected.shape)}, expected {list(shapes[0])} and {list(shapes[1])}"
        )
    fresh = arrays.get("fresh", np.zeros(count, np.int64))
    most = manifest.stream.window if manifest.stream else 0
    if fresh.shape != (count,) or fresh.dtype.kind not in "iu" or fresh[0]:
        raise BundleRefused(
            f"{where}: fresh {fresh.dtype} {list(fresh.shape)}, expected counts [{count}], of "
            "which the first is 0"
        )
    if fresh.min() < 0 or fresh.max() > most:
        raise BundleRefused(
            f"{where}: fresh from {fresh.min()} to {fresh.max()}, expected 0 to {most} samples"
        )
    return windows.astype(manifest.window_dtype, copy=False), expected, fresh.tolist()
