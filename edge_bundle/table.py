"""Tables of samples as text: ``.csv`` with a header, a column for each channel, times and labels.

The time of a sample is in a column ``time_s``, ``time_ms``, ``time_us``, ``time_ns``, or
``timestamp``, which holds ISO 8601 or the time since 1970 in any of these units: its size tells.
"""

import csv
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from edge_bundle.errors import RecordingRefused

UNITS_S: Final = {"time_s": 1.0, "time_ms": 1e-3, "time_us": 1e-6, "time_ns": 1e-9}
TIMESTAMP: Final = "timestamp"
LABEL: Final = "label"
EPOCH_S: Final = (1e8, 1e11)
"""What a time since 1970 in seconds is within: the years 1973 to 5138."""


class Table(Struct, frozen=True):
    """What a table holds."""

    names: tuple[str, ...]
    values: npt.NDArray[np.float64]
    """float64 [samples, names]."""
    labels: list[str]
    """One for each sample; empty where it has none."""
    times_s: npt.NDArray[np.float64] | None


def read_table(file: Path, wanted: Sequence[str] | None) -> Table:
    """Read a table.

    Args:
        wanted: the columns to read as channels; None for all that are neither times nor labels.
    Raises: RecordingRefused: no table, or not of numbers; with line and column. OSError.
    """
    try:
        with file.open(newline="", encoding="utf-8-sig") as text:
            rows = csv.DictReader(text)
            header = list(rows.fieldnames or [])
            others = [h for h in header if h not in {*UNITS_S, TIMESTAMP, LABEL}]
            names = list(others if wanted is None else wanted)
            if missing := [n for n in names if n not in header]:
                raise RecordingRefused(
                    f"{file}: no column {missing[0]!r}; the header has {', '.join(header)}"
                )
            timed = next((c for c in (*UNITS_S, TIMESTAMP) if c in header), None)
            return _read_rows(file, rows, names, timed, LABEL in header)
    except (UnicodeDecodeError, csv.Error) as error:
        raise RecordingRefused(f"{file}: not a readable .csv: {error}") from None


def _read_rows(
    file: Path, rows: "csv.DictReader[str]", names: list[str], timed: str | None, labelled: bool
) -> Table:
    values: list[list[float]] = []
    times: list[float] = []
    labels: list[str] = []
    for number, row in enumerate(rows, 2):
        where = f"{file}: line {number}, column "
        values.append([_number(where, name, row[name]) for name in names])
        if timed:
            cell = row[timed]
            times.append(_number(where, timed, _instant(cell) if timed == TIMESTAMP else cell))
            if not np.isfinite(times[-1]):
                raise RecordingRefused(f"{where}{timed}: {cell!r}, expected a time")
        labels.append((row[LABEL] or "") if labelled else "")
    table = np.asarray(values, np.float64).reshape(len(values), len(names))
    if timed is None:
        return Table(tuple(names), table, labels, None)
    stamps = np.asarray(times, np.float64)
    unit_s = UNITS_S[timed] if timed in UNITS_S else _epoch_unit(file, stamps)
    # From the first on: a double has no room for a microsecond beside 50 years.
    return Table(tuple(names), table, labels, (stamps - stamps[:1]) * unit_s)


def _number(where: str, column: str, cell: Any) -> float:
    try:
        return float(cell)
    except (TypeError, ValueError):
        raise RecordingRefused(f"{where}{column}: {cell!r}, expected a number") from None


def _instant(cell: Any) -> Any:
    """Return an ISO 8601 time as seconds since 1970, UTC where it names no zone; else the cell."""
    text = str(cell).strip()
    if "-" not in text[1:] and ":" not in text:  # a number: newer Pythons read some as dates
        return cell
    try:
        when = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return cell
    return (when if when.tzinfo else when.replace(tzinfo=timezone.utc)).timestamp()


def _epoch_unit(file: Path, stamps: npt.NDArray[np.float64]) -> float:
    if not stamps.size:
        return 1.0
    first = float(stamps[0])
    for unit_s in UNITS_S.values():
        if EPOCH_S[0] <= first * unit_s < EPOCH_S[1]:
            return unit_s
    raise RecordingRefused(
        f"{file}: timestamp: {first:g} is no time since 1970: name the column by its unit, "
        f"{', '.join(UNITS_S)}"
    )
