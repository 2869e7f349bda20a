"""Numbers out of a serial line's bytes: text lines, or frames between sync bytes.

Pure: bytes in, rows out, in whatever pieces the bytes come. What cannot be read is counted where it
stood, never guessed.
"""

import operator
from functools import reduce
from typing import Final, Protocol

import numpy as np

from edge_bundle.tensor import Float32Array

MAX_LINE: Final = 4096
"""Bytes; a longer line is no sample."""
TOLD: Final = 40
"""So many characters of a line are told."""

Run = tuple[Float32Array, int]
"""float32 [n, channels], and how many samples were lost directly before them; n may be 0."""


class Parser(Protocol):
    """Remembers what a piece of bytes left unfinished."""

    def push(self, data: bytes) -> list[Run]:
        """Return the samples that are whole now; in all but the first run some were lost."""

    def problems(self) -> str:
        """Return what was no sample, in words with counts; empty where all were."""


class _Runs:
    """Rows, divided where some are lost."""

    def __init__(self, channels: int) -> None:
        self._channels = channels
        self._runs: list[tuple[list[list[float]], int]] = [([], 0)]

    def add(self, row: list[float]) -> None:
        self._runs[-1][0].append(row)

    def lose(self) -> None:
        rows, lost = self._runs[-1]
        if rows:
            self._runs.append(([], 1))
        else:
            self._runs[-1] = (rows, lost + 1)

    def take(self) -> list[Run]:
        # A loss with nothing behind it yet is told with what comes next.
        ending = not self._runs[-1][0]
        done, self._runs = (self._runs[:-1], self._runs[-1:]) if ending else (self._runs, [([], 0)])
        return [
            (np.array(rows, np.float32).reshape(-1, self._channels), lost) for rows, lost in done
        ]


class LineParser:
    """One sample a line. The first line is left out: it may have begun before we listened."""

    def __init__(
        self, columns: tuple[int, ...], separator: str, comment: str, skip_lines: int, scale: float
    ) -> None:
        """Describe the lines.

        Args:
            columns: which of a line's columns are the channels, from 0.
            separator: between two columns; empty for any blanks.
            comment: what a line begins with that is no sample; empty for none.
            skip_lines: how many more lines to leave out after the first.
            scale: what every value is multiplied by.
        """
        self._columns = columns
        self._separator = separator or None
        self._comment = comment
        self._skip = skip_lines + 1
        self._scale = scale
        self._rest = b""
        self._overlong = False
        self._wrong, self._last = 0, ""
        self._runs = _Runs(len(columns))

    def push(self, data: bytes) -> list[Run]:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            overlong, self._overlong = self._overlong, False
            if self._skip:
                self._skip -= 1
            elif overlong or len(line) > MAX_LINE:
                self._runs.lose()
                if not overlong:
                    self._note(line)
            else:
                self._read(line)
        if len(self._rest) > MAX_LINE:
            if not self._overlong:  # at once: its end may never come
                self._note(self._rest)
            self._rest, self._overlong = b"", True
        return self._runs.take()

    def problems(self) -> str:
        """Return how many lines were no sample, and the last of them."""
        return f"{self._wrong} lines were no sample, the last {self._last!r}" if self._wrong else ""

    def _note(self, line: bytes) -> None:
        self._wrong += 1
        self._last = line[:TOLD].decode("ascii", "replace").strip()

    def _read(self, raw: bytes) -> None:
        line = raw.decode("ascii", "replace").strip()
        if not line or (self._comment and line.startswith(self._comment)):
            return
        cells = line.split(self._separator)
        try:
            row = [float(cells[c]) * self._scale for c in self._columns]
        except (ValueError, IndexError):
            self._runs.lose()
            self._note(raw)
        else:
            self._runs.add(row)


class FrameParser:
    """One sample a frame: sync bytes, values, and maybe one byte of checksum over the values."""

    def __init__(
        self, sync: bytes, values: str, channels: int, checksum: str, scale: float
    ) -> None:
        """Describe the frames.

        Args:
            sync: what a frame begins with.
            values: NumPy type of one value, such as ``<f4``.
            channels: values in a frame.
            checksum: ``none``; ``sum8``, the sum modulo 256; ``xor8``.
            scale: what every value is multiplied by.
        """
        self._sync = sync
        self._dtype = np.dtype(values)
        self._body = channels * self._dtype.itemsize
        self._size = len(sync) + self._body + (checksum != "none")
        self._checksum = checksum
        self._scale = scale
        self._rest = b""
        self._aligned = False
        self._passed = 0
        self._runs = _Runs(channels)

    def push(self, data: bytes) -> list[Run]:
        data, at, begin = self._rest + data, 0, len(self._sync)
        while len(data) - at >= self._size:
            body = data[at + begin : at + begin + self._body]
            whole = data.startswith(self._sync, at) and (
                self._checksum == "none" or data[at + self._size - 1] == self._sum(body)
            )
            if whole:
                row = np.frombuffer(body, self._dtype).astype(np.float64) * self._scale
                self._runs.add(row.tolist())
                at, self._aligned = at + self._size, True
                continue
            # Before the first frame nothing was lost that we were to see.
            if self._aligned:
                self._runs.lose()
                self._aligned = False
            found = data.find(self._sync, at + 1)
            # Sync bytes may be cut by the end of what came.
            after = found if found >= 0 else max(at + 1, len(data) - begin + 1)
            self._passed += after - at
            at = after
        self._rest = data[at:]
        return self._runs.take()

    def problems(self) -> str:
        """Return how many bytes were in no frame, where they are more than a part of one."""
        return f"{self._passed} bytes were in no frame" if self._passed >= self._size else ""

    def _sum(self, body: bytes) -> int:
        return sum(body) & 0xFF if self._checksum == "sum8" else reduce(operator.xor, body)
