"""An MPU-6050 on I2C: accelerometer and gyroscope through the FIFO of the chip.

Source: InvenSense, MPU-6000 and MPU-6050 Register Map and Descriptions, revision 4.2.
"""

import time
from collections.abc import Callable, Iterator
from enum import IntEnum
from typing import Any, Final

import numpy as np

from edge_agent import source_tables as tables
from edge_agent.config import LoadedConfig
from edge_agent.fit import StreamShape
from edge_agent.ring import Chunk
from edge_agent.sources.device import failing, fit_channels, need_library, period_ns
from edge_agent.sources.source import SourceFailed
from edge_bundle.manifest import RATE_TOLERANCE, Channel
from edge_bundle.tensor import Float32Array

FIFO_BYTES: Final = 1024
FRAME_BYTES: Final = 12
"""Three axes of acceleration and three of turn, int16, big endian."""
CLOCK_HZ: Final = 1000.0
"""What the sample rate divides, with the low pass on."""
SLOWEST_TICK_S: Final = 0.1
RESET_S: Final = 0.1
SILENCE_S: Final = 2.0
"""A chip that gives no sample for so long is no longer as it was set up."""
LOW_PASS: Final = {184: 1, 94: 2, 44: 3, 21: 4, 10: 5, 5: 6}
ACCEL_RANGES: Final = (2, 4, 8, 16)
GYRO_RANGES: Final = (250, 500, 1000, 2000)
CODES: Final = 32768
NATIVE: Final = tuple(
    Channel(name, unit)
    for name, unit in (
        *((f"a{axis}", "m/s^2") for axis in "xyz"),
        *((f"g{axis}", "rad/s") for axis in "xyz"),
    )
)
UNITS: Final = {"m/s^2": 9.80665, "rad/s": float(np.pi) / 180}
"""What one g and one degree a second are in the units of the channels."""


class Register(IntEnum):
    """The registers that are used."""

    SMPLRT_DIV = 0x19
    CONFIG = 0x1A
    GYRO_CONFIG = 0x1B
    ACCEL_CONFIG = 0x1C
    FIFO_EN = 0x23
    INT_STATUS = 0x3A
    USER_CTRL = 0x6A
    PWR_MGMT_1 = 0x6B
    FIFO_COUNT_H = 0x72
    FIFO_R_W = 0x74
    WHO_AM_I = 0x75


DEVICE_RESET: Final = 0x80
CLOCK_FROM_GYRO: Final = 0x01
FIFO_ALL_AXES: Final = 0x78
FIFO_OVERFLOWED: Final = 0x10
USER_FIFO: Final = 0x40
USER_FIFO_RESET: Final = 0x04


