"""Recordings: samples of a stream in a file, with labels where somebody gave them.

Two formats. ``.npz``: ``values`` [samples, channels] with ``lengths`` of the recordings one
after another, and optionally ``y`` (an index for each recording), ``y_labels``, ``channels`` and
``rate_hz``.
``.csv``: a header, one column for each channel, and optionally ``time_s`` or ``time_ms`` and
``label``. ``FILE#0-2,5`` names some of a file's recordings.
"""

import csv
import os
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from edge_bundle.errors import ConfigError, RecordingRefused
from edge_bundle.manifest import RATE_TOLERANCE, Stream
from edge_bundle.tensor import Array, Float32Array

MAX_RECORDING_BYTES = 1 << 30
UNLABELLED = -1
GAP_STEPS = 3
"""A step of so many usual ones is taken for a gap."""


@dataclass(frozen=True, slots=True)
class Recording:
    """One contiguous run of samples."""

    name: str
    samples: Float32Array
    """float32 [samples, channels], finite, in the stream's units."""
    channels: tuple[str, ...] | None
    rate_hz: float | None
    codes: npt.NDArray[np.int64]
    """[samples], an index into ``labels`` or ``UNLABELLED``."""
    labels: tuple[str, ...]

    def label(self, start: int, stop: int) -> str | None:
        """Return the label that all samples in [start, stop) share, else None."""
        codes = self.codes[start:stop]
        if codes.size == 0 or codes[0] == UNLABELLED or (codes != codes[0]).any():
            return None
        return self.labels[int(codes[0])]


def read_recordings(source: str | Path, stream: Stream | None) -> list[Recording]:
    """Read the recordings of a file and check that they are what the stream describes.

    Args:
        source: path to a ``.npz`` or ``.csv``, with ``#0-2,5`` for some of its recordings.
        stream: rate, channels and window that the recordings must fit; None where the caller
            judges that.
    Raises:
        FileNotFoundError: no such file. ConfigError: a selection that cannot be.
        RecordingRefused: unreadable, other channels or rate, not finite, or no whole window.
    """
    file, chosen = Path(source), ""
    if not os.path.isfile(file):  # a folder or a file may have a # in its name
        path, _, chosen = str(source).rpartition("#")
        file = Path(path) if os.path.isfile(path) else file
    if not os.path.isfile(file):
        raise FileNotFoundError(f"{file}: no such recording")
    if file.stat().st_size > MAX_RECORDING_BYTES:
        raise RecordingRefused(f"{file}: larger than {MAX_RECORDING_BYTES} bytes")
    if file.suffix == ".npz":
        recordings = _read_npz(file)
    elif file.suffix == ".csv":
        recordings = [_read_csv(file, stream)]
    else:
        raise RecordingRefused(f"{file}: expected a .npz or a .csv file")
    if not recordings:
        raise RecordingRefused(f"{file}: no recording in it")
    if chosen:
        recordings = [recordings[i] for i in _selection(file, chosen, len(recordings))]
    for recording in recordings:
        if stream is not None:
            _check(recording, stream)
        _check_finite(recording)
    return recordings


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


def _check(recording: Recording, stream: Stream) -> None:
    name, samples = recording.name, recording.samples
    expected = tuple(c.name for c in stream.channels)
    if samples.shape[1] != len(expected):
        raise RecordingRefused(
            f"{name}: {samples.shape[1]} channels, the stream has {len(expected)}: "
            f"{', '.join(expected)}"
        )
    if recording.channels is not None and recording.channels != expected:
        raise RecordingRefused(
            f"{name}: channels {', '.join(recording.channels)}, expected {', '.join(expected)}"
        )
    rate = recording.rate_hz
    if rate is not None and not abs(rate / stream.rate_hz - 1) <= RATE_TOLERANCE:
        raise RecordingRefused(f"{name}: {rate:g} Hz, the stream has {stream.rate_hz:g} Hz")
    if len(samples) < stream.window:
        raise RecordingRefused(f"{name}: {len(samples)} samples, one window needs {stream.window}")


def _check_finite(recording: Recording) -> None:
    samples = recording.samples
    bad = ~np.isfinite(samples)
    if bad.any():
        row, column = np.argwhere(bad)[0].tolist()
        channel = recording.channels[column] if recording.channels else column
        raise RecordingRefused(
            f"{recording.name}: sample {row}, channel {channel}: {samples[row, column]}, "
            "expected a finite number"
        )


def read_npz(file: Path) -> dict[str, Array]:
    """Return the arrays of a ``.npz``; one that would need unpickling is refused.

    Raises: RecordingRefused: not a ``.npz``, damaged, too large, or holding objects.
    """
    try:
        return load_npz(file)
    except ValueError as error:
        raise RecordingRefused(f"{file}: {error}") from None


def load_npz(source: Path | BinaryIO) -> dict[str, Array]:
    """Return the arrays of a ``.npz``, for callers with an error class of their own.

    Raises: ValueError: as ``read_npz`` refuses.
    """
    try:
        with zipfile.ZipFile(source) as archive:
            size = sum(m.file_size for m in archive.infolist())
        if size <= MAX_RECORDING_BYTES:
            with np.load(source, allow_pickle=False) as arrays:
                return {name: np.asarray(arrays[name]) for name in arrays.files}
    except Exception as error:  # zipfile, zlib and NumPy's header parser raise what they like
        raise ValueError(f"not a readable .npz: {error}") from None
    raise ValueError(f"{size} bytes unpacked, at most {MAX_RECORDING_BYTES}")


