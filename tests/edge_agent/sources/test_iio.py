"""IIO sensors, on a folder that looks like sysfs and a pipe that looks like the device node."""

import os
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edge_agent.fit import StreamShape
from edge_agent.sources.source import Source, SourceFailed
from edge_bundle.errors import ConfigError
from edge_bundle.manifest import Channel
from tests.edge_agent.sources.given import Stop, open_table, running, take

AXES = 'inputs = ["accel_x", "accel_y"]\n'
PERIOD_NS = 10_000_000


class Sensor:
    """The files of one device: two axes of 12 bits in 16, and a timestamp."""

    def __init__(self, root: Path, number: int = 3, name: str = "fake_accel") -> None:
        self.folder = root / "sys" / f"iio:device{number}"
        self.write("name", name)
        self.write("in_accel_scale", "0.5")
        self.write("in_accel_y_offset", "10")
        for i, axis in enumerate(("accel_x", "accel_y", "accel_z")):
            self.write(f"in_{axis}_raw", str(100 * (i + 1)))
            self.element(axis, i, "le:s12/16>>4")
        self.element("timestamp", 3, "le:s64/64>>0")
        self.write("sampling_frequency", "52")
        self.write("sampling_frequency_available", "52 100")
        self.write("current_timestamp_clock", "realtime")
        self.write("buffer/enable", "1")
        self.write("buffer/length", "2")
        self.node = root / "dev" / f"iio:device{number}"
        self.node.parent.mkdir(exist_ok=True)
        os.mkfifo(self.node)

    def element(self, name: str, index: int, kind: str) -> None:
        self.write(f"scan_elements/in_{name}_en", "1" if name == "accel_z" else "0")
        self.write(f"scan_elements/in_{name}_index", str(index))
        self.write(f"scan_elements/in_{name}_type", kind)

    def write(self, name: str, value: str) -> None:
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{value}\n")

    def read(self, name: str) -> str:
        return (self.folder / name).read_text().strip()


@pytest.fixture
def sensor(tmp_path: Path) -> Sensor:
    return Sensor(tmp_path)


def open_iio(
    folder: Path, table: str = AXES, device: str = "fake_accel", rate_hz: str = "100.0"
) -> Source:
    return open_table(
        folder,
        f'kind = "iio"\ndevice = "{device}"\nroot = "{folder}/sys"\ndev = "{folder}/dev"\n'
        f"rate_hz = {rate_hz}\n{table}",
    )


def failure(source: Source) -> str:
    with pytest.raises(SourceFailed) as failed, running(source) as chunks:
        next(chunks)
    return str(failed.value)


# --- polled


@pytest.mark.parametrize("device", ["fake_accel", "3"])
def test_polled_values_have_offset_and_scale_applied(
    tmp_path: Path, sensor: Sensor, device: str
) -> None:
    source = open_iio(tmp_path, device=device)
    assert source.shape == StreamShape(
        100.0, (Channel("accel_x", "m/s^2"), Channel("accel_y", "m/s^2"))
    )
    with running(source) as chunks:
        assert next(chunks).samples.tolist() == [[50.0, 105.0]]
        (sensor.folder / "in_accel_x_raw").write_text("-7\n")
        chunk = next(chunks)
    assert chunk.samples.tolist() == [[-3.5, 105.0]]
    assert 0 <= time.monotonic_ns() - chunk.end_ns < 1_000_000_000
    assert sensor.read("sampling_frequency") == "100"


def test_unit_that_the_channel_states_is_what_comes(tmp_path: Path, sensor: Sensor) -> None:
    sensor.write("in_accel_x_raw", str(2 * 9.80665 * 3))
    table = 'inputs = ["accel_x"]\nchannels = [{ name = "ax", unit = "g" }]\n'
    with running(open_iio(tmp_path, table)) as chunks:
        assert next(chunks).samples == pytest.approx(np.array([[3.0]]))


def test_value_that_the_kernel_has_processed_is_taken_as_it_is(
    tmp_path: Path, sensor: Sensor
) -> None:
    sensor.write("in_temp_input", "21500")
    sensor.write("in_temp_scale", "7")
    table = 'inputs = ["temp"]\nchannels = [{ name = "t", unit = "degC" }]\n'
    with running(open_iio(tmp_path, table)) as chunks:
        assert next(chunks).samples == pytest.approx(np.array([[21.5]]))


