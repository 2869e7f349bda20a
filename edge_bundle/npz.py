"""The arrays of a ``.npz``, and the recordings that lie in one, one after another.

``values`` [samples, channels] with ``lengths`` of the recordings, and optionally ``y`` (an index
for each recording), ``y_labels``, ``channels`` and ``rate_hz``.
"""

import zipfile
from collections.abc import Iterator
from math import isfinite
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from edge_bundle.errors import ChannelMissing, RecordingRefused
from edge_bundle.tensor import UNLABELLED, Array
from edge_bundle.wording import ask_nearest

MAX_BYTES: Final = 1 << 30
"""Of the arrays, unpacked."""


class Concatenated(Struct, frozen=True):
    """Recordings one after another, as a ``.npz`` holds them."""

    values: Array
    """[samples, channels], real numbers of any type."""
    ends: list[int]
    """Where each recording ends, in samples."""
    codes: list[int]
    """Of each recording, an index into ``labels`` or ``UNLABELLED``."""
    labels: tuple[str, ...]
    channels: tuple[str, ...] | None
    rate_hz: float | None

    def parts(self) -> Iterator[tuple[Array, int]]:
        """Yield the values and the code of each recording."""
        start = 0
        for end, code in zip(self.ends, self.codes, strict=True):
            yield self.values[start:end], code
            start = end

    def select(self, file: Path, names: tuple[str, ...]) -> "Concatenated":
        """Return the channels of these names, in this order; all where the file has no names.

        Raises: ChannelMissing: one is not there. RecordingRefused: two have its name.
        """
        found = self.channels
        if found is None or found == names or len(found) != self.values.shape[1]:
            return self  # the last is refused by what it holds
        for name in names:
            if name not in found:
                near = ask_nearest(name, [c for c in found if c not in names])
                raise ChannelMissing(
                    f"{file}: no channel {name!r}; {near}it has {', '.join(found)}"
                )
            if found.count(name) > 1:
                raise RecordingRefused(f"{file}: channels: {name!r} is there more than once")
        columns = [found.index(name) for name in names]
        return replace(self, values=self.values[:, columns], channels=names)


def read_npz(file: Path) -> dict[str, Array]:
    """Return the arrays of a ``.npz``; one that would need unpickling is refused.

    Raises: RecordingRefused: not a ``.npz``, damaged, too large, or holding objects. OSError: it
        cannot be opened.
    """
    try:
        return load_npz(file)
    except ValueError as error:
        raise RecordingRefused(f"{file}: {error}") from None


def load_npz(source: Path | BinaryIO) -> dict[str, Array]:
    """Return the arrays of a ``.npz``, for callers with an error class of their own.

    Raises: ValueError: as ``read_npz`` refuses. OSError: it cannot be opened.
    """
    if isinstance(source, Path):
        # Apart from what follows, which raises an OSError for a damaged file too.
        with source.open("rb") as file:
            return load_npz(file)
    try:
        with zipfile.ZipFile(source) as archive:
            size = sum(m.file_size for m in archive.infolist())
        if size <= MAX_BYTES:
            source.seek(0)
            with np.load(source, allow_pickle=False) as arrays:
                return {name: np.asarray(arrays[name]) for name in arrays.files}
    except Exception as error:  # zipfile, zlib and NumPy's header parser raise what they like
        raise ValueError(f"not a readable .npz: {error}") from None
    raise ValueError(f"{size} bytes unpacked, at most {MAX_BYTES}")


def read_concatenated(file: Path) -> Concatenated:
    """Read the recordings of a ``.npz``.

    Raises: RecordingRefused: as ``read_npz``, or without them. OSError: as ``read_npz``.
    """
    arrays = read_npz(file)
    if "values" not in arrays:
        raise RecordingRefused(
            f"{file}: expected an array 'values', found {', '.join(arrays) or 'nothing'}"
        )
    values = arrays["values"]
    if values.ndim != 2 or values.dtype.kind not in "fiu":
        raise RecordingRefused(
            f"{file}: values: {values.dtype} {list(values.shape)}, expected real numbers "
            "[samples, channels]"
        )
    lengths = np.atleast_1d(arrays.get("lengths", np.asarray([len(values)])))
    if lengths.ndim != 1 or lengths.dtype.kind not in "iu":
        raise RecordingRefused(
            f"{file}: lengths: {lengths.dtype} {list(lengths.shape)}, expected counts of samples"
        )
    if (lengths < 0).any():
        first = int(np.argmax(lengths < 0))
        raise RecordingRefused(
            f"{file}: lengths[{first}]: {lengths[first]}, expected a count of samples >= 0"
        )
    total = sum(lengths.tolist())  # of Python's integers, which do not overflow
    if total != len(values):
        raise RecordingRefused(
            f"{file}: lengths: sum {total}, expected the {len(values)} samples of values"
        )
    y, labels = arrays.get("y"), _names(file, arrays, "y_labels")
    if y is not None:
        _check_codes(file, y, len(lengths), len(labels))
    return Concatenated(
        values,
        np.cumsum(lengths).tolist(),
        [UNLABELLED] * len(lengths) if y is None else y.tolist(),
        labels,
        _names(file, arrays, "channels") if "channels" in arrays else None,
        _one_number(file, arrays["rate_hz"]) if "rate_hz" in arrays else None,
    )


def _names(file: Path, arrays: dict[str, Array], name: str) -> tuple[str, ...]:
    names = np.atleast_1d(arrays.get(name, np.empty(0, "U1")))
    try:
        if names.ndim == 1:
            # Of bytes, as C and h5py write them, ``str`` would make "b'walk'".
            return tuple(x.decode() if isinstance(x, bytes) else str(x) for x in names)
    except UnicodeDecodeError:
        pass
    raise RecordingRefused(f"{file}: {name}: {names.dtype} {list(names.shape)}, expected names")


def _one_number(file: Path, rate: Array) -> float:
    if rate.size != 1 or rate.dtype.kind not in "fiu":
        raise RecordingRefused(
            f"{file}: rate_hz: {rate.dtype} {list(rate.shape)}, expected one number"
        )
    number = float(rate.reshape(()))
    if not (isfinite(number) and number > 0):
        raise RecordingRefused(f"{file}: rate_hz: {number:g}, expected a finite number > 0")
    return number


def _check_codes(file: Path, y: Array, recordings: int, labels: int) -> None:
    if y.shape != (recordings,) or y.dtype.kind not in "iu":
        raise RecordingRefused(
            f"{file}: y: {y.dtype} {list(y.shape)}, expected an index for each of {recordings}"
        )
    if y.size and not (y.min() >= UNLABELLED and y.max() < labels):
        raise RecordingRefused(
            f"{file}: y: from {y.min()} to {y.max()}, y_labels has {labels} labels"
        )
