"""Recordings, replayed in time."""

import time
from collections.abc import Callable, Iterator
from math import isfinite
from pathlib import Path
from typing import Final

from edge_agent import source_tables as tables
from edge_agent.config import LoadedConfig
from edge_agent.fit import StreamShape
from edge_agent.ring import Chunk
from edge_bundle.errors import ConfigError, RecordingRefused
from edge_bundle.manifest import RATE_TOLERANCE, Channel
from edge_bundle.recording import Recording, read_recordings

TICK_S: Final = 0.02
"""A replay wakes up at most this often; it gives all the samples that are due."""


class Replay:
    """Recordings one after another, at their true rate times a factor."""

    def __init__(
        self, recordings: list[Recording], shape: StreamShape, factor: float, loop: bool
    ) -> None:
        self.shape = shape
        self._recordings = recordings
        self._factor = factor
        self._loop = loop

    def chunks(self, wait: Callable[[float], bool]) -> Iterator[Chunk]:
        """Yield the samples that are due; a break stands between two recordings."""
        period_ns = 1e9 / (self.shape.rate_hz * self._factor)
        begin_ns, given = time.monotonic_ns(), 0
        while True:
            for recording in self._recordings:
                samples, at = recording.samples, 0
                while at < len(samples):
                    elapsed_ns = time.monotonic_ns() - begin_ns
                    due = int(elapsed_ns / period_ns) - given
                    if due <= 0:
                        if wait(max(TICK_S, ((given + 1) * period_ns - elapsed_ns) / 1e9)):
                            return
                        continue
                    n = min(due, len(samples) - at)
                    end_ns = begin_ns + int((given + n) * period_ns)
                    yield Chunk(samples[at : at + n], end_ns, restart=at == 0 and given > 0)
                    at, given = at + n, given + n
            if not self._loop:
                return


def open_replay(loaded: LoadedConfig, index: int, table: tables.Replay) -> Replay:
    """Open the recordings of a table.

    Raises: ConfigError: no such file, or rate or channels that nobody states.
        RecordingRefused: unreadable, or not what the configuration says.
    """
    try:
        recordings = read_recordings(loaded.resolve(table.path), None)
    except OSError as error:
        told = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        raise loaded.error(("source", index, "path"), told) from None
    except ConfigError as error:
        raise loaded.error(("source", index, "path"), str(error)) from None
    shape = _shape(loaded, index, table, recordings[0])
    for recording in recordings:
        _check(recording, shape)
    return Replay(recordings, shape, table.factor, table.loop)


def _shape(
    loaded: LoadedConfig, index: int, table: tables.Replay, recording: Recording
) -> StreamShape:
    rate = table.rate_hz or recording.rate_hz
    if rate is None:
        raise loaded.error(
            ("source", index, "rate_hz"), f"{Path(table.path).name} does not say its rate: say it"
        )
    if not (isfinite(rate) and rate > 0):
        raise RecordingRefused(f"{recording.name}: {rate:g} Hz, expected more than 0")
    channels = table.channels or tuple(Channel(n, "") for n in recording.channels or ())
    if not channels:
        raise loaded.error(
            ("source", index, "channels"),
            f"{Path(table.path).name} does not name its channels: "
            'say channels = [{name = "…", unit = "…"}, …]',
        )
    return StreamShape(rate, channels)


def _check(recording: Recording, shape: StreamShape) -> None:
    names = tuple(c.name for c in shape.channels)
    if not len(recording.samples):
        raise RecordingRefused(f"{recording.name}: no sample in it")
    if recording.channels not in {None, names} or recording.samples.shape[1] != len(names):
        columns = f"{recording.samples.shape[1]} channels"
        found = f"channels {', '.join(recording.channels)}" if recording.channels else columns
        raise RecordingRefused(
            f"{recording.name}: {found}, the configuration says {', '.join(names)}"
        )
    rate = recording.rate_hz
    if rate is not None and not abs(rate / shape.rate_hz - 1) <= RATE_TOLERANCE:
        raise RecordingRefused(
            f"{recording.name}: {rate:g} Hz, the configuration says {shape.rate_hz:g} Hz"
        )