def test_difference_of_two_inputs_has_the_scale_of_all_such(tmp_path: Path, sensor: Sensor) -> None:
    sensor.write("in_voltage0-voltage1_raw", "400")
    sensor.write("in_voltage-voltage_scale", "0.25")
    sensor.write("in_voltage-voltage_offset", "-4")
    sensor.write("in_voltage_scale", "7")
    table = 'inputs = ["voltage0-voltage1"]\n'
    with running(open_iio(tmp_path, table)) as chunks:
        assert next(chunks).samples.tolist() == [[99.0]]


@pytest.mark.usefixtures("sensor")
def test_polled_samples_that_came_too_late_are_counted(tmp_path: Path) -> None:
    with running(open_iio(tmp_path)) as chunks:
        first = next(chunks)
        time.sleep(0.1)
        second = next(chunks)
    apart = (second.end_ns - first.end_ns) // PERIOD_NS
    assert abs(second.lost + 1 - apart) <= 1
    assert second.lost >= 8


def test_polled_device_that_vanishes_fails_and_comes_back_behind_a_break(
    tmp_path: Path, sensor: Sensor
) -> None:
    source = open_iio(tmp_path)
    with running(source) as chunks:
        assert not next(chunks).restart
        sensor.write("in_accel_x_raw", "")
        with pytest.raises(SourceFailed, match=r"in_accel_x_raw: b'\\n', expected a number"):
            take(chunks, 5)
    sensor.write("in_accel_x_raw", "1")
    with running(source) as chunks:
        assert [c.restart for c in take(chunks, 3)] == [True, False, False]


# --- buffered


@pytest.fixture
def writer(sensor: Sensor) -> Iterator[int]:
    descriptor = os.open(sensor.node, os.O_RDWR)
    yield descriptor
    os.close(descriptor)


def record(x: int, y: int, time_ns: int) -> bytes:
    return struct.pack("<hh4xq", x << 4, y << 4, time_ns)


BUFFERED = AXES + 'mode = "buffer"\nbuffer_length = 64\n'


def test_buffered_records_come_with_the_devices_times(
    tmp_path: Path, sensor: Sensor, writer: int
) -> None:
    begin_ns = time.monotonic_ns() - 10 * PERIOD_NS
    # A record in two pieces: a pipe may do that, whatever the kernel's buffer does.
    data = b"".join(record(-i, i, begin_ns + i * PERIOD_NS) for i in range(5))
    os.write(writer, data[:23])
    with running(open_iio(tmp_path, BUFFERED)) as chunks:
        first = next(chunks)
        os.write(writer, data[23:])
        rest = take(chunks, 4)
        assert sensor.read("buffer/enable") == "1"
    assert first.samples.tolist() == [[0.0, 5.0]]
    assert first.end_ns == begin_ns
    assert np.concatenate([c.samples for c in rest]).tolist() == [
        [-0.5 * i, 0.5 * (i + 10)] for i in range(1, 5)
    ]
    assert rest[-1].end_ns == begin_ns + 4 * PERIOD_NS
    assert [c.lost for c in (first, *rest)] == [0] * (1 + len(rest))


def test_buffer_is_set_up_for_our_inputs_alone_and_left_disabled(
    tmp_path: Path, sensor: Sensor, writer: int
) -> None:
    (tmp_path / "sys/trigger0").mkdir()
    (tmp_path / "sys/trigger0/name").write_text("timer1\n")
    (tmp_path / "sys/trigger0/sampling_frequency").write_text("1\n")
    sensor.write("trigger/current_trigger", "")
    os.write(writer, record(1, 1, 1))
    with running(open_iio(tmp_path, BUFFERED + 'trigger = "timer1"\n')) as chunks:
        next(chunks)
    enabled = [sensor.read(f"scan_elements/in_{n}_en") for n in ("accel_x", "accel_z", "timestamp")]
    assert enabled == ["1", "0", "1"]
    assert sensor.read("buffer/length") == "64"
    assert sensor.read("buffer/enable") == "0"
    assert sensor.read("current_timestamp_clock") == "monotonic"
    assert sensor.read("trigger/current_trigger") == "timer1"
    assert (tmp_path / "sys/trigger0/sampling_frequency").read_text() == "100"


