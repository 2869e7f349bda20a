"""What a message from somewhere else holds: samples, and when they were taken. Pure.

A payload is not trusted: its shape and numbers are checked, and what is wrong is a
``PayloadRefused`` with the kind of thing that is wrong, so that they can be counted.
"""

import json
from collections.abc import Sequence
from typing import Any, Final, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from edge_agent.sources.json_path import find, parse_path
from edge_bundle.tensor import Float32Array

UNITS_S: Final = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
MAX_SAMPLES: Final = 1 << 16
MOST_S: Final = 1e11
"""No time is further from 1970, or from whatever a sender counts from: the year 5138."""


class PayloadRefused(Exception):
    """A message holds no samples of this stream."""


class Decoder:
    """Reads the payloads of one source."""

    def __init__(
        self,
        channels: int,
        form: Literal["json", "float32", "int16"],
        paths: Sequence[str] = (),
        scale: float = 1.0,
        time: tuple[str, str] | None = None,
    ) -> None:
        """Describe the payloads; the arguments are those of ``source_tables.Mqtt``.

        Args:
            time: path and unit of the time.

        Raises: ValueError: a path that is none, or not one for each channel; begins with its key.
        """
        self._channels = channels
        self._format = form
        self._scale = np.float32(scale)
        self._paths = [_parse(f"paths[{i}]", p) for i, p in enumerate(paths)]
        self._time = _parse("time.path", time[0]) if time else None
        self._unit_s = UNITS_S[time[1]] if time else 1.0
        if form == "json" and len(paths) not in {1, channels}:
            raise ValueError(
                f"paths: {len(paths)} of them, expected one for each of {channels} channels, or "
                "one for all"
            )
        if form != "json" and (paths or time):
            raise ValueError(f'{"paths" if paths else "time"}: is for format = "json" alone')

    def decode(self, payload: bytes) -> tuple[Float32Array, npt.NDArray[np.float64] | None]:
        """Return a payload's samples and their times.

        Returns: float32 [n, channels], where null is NaN; float64 [n or 1] seconds: of each sample,
            or of the last; None where none are asked for.
        Raises: PayloadRefused.
        """
        if self._format != "json":
            return self._raw(payload), None
        document = _read_json(payload)
        samples = self._samples(document)
        if not 1 <= len(samples) <= MAX_SAMPLES:
            raise PayloadRefused(f"without 1 to {MAX_SAMPLES} samples")
        times = None
        if self._time is not None:
            times = np.atleast_1d(_numbers(document, self._time, "time")) * self._unit_s
            if times.shape not in {(1,), (len(samples),)} or not np.isfinite(times).all():
                raise PayloadRefused("without a time for each sample, or one for all")
            if (np.abs(times) > MOST_S).any():
                raise PayloadRefused("with a time beyond the year 5138: is its unit right?")
        return self._scaled(samples), times

    def _raw(self, payload: bytes) -> Float32Array:
        kind = np.dtype("<f4" if self._format == "float32" else "<i2")
        frame = kind.itemsize * self._channels
        if not payload or len(payload) % frame:
            raise PayloadRefused(f"of no whole number of samples ({frame} bytes each)")
        return self._scaled(np.frombuffer(payload, kind).reshape(-1, self._channels))

    def _scaled(self, samples: npt.NDArray[Any]) -> Float32Array:
        with np.errstate(over="ignore"):  # what becomes infinite counts as lost in the ring
            scaled = np.array(samples, np.float32)
            scaled *= self._scale
        return scaled

    def _samples(self, document: Any) -> npt.NDArray[np.float64]:
        if len(self._paths) == self._channels:
            columns = [np.atleast_1d(_numbers(document, p, "value")) for p in self._paths]
            if any(c.ndim != 1 or len(c) != len(columns[0]) for c in columns):
                raise PayloadRefused("whose channels are not equally many numbers")
            return np.stack(columns, axis=1)
        found = np.atleast_2d(_numbers(document, self._paths[0], "value"))
        if found.ndim != 2 or found.shape[1] != self._channels:
            raise PayloadRefused(f"without {self._channels} numbers in a sample")
        return found


def _parse(key: str, text: str) -> tuple[str | int | None, ...]:
    try:
        return parse_path(text)
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from None


def _read_json(payload: bytes) -> Any:
    """Return what a payload says; NaN, Infinity and 1e999, which JSON has not, as they are meant.

    Many writers give them without a word. A sample of it is lost; the others beside it are not.
    """
    try:
        return msgspec.json.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:
        # Whole numbers as floats: time and memory stay in step with the payload's size.
        return json.loads(payload.decode(), parse_int=float)
    except (ValueError, RecursionError):
        raise PayloadRefused("that are no JSON") from None


def _numbers(document: Any, path: tuple[str | int | None, ...], what: str) -> Any:
    try:
        found = find(document, path)
    except LookupError:
        raise PayloadRefused(f"without a {what} where the path says") from None
    try:
        if _all_numbers(found):
            return np.array(found, np.float64)
    except (ValueError, OverflowError, RecursionError):
        # Ragged or very deep lists; whole numbers beyond a double.
        raise PayloadRefused(f"with {what}s that are no even list of numbers") from None
    raise PayloadRefused(f"with a {what} that is no number")


def _all_numbers(found: Any) -> bool:
    if isinstance(found, list):
        return all(_all_numbers(f) for f in found)
    return found is None or (isinstance(found, int | float) and not isinstance(found, bool))
