"""What the records of an IIO buffer hold: layout, values, and what their times say of losses.

Pure: bytes in, numbers out. Source of the layout: Linux, Documentation/iio/iio_devbuf.rst and
Documentation/ABI/testing/sysfs-bus-iio.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt

TYPE: Final = re.compile(
    r"(?P<order>[bl])e:(?P<sign>[su])(?P<bits>\d+)/(?P<storage>\d+)(X(?P<repeat>\d+))?>>(?P<shift>\d+)"
)
GAP_PERIODS: Final = 1.5
"""Samples that are further apart have others missing between them."""
MAX_LOST_NS: Final = 60_000_000_000
"""After a longer gap the clock was set or the machine slept: nobody knows what was lost."""


@dataclass(frozen=True, slots=True)
class Element:
    """One value of a record."""

    name: str
    """Such as ``accel_x``, or ``timestamp``."""
    index: int
    big_endian: bool
    signed: bool
    bits: int
    storage_bits: int
    shift: int


def read_type(name: str, index: int, text: str) -> Element:
    """Read what ``in_NAME_type`` says, such as ``le:s12/16>>4``.

    Raises: ValueError: not such a text, or one that is not supported.
    """
    found = TYPE.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{name}: type {text.strip()!r}, expected one like 'le:s12/16>>4'")
    bits, storage, shift = int(found["bits"]), int(found["storage"]), int(found["shift"])
    fits = storage in {8, 16, 32, 64} and 1 <= bits <= storage - shift
    if not fits or int(found["repeat"] or 1) > 1:
        raise ValueError(
            f"{name}: type {text.strip()!r}, "
            "expected one value of 8, 16, 32 or 64 bits that holds its bits"
        )
    return Element(name, index, found["order"] == "b", found["sign"] == "s", bits, storage, shift)


class Scan:
    """Decodes records of the elements that are enabled."""

    def __init__(self, elements: Sequence[Element]) -> None:
        """Lay the elements out: by index, each aligned to its own size, the whole to the largest.

        Raises: ValueError: none, or two of one index.
        """
        ordered = sorted(elements, key=lambda e: e.index)
        if not ordered or any(a.index == b.index for a, b in pairwise(ordered)):
            raise ValueError("expected elements of different indexes")
        at, offsets = 0, []
        sizes = [e.storage_bits // 8 for e in ordered]
        for size in sizes:
            at = -(-at // size) * size
            offsets.append(at)
            at += size
        self.record_bytes = -(-at // max(sizes)) * max(sizes)
        self._elements = {e.name: e for e in ordered}
        self._dtype = np.dtype(
            {
                "names": [e.name for e in ordered],
                "formats": [
                    f"{'>' if e.big_endian else '<'}u{s}"
                    for e, s in zip(ordered, sizes, strict=True)
                ],
                "offsets": offsets,
                "itemsize": self.record_bytes,
            }
        )

    def records(self, data: bytes) -> npt.NDArray[Any]:
        """Return whole records [n] of bytes; a rest that is no record is left out."""
        n = len(data) // self.record_bytes
        return np.frombuffer(data, self._dtype, n)

    def column(self, records: npt.NDArray[Any], name: str) -> npt.NDArray[np.int64]:
        """Return the codes [n] of one element; unsigned ones of 64 bits wrap."""
        element = self._elements[name]
        codes: npt.NDArray[np.uint64] = records[name].astype(np.uint64) >> np.uint64(element.shift)
        unused = np.uint64(64 - element.bits)
        # To the top and back: a signed shift brings the sign down with it.
        top = codes << unused
        signed: npt.NDArray[np.int64] = top.view(np.int64) >> unused.view(np.int64)
        unsigned: npt.NDArray[np.int64] = (top >> unused).view(np.int64)
        return signed if element.signed else unsigned


@dataclass(frozen=True, slots=True)
class Piece:
    """Samples ``begin`` to ``end`` of a read, with nothing missing between them."""

    begin: int
    end: int
    lost: int
    """Samples missing directly before them."""
    restart: bool
    """Whether no window may span the place directly before them."""


def find_gaps(
    times: npt.NDArray[np.int64], previous: int | None, period_ns: float
) -> Iterator[Piece]:
    """Divide samples where their times leave some out, go back, or stand still.

    Args:
        times: int64 [n], ns, of the samples; n > 0.
        previous: time of the sample before them; None where there is none.
        period_ns: from one sample to the next.
    """
    steps = np.diff(times, prepend=times[0] if previous is None else previous)
    wrong = (steps > GAP_PERIODS * period_ns) | (steps <= 0)
    if previous is None:
        wrong[0] = False
    starts = np.flatnonzero(wrong).tolist()
    begins = starts if starts[:1] == [0] else [0, *starts]
    for begin, end in zip(begins, [*begins[1:], len(times)], strict=True):
        step = int(steps[begin])
        known = wrong[begin] and 0 < step <= MAX_LOST_NS
        lost = max(0, round(step / period_ns) - 1) if known else 0
        yield Piece(begin, end, lost, bool(wrong[begin]))
