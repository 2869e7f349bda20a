"""This machine's own figures: a stream that every machine has, also without a sensor.

Linux says them itself, in /proc and /sys. Elsewhere psutil asks for them.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from edge_agent import source_tables as tables
from edge_agent.config import LoadedConfig
from edge_agent.fit import StreamShape
from edge_agent.ring import Chunk
from edge_agent.sources.device import need_library
from edge_agent.sources.hwmon import name_channels
from edge_agent.sources.polling import poll
from edge_agent.sources.source import SourceFailed
from edge_agent.sources.sysfs import numbered, read_text, to_number
from edge_bundle.manifest import Channel

NATIVE: Final = "/"
PROC: Final = "proc/self"
UNITS: Final[dict[tables.Metric, str]] = {
    "cpu_percent": "%",
    "memory_percent": "%",
    "swap_percent": "%",
    "load1": "1",
    "load5": "1",
    "load15": "1",
    "temperature": "degC",
}


class Host:
    """Reads the figures each period."""

    def __init__(self, shape: StreamShape, metrics: tuple[tables.Metric, ...], root: Path) -> None:
        self.shape = shape
        self._metrics = metrics
        self._proc = root / "proc"
        self._zones = root / "sys" / "class" / "thermal"
        self._cpu = (0, 0)

    def chunks(self, wait: Callable[[float], bool]) -> Iterator[Chunk]:
        """Yield a sample each period.

        Raises: SourceFailed: the kernel does not say one of the figures.
        """
        if "cpu_percent" in self._metrics:
            self._cpu = self._cpu_times()
        yield from poll(self.shape, self._read, wait)

    def _read(self) -> list[float]:
        return [self._one(metric) for metric in self._metrics]

    def _one(self, metric: tables.Metric) -> float:
        match metric:
            case "cpu_percent":
                return self._cpu_percent()
            case "memory_percent":
                return self._used_percent("MemTotal", "MemAvailable")
            case "swap_percent":
                return self._used_percent("SwapTotal", "SwapFree")
            case "temperature":
                return self._temperature()
        column = ("load1", "load5", "load15").index(metric)
        return float(read_text(self._proc / "loadavg").split()[column])

    def _cpu_percent(self) -> float:
        """Return how busy all cores were since the reading before."""
        (busy0, total0), (busy1, total1) = self._cpu, self._cpu_times()
        self._cpu = (busy1, total1)
        return 100 * max(0, busy1 - busy0) / (total1 - total0) if total1 > total0 else 0.0

    def _cpu_times(self) -> tuple[int, int]:
        """Return busy and all ticks since the machine started. Source: proc(5), /proc/stat."""
        file = self._proc / "stat"
        words = read_text(file).partition("\n")[0].split()
        # user nice system idle iowait irq softirq steal; what guests use is in user already.
        ticks = [int(w) for w in words[1:9] if w.isdecimal()]
        if words[:1] != ["cpu"] or len(ticks) < 5:
            raise SourceFailed(f"{file}: no line of all cores in it")
        return sum(ticks) - ticks[3] - ticks[4], sum(ticks)

    def _used_percent(self, total_key: str, free_key: str) -> float:
        file = self._proc / "meminfo"
        lines = (line.split() for line in read_text(file).splitlines())
        sizes = {w[0].rstrip(":"): int(w[1]) for w in lines if len(w) > 1 and w[1].isdecimal()}
        if total_key not in sizes or free_key not in sizes:
            raise SourceFailed(f"{file}: no {total_key} or no {free_key} in it")
        total = sizes[total_key]
        return 100 * (1 - sizes[free_key] / total) if total else 0.0

    def _temperature(self) -> float:
        """Return the hottest zone's of those that can be read: that of a radio may be off."""
        failure = SourceFailed(f"{self._zones}: this machine shows no temperature")
        found = []
        for zone in reversed(numbered(self._zones, "thermal_zone")):
            try:
                text = read_text(zone / "temp")
            except SourceFailed as error:
                failure = error
            else:
                found.append(to_number(zone / "temp", text))
        if not found:
            raise failure
        return max(found) * 1e-3


class Elsewhere:
    """Asks psutil each period, where there is no /proc."""

    def __init__(self, shape: StreamShape, metrics: tuple[tables.Metric, ...], psutil: Any) -> None:
        self.shape = shape
        self._metrics = metrics
        self._psutil = psutil

    def chunks(self, wait: Callable[[float], bool]) -> Iterator[Chunk]:
        """Yield a sample each period.

        Raises: SourceFailed: this machine does not say one of the figures.
        """
        self._psutil.cpu_percent()  # says what was since the call before
        yield from poll(self.shape, self._read, wait)

    def _read(self) -> list[float]:
        return [self._one(metric) for metric in self._metrics]

    def _one(self, metric: tables.Metric) -> float:
        psutil = self._psutil
        match metric:
            case "cpu_percent":
                return float(psutil.cpu_percent())
            case "memory_percent":
                return float(psutil.virtual_memory().percent)
            case "swap_percent":
                return float(psutil.swap_memory().percent)
            case "temperature":
                found: dict[str, Any] = getattr(psutil, "sensors_temperatures", dict)()
                values = [one.current for zone in found.values() for one in zone]
                if not values:
                    raise SourceFailed("temperature: this machine shows none")
                return float(max(values))
        return float(psutil.getloadavg()[("load1", "load5", "load15").index(metric)])


def open_host(loaded: LoadedConfig, index: int, table: tables.Host) -> "Host | Elsewhere":
    """Open the source of a table.

    Raises: ConfigError: channels that are not the metrics', or no psutil where that is needed.
    """
    native = tuple(Channel(name, UNITS[name]) for name in table.metrics)
    channels = name_channels(loaded, index, table.channels, native)
    shape, root = StreamShape(table.rate_hz, channels), Path(table.root)
    if table.root == NATIVE and not (root / PROC).is_dir():
        return Elsewhere(shape, table.metrics, need_library(loaded, index, "psutil", "host"))
    return Host(shape, table.metrics, root)
