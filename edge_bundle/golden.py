"""Golden vectors: raw windows and the scores the converter saw, run again to prove a device."""

import io
from dataclasses import dataclass

import numpy as np

from edge_bundle.archive import Bundle
from edge_bundle.errors import BundleRefused
from edge_bundle.inference import Inference
from edge_bundle.recording import load_npz
from edge_bundle.tensor import Float32Array


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


def pack_golden(inference: Inference, windows: Float32Array) -> bytes:
    """Run windows and return them with their scores as the bytes of ``golden.npz``.

    Args:
        windows: float32 [n, window, channels], n > 0.
    """
    inference.reset()
    scores = np.stack([inference.scores(w).copy() for w in windows])
    buffer = io.BytesIO()
    # np.savez stamps no time: the same arrays give the same bytes.
    np.savez(buffer, windows=windows, scores=scores)
    return buffer.getvalue()


def check_golden(bundle: Bundle, inference: Inference) -> GoldenResult:
    """Run a bundle's golden windows through its whole path.

    Raises: BundleRefused: if the golden file is damaged or has other shapes than the stream.
    """
    name = bundle.manifest.golden.file
    stream, labels = bundle.manifest.stream, bundle.manifest.decision.labels
    try:
        arrays = load_npz(io.BytesIO(bundle.read(name)))
        windows, expected = arrays["windows"], arrays["scores"]
    except ValueError as error:
        raise BundleRefused(f"{bundle.path}: {name}: {error}") from None
    except KeyError as error:
        raise BundleRefused(f"{bundle.path}: {name}: no array {error}") from None
    if not windows.ndim or {windows.dtype.kind, expected.dtype.kind} - set("fiu"):
        raise BundleRefused(
            f"{bundle.path}: {name}: windows {windows.dtype} and scores {expected.dtype}, "
            "expected numbers"
        )
    shapes = (len(windows), stream.window, len(stream.channels)), (len(windows), len(labels))
    if not len(windows) or (windows.shape, expected.shape) != shapes:
        raise BundleRefused(
            f"{bundle.path}: {name}: windows {list(windows.shape)} and scores "
            f"{list(expected.shape)}, expected {list(shapes[0])} and {list(shapes[1])}"
        )
    inference.reset()
    largest = 0.0
    for window, scores in zip(windows.astype(np.float32), expected, strict=True):
        difference = np.abs(inference.scores(window) - scores).max()
        # NaN compares false with everything, and must not pass.
        largest = float("inf") if np.isnan(difference) else max(largest, float(difference))
    inference.reset()
    return GoldenResult(len(windows), largest, bundle.manifest.golden.tolerance)
