"""From values to places on a picture, with ticks at round numbers. Pure."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from convert.report.wording import say_minus

STEPS: Final = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True, slots=True)
class Scale:
    """An axis: what it spans, where its ends lie, and what is written on it.

    ``low`` may be the larger one: then the axis runs the other way.
    """

    low: float
    high: float
    ticks: tuple[float, ...]
    say: Callable[[float], str]
    label: str
    log: bool = False
    start: float = 0.0
    """Place of ``low``, in pixels."""
    end: float = 1.0

    def at(self, value: float) -> float:
        """Return the place of a value, in pixels; what lies outside is moved to the nearer end."""
        low, high, value = ((math.log(v) if self.log else v) for v in (self.low, self.high, value))
        share = (value - low) / (high - low)
        return self.start + (self.end - self.start) * min(max(share, 0.0), 1.0)

    def over(self, start: float, end: float) -> "Scale":
        """Return the same axis over other pixels."""
        return replace(self, start=start, end=end)


def fit_scale(
    values: Sequence[float],
    label: str,
    least: float,
    unit: float = 1.0,
    suffix: str = "",
    most: int = 5,
) -> Scale:
    """Return a linear scale that holds all values with some air.

    Args:
        values: at least one.
        least: smallest span, so that equal values do not fill the picture with noise.
        unit: what one stands for in what is written.
        suffix: what is written after each number.
    """
    low, high = min(values), max(values)
    air = max((high - low) * 0.1, (least - (high - low)) / 2)
    low, high = low - air, high + air

    def say(value: float) -> str:
        return say_minus(f"{round(value / unit, 6):,.10g}{suffix}")

    return Scale(low, high, _choose_ticks(low / unit, high / unit, unit, most), say, label)


def fit_ratio_scale(values: Sequence[float], label: str) -> Scale:
    """Return a logarithmic scale with 1 inside and a tick at every power of 2, or of 4.

    Args:
        values: all > 0.
    """
    low = min(-1, math.floor(math.log2(min([1.0, *values]))))
    high = max(1, math.ceil(math.log2(max([1.0, *values]))))
    step = -(-(high - low) // 7)
    ticks = tuple(2.0**i for i in range(low, high + 1) if i % step == 0)
    return Scale(2.0**low, 2.0**high, ticks, lambda v: f"{v:g}", label, log=True)


def _choose_ticks(low: float, high: float, unit: float, most: int) -> tuple[float, ...]:
    raw = (high - low) / most
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * s for s in STEPS if power * s >= raw * (1 - 1e-9))
    first, last = math.ceil(low / step), math.floor(high / step)
    return tuple(i * step * unit for i in range(first, last + 1))
