"""Recordings: samples of a stream in a file, with labels where somebody gave them.

Three formats: ``.npz``, see ``npz``; ``.csv``, see ``table``; ``.wav``, see ``wav``, whose samples
are in the unit of the stream's channels.
``FILE#0-2,5`` names some of a file's recordings; of a ``.wav``, ``#0`` names a channel and
``#mean`` the mean of all.
"""

import os
import re
from collections.abc import Sequence
from errno import EISDIR
from pathlib import Path

import numpy as np
import numpy.typing as npt
from msgspec import Struct
from msgspec.structs import replace

from edge_bundle.errors import ConfigError, RecordingRefused
from edge_bundle.manifest import RATE_TOLERANCE, Stream
from edge_bundle.npz import MAX_BYTES, read_concatenated
from edge_bundle.resampling import make_resampler
from edge_bundle.sound import Pick, choose_one, read_sound
from edge_bundle.tensor import UNLABELLED, Array, Float32Array
from edge_bundle.timing import UNTIMED, Break, Timing, read_times, runs


class Recording(Struct, frozen=True):
    """Samples one after another, with breaks where some are missing."""

    name: str
    samples: Float32Array
    """float32 [samples, channels], finite, in the stream's units."""
    channels: tuple[str, ...] | None
    rate_hz: float | None
    codes: npt.NDArray[np.int64]
    """[samples], an index into ``labels`` or ``UNLABELLED``."""
    labels: tuple[str, ...]
    timing: Timing = UNTIMED
    """What the samples' time stamps said, where there were any."""

    def runs(self) -> list[tuple[int, int]]:
        """Return start and stop of each run that no break is in: windows lie within them."""
        return runs(len(self.samples), self.timing.breaks)

    def label(self, start: int, stop: int) -> str | None:
        """Return the label that all samples in [start, stop) share, else None."""
        codes = self.codes[start:stop]
        if codes.size == 0 or codes[0] == UNLABELLED or (codes != codes[0]).any():
            return None
        return self.labels[int(codes[0])]


def read_recordings(
    source: str | Path,
    stream: Stream | None,
    unit: str = "",
    pick: Pick | None = None,
    names: Sequence[str] | None = None,
) -> list[Recording]:
    """Read the recordings of a file and check that they are what the stream describes.

    Another rate than the stream's is resampled where the stream's policy says so.

    Args:
        source: path to a ``.npz``, ``.csv`` or ``.wav``, with ``#0-2,5`` for some of its
            recordings.
        stream: rate, channels and window that the recordings must fit; None where the caller
            judges that.
        unit: of the samples of a ``.wav`` where there is no stream to say it.
        pick: which of a ``.wav``'s channels, where the source does not say it.
        names: the channels to take, in this order, from a file that names its own; None for the
            stream's, or all where there is none.
    Raises:
        FileNotFoundError: no such file. OSError: it cannot be opened, or is a folder.
        ConfigError: a selection that cannot be.
        RecordingRefused: unreadable, other channels or rate, not finite, or no whole window.
            ChannelMissing: one of the names is not there.
    """
    if names is None and stream is not None:
        names = [c.name for c in stream.channels]
    file, chosen = _find(source)
    if file.stat().st_size > MAX_BYTES:
        raise RecordingRefused(f"{file}: larger than {MAX_BYTES} bytes")
    recordings = _read(file, chosen, stream, unit, pick, names)
    for recording in recordings:
        if stream is not None:
            _check_channels(recording, stream)
        _check_finite(recording)
    if stream is None:
        return recordings
    return [_fit(recording, stream) for recording in recordings]


def _read(
    file: Path,
    chosen: str,
    stream: Stream | None,
    unit: str,
    pick: Pick | None,
    names: Sequence[str] | None,
) -> list[Recording]:
    """Return a file's recordings, those that were chosen, as they are."""
    kind = file.suffix.lower()
    if kind == ".wav":
        return [_read_wav(file, chosen, stream, unit, pick)]
    if kind == ".npz":
        recordings = _read_npz(file, names)
    elif kind == ".csv":
        recordings = [_read_csv(file, names)]
    else:
        raise RecordingRefused(f"{file}: expected a .npz, .csv or .wav file")
    if not recordings:
        raise RecordingRefused(f"{file}: no recording in it")
    if chosen:
        return [recordings[i] for i in _selection(file, chosen, len(recordings))]
    return recordings


def _find(source: str | Path) -> tuple[Path, str]:
    """Return the file and what stands behind its #; a folder or a file may have one in its name."""
    file, chosen = Path(source), ""
    if not os.path.isfile(file):
        path, _, chosen = str(source).rpartition("#")
        file = Path(path) if os.path.isfile(path) else file
    if os.path.isdir(file):
        raise IsADirectoryError(EISDIR, "is a directory, expected a recording", str(file))
    if not os.path.isfile(file):
        raise FileNotFoundError(f"{file}: no such recording")
    return file, chosen


def _selection(file: Path, chosen: str, count: int) -> list[int]:
    numbers: list[int] = []
    for part in chosen.split(","):
        found = re.fullmatch(r"([0-9]{1,9})(?:-([0-9]{1,9}))?", part)
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
        if not first <= last < count:
            raise ConfigError(
                f"{file}#{chosen}: {part!r}: expected numbers or ranges such as 0-2,5; "
                f"the file has recordings 0 to {count - 1}"
            )
        numbers.extend(range(first, last + 1))
    return numbers


