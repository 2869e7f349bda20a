"""An MPU-6050, on a bus that answers as the chip does: registers, FIFO, overflow."""

import sys
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace, TracebackType
from typing import Any, final

import numpy as np
import pytest
from smbus2 import i2c_msg

from edge_agent.fit import StreamShape
from edge_agent.ring import Chunk
from edge_agent.sources.mpu6050 import NATIVE
from edge_agent.sources.source import Source, SourceFailed
from edge_bundle.errors import ConfigError
from tests.edge_agent.sources.given import open_table

FIFO_BYTES = 1024
MS = 1_000_000


class Chip:
    """Register map, revision 4.2: what is written can be read, and samples fill the FIFO."""

    def __init__(self, who_am_i: int = 0x68) -> None:
        self.who_am_i = who_am_i
        self.now_ns = 5_000_000_000
        self.made = 0
        self.overflows = 0
        self.sample: Callable[[int], list[int]] = lambda n: [n, -n, 0, 1, 2, -32768]
        self.lose_power()

    def lose_power(self) -> None:
        self._registers = bytearray(128)
        self._registers[0x6B] = 0x40
        self._registers[0x75] = self.who_am_i
        self._fifo: deque[int] = deque(maxlen=FIFO_BYTES)
        self._next_ns = 0.0

    def read(self, register: int) -> int:
        if register == 0x72:
            # The datasheet: reading the high byte freezes the count.
            self._registers[0x72:0x74] = len(self._fifo).to_bytes(2, "big")
        elif register == 0x74:
            return self._fifo.popleft() if self._fifo else 0xFF
        value = self._registers[register]
        if register == 0x3A:
            self._registers[0x3A] = 0
        return value

    def write(self, register: int, value: int) -> None:
        assert register not in {0x3A, 0x72, 0x73, 0x75}
        if register == 0x6B and value & 0x80:
            self.lose_power()
            return
        if self._registers[0x6B] & 0x40:
            assert register == 0x6B, "it sleeps: nothing can be set"
        if register == 0x6A and value & 0x04:
            # Table 4.28: the FIFO is emptied, and the bit falls back by itself.
            self._fifo.clear()
            value &= ~0x04
        self._registers[register] = value

    def pass_time(self, seconds: float) -> None:
        self.now_ns += int(seconds * 1e9)
        low_pass = 1 <= self._registers[0x1A] & 7 <= 6
        rate = (1000 if low_pass else 8000) / (1 + self._registers[0x19])
        on = self._registers[0x6A] & 0x40 and self._registers[0x23] == 0x78
        if not on or self._registers[0x6B] & 0x40:
            self._next_ns = 0.0
            return
        self._next_ns = self._next_ns or float(self.now_ns - int(seconds * 1e9))
        while self._next_ns + 1e9 / rate <= self.now_ns:
            self._next_ns += 1e9 / rate
            for byte in np.array(self.sample(self.made), ">i2").tobytes():
                if len(self._fifo) == FIFO_BYTES:
                    self.overflows += 1
                    self._registers[0x3A] |= 0x10
                self._fifo.append(byte)  # the oldest goes
            self.made += 1

    @property
    def ranges(self) -> tuple[int, int]:
        return self._registers[0x1C] >> 3 & 3, self._registers[0x1B] >> 3 & 3

    @property
    def low_pass(self) -> int:
        return self._registers[0x1A] & 7


@final
class Bus:
    """What smbus2's ``SMBus`` does, with chips at addresses."""

    def __init__(self, chips: dict[int, Chip]) -> None:
        self._chips = chips
        self.closed = False

    def __enter__(self) -> "Bus":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: object, trace: TracebackType | None
    ) -> None:
        self.closed = True

    def _chip(self, address: int) -> Chip:
        if address not in self._chips:
            raise OSError(121, "Remote I/O error")
        return self._chips[address]

    def read_byte_data(self, address: int, register: int) -> int:
        return self._chip(address).read(register)

    def write_byte_data(self, address: int, register: int, value: int) -> None:
        assert 0 <= value <= 255
        self._chip(address).write(register, value)

    def read_i2c_block_data(self, address: int, register: int, length: int) -> list[int]:
        assert length <= 32
        return [self._chip(address).read(register + i) for i in range(length)]

    def i2c_rdwr(self, *messages: Any) -> None:
        write, read = messages
        chip, [register] = self._chip(write.addr), bytes(write)
        assert register == 0x74, "the only register that does not count on by itself"
        for i in range(read.len):
            read.buf[i] = chip.read(register)


class World:
    """A chip, the bus it is on, and time that passes while somebody waits."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.chip = Chip()
        self.bus = Bus({0x68: self.chip})
        self.late: dict[int, float] = {}
        self.waits = 0
        self.fails_at = 0
        """Number of the wait in which the chip's power fails for a moment."""
        self._folder = folder
        library = SimpleNamespace(SMBus=lambda _number: self.bus, i2c_msg=i2c_msg)
        monkeypatch.setitem(sys.modules, "smbus2", library)
        monkeypatch.setattr(time, "monotonic_ns", lambda: self.chip.now_ns)

    def open(self, table: str = "rate_hz = 100.0\n") -> Source:
        return open_table(self._folder, f'kind = "mpu6050"\n{table}')

    def run(self, source: Source, waits: int) -> list[Chunk]:
        """Return the chunks of so many waits; ``late`` says which are how much too long."""
        self.waits = 0

        def wait(seconds: float) -> bool:
            self.waits += 1
            if self.waits == self.fails_at:
                self.chip.lose_power()
            self.chip.pass_time(seconds + self.late.get(self.waits, 0.0))
            return self.waits > waits

        return list(source.chunks(wait))


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> World:
    return World(monkeypatch, tmp_path)