def _read_npz(file: Path) -> list[Recording]:
    arrays = read_npz(file)
    if "values" not in arrays:
        raise RecordingRefused(
            f"{file}: expected an array 'values', found {', '.join(arrays) or 'nothing'}"
        )
    values = arrays["values"]
    if values.ndim != 2 or values.dtype.kind not in "fiu":
        raise RecordingRefused(
            f"{file}: values: {values.dtype} {list(values.shape)}, expected numbers "
            "[samples, channels]"
        )
    lengths = np.atleast_1d(arrays.get("lengths", np.asarray([len(values)])))
    if lengths.ndim != 1 or lengths.dtype.kind not in "iu":
        raise RecordingRefused(
            f"{file}: lengths: {lengths.dtype} {list(lengths.shape)}, expected counts of samples"
        )
    total = sum(lengths.tolist())  # of Python's integers, which do not overflow
    if (lengths < 0).any() or total != len(values):
        raise RecordingRefused(
            f"{file}: lengths: sum {total}, expected the {len(values)} samples of values"
        )
    y, labels = arrays.get("y"), _names(arrays, "y_labels")
    if y is not None:
        _check_codes(file, y, len(lengths), len(labels))
    names = _names(arrays, "channels") if "channels" in arrays else None
    rate = _one_number(file, arrays["rate_hz"]) if "rate_hz" in arrays else None
    ends = np.cumsum(lengths)
    recordings = []
    for i, (start, end) in enumerate(zip(ends - lengths, ends, strict=True)):
        code = UNLABELLED if y is None else int(y[i])
        samples = _as_float32(values[start:end])
        codes = np.full(len(samples), code, np.int64)
        recordings.append(Recording(f"{file}#{i}", samples, names, rate, codes, labels))
    return recordings


def _names(arrays: dict[str, Array], name: str) -> tuple[str, ...]:
    return tuple(str(x) for x in np.atleast_1d(arrays.get(name, np.empty(0, "U1"))))


def _one_number(file: Path, rate: Array) -> float:
    if rate.size != 1 or rate.dtype.kind not in "fiu":
        raise RecordingRefused(
            f"{file}: rate_hz: {rate.dtype} {list(rate.shape)}, expected one number"
        )
    return float(rate.reshape(()))


def _as_float32(values: Array) -> Float32Array:
    with np.errstate(over="ignore"):  # becomes infinite, which _check refuses by its place
        return np.ascontiguousarray(values, np.float32)


def _check_codes(file: Path, y: Array, recordings: int, labels: int) -> None:
    if y.shape != (recordings,) or y.dtype.kind not in "iu":
        raise RecordingRefused(
            f"{file}: y: {y.dtype} {list(y.shape)}, expected an index for each of {recordings}"
        )
    if y.size and not (y.min() >= UNLABELLED and y.max() < labels):
        raise RecordingRefused(
            f"{file}: y: from {y.min()} to {y.max()}, y_labels has {labels} labels"
        )


def _read_csv(file: Path, stream: Stream | None) -> Recording:
    try:
        with file.open(newline="", encoding="utf-8-sig") as text:
            rows = csv.DictReader(text)
            header = list(rows.fieldnames or [])
            others = [h for h in header if h not in {"time_s", "time_ms", "label"}]
            names = [c.name for c in stream.channels] if stream else others
            if missing := [n for n in names if n not in header]:
                raise RecordingRefused(
                    f"{file}: no column {missing[0]!r}; the header has {', '.join(header)}"
                )
            timed = next((c for c in ("time_s", "time_ms") if c in header), None)
            columns = [*names, *([timed] if timed else [])]
            table, given = _rows(file, rows, columns, "label" if "label" in header else None)
    except (UnicodeDecodeError, csv.Error) as error:
        raise RecordingRefused(f"{file}: not a readable .csv: {error}") from None
    samples = _as_float32(table[:, : len(names)])
    labels = tuple(sorted(set(given) - {""}))
    index = {label: i for i, label in enumerate(labels)} | {"": UNLABELLED}
    codes = np.asarray([index[g] for g in given] or np.empty(0), np.int64)
    rate = _rate(table[:, -1], 1.0 if timed == "time_s" else 1e-3) if timed else None
    return Recording(str(file), samples, tuple(names), rate, codes, labels)


def _rows(
    file: Path, rows: "csv.DictReader[str]", columns: list[str], label: str | None
) -> tuple[npt.NDArray[np.float64], list[str]]:
    table: list[list[float]] = []
    labels: list[str] = []
    for number, row in enumerate(rows, 2):
        values = []
        for column in columns:
            cell: Any = row[column]
            try:
                values.append(float(cell))
            except (TypeError, ValueError):
                raise RecordingRefused(
                    f"{file}: line {number}, column {column}: {cell!r}, expected a number"
                ) from None
        table.append(values)
        labels.append((row[label] or "") if label else "")
    return np.asarray(table, np.float64).reshape(len(table), len(columns)), labels


def _rate(times: npt.NDArray[np.float64], unit_s: float) -> float | None:
    """Return the rate that times tell, in Hz.

    The mean of the steps, because a clock that ticks in milliseconds rounds each of them: at
    104 Hz most are 10 ms. Samples that came in one tick count; steps over a gap do not.
    """
    steps = np.diff(times)
    forward = steps[steps > 0]
    if not forward.size:
        return None
    usual = steps[(steps >= 0) & (steps <= GAP_STEPS * np.median(forward))]
    return float(len(usual) / (usual.sum() * unit_s))
