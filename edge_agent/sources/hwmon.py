"""Sensors that the kernel watches the machine with: hwmon chips and thermal zones, through sysfs.

Source: the kernel's Documentation/hwmon/sysfs-interface and driver-api/thermal/sysfs-api.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from edge_agent import source_tables as tables
from edge_agent.config import LoadedConfig
from edge_agent.fit import StreamShape
from edge_agent.ring import Chunk
from edge_agent.sources.polling import poll
from edge_agent.sources.source import SourceFailed
from edge_agent.sources.sysfs import numbered, read_number, read_text
from edge_bundle.manifest import Channel

UNITS: Final = {
    "temp": ("degC", 1e-3),
    "in": ("V", 1e-3),
    "curr": ("A", 1e-3),
    "power": ("W", 1e-6),
    "energy": ("J", 1e-6),
    "humidity": ("%", 1e-3),
    "fan": ("RPM", 1.0),
}
"""Unit of each kind of input, and what the kernel's number is multiplied by."""
INPUT: Final = re.compile(rf"([^/]+)/({'|'.join(UNITS)})([0-9]+)")
THERMAL: Final = "thermal/"
ZONE_UNIT: Final = ("degC", 1e-3)


class Hwmon:
    """Inputs of chips and zones, each found by name whenever the source is started."""

    def __init__(self, shape: StreamShape, inputs: tuple[str, ...], root: Path) -> None:
        self.shape = shape
        self._inputs = inputs
        self._root = root

    def chunks(self, wait: Callable[[float], bool]) -> Iterator[Chunk]:
        """Yield a sample each period.

        Raises: SourceFailed: an input is not there.
        """
        found = [(self._find(name), unit_of(name)[1]) for name in self._inputs]
        yield from poll(self.shape, lambda: [read_number(f) * s for f, s in found], wait)

    def _find(self, name: str) -> Path:
        if name.startswith(THERMAL):
            wanted = name.removeprefix(THERMAL)
            folders = numbered(self._root / "class" / "thermal", "thermal_zone")
            names = {read_text(f / "type"): f / "temp" for f in reversed(folders)}
        else:
            wanted, _, entry = name.rpartition("/")
            folders = numbered(self._root / "class" / "hwmon", "hwmon")
            names = {read_text(f / "name"): f / f"{entry}_input" for f in reversed(folders)}
        if wanted not in names:
            known = ", ".join(sorted(names)) or "none"
            raise SourceFailed(f"no {name} under {self._root}; there: {known}")
        return names[wanted]


def unit_of(name: str) -> tuple[str, float]:
    """Return the unit of an input, and what the kernel's number is multiplied by.

    Raises: ValueError: it is no input.
    """
    if name.startswith(THERMAL) and len(name) > len(THERMAL):
        return ZONE_UNIT
    found = INPUT.fullmatch(name)
    if found is None:
        kinds = ", ".join(f"{k}N" for k in UNITS)
        raise ValueError(
            f"{name!r}, expected CHIP/INPUT such as cpu_thermal/temp1 (inputs: {kinds}) or "
            "thermal/TYPE such as thermal/cpu-thermal"
        )
    return UNITS[found[2]]


def open_hwmon(loaded: LoadedConfig, index: int, table: tables.Hwmon) -> Hwmon:
    """Open the source of a table.

    Raises: ConfigError: inputs or channels that cannot be.
    """
    native = []
    for i, name in enumerate(table.inputs):
        try:
            native.append(Channel(name, unit_of(name)[0]))
        except ValueError as error:
            raise loaded.error(("source", index, "inputs", i), str(error)) from None
    channels = name_channels(loaded, index, table.channels, tuple(native))
    return Hwmon(StreamShape(table.rate_hz, channels), table.inputs, Path(table.root))


def name_channels(
    loaded: LoadedConfig, index: int, given: tuple[Channel, ...], native: tuple[Channel, ...]
) -> tuple[Channel, ...]:
    """Return the channels of a source as the configuration names them, in their own units.

    Raises: ConfigError: not as many, or in another unit.
    """
    if not given:
        return native
    if len(given) != len(native):
        names = ", ".join(c.name for c in native)
        raise loaded.error(
            ("source", index, "channels"),
            f"{len(given)} channels, expected {len(native)}, for {names}",
        )
    for i, (ours, theirs) in enumerate(zip(given, native, strict=True)):
        if ours.unit and ours.unit != theirs.unit:
            raise loaded.error(
                ("source", index, "channels", i, "unit"),
                f"{ours.unit!r}: {theirs.name} is in {theirs.unit!r}",
            )
    return given