def test_samples_come_whole_in_si_units_with_their_times(world: World) -> None:
    source = world.open()
    assert source.shape == StreamShape(100.0, NATIVE)
    chunks = world.run(source, 21)
    samples = np.concatenate([c.samples for c in chunks])
    assert 190 <= len(samples) <= 200
    g, dps = 9.80665, np.pi / 180
    n = np.arange(len(samples))
    assert samples[:, 0] == pytest.approx(n * 2 * g / 32768)
    assert samples[:, 1] == pytest.approx(-n * 2 * g / 32768)
    assert samples[:, 3] == pytest.approx(np.full(len(n), 250 * dps / 32768))
    assert samples[:, 5] == pytest.approx(np.full(len(n), -250 * dps))
    assert [c.lost for c in chunks] == [0] * len(chunks)
    assert not any(c.restart for c in chunks)
    assert np.diff([c.end_ns for c in chunks]) == pytest.approx(100 * MS)
    assert world.bus.closed


def test_ranges_and_low_pass_are_set_and_units_converted(world: World) -> None:
    channels = ", ".join(
        f'{{ name = "{n}", unit = "{u}" }}'
        for n, u in zip("abcdef", ["g"] * 3 + ["deg/s"] * 3, strict=True)
    )
    source = world.open(
        "rate_hz = 200.0\naccel_range_g = 8\ngyro_range_dps = 2000\nlow_pass_hz = 94\n"
        f"channels = [{channels}]\n"
    )
    world.chip.sample = lambda _n: [4096, 0, 0, 16384, 0, 0]
    chunk = world.run(source, 5)[0]
    assert chunk.samples[0].tolist() == pytest.approx([1.0, 0, 0, 1000.0, 0, 0])
    assert (world.chip.ranges, world.chip.low_pass) == ((2, 3), 2)
    assert [c.name for c in source.shape.channels] == list("abcdef")


@pytest.mark.parametrize("rate", [4, 100, 1000])
def test_no_sample_is_lost_at_any_rate_of_the_chip(world: World, rate: int) -> None:
    chunks = world.run(world.open(f"rate_hz = {rate}.0\n"), 60)
    first = np.concatenate([c.samples[:, 0] for c in chunks]) * 32768 / 2 / 9.80665
    assert first == pytest.approx(np.arange(len(first)), abs=1e-3)
    assert len(first) > 10
    assert world.chip.overflows == 0


def test_overflow_empties_the_fifo_and_counts_what_was_lost(world: World) -> None:
    world.late = {8: 2.0}
    chunks = world.run(world.open(), 20)
    assert world.chip.overflows > 0
    [at] = [i for i, c in enumerate(chunks) if c.lost]
    assert chunks[at].restart
    n = np.concatenate([c.samples[:, 0] for c in chunks]) * 32768 / 2 / 9.80665
    before = sum(len(c.samples) for c in chunks[:at])
    # Every sample before and after is whole and in order; those between are counted.
    assert n[:before] == pytest.approx(np.arange(before), abs=1e-3)
    assert n[before:] == pytest.approx(n[before] + np.arange(len(n) - before), abs=1e-3)
    assert chunks[at].lost == pytest.approx(n[before] - before, abs=1)


def test_chip_that_falls_off_the_bus_fails_and_comes_back_behind_a_break(world: World) -> None:
    source = world.open()
    assert not any(c.restart for c in world.run(source, 5))
    world.bus = Bus({})
    unanswered = "i2c bus 1, address 0x68: Remote I/O error: nothing answers there"
    with pytest.raises(SourceFailed, match=unanswered):
        world.run(source, 5)
    world.bus = Bus({0x68: world.chip})
    assert [c.restart for c in world.run(source, 5)][:2] == [True, False]


def test_chip_that_lost_its_power_for_a_moment_fails_and_comes_back(world: World) -> None:
    source = world.open()
    world.fails_at = 5
    silent = "i2c bus 1, address 0x68: no sample for 2 s: it was reset"
    with pytest.raises(SourceFailed, match=silent):
        world.run(source, 100)
    assert 5 + 18 < world.waits < 5 + 25
    world.fails_at = 0
    assert [c.restart for c in world.run(source, 5)][:2] == [True, False]


def test_other_chip_is_refused_by_what_it_says_it_is(world: World) -> None:
    world.bus = Bus({0x68: Chip(0x70)})
    with pytest.raises(SourceFailed, match="WHO_AM_I is 0x70, expected 0x68: another chip"):
        world.run(world.open(), 5)


def test_stop_while_the_chip_resets_ends_it(world: World) -> None:
    assert world.run(world.open(), 0) == []
    assert world.waits == 1


def test_rate_that_the_chip_does_not_have_is_refused_with_the_nearest(world: World) -> None:
    with pytest.raises(ConfigError) as refused:
        world.open("rate_hz = 800.0\n")
    assert "rate_hz: 800 Hz, expected 1000 divided by 1 to 256; the nearest is 1000" in str(
        refused.value
    )
    with pytest.raises(ConfigError, match=r"the nearest is 3\.90625"):
        world.open("rate_hz = 1.0\n")


def test_library_that_is_missing_is_named_with_its_extra(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "smbus2", None)
    with pytest.raises(ConfigError, match=r"smbus2 is not installed: pip install 'edgeward\[i2c\]"):
        world.open()


def test_bus_that_is_not_there_is_named(tmp_path: Path) -> None:
    source = open_table(tmp_path, 'kind = "mpu6050"\nrate_hz = 100.0\nbus = 97\n')
    with pytest.raises(SourceFailed, match="/dev/i2c-97"):
        next(iter(source.chunks(lambda _s: False)))
