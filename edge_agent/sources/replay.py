"""Recordings, replayed in time."""

import os
import time
from collections.abc import Callable, Iterator
from math import inf, isfinite
from pathlib import Path
from typing import Final

from edge_agent import source_tables as tables
from edge_agent.config import LoadedConfig
from edge_agent.fit import StreamShape
from edge_agent.ring import Chunk
from edge_bundle.errors import ChannelMissing, ConfigError, RecordingRefused
from edge_bundle.manifest import RATE_TOLERANCE, Channel
from edge_bundle.recording import Recording, read_recordings
from edge_bundle.sound import WAV_UNITS
from edge_bundle.timing import Break

TICK_S: Final = 0.01
"""A replay wakes up when so much of the stream is due, or a sample that lasts longer: a stream of
100 Hz comes sample by sample, as from a sensor, and none wakes anybody 200 times a second.
"""
ROUNDING: Final = 1e-6
"""Of a sample: a time that is as long as whole samples is not taken for shorter."""
LONGEST_S: Final = 3600.0
"""A gap of years is waited for piece by piece: no clock takes that many seconds at once."""
CHUNK, CHUNK_S = 256, 0.1
"""Samples given at once where they are given as fast as they are taken: so many, or so long."""
SOUND: Final = "sound"
"""What a recording's only channel is called where it is sound and nobody names it."""
FULL_SCALE: Final = "1"


class Replay:
    """Recordings one after another, at their true rate times a factor."""

    def __init__(
        self, recordings: list[Recording], shape: StreamShape, factor: float, loop: bool
    ) -> None:
        """Describe a replay.

        Args:
            factor: infinite for as fast as they are taken.
        """
        self.shape = shape
        self._recordings = recordings
        self._factor = factor
        self._loop = loop

    def chunks(self, wait: Callable[[float], bool]) -> Iterator[Chunk]:
        """Yield the samples that are due.

        A break stands between two recordings, and where a recording has one; where samples are
        missing, as much time passes as they would have taken.
        """
        period_ns = 1e9 / (self.shape.rate_hz * self._factor)
        begin_ns, first = time.monotonic_ns(), True
        passed_ns = 0.0
        """When the last sample before the run was due, since the beginning."""
        while True:
            for recording in self._recordings:
                breaks = {b.position: b for b in recording.timing.breaks}
                for start, stop in recording.runs():
                    before = breaks.get(start)
                    if before is not None and before.seconds:
                        passed_ns += before.seconds * 1e9 / self._factor - period_ns
                    run = recording.samples[start:stop]
                    for at, end, end_ns in self._due(len(run), begin_ns + passed_ns, wait):
                        if end == at:
                            return
                        restart = at == 0 and not first
                        lost = _lost(before) if restart else 0
                        first = False
                        yield Chunk(run[at:end], end_ns, lost, restart)
                    passed_ns += len(run) * period_ns
            if not self._loop:
                return

    def _due(
        self, count: int, begin_ns: float, wait: Callable[[float], bool]
    ) -> Iterator[tuple[int, int, int]]:
        """Yield start, end and time of the pieces of a run; an empty one when it is to stop."""
        at = 0
        period_ns = 1e9 / (self.shape.rate_hz * self._factor)
        # Not a tick from now, which is a little late: that would be behind the next sample's time.
        step = max(1, int(TICK_S * 1e9 / period_ns + ROUNDING)) if period_ns else 0
        while at < count:
            now_ns = time.monotonic_ns()
            if not period_ns:
                end = min(count, at + max(CHUNK, int(CHUNK_S * self.shape.rate_hz)))
                yield at, end, now_ns
                at = end
                continue
            due = int((now_ns - begin_ns) / period_ns + ROUNDING) - at
            if due > 0:
                end = min(at + due, count)
                yield at, end, int(begin_ns + end * period_ns)
                at = end
            elif wait(min(LONGEST_S, (begin_ns + (at + step) * period_ns - now_ns) / 1e9)):
                yield at, at, now_ns
                return

    def problems(self) -> str:
        """Return what the recordings' time stamps said."""
        timings = [r.timing for r in self._recordings]
        lost, jumps = sum(t.lost for t in timings), sum(t.jumps for t in timings)
        counts = {
            f"gaps with {lost} samples lost": sum(len(t.breaks) for t in timings) - jumps,
            "times the clock was set back": jumps,
            "time stamps written twice": sum(t.duplicates for t in timings),
            "bursts that came late, with nothing lost": sum(t.late for t in timings),
        }
        return "; ".join(f"{n} {what}" for what, n in counts.items() if n)


