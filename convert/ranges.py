"""The real values that codes must reach, chosen from what a float pass saw. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np

from edge_bundle.tensor import Float32Array

Method = Literal["min-max", "percentile", "least-squares"]
METHODS: Final[tuple[Method, ...]] = ("min-max", "percentile", "least-squares")
PERCENTILE: Final = 99.99
"""Of the values, split between both ends."""
CODES: Final = 255
"""Steps of an 8-bit range."""
SHRINKS: Final = np.linspace(1.0, 0.2, 41)
"""Of each end, what least squares tries."""


@dataclass(frozen=True, slots=True)
class Range:
    """What one tensor's codes span; holds 0."""

    low: float
    high: float


Ranges: TypeAlias = Mapping[str, Range]
"""By tensor name."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a float pass saw of one tensor."""

    low: float
    high: float
    values: Float32Array
    """A sample of its values, evenly from all windows; both ends are in it."""


def choose_ranges(seen: Mapping[str, Seen], method: Method) -> dict[str, Range]:
    """Return a range for every tensor that was seen."""
    choose = {"min-max": _min_max, "percentile": _percentile, "least-squares": _least_squares}
    return {name: _hold_zero(choose[method](s)) for name, s in seen.items()}


def _min_max(seen: Seen) -> Range:
    return Range(seen.low, seen.high)


def _percentile(seen: Seen) -> Range:
    tail = (100 - PERCENTILE) / 2
    low, high = np.percentile(seen.values, [tail, 100 - tail]).tolist()
    return Range(low, high)


def _least_squares(seen: Seen) -> Range:
    """Return the range whose codes are nearest to the values, in the sum of squares.

    Each end is moved in turn while the other stays; two rounds settle it.
    """
    whole = _hold_zero(Range(seen.low, seen.high))
    low, high = whole.low, whole.high
    for _ in range(2):
        high = min(
            (whole.high * s for s in SHRINKS.tolist()), key=lambda h: _loss(seen.values, low, h)
        )
        low = min(
            (whole.low * s for s in SHRINKS.tolist()), key=lambda w: _loss(seen.values, w, high)
        )
    return Range(low, high)


def _loss(values: Float32Array, low: float, high: float) -> float:
    """Return the sum of squares that rounding to codes and clipping to [low, high] leave.

    Source: LiteRT 8-bit quantization spec, r = scale * (q - zero_point).
    """
    scale = np.float32((high - low) / CODES)
    if not scale:
        return float(np.square(values, dtype=np.float64).sum())
    zero = np.float32(round(-low / float(scale)))
    # In steps, whose squares float32 holds; those of a mask of -3e38 it does not.
    steps = values / scale
    error = np.clip(np.rint(steps) + zero, 0, CODES) - zero - steps
    return float(np.square(error).sum(dtype=np.float64)) * float(scale) ** 2


def _hold_zero(chosen: Range) -> Range:
    """Widen a range to hold 0, which padding and ReLU need a code for."""
    return Range(min(chosen.low, 0.0), max(chosen.high, 0.0))