@pytest.mark.usefixtures("sensor")
def test_samples_that_the_kernel_lost_are_counted_where_they_are_missing(
    tmp_path: Path, writer: int
) -> None:
    begin_ns = time.monotonic_ns() - 30 * PERIOD_NS
    at = [0, 1, 2, 7, 8, 20]
    os.write(writer, b"".join(record(i, 0, begin_ns + i * PERIOD_NS) for i in at))
    with running(open_iio(tmp_path, BUFFERED)) as chunks:
        got = take(chunks, 6)
    assert [(len(c.samples), c.lost, c.restart) for c in got] == [
        (3, 0, False),
        (2, 4, True),
        (1, 11, True),
    ]


def test_wall_clock_times_are_turned_into_monotonic_ones(
    tmp_path: Path, sensor: Sensor, writer: int
) -> None:
    (sensor.folder / "current_timestamp_clock").unlink()
    os.write(writer, record(1, 1, time.time_ns() - 5 * PERIOD_NS))
    now_ns = time.monotonic_ns()
    with running(open_iio(tmp_path, BUFFERED)) as chunks:
        chunk = next(chunks)
    assert chunk.end_ns == pytest.approx(now_ns - 5 * PERIOD_NS, abs=PERIOD_NS)


def test_buffer_that_closes_fails(tmp_path: Path, sensor: Sensor) -> None:
    source = open_iio(tmp_path, BUFFERED)
    writer = os.open(sensor.node, os.O_RDWR)
    os.write(writer, record(1, 1, 1))
    with running(source) as chunks:
        next(chunks)
        os.close(writer)
        with pytest.raises(SourceFailed, match="its buffer was closed"):
            next(chunks)


@pytest.mark.usefixtures("writer")
def test_silent_buffer_is_left_promptly(tmp_path: Path, sensor: Sensor) -> None:
    end = time.monotonic() + 0.3
    stop = Stop(lambda: time.monotonic() > end)
    assert list(open_iio(tmp_path, BUFFERED).chunks(stop)) == []
    assert time.monotonic() - end < 1.0
    assert sensor.read("buffer/enable") == "0"


# --- what is not there


@pytest.mark.usefixtures("sensor")
def test_device_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    assert failure(open_iio(tmp_path, device="bmi160")) == (
        f"{tmp_path}/sys: no device 'bmi160'; there: fake_accel (3)"
    )


@pytest.mark.usefixtures("sensor")
def test_name_that_two_devices_have_asks_for_the_number(tmp_path: Path) -> None:
    Sensor(tmp_path, 4)
    assert "there twice, say its number: fake_accel (3), fake_accel (4)" in failure(
        open_iio(tmp_path)
    )


@pytest.mark.usefixtures("sensor")
def test_rate_that_the_device_does_not_have_is_named_with_those_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr("edge_agent.sources.iio_device.IioDevice.write", refuse)
    assert failure(open_iio(tmp_path)).endswith(
        "sampling_frequency: 52 Hz, expected 100: set rate_hz to what the device has; "
        "available: 52 100"
    )


@pytest.mark.parametrize(
    ("rate_hz", "written"),
    [("2e6", "2000000"), ("1333.333333", "1333.333333"), ("0.78125", "0.78125")],
)
def test_rate_is_written_as_the_kernel_reads_numbers(
    tmp_path: Path, sensor: Sensor, rate_hz: str, written: str
) -> None:
    with running(open_iio(tmp_path, rate_hz=rate_hz)) as chunks:
        next(chunks)
    assert sensor.read("sampling_frequency") == written


@pytest.mark.usefixtures("sensor")
def test_input_that_is_not_there_is_named(tmp_path: Path) -> None:
    table = 'inputs = ["magn_x"]\n'
    assert "in_magn_x_raw: no such device" in failure(open_iio(tmp_path, table))
    assert "no input 'magn_x' in its buffer; there: accel_x, accel_y" in failure(
        open_iio(tmp_path, table + 'mode = "buffer"\n')
    )


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ('inputs = ["../x"]\n', 'inputs[0]: "../x", expected an input\'s name'),
        (AXES + 'channels = [{ name = "x", unit = "g" }]\n', "channels: 1 channels, expected 2"),
        (
            'inputs = ["accel_x"]\nchannels = [{ name = "x", unit = "rad/s" }]\n',
            "unit: unit 'rad/s', expected one of m/s^2, m/s2, m/s², g, for accel_x",
        ),
    ],
)
def test_table_that_is_wrong_is_refused_by_its_key(
    tmp_path: Path, table: str, message: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        open_iio(tmp_path, table)
    assert f"{tmp_path}/edge.toml:" in str(refused.value)
    assert message in str(refused.value)
