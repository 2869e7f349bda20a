"""How numbers and foreign text look, everywhere in a report. Pure.

A rounded number never claims more than is so: 99.97 % is not 100.0 %, a small loss is not 0.0.
"""

import math
import unicodedata
from collections.abc import Sequence
from typing import Final, TypeGuard

MINUS: Final = "\u2212"
UNKNOWN: Final = "\u2013"
MOST_DECIMALS: Final = 6
NOISE: Final = 1e-9
"""What arithmetic leaves of an exact value."""


def clean(text: str) -> str:
    """Return text that a page or terminal shows and does not obey: no control characters."""
    return "".join(c if c.isprintable() else " " if c.isspace() else "\ufffd" for c in text)


def measure(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )


def shorten(text: str, room: int) -> str:
    """Return a text of at most ``room`` columns; names differ most near their end, which stays."""
    text = clean(text)
    if measure(text) <= room:
        return text
    head = _take(text, (room - 1) // 3)
    tail = _take(text[::-1], room - 1 - measure(head))
    return f"{head}\u2026{tail[::-1]}"


def pad(text: str, columns: int) -> str:
    """Return a text filled up to so many columns."""
    return text + " " * (columns - measure(text))


def is_known(value: float | None) -> TypeGuard[float]:
    """Tell whether there is a number that can be shown on a scale."""
    return value is not None and math.isfinite(value)


def say_percent(fraction: float) -> str:
    """Return such as ``91.6 %``."""
    return _round(100 * fraction, 1, (0.0, 100.0)) + " %"


def say_points(fraction: float) -> str:
    """Return a difference of two percentages with its sign, such as ``+0.11``, without the unit."""
    text = _round(100 * fraction, 2, (0.0,))
    return f"+{text}" if 100 * fraction >= NOISE else text


def say_budget(fraction: float) -> str:
    """Return such as ``1.0 points``, in as many decimals as it was given with."""
    text = f"{100 * fraction:.10g}"
    return f"{text if '.' in text else text + '.0'} points"


def say_bytes(count: int | None) -> str:
    """Return such as ``102,635``."""
    return UNKNOWN if count is None else say_minus(f"{count:,}")


def say_decibels(value: float | None) -> str:
    """Return such as ``30.1``."""
    return say_minus(f"{value:.1f}") if is_known(value) else UNKNOWN


def say_ratio(value: float | None) -> str:
    """Return such as ``0.57``."""
    return _round(value, 2, (0.0,)) if is_known(value) else UNKNOWN


def say_time(microseconds: float) -> str:
    """Return such as ``148 µs`` or ``8.3 ms``."""
    if microseconds < 1000:
        return f"{microseconds:.0f} µs" if microseconds >= 10 else f"{microseconds:.1f} µs"
    return f"{microseconds / 1000:,.1f} ms"


def say_probability(p: float) -> str:
    """Return such as ``p = 0.625``."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def say_count(count: int, noun: str) -> str:
    """Return such as ``1 sample`` or ``1,200 samples``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def say_list(names: Sequence[str], most: int) -> str:
    """Return at most so many names, and how many more there are."""
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most:,} more" if len(names) > most else shown


def say_minus(text: str) -> str:
    """Return the text of a number with a real minus sign."""
    return text.replace("-", MINUS)


def _round(value: float, decimals: int, exact: tuple[float, ...]) -> str:
    """Round, with more decimals where fewer would read as an exact value that it is not."""
    value = next((e for e in exact if abs(value - e) < NOISE), value)
    while decimals < MOST_DECIMALS and round(value, decimals) in exact and value not in exact:
        decimals += 1
    # Adding 0.0 takes the sign from a zero.
    return say_minus(f"{round(value, decimals) + 0.0:.{decimals}f}")


def _take(text: str, room: int) -> str:
    """Return as much of the beginning as fits."""
    end = used = 0
    for c in text:
        used += measure(c)
        if used > room:
            break
        end += 1
    return text[:end]
