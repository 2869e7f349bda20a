"""What makes scores in [0, 1] of a model's outputs, and how they are rounded to be told."""

import numpy as np

from edge_bundle.tensor import Float32Array


def softmax(logits: Float32Array) -> Float32Array:
    """Return exp(x) / sum(exp(x)), shifted by the largest so that nothing overflows.

    Args:
        logits: float32 [n].
    Returns: float32 [n], sums to 1.
    """
    powers = np.exp(logits - logits.max())
    result: Float32Array = powers / powers.sum()
    return result


def sigmoid(logits: Float32Array) -> Float32Array:
    """Return 1 / (1 + exp(-x)), as (1 + tanh(x / 2)) / 2, which does not overflow.

    Args:
        logits: float32, any shape.
    Returns: float32, the same shape.
    """
    result: Float32Array = np.float32(0.5) * (1 + np.tanh(np.float32(0.5) * logits))
    return result


def shorten(value: float) -> float:
    """Return a value with the 7 digits that a float32 has, of whatever size it is."""
    return float(f"{value:.7g}")


def shorten_probability(value: float) -> float:
    """Return a value near [0, 1] with 6 decimals."""
    # A third of the time that round() takes, which looks for the decimals that are shown.
    return (value * 1e6 + 0.5) // 1 / 1e6