def _check_channels(recording: Recording, stream: Stream) -> None:
    name, samples = recording.name, recording.samples
    expected = tuple(c.name for c in stream.channels)
    if samples.shape[1] != len(expected):
        one = len(expected) == 1
        raise RecordingRefused(
            f"{name}: {samples.shape[1]} channels, the stream has {len(expected)}: "
            f"{', '.join(expected)}{choose_one(name, samples.shape[1]) if one else ''}"
        )
    if recording.channels is not None and recording.channels != expected:
        raise RecordingRefused(
            f"{name}: channels {', '.join(recording.channels)}, expected {', '.join(expected)}"
        )


def _fit(recording: Recording, stream: Stream) -> Recording:
    """Return a recording at the stream's rate, with at least one window in it."""
    name, rate = recording.name, recording.rate_hz
    given, told = _longest(recording), ""
    if rate is not None and not abs(rate / stream.rate_hz - 1) <= RATE_TOLERANCE:
        if stream.resample == "refuse" or not rate > 0:
            raise RecordingRefused(
                f"{name}: {rate:g} Hz, the stream has {stream.rate_hz:g} Hz: resample it, or say "
                'resample = "linear" or "polyphase" in [stream] of the bundle\'s specification'
            )
        recording = _resample(recording, rate, stream)
        none = " (polyphase gives none at the ends)" if stream.resample == "polyphase" else ""
        told = f" at {rate:g} Hz give {_longest(recording)} at {stream.rate_hz:g} Hz{none}"
    if _longest(recording) < stream.window:
        whole = " without a gap" if recording.timing.breaks else ""
        raise RecordingRefused(
            f"{name}: {given} samples{whole}{told}, one window needs {stream.window}"
        )
    return recording


def _longest(recording: Recording) -> int:
    return max((b - a for a, b in recording.runs()), default=0)


def _resample(recording: Recording, rate_hz: float, stream: Stream) -> Recording:
    """Return a recording at the stream's rate: each run by itself, each label where it was."""
    assert stream.resample != "refuse"
    samples, codes = recording.samples, recording.codes
    try:
        resampler = make_resampler(stream.resample, rate_hz, stream.rate_hz, samples.shape[1])
    except ValueError as error:
        raise RecordingRefused(f"{recording.name}: {error}") from None
    lost = {b.position: b for b in recording.timing.breaks}
    parts: list[Float32Array] = []
    part_codes: list[npt.NDArray[np.int64]] = []
    breaks: list[Break] = []
    total = 0
    for start, stop in recording.runs():
        if start in lost:
            missing = round(lost[start].lost / float(resampler.step))
            breaks.append(replace(lost[start], position=total, lost=missing))
        resampler.restart()
        made = resampler.push(samples[start:stop])
        numbers = resampler.first + np.arange(len(made))
        nearest = np.rint(numbers * float(resampler.step)).astype(np.int64)
        parts.append(made)
        part_codes.append(codes[start + np.minimum(nearest, stop - start - 1)])
        total += len(made)
    return replace(
        recording,
        samples=np.concatenate(parts) if parts else samples[:0],
        codes=np.concatenate(part_codes) if parts else codes[:0],
        rate_hz=stream.rate_hz,
        timing=replace(recording.timing, breaks=tuple(breaks)),
    )


def _check_finite(recording: Recording) -> None:
    samples = recording.samples
    bad = ~np.isfinite(samples)
    if bad.any():
        row, column = np.argwhere(bad)[0].tolist()
        channel = dict(enumerate(recording.channels or ())).get(column, column)
        raise RecordingRefused(
            f"{recording.name}: sample {row}, channel {channel}: {samples[row, column]}, "
            "expected a finite number"
        )


def _as_float32(values: Array) -> Float32Array:
    with np.errstate(over="ignore"):  # becomes infinite, which _check refuses by its place
        return np.ascontiguousarray(values, np.float32)


def _read_npz(file: Path, names: Sequence[str] | None) -> list[Recording]:
    found = read_concatenated(file)
    if names is not None:
        found = found.select(file, tuple(names))
    return [
        Recording(
            f"{file}#{i}",
            _as_float32(values),
            found.channels,
            found.rate_hz,
            np.full(len(values), code, np.int64),
            found.labels,
        )
        for i, (values, code) in enumerate(found.parts())
    ]


def _read_csv(file: Path, names: Sequence[str] | None) -> Recording:
    from edge_bundle.table import read_table  # as the other kinds: where there is one

    table = read_table(file, names)
    try:
        timing = UNTIMED if table.times_s is None else read_times(table.times_s)
    except ValueError as error:
        raise RecordingRefused(f"{file}: {error}") from None
    samples, rate_hz = _as_float32(table.values), timing.rate_hz
    return Recording(str(file), samples, table.names, rate_hz, table.codes, table.labels, timing)


def _read_wav(
    file: Path, chosen: str, stream: Stream | None, unit: str, pick: Pick | None
) -> Recording:
    units = {c.unit for c in stream.channels} if stream else {unit}
    sound = read_sound(file, chosen, units, pick)
    codes = np.full(len(sound.samples), UNLABELLED, np.int64)
    return Recording(str(file), sound.samples, None, float(sound.rate_hz), codes, ())
