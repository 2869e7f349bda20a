"""The files of one IIO device under sysfs: found, read, and set. Only this module knows them."""

import os
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from edge_agent.sources.iio_scan import Element, read_type
from edge_agent.sources.source import SourceFailed
from edge_bundle.manifest import RATE_TOLERANCE

UNITS: Final = {
    "accel": "m/s^2",
    "anglvel": "rad/s",
    "magn": "G",
    "gravity": "m/s^2",
    "incli": "deg",
    "rot": "deg",
    "temp": "mdegC",
    "voltage": "mV",
    "altvoltage": "mV",
    "current": "mA",
    "power": "mW",
    "pressure": "kPa",
    "humidityrelative": "m%",
    "illuminance": "lx",
    "distance": "m",
}
"""Unit of a value after offset and scale, by its type.

Source: Linux, Documentation/ABI/testing/sysfs-bus-iio.
"""


def unit_of(name: str) -> str:
    """Return the unit of an input such as ``accel_x``; empty where the kernel states none."""
    return UNITS.get(_kind(name), "")


class IioDevice:
    """A device's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def find(cls, root: Path, wanted: str, prefix: str = "iio:device") -> "IioDevice":
        """Find a device by its name, or by its number.

        Raises: SourceFailed: there is none, or two of that name.
        """
        devices = {
            folder.name.removeprefix(prefix): cls(folder)
            for folder in sorted(root.glob(f"{prefix}*"))
        }
        names = {number: device.read("name") or "" for number, device in devices.items()}
        found = [devices[n] for n, name in names.items() if name == wanted]
        if not found and wanted in devices:
            return devices[wanted]
        if len(found) == 1:
            return found[0]
        there = ", ".join(f"{name or '?'} ({n})" for n, name in names.items())
        if found:
            raise SourceFailed(f"{root}: {wanted!r} is there twice, say its number: {there}")
        raise SourceFailed(f"{root}: no device {wanted!r}; there: {there or 'none'}")

    def read(self, name: str) -> str | None:
        """Return what an attribute holds; None where there is none."""
        try:
            return (self.folder / name).read_text("ascii", "replace").strip()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def write(self, name: str, value: str) -> None:
        """Set an attribute that is there.

        Raises: OSError: it is not, or the device refuses the value.
        """
        # Never created: under a wrong root nothing may be left behind.
        descriptor = os.open(self.folder / name, os.O_WRONLY | os.O_TRUNC)
        try:
            os.write(descriptor, value.encode())
        finally:
            os.close(descriptor)

    def number(self, name: str, what: str, otherwise: float) -> float:
        """Return a number that an input has alone, or shares with those of its type.

        Args:
            name: the input, such as ``accel_x``.
            what: ``scale`` or ``offset``.
            otherwise: where the device does not say.
        Raises: SourceFailed: it is no number.
        """
        kind = _kind(name)
        # Differences, such as voltage0-voltage1, share what is theirs alone.
        shared = (f"{kind}-{kind}", kind) if "-" in name else (kind,)
        for key in (f"in_{n}_{what}" for n in (name, *shared)):
            text = self.read(key)
            if text is not None:
                try:
                    return float(text)
                except ValueError:
                    raise SourceFailed(
                        f"{self.folder / key}: {text!r}, expected a number"
                    ) from None
        return otherwise

    def set_rate(self, names: Sequence[str], rate_hz: float) -> None:
        """Set the rate where it can be set.

        Raises: SourceFailed: the device says that it keeps another.
        """
        kinds = dict.fromkeys(_kind(n) for n in names)
        for key in ("sampling_frequency", *(f"in_{k}_sampling_frequency" for k in kinds)):
            if self.read(key) is None:
                continue
            with suppress(OSError):  # it is fixed, or has only some values: what it has is checked
                # The kernel reads no exponents, and six digits behind the point.
                self.write(key, f"{rate_hz:.6f}".rstrip("0").rstrip("."))
            text = self.read(key) or ""
            with suppress(ValueError):
                if not abs(float(text) / rate_hz - 1) <= RATE_TOLERANCE:
                    available = self.read(f"{key}_available")
                    hint = f"; available: {available}" if available else ""
                    raise SourceFailed(
                        f"{self.folder / key}: {text} Hz, expected {rate_hz:g}: "
                        f"set rate_hz to what the device has{hint}"
                    )

    def elements(self) -> list[Element]:
        """Return what the buffer could hold.

        Raises: SourceFailed: it has no buffer, or one that is not understood.
        """
        folder = self.folder / "scan_elements"
        found = []
        for enable in sorted(folder.glob("in_*_en")):
            name = enable.name.removeprefix("in_").removesuffix("_en")
            stem = f"scan_elements/in_{name}"
            try:
                found.append(
                    read_type(
                        name, int(self.read(f"{stem}_index") or ""), self.read(f"{stem}_type") or ""
                    )
                )
            except ValueError as error:
                raise SourceFailed(f"{folder}: {error}") from None
        if not found:
            raise SourceFailed(f'{folder}: no buffer here: say mode = "poll"')
        return found


def _kind(name: str) -> str:
    """Return an input's type: ``accel`` of ``accel_x``, ``voltage`` of ``voltage0``."""
    match = re.match(r"[a-z]+", name)
    return match[0] if match else name
