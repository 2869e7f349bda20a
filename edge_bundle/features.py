"""DSP steps between a raw window and the model's input, the same for converter and device.

Pure: arrays in, arrays out, no clock, no file.
"""

from collections.abc import Callable, Sequence
from typing import Annotated

import numpy as np
from msgspec import Meta, Struct

from edge_bundle.tensor import Float32Array


class Standardise(Struct, frozen=True, tag_field="kind", tag="standardise"):
    """Each channel minus its mean, divided by its standard deviation."""

    mean: Annotated[tuple[float, ...], Meta(min_length=1)]
    """One for each channel, in the stream's units."""
    std: Annotated[tuple[Annotated[float, Meta(gt=0)], ...], Meta(min_length=1)]
    """One for each channel, in the stream's units."""


def shape_after(steps: Sequence[Standardise], window: int, channels: int) -> tuple[int, int]:
    """Return the shape [values, channels] that a window has after the steps.

    Raises: ValueError: where a step does not fit what comes to it.
    """
    for number, step in enumerate(steps):
        if not len(step.mean) == len(step.std) == channels:
            raise ValueError(
                f"features[{number}]: {len(step.mean)} means and {len(step.std)} deviations "
                f"for {channels} channels"
            )
    return window, channels


def compile_steps(
    steps: Sequence[Standardise], window: int, channels: int
) -> Callable[[Float32Array], Float32Array]:
    """Return a function that runs the steps in preallocated memory.

    The function takes float32 [window, channels] and returns float32 of ``shape_after``; what it
    returns is overwritten by its next call, and is the input itself where there are no steps.
    """
    shape_after(steps, window, channels)
    if not steps:
        return lambda samples: samples
    means = [np.asarray(step.mean, np.float32) for step in steps]
    scales = [np.float32(1) / np.asarray(step.std, np.float32) for step in steps]
    out = np.empty((window, channels), np.float32)

    def run(samples: Float32Array) -> Float32Array:
        source = samples
        for mean, scale in zip(means, scales, strict=True):
            np.subtract(source, mean, out=out)
            np.multiply(out, scale, out=out)
            source = out
        return out

    return run
