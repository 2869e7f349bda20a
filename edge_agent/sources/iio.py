"""Sensors of the Linux Industrial I/O subsystem, polled or through their buffer."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from edge_agent import source_tables as tables
from edge_agent.config import LoadedConfig
from edge_agent.fit import StreamShape
from edge_agent.ring import Chunk
from edge_agent.sources.device import failing, fit_channels, period_ns, rest_s, until_readable
from edge_agent.sources.iio_device import IioDevice, unit_of
from edge_agent.sources.iio_scan import Scan, find_gaps
from edge_agent.sources.source import SourceFailed
from edge_bundle.manifest import Channel
from edge_bundle.tensor import Float32Array

ATTRIBUTE_BYTES: Final = 64
TIMESTAMP: Final = "timestamp"


@dataclass(frozen=True, slots=True)
class _Buffer:
    """A buffer that is enabled."""

    scan: Scan
    node: int
    """Descriptor that its records are read from."""
    inputs: list[tuple[str, float, float]]
    """Name, scale and offset of each, in the channels' order."""
    timed: bool
    offset_ns: Callable[[], int]
    """What is added to a timestamp now to make it monotonic."""


class Iio:
    """A device's inputs, as ``(raw + offset) * scale`` in the configuration's units."""

    def __init__(self, shape: StreamShape, table: tables.Iio, factors: list[float]) -> None:
        """Describe the source; the device is looked for when chunks are asked for.

        Args:
            shape: rate, and a channel for each input.
            table: what the configuration says.
            factors: what brings each input from the kernel's unit to the channel's.
        """
        self.shape = shape
        self._table = table
        self._factors = factors
        self._given = False
        self._restart = False

    def chunks(self, wait: Callable[[float], bool]) -> Iterator[Chunk]:
        """Yield samples.

        ``poll`` wakes up once a sample, and reads a file for each input; samples that it comes
        too late for are counted as lost. ``buffer`` wakes up when the kernel has some, at most 50
        times a second; what the kernel's buffer lost shows in the timestamps, where it gives any.
        Raises: SourceFailed.
        """
        table = self._table
        self._restart = self._given  # nobody knows what came since it failed
        with failing(f"iio device {table.device}", "iio"):
            device = IioDevice.find(Path(table.root), table.device)
            if table.mode == "buffer" and device.read("buffer/enable") is not None:
                device.write("buffer/enable", "0")  # what is enabled cannot be changed
            device.set_rate(table.inputs, self.shape.rate_hz)
            yield from (self._poll if table.mode == "poll" else self._read)(device, wait)

    # --- polled

    def _poll(self, device: IioDevice, wait: Callable[[float], bool]) -> Iterator[Chunk]:
        period = period_ns(self.shape)
        scales = [
            (device.number(n, "scale", 1.0), device.number(n, "offset", 0.0))
            for n in self._table.inputs
        ]
        with ExitStack() as files:
            inputs = []
            for i, name in enumerate(self._table.inputs):
                path = device.folder / f"in_{name}_raw"
                if not path.exists() and (device.folder / f"in_{name}_input").exists():
                    path, scales[i] = device.folder / f"in_{name}_input", (1.0, 0.0)
                descriptor = os.open(path, os.O_RDONLY)
                files.callback(os.close, descriptor)
                inputs.append((path, descriptor))
            due_ns = float(time.monotonic_ns())
            while not wait(max(0.0, (due_ns - time.monotonic_ns()) / 1e9)):
                values = [
                    (_number(*read) + offset) * scale * factor
                    for read, (scale, offset), factor in zip(
                        inputs, scales, self._factors, strict=True
                    )
                ]
                now_ns = time.monotonic_ns()
                late = max(0, int((now_ns - due_ns) / period))
                # What is late by whole periods was due meanwhile, and never read.
                lost, due_ns = late, due_ns + (late + 1) * period
                yield self._chunk(
                    np.array([values], np.float32), now_ns, lost if self._given else 0
                )

    # --- buffered

    def _read(self, device: IioDevice, wait: Callable[[float], bool]) -> Iterator[Chunk]:
        period, pause_s = period_ns(self.shape), rest_s(self.shape)
        with self._buffer(device) as buffer:
            scan, size = buffer.scan, buffer.scan.record_bytes
            rest, previous = b"", None
            while not until_readable(buffer.node, wait, pause_s):
                try:
                    got = os.read(buffer.node, self._table.buffer_length * size)
                except BlockingIOError:
                    continue
                now_ns = time.monotonic_ns()
                if not got:
                    raise SourceFailed(f"{self._table.device}: its buffer was closed")
                data = rest + got
                records = scan.records(data)
                rest = data[len(records) * size :]
                if not len(records):
                    continue
                samples = np.empty((len(records), len(buffer.inputs)), np.float32)
                for i, (name, scale, offset) in enumerate(buffer.inputs):
                    samples[:, i] = (scan.column(records, name) + offset) * scale
                if not buffer.timed:
                    yield self._chunk(samples, now_ns, 0)
                    continue
                times = scan.column(records, TIMESTAMP)
                for piece in find_gaps(times, previous, period):
                    self._restart |= piece.restart
                    # No sample is from the future, whatever was set on the clock meanwhile.
                    end_ns = min(int(times[piece.end - 1]) + buffer.offset_ns(), now_ns)
                    yield self._chunk(samples[piece.begin : piece.end], end_ns, piece.lost)
                previous = int(times[-1])

    @contextmanager
    def _buffer(self, device: IioDevice) -> "Iterator[_Buffer]":
        """Enable the buffer with our inputs, and disable it at the end."""
        table = self._table
        elements = device.elements()
        names = [e.name for e in elements]
        for name in table.inputs:
            if name not in names:
                raise SourceFailed(
                    f"{device.folder}: no input {name!r} in its buffer; there: {', '.join(names)}"
                )
        if device.read("current_timestamp_clock") is not None:
            with suppress(OSError):
                device.write("current_timestamp_clock", "monotonic")
        for name in names:
            wanted = name in table.inputs or name == TIMESTAMP
            device.write(f"scan_elements/in_{name}_en", str(int(wanted)))
        if table.trigger is not None:
            trigger = IioDevice.find(Path(table.root), table.trigger, "trigger")
            trigger.set_rate((), self.shape.rate_hz)
            device.write("trigger/current_trigger", table.trigger)
        device.write("buffer/length", str(table.buffer_length))
        # Some drivers cannot leave an element out: what they say is what comes.
        scan = Scan([e for e in elements if device.read(f"scan_elements/in_{e.name}_en") == "1"])
        inputs = [
            (name, device.number(name, "scale", 1.0) * factor, device.number(name, "offset", 0.0))
            for name, factor in zip(table.inputs, self._factors, strict=True)
        ]
        node = os.open(Path(table.dev) / device.folder.name, os.O_RDONLY | os.O_NONBLOCK)
        try:
            device.write("buffer/enable", "1")
            yield _Buffer(scan, node, inputs, TIMESTAMP in names, _clock_offset(device))
        finally:
            os.close(node)
            with suppress(OSError):  # it may be gone
                device.write("buffer/enable", "0")

    def _chunk(self, samples: Float32Array, end_ns: int, lost: int) -> Chunk:
        restart, self._restart, self._given = self._restart, False, True
        return Chunk(samples, end_ns, lost, restart)


def open_iio(loaded: LoadedConfig, index: int, table: tables.Iio) -> Iio:
    """Open the source of a table.

    Raises: ConfigError: channels that are not the inputs'.
    """
    native = tuple(Channel(name, unit_of(name)) for name in table.inputs)
    channels, factors = fit_channels(loaded, index, table.channels, native)
    return Iio(StreamShape(table.rate_hz, channels), table, factors)


def _number(path: Path, descriptor: int) -> float:
    text = os.pread(descriptor, ATTRIBUTE_BYTES, 0)
    try:
        return float(text)
    except ValueError:
        raise SourceFailed(f"{path}: {text!r}, expected a number") from None


def _clock_offset(device: IioDevice) -> Callable[[], int]:
    """Return what gives the difference from the timestamps' clock to the monotonic one, now."""
    clock = device.read("current_timestamp_clock") or "realtime"
    if clock == "monotonic":
        return lambda: 0
    number = {
        "boottime": time.CLOCK_BOOTTIME,
        "tai": time.CLOCK_TAI,
        "monotonic_raw": time.CLOCK_MONOTONIC_RAW,
    }.get(clock, time.CLOCK_REALTIME)
    return lambda: time.monotonic_ns() - time.clock_gettime_ns(number)
