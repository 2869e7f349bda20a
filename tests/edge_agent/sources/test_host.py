"""The kernel's own figures, from a tree of files like its own, and from this machine."""

import math
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from edge_agent.fit import StreamShape
from edge_agent.sources.polling import poll
from edge_agent.sources.source import SourceFailed
from edge_bundle.errors import ConfigError
from edge_bundle.manifest import Channel
from tests.edge_agent.sources.test_replay import Time, open_one

ALL = '["cpu_percent","memory_percent","swap_percent","load1","load5","load15","temperature"]'


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Files as a small machine's kernel shows them."""
    files = {
        "proc/stat": "cpu  100 0 100 700 100 0 0 0 0 0\ncpu0 1 2 3\nintr 5\n",
        "proc/meminfo": "MemTotal: 1000 kB\nMemAvailable: 250 kB\nSwapTotal: 0\nSwapFree: 0\n",
        "proc/loadavg": "0.50 1.25 2.00 1/120 999\n",
        "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
        "sys/class/thermal/thermal_zone0/temp": "48312\n",
        "sys/class/thermal/thermal_zone1/type": "gpu-thermal\n",
        "sys/class/thermal/thermal_zone1/temp": "51000\n",
        "sys/class/hwmon/hwmon0/name": "rpi_volt\n",
        "sys/class/hwmon/hwmon0/in0_input": "4987\n",
        "sys/class/hwmon/hwmon10/name": "nvme\n",
        "sys/class/hwmon/hwmon10/temp1_input": "99000\n",
        "sys/class/hwmon/hwmon2/name": "nvme\n",
        "sys/class/hwmon/hwmon2/temp1_input": "31850\n",
        "sys/class/hwmon/hwmon2/power1_input": "1500000\n",
    }
    for name, text in files.items():
        file = tmp_path / "root" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return tmp_path / "root"


def table(tree: Path, kind: str, text: str) -> str:
    root = tree if kind == "host" else tree / "sys"
    return f'kind = "{kind}"\nroot = "{root}"\n{text}\n'


def first(source: object, world: Time) -> list[float]:
    chunk = next(source.chunks(world.wait))  # type: ignore[attr-defined]
    return [float(v) for v in chunk.samples[0]]


