"""Tables of samples as text: ``.csv`` with a header, a column for each channel, times and labels.

Which column is what, and which is a time, is in ``header``.
"""

import csv
from array import array
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timezone
from itertools import islice
from math import isfinite
from pathlib import Path
from typing import Any, Final, NoReturn

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from edge_bundle.errors import RecordingRefused
from edge_bundle.header import TIMESTAMP, UNITS_S, Columns, read_header
from edge_bundle.tensor import UNLABELLED

EPOCH_S: Final = (1e8, 1e11)
"""What a number of seconds since 1970 is within: the years 1973 to 5138. A date may be any."""
BLOCK: Final = 1024
"""Rows that are held as text at once."""


class Table(Struct, frozen=True):
    """What a table holds."""

    names: tuple[str, ...]
    values: npt.NDArray[np.float64]
    """float64 [samples, names]; each is finite as float32 too."""
    codes: npt.NDArray[np.int64]
    """[samples], an index into ``labels`` or ``UNLABELLED``."""
    labels: tuple[str, ...]
    """In the order of the alphabet."""
    times_s: npt.NDArray[np.float64] | None


class _Codes(dict[str, int]):
    """Numbers what it is asked for, in the order in which it is."""

    def __missing__(self, key: str) -> int:
        self[key] = number = len(self)
        return number


def read_table(file: Path, wanted: Sequence[str] | None) -> Table:
    """Read a table; its text is held in small parts, its numbers as numbers alone.

    Args:
        wanted: the columns to read as channels; None for all that are neither times nor labels.
    Raises: RecordingRefused: no table, or not of numbers; with line and column. OSError.
    """
    try:
        with file.open(newline="", encoding="utf-8-sig") as text:
            rows = csv.reader(text)
            columns = read_header(file, next(rows, None), wanted)
            return _read_rows(file, rows, lambda: rows.line_num + 1, columns)
    except (UnicodeDecodeError, csv.Error) as error:
        raise RecordingRefused(f"{file}: not a readable .csv: {error}") from None


class _Rows:
    """What was read of a table so far: numbers, and no text."""

    def __init__(self, columns: Columns) -> None:
        self._columns = columns
        self._instant = _instant if columns.timed == TIMESTAMP else str
        self._values, self._times, self._codes = array("d"), array("d"), array("q")
        self._seen = _Codes()
        self._count = 0
        self.dated: bool | None = None
        """Whether the first time stamp is ISO 8601, as all must be then; None where none is."""

    def extend(self, rows: list[list[str]]) -> None:
        """Read rows.

        Raises: ValueError, IndexError: in one of them is no finite number or time, or a date among
            numbers.
        """
        columns, instant = self._columns, self._instant
        values = array("d", (float(row[i]) for row in rows for i in columns.values))
        if not _fit(values).all():
            raise ValueError
        self._values.extend(values)
        if columns.timed:
            stamps = [instant(row[columns.time]) for row in rows]
            self._times.extend(map(float, stamps))
            if columns.timed == TIMESTAMP and stamps:
                dated = [isinstance(stamp, float) for stamp in stamps]
                self.dated = dated[0] if self.dated is None else self.dated
                if (not self.dated) in dated:
                    raise ValueError
            if not all(map(isfinite, self._times[self._count :])):
                raise ValueError
        if (at := columns.label) is not None:
            labels = (row[at].strip() if at < len(row) else "" for row in rows)
            self._codes.extend(self._seen[label] for label in labels)
        self._count += len(rows)

    def table(self, file: Path) -> Table:
        """Return all of them.

        Raises: RecordingRefused: times that are none.
        """
        columns = self._columns
        names, timed = columns.names, columns.timed
        labels = tuple(sorted(self._seen.keys() - {""}))
        index = {label: i for i, label in enumerate(labels)}
        order = np.asarray([index.get(label, UNLABELLED) for label in self._seen], np.int64)
        labelled = columns.label is not None
        codes = (
            order[np.asarray(self._codes)]
            if labelled
            else np.full(self._count, UNLABELLED, np.int64)
        )
        values = np.asarray(self._values).reshape(self._count, len(names))
        if timed is None:
            return Table(names, values, codes, labels, None)
        stamps = np.asarray(self._times)
        unit_s = UNITS_S.get(timed, 1.0)
        if timed == TIMESTAMP and not self.dated:
            unit_s = _epoch_unit(file, stamps)
        # From the first on: a double has no room for a microsecond beside 50 years.
        return Table(names, values, codes, labels, (stamps - stamps[:1]) * unit_s)


def _read_rows(
    file: Path, rows: Iterator[list[str]], next_line: Callable[[], int], columns: Columns
) -> Table:
    """Read what is behind the header."""
    read, line = _Rows(columns), next_line()
    while block := list(islice(rows, BLOCK)):
        try:
            read.extend([row for row in block if row])  # an empty line is no row
        except (ValueError, IndexError):
            _find_wrong(file, block, line, columns, read.dated)
        line = next_line()
    return read.table(file)


def _find_wrong(
    file: Path, block: list[list[str]], line: int, columns: Columns, dated: bool | None
) -> NoReturn:
    """Refuse the first row that is not what its columns need."""
    for row in block:
        if row:
            _check_row(f"{file}: line {line}", row, columns, dated)
        line += 1 + sum(cell.count("\n") for cell in row)  # within quotes
    raise AssertionError("no cell is wrong")


def _check_row(where: str, row: list[str], columns: Columns, dated: bool | None) -> None:
    if len(row) < columns.needed:
        few = f"{len(row)} column{'s' if len(row) > 1 else ''}"
        raise RecordingRefused(f"{where}: {few}, the header has {columns.count}")
    for name, at in zip(columns.names, columns.values, strict=True):
        number = _number(where, name, row[at])
        if not _fit([number]).all():
            kind = "at most 3.4e38 in size" if isfinite(number) else "a finite number"
            raise RecordingRefused(f"{where}, column {name}: {row[at]!r}, expected {kind}")
    if columns.timed:
        cell = row[columns.time]
        time = _instant(cell) if columns.timed == TIMESTAMP else cell
        place = f"{where}, column {columns.timed}: {cell!r}"
        kind = "ISO 8601 or a number" if columns.timed == TIMESTAMP else "a number"
        if not isfinite(_number(where, columns.timed, time, kind)):
            raise RecordingRefused(f"{place}, expected a time")
        # In the first rows a value may be wrong before any time was read.
        known = columns.timed == TIMESTAMP and dated is not None
        if known and isinstance(time, float) is not dated:
            kind = "ISO 8601" if dated else "a number"
            raise RecordingRefused(f"{place}, expected {kind} as in the rows above")


def _fit(values: Sequence[float]) -> npt.NDArray[np.bool_]:
    """Tell which are finite as the float32 that they become."""
    with np.errstate(over="ignore"):
        fit: npt.NDArray[np.bool_] = np.isfinite(np.asarray(values, np.float64).astype(np.float32))
    return fit


def _number(where: str, column: str, cell: Any, kind: str = "a number") -> float:
    try:
        return float(cell)
    except ValueError:
        raise RecordingRefused(f"{where}, column {column}: {cell!r}, expected {kind}") from None


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
