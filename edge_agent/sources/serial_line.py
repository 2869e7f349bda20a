"""Numbers that a serial line carries, as text or in frames."""

import time
from collections.abc import Callable, Iterator
from typing import Any, Final

from edge_agent import source_tables as tables
from edge_agent.config import LoadedConfig
from edge_agent.fit import StreamShape
from edge_agent.ring import Chunk
from edge_agent.sources.device import failing, need_library, period_ns, rest_s, until_readable
from edge_agent.sources.serial_parsing import FrameParser, LineParser, Parser
from edge_agent.sources.source import SourceFailed

MAX_READ: Final = 65536
SILENCE_PERIODS: Final = 10
SILENCE_S: Final = 1.0
"""A line that says nothing for so long, and so many samples, breaks the stream."""
FORMATS: Final = {"float32": "f4", "int16": "i2"}


class Serial:
    """A line's samples, with the times when they were read."""

    def __init__(self, shape: StreamShape, table: tables.Serial, library: Any) -> None:
        """Describe the source; the line is opened when chunks are asked for.

        Args:
            shape: rate and channels.
            table: what the configuration says.
            library: the module ``serial``.
        """
        self.shape = shape
        self._table = table
        self._library = library
        self._given = False
        self._parser = _make_parser(table, len(shape.channels))
        self._end_ns = 0
        """When the last sample so far was there."""

    def chunks(self, wait: Callable[[float], bool]) -> Iterator[Chunk]:
        """Yield what came; wakes up when something does, and rests between.

        Raises: SourceFailed: there is no such line, it cannot have the speed, or it was unplugged.
        """
        table, period, pause_s = self._table, period_ns(self.shape), rest_s(self.shape)
        parser = self._parser = _make_parser(table, len(self.shape.channels))
        silence_ns = max(SILENCE_S * 1e9, SILENCE_PERIODS * period)
        restart, previous_ns = self._given, 0
        with failing(table.device, "dialout"), self._open() as line:
            while not until_readable(line.fileno(), wait, pause_s):
                data = line.read(MAX_READ)
                now_ns = time.monotonic_ns()
                runs = parser.push(data)
                behind = sum(len(samples) for samples, _ in runs)
                for samples, lost in runs:
                    behind -= len(samples)
                    if previous_ns and now_ns - previous_ns > silence_ns:
                        restart = True
                    previous_ns = now_ns
                    # A burst is what came late: none of it is from before what was read before.
                    self._end_ns = max(self._end_ns, now_ns - int(behind * period))
                    yield Chunk(samples, self._end_ns, lost, restart)
                    restart, self._given = False, True

    def _open(self) -> Any:
        table = self._table
        try:
            return self._library.Serial(table.device, table.baud, timeout=0)
        except (ValueError, OverflowError) as error:  # how pyserial says that of a speed
            raise SourceFailed(f"{table.device}: baud {table.baud}: {error}") from None

    def problems(self) -> str:
        """Return what came and was no sample, since the line was opened."""
        return self._parser.problems()


def open_serial(loaded: LoadedConfig, index: int, table: tables.Serial) -> Serial:
    """Open the source of a table.

    Raises: ConfigError: pyserial is missing, or the columns are not the channels'.
    """
    if table.columns and len(table.columns) != len(table.channels):
        raise loaded.error(
            ("source", index, "columns"),
            f"{len(table.columns)} columns, expected one for each of "
            f"{len(table.channels)} channels",
        )
    library = need_library(loaded, index, "serial", "serial")
    return Serial(StreamShape(table.rate_hz, table.channels), table, library)


def _make_parser(table: tables.Serial, channels: int) -> Parser:
    if table.format == "lines":
        columns = table.columns or tuple(range(channels))
        return LineParser(columns, table.separator, table.comment, table.skip_lines, table.scale)
    values = ("<" if table.order == "little" else ">") + FORMATS[table.values]
    sync = bytes.fromhex(table.sync)
    return FrameParser(sync, values, channels, table.checksum, table.scale)
