"""How often a model is right, measured on the path that a device runs."""

from collections.abc import Sequence
from dataclasses import dataclass

from edge_bundle.inference import Inference
from edge_bundle.tensor import Float32Array


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Right answers among labelled windows."""

    right: int
    windows: int

    @property
    def mean(self) -> float:
        """Fraction of 1."""
        return self.right / self.windows


def measure(
    inference: Inference, windows: Sequence[Float32Array], labels: Sequence[str]
) -> Accuracy:
    """Decide every window by itself and count; a decision below the threshold is wrong.

    Args:
        windows: float32 [window, channels] each, at least one.
        labels: one for each window.
    Raises: ModelRefused: where the runtime fails.
    """
    right = 0
    for window, label in zip(windows, labels, strict=True):
        inference.reset()
        right += inference.decide(window).label == label
    return Accuracy(right, len(windows))