def test_host_gives_every_figure(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = Time(monkeypatch)
    source = open_one(tmp_path, table(tree, "host", f"metrics = {ALL}"), kind=None)

    def wait(seconds: float) -> bool:
        (tree / "proc/stat").write_text("cpu  130 0 130 710 130 0 0 0 0 0\n")
        return world.wait(seconds)

    values = next(source.chunks(wait)).samples[0]
    assert values == pytest.approx([60, 75, 0, 0.5, 1.25, 2.0, 51.0])
    assert [c.unit for c in source.shape.channels] == ["%", "%", "%", "1", "1", "1", "degC"]


def test_zone_that_cannot_be_read_now_does_not_hide_the_others(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As of a radio that is off: the zone is there, and to read it is an error.
    hot = tree / "sys/class/thermal/thermal_zone1/temp"
    hot.unlink()
    hot.mkdir()
    source = open_one(tmp_path, table(tree, "host", 'metrics = ["temperature"]'), kind=None)
    assert first(source, Time(monkeypatch)) == pytest.approx([48.312])
    (tree / "sys/class/thermal/thermal_zone0/temp").unlink()
    with pytest.raises(SourceFailed, match="thermal_zone0/temp: No such file"):
        first(source, Time(monkeypatch))


def test_hwmon_gives_inputs_by_name_in_si_units(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = '["thermal/gpu-thermal", "nvme/temp1", "nvme/power1", "rpi_volt/in0"]'
    source = open_one(tmp_path, table(tree, "hwmon", f"inputs = {inputs}"), kind=None)
    assert first(source, Time(monkeypatch)) == pytest.approx([51.0, 31.85, 1.5, 4.987])
    assert [c.unit for c in source.shape.channels] == ["degC", "degC", "W", "V"]
    assert source.shape.channels[1].name == "nvme/temp1"


def test_input_that_is_away_is_named_with_what_there_is_and_found_when_it_is_back(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = Time(monkeypatch)
    source = open_one(tmp_path, table(tree, "hwmon", 'inputs = ["usb_probe/temp1"]'), kind=None)
    with pytest.raises(SourceFailed, match="there: nvme, rpi_volt"):
        first(source, world)
    folder = tree / "sys/class/hwmon/hwmon3"
    folder.mkdir()
    (folder / "name").write_text("usb_probe")
    (folder / "temp1_input").write_text("20000")
    chunks = source.chunks(world.wait)
    assert next(chunks).samples.tolist() == [[20.0]]
    (folder / "temp1_input").unlink()
    with pytest.raises(SourceFailed, match="temp1_input: No such file"):
        next(chunks)


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("proc/stat", "intr 5", "proc/stat: no line of all cores"),
        ("proc/meminfo", "MemFree: 1 kB", "proc/meminfo: no MemTotal or no MemAvailable"),
        ("sys/class/thermal/thermal_zone0/temp", "hot", "temp: 'hot', expected a number"),
    ],
)
def test_kernel_that_says_something_else_is_a_failure_of_the_source(
    tree: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    file: str,
    text: str,
    message: str,
) -> None:
    (tree / file).write_text(text)
    source = open_one(tmp_path, table(tree, "host", f"metrics = {ALL}"), kind=None)
    with pytest.raises(SourceFailed, match=message):
        first(source, Time(monkeypatch))


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        ("hwmon", 'inputs = ["nvme"]', "inputs[0]: 'nvme', expected CHIP/INPUT such as"),
        ("hwmon", 'inputs = ["nvme/pwm1"]', "'nvme/pwm1', expected CHIP/INPUT"),
        ("hwmon", 'inputs = ["../x/temp1"]', "expected CHIP/INPUT"),
        ("hwmon", "inputs = []", "expected a list of length >= 1"),
        ("host", 'metrics = ["cpu"]', "no value 'cpu'; known: cpu_percent"),
        ("host", "rate_hz = 100", "100, expected a number <= 10"),
        ("host", 'channels = [{name="a", unit="%"}]', "1 channels, expected 3, for cpu_percent"),
        (
            "host",
            'metrics = ["load1"]\nchannels = [{name="a", unit="%"}]',
            "unit: '%': load1 is in '1'",
        ),
    ],
)
def test_table_that_cannot_be_is_refused_by_its_key(
    tree: Path, tmp_path: Path, kind: str, text: str, message: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        open_one(tmp_path, table(tree, kind, text), kind=None)
    assert message in str(refused.value)
    assert "edge.toml:" in str(refused.value)


def test_a_machine_without_proc_is_asked_by_psutil(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edge_agent.sources import host

    metrics = '["cpu_percent","memory_percent","swap_percent","load1","load5","load15"]'
    text = f'kind = "host"\nmetrics = {metrics}\n'
    world = Time(monkeypatch)
    expected = first(open_one(tmp_path, text, kind=None), world)
    monkeypatch.setattr(host, "PROC", "no-proc-here")
    source = open_one(tmp_path, text, kind=None)
    assert isinstance(source, host.Elsewhere)
    found = first(source, world)
    assert 0 <= found[0] <= 100
    assert found[1:3] == pytest.approx(expected[1:3], abs=5)
    assert found[3:] == pytest.approx(expected[3:], abs=0.5)
    monkeypatch.setitem(sys.modules, "psutil", None)
    with pytest.raises(ConfigError, match=r"psutil .*pip install 'edgeward\[host\]'"):
        open_one(tmp_path, text, kind=None)


def test_temperature_elsewhere_is_the_hottest_or_none() -> None:
    from edge_agent.sources.host import Elsewhere

    shape = StreamShape(1.0, (Channel("temperature", "degC"),))

    class Board:
        def __init__(self) -> None:
            self.zones: dict[str, list[SimpleNamespace]] = {}

        def cpu_percent(self) -> float:
            return 0.0

        def sensors_temperatures(self) -> dict[str, list[SimpleNamespace]]:
            return self.zones

    board = Board()
    source = Elsewhere(shape, ("temperature",), board)
    with pytest.raises(SourceFailed, match="temperature: this machine shows none"):
        next(source.chunks(lambda _seconds: False))
    board.zones = {"cpu": [SimpleNamespace(current=41.0), SimpleNamespace(current=52.5)]}
    assert next(source.chunks(lambda _seconds: False)).samples.tolist() == [[52.5]]


def test_this_machine_has_figures() -> None:
    from edge_agent.sources.host import UNITS, Host

    metrics = tuple(m for m in UNITS if m != "temperature")
    shape = StreamShape(100.0, tuple(Channel(m, UNITS[m]) for m in metrics))

    def wait(seconds: float) -> bool:
        time.sleep(seconds)
        return False

    chunks = Host(shape, metrics, Path("/")).chunks(wait)
    values = np.concatenate([next(chunks).samples for _ in range(5)])
    assert np.isfinite(values).all()
    assert (values[:, :3] >= 0).all()
    assert (values[:, :3] <= 100).all()


def test_polling_counts_what_it_is_too_late_for(monkeypatch: pytest.MonkeyPatch) -> None:
    world = Time(monkeypatch)
    slow = iter([0, 0, 0.35, 0, 0])

    def read() -> list[float]:
        world.now_ns += int(next(slow) * 1e9)
        return [1.0]

    shape = StreamShape(10.0, (Channel("a", ""),))
    chunks = poll(shape, read, world.wait)
    got = [next(chunks) for _ in range(5)]
    assert [c.lost for c in got] == [0, 0, 3, 0, 0]
    times = [c.end_ns / 1e9 - 7 for c in got]
    assert times == pytest.approx([0.1, 0.2, 0.65, 0.7, 0.8], abs=1e-3)
    assert math.isclose(sum(1 + c.lost for c in got), 8)