class Mpu6050:
    """Samples of a chip, at its own rate."""

    def __init__(
        self, shape: StreamShape, table: tables.Mpu6050, factors: list[float], library: Any
    ) -> None:
        """Describe the source; the chip is looked for when chunks are asked for.

        Args:
            shape: the chip's own rate, and its six channels.
            table: what the configuration says.
            factors: what brings m/s^2 and rad/s to each channel's unit.
            library: the module ``smbus2``.
        """
        self.shape = shape
        self._table = table
        self._library = library
        ranges = [table.accel_range_g] * 3 + [table.gyro_range_dps] * 3
        units = [UNITS[c.unit] for c in NATIVE]
        self._scale = np.array(ranges) * np.array(units) * np.array(factors) / CODES
        fifo_s = FIFO_BYTES / FRAME_BYTES / shape.rate_hz
        self._tick_s = min(SLOWEST_TICK_S, max(fifo_s / 3, 1 / shape.rate_hz))
        self._given = False

    def chunks(self, wait: Callable[[float], bool]) -> Iterator[Chunk]:
        """Yield what is in the FIFO.

        Wakes up three times in the time that fills the FIFO, at least 10 times a second: 10 times
        at 100 Hz, 35 times at 1 kHz. After an overflow the FIFO is emptied, and the samples of
        the time since the last one are counted as lost.
        Raises: SourceFailed: no such bus, no chip at the address, another chip, or one that gives
            no samples any more.
        """
        table = self._table
        name = f"i2c bus {table.bus}, address {table.address:#04x}"
        with failing(name, "i2c"), self._library.SMBus(table.bus) as bus:
            chip = _Chip(bus, table.address, self._library.i2c_msg)
            if self._configure(chip, name, wait):
                return
            yield from self._read(chip, name, wait)

    def _read(self, chip: "_Chip", name: str, wait: Callable[[float], bool]) -> Iterator[Chunk]:
        period = period_ns(self.shape)
        end_ns, restart = time.monotonic_ns(), self._given
        lost = 0
        while not wait(self._tick_s):
            count = chip.word(Register.FIFO_COUNT_H)
            now_ns = time.monotonic_ns()
            data = chip.burst(Register.FIFO_R_W, count - count % FRAME_BYTES)
            # Only now: what overflowed while it was read is not aligned either.
            if chip.read(Register.INT_STATUS) & FIFO_OVERFLOWED:
                chip.write(Register.USER_CTRL, USER_FIFO | USER_FIFO_RESET)
                now_ns = time.monotonic_ns()
                lost += round((now_ns - end_ns) / period)
                end_ns, restart = now_ns, True
            elif data:
                end_ns = now_ns
                yield Chunk(self._values(data), end_ns, lost, restart)
                lost, restart, self._given = 0, False, True
            elif now_ns - end_ns > SILENCE_S * 1e9:
                raise SourceFailed(
                    f"{name}: no sample for {SILENCE_S:g} s: it was reset, or its power failed"
                )

    def _values(self, data: bytes) -> Float32Array:
        codes = np.frombuffer(data, ">i2").reshape(-1, len(NATIVE))
        values: Float32Array = (codes * self._scale).astype(np.float32)
        return values

    def _configure(self, chip: "_Chip", name: str, wait: Callable[[float], bool]) -> bool:
        """Reset the chip and set it up; tell whether it is time to stop instead."""
        table = self._table
        found = chip.read(Register.WHO_AM_I)
        if found != table.who_am_i:
            raise SourceFailed(
                f"{name}: WHO_AM_I is {found:#04x}, expected {table.who_am_i:#04x}: "
                "another chip; if it has the same registers, set who_am_i"
            )
        chip.write(Register.PWR_MGMT_1, DEVICE_RESET)
        if wait(RESET_S):
            return True
        chip.write(Register.PWR_MGMT_1, CLOCK_FROM_GYRO)
        chip.write(Register.SMPLRT_DIV, round(CLOCK_HZ / self.shape.rate_hz) - 1)
        chip.write(Register.CONFIG, LOW_PASS[table.low_pass_hz])
        chip.write(Register.GYRO_CONFIG, GYRO_RANGES.index(table.gyro_range_dps) << 3)
        chip.write(Register.ACCEL_CONFIG, ACCEL_RANGES.index(table.accel_range_g) << 3)
        chip.write(Register.USER_CTRL, USER_FIFO | USER_FIFO_RESET)
        chip.read(Register.INT_STATUS)
        chip.write(Register.FIFO_EN, FIFO_ALL_AXES)
        return False


class _Chip:
    """Its registers."""

    def __init__(self, bus: Any, address: int, message: Any) -> None:
        self._bus = bus
        self._address = address
        self._message = message

    def read(self, register: Register) -> int:
        return int(self._bus.read_byte_data(self._address, register))

    def write(self, register: Register, value: int) -> None:
        self._bus.write_byte_data(self._address, register, value)

    def word(self, register: Register) -> int:
        # Both at once: the low byte is frozen when the high one is read.
        high, low = self._bus.read_i2c_block_data(self._address, register, 2)
        return int(high) << 8 | int(low)

    def burst(self, register: Register, count: int) -> bytes:
        """Read many bytes in one transfer; an SMBus block ends at 32."""
        if not count:
            return b""
        read = self._message.read(self._address, count)
        self._bus.i2c_rdwr(self._message.write(self._address, [register]), read)
        return bytes(read)


def open_mpu6050(loaded: LoadedConfig, index: int, table: tables.Mpu6050) -> Mpu6050:
    """Open the source of a table.

    Raises: ConfigError: a rate that the chip does not have, channels that are not its, or smbus2
        is missing.
    """
    divider = min(max(round(CLOCK_HZ / table.rate_hz), 1), 256)
    rate = CLOCK_HZ / divider
    if not abs(rate / table.rate_hz - 1) <= RATE_TOLERANCE:
        raise loaded.error(
            ("source", index, "rate_hz"),
            f"{table.rate_hz:g} Hz, expected 1000 divided by 1 to 256; the nearest is {rate:g}",
        )
    channels, factors = fit_channels(loaded, index, table.channels, NATIVE)
    library = need_library(loaded, index, "smbus2", "i2c")
    return Mpu6050(StreamShape(rate, channels), table, factors, library)