def open_replay(loaded: LoadedConfig, index: int, table: tables.Replay) -> Replay:
    """Open the recordings of a table.

    Raises: ConfigError: no such file, rate or channels that nobody states, or other ones than the
            recording has.
        RecordingRefused: unreadable.
    """
    file = loaded.resolve(table.path)
    if not os.path.isfile(file):  # which may have a # in its name
        file = loaded.resolve(table.path.rpartition("#")[0] or table.path)
    sound = file.suffix.lower() == ".wav"
    if table.channel is not None and not sound:
        raise loaded.error(("source", index, "channel"), "is for a .wav alone")
    if table.factor == "max" and table.policy != "block":
        raise loaded.error(
            ("source", index, "policy"), f'{table.policy!r}: factor = "max" needs "block"'
        )
    units = {c.unit for c in table.channels} or {FULL_SCALE}
    if sound and not (len(units) == 1 and units <= WAV_UNITS.keys()):
        raise loaded.error(
            ("source", index, "channels"),
            f"units {', '.join(sorted(units))}: a .wav gives 1 (full scale) or int16",
        )
    try:
        recordings = read_recordings(
            loaded.resolve(table.path),
            None,
            units.pop() if sound else "",
            table.channel,
            [c.name for c in table.channels] or None,
        )
    except ChannelMissing as error:
        raise loaded.error(("source", index, "channels"), str(error)) from None
    except OSError as error:
        told = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        raise loaded.error(("source", index, "path"), told) from None
    except ConfigError as error:
        raise loaded.error(("source", index, "path"), str(error)) from None
    shape = _shape(loaded, index, table, recordings[0], sound)
    for recording in recordings:
        _check(loaded, index, recording, shape)
    return Replay(recordings, shape, inf if table.factor == "max" else table.factor, table.loop)


def _lost(before: Break | None) -> int:
    return before.lost if before is not None else 0


def _shape(
    loaded: LoadedConfig, index: int, table: tables.Replay, recording: Recording, sound: bool
) -> StreamShape:
    rate = table.rate_hz or recording.rate_hz
    if rate is None:
        raise loaded.error(
            ("source", index, "rate_hz"), f"{Path(table.path).name} does not say its rate: say it"
        )
    if not (isfinite(rate) and rate > 0):
        raise RecordingRefused(f"{recording.name}: {rate:g} Hz, expected more than 0")
    channels = table.channels or tuple(Channel(n, "") for n in recording.channels or ())
    if sound and not channels:
        count = recording.samples.shape[1]
        names = [SOUND] if count == 1 else [f"{SOUND}{i}" for i in range(count)]
        channels = tuple(Channel(n, FULL_SCALE) for n in names)
    if not channels:
        raise loaded.error(
            ("source", index, "channels"),
            f"{Path(table.path).name} does not name its channels: "
            'say channels = [{name = "…", unit = "…"}, …]',
        )
    return StreamShape(rate, channels)


def _check(loaded: LoadedConfig, index: int, recording: Recording, shape: StreamShape) -> None:
    name, names, found = recording.name, tuple(c.name for c in shape.channels), recording.channels
    columns, rate = recording.samples.shape[1], recording.rate_hz
    if not len(recording.samples):
        raise RecordingRefused(f"{name}: no sample in it")
    if found is not None and len(found) != columns:
        raise RecordingRefused(
            f"{name}: {columns} channels, and names for {len(found)}: {', '.join(found)}"
        )
    if columns != len(names):  # of a file that names its own, these were found by their names
        raise loaded.error(
            ("source", index, "channels"),
            f"{', '.join(names)}: {name} has {columns} channels; name {columns}; of a .wav, "
            "channel takes one of them",
        )
    if rate is not None and not abs(rate / shape.rate_hz - 1) <= RATE_TOLERANCE:
        if not (isfinite(rate) and rate > 0):
            raise RecordingRefused(f"{name}: {rate:g} Hz, expected more than 0")
        raise loaded.error(
            ("source", index, "rate_hz"),
            f"{shape.rate_hz:g} Hz: {name} has {rate:g} Hz; leave rate_hz out; where a model wants "
            'another rate resample the file, or say resample = "linear" or "polyphase" in [stream] '
            "of the bundle's specification",
        )
