"""The header of a table: which column is a channel, which the time, which the label.

The time of a sample is in a column ``time_s``, ``time_ms``, ``time_us``, ``time_ns``, or
``timestamp``, which holds ISO 8601 or the time since 1970 in any of these units: its size tells.
Blanks around names do not count, nor does the case of these. A column that nobody reads and that
looks like a time, in a table that has none, is refused: without its times gaps would go unseen.
"""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from msgspec import Struct

from edge_bundle.errors import ChannelMissing, RecordingRefused
from edge_bundle.wording import ask_nearest

UNITS_S: Final = {"time_s": 1.0, "time_ms": 1e-3, "time_us": 1e-6, "time_ns": 1e-9}
TIMESTAMP: Final = "timestamp"
TIMES: Final = (*UNITS_S, TIMESTAMP)
LABEL: Final = "label"
UNITS: Final = {
    "time_s": "s|secs?|seconds?",
    "time_ms": "ms|msecs?|millis|milliseconds?",
    "time_us": "us|µs|μs|usecs?|micros|microseconds?",
    "time_ns": "ns|nsecs?|nanos|nanoseconds?",
}
"""What people write behind a time instead of its unit, which the key's name has."""
TIMELIKE: Final = re.compile(
    r"(?:(?:unix|epoch|utc|gps|local|elapsed|sensor|sample)[\W_]{0,3})?"
    r"(?:times?|time[\W_]?stamps?|date|date[\W_]?time|epoch|ts|t)"
    r"(?:[\W_]{0,3}(?:utc|iso|unix|epoch|local|"
    + "|".join(f"(?P<{name}>{words})" for name, words in UNITS.items())
    + r"))?[\W_]{0,3}"
)
"""The whole of a name, in small letters, that is a time's: Time (s), t_ms, ts, date, dateTime."""


class Columns(Struct, frozen=True):
    """What is in which column."""

    names: tuple[str, ...]
    values: tuple[int, ...]
    """One for each name."""
    timed: str | None
    time: int
    label: int | None
    count: int
    """Of the header."""
    needed: int
    """What a row must have of them: its label may be missing."""


def read_header(file: Path, header: list[str] | None, wanted: Sequence[str] | None) -> Columns:
    """Find the columns; those that nobody reads may have one name.

    Args:
        header: the first line; None where there is none.
        wanted: the columns to read as channels; None for all that are neither times nor labels.
    Raises: RecordingRefused: no header, or one that does not say what is what. ChannelMissing.
    """
    if not header:
        what = "the file is empty" if header is None else "line 1 is empty"
        raise RecordingRefused(f"{file}: {what}, expected a header with the names of the columns")
    header = [name.strip() for name in header]
    at = {name: i for i, name in enumerate(header)}
    times = sorted(
        (h for h in at if h.casefold() in TIMES), key=lambda h: TIMES.index(h.casefold())
    )
    others = [h for h in header if h not in {*times, LABEL}]
    names = others if wanted is None else [n.strip() for n in wanted]
    if missing := [n for n in names if n not in at]:
        near = ask_nearest(missing[0], [h for h in others if h not in names])
        raise ChannelMissing(
            f"{file}: no column {missing[0]!r}; {near}the header has {', '.join(header)}"
        )
    if len(times) > 1:
        raise RecordingRefused(
            f"{file}: the header has {' and '.join(times)}: leave one column of time"
        )
    if not times:
        _refuse_timelike(file, others, () if wanted is None else names)
    counts = Counter(header)
    if twice := [n for n in dict.fromkeys((*times, *names, LABEL)) if counts[n] > 1]:
        raise RecordingRefused(
            f"{file}: the header has {', '.join(map(repr, twice))} more than once: "
            "leave one column of each name"
        )
    timed = times[0].casefold() if times else None
    values = tuple(at[n] for n in names)
    time = at[times[0]] if times else 0
    needed = 1 + max((time, *values))
    return Columns(
        tuple(names if wanted is None else wanted),
        values,
        timed,
        time,
        at.get(LABEL),
        len(header),
        needed,
    )


def _refuse_timelike(file: Path, header: Sequence[str], read: Sequence[str]) -> None:
    """Refuse a table whose times would be taken for none."""
    for name in header:
        found = TIMELIKE.fullmatch(name.casefold())
        if found is None or name in read:
            continue
        named = [time for time, unit in found.groupdict().items() if unit]
        by_unit = f"{', '.join(UNITS_S)} by its unit, or {TIMESTAMP} if it is ISO 8601"
        raise RecordingRefused(
            f"{file}: column {name!r} looks like a time, which is not read under this name: "
            f"call it {named[0] if named else by_unit}; if it is none, call it otherwise, or leave "
            "it out"
        )
