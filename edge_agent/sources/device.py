"""What sources of real devices share: their failure, their libraries, and how they wait.

A source is told of a missing library or a wrong table when it is opened; of a missing device when
its chunks are asked for, so that one that is plugged in later is found by a later try.
"""

import errno
import importlib
import select
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from edge_agent.config import LoadedConfig
from edge_agent.fit import StreamShape
from edge_agent.sources.source import SourceFailed
from edge_agent.sources.units import convert_unit
from edge_bundle.manifest import Channel

TICK_S: Final = 0.01
"""A source that is woken by its device reads at most this often; what came meanwhile waits."""
EACH_HZ: Final = 200.0
"""Up to this rate it is woken for each sample."""
LOOK_S: Final = 0.15
"""The longest that a source blocks in a call before it looks whether it is time to stop."""

DENIED: Final = (errno.EACCES, errno.EPERM)
ABSENT: Final = (errno.ENOENT, errno.ENODEV, errno.ENXIO)
HINTS: Final = {
    errno.EREMOTEIO: ": nothing answers there; is it connected, and is that its address?",
    errno.EBUSY: ": does another program have it open?",
}


@contextmanager
def failing(what: str, group: str = "") -> Iterator[None]:
    """Turn the operating system's word on a device into one that says what to do.

    Args:
        what: the device, as the configuration names it.
        group: whose members may use it.
    Raises: SourceFailed.
    """
    try:
        yield
    except OSError as error:  # by its number: a library raises a class of its own
        name = error.filename or what
        if error.errno in DENIED:
            hint = f": add the user to the group {group}" if group else ""
            raise SourceFailed(f"{name}: permission denied{hint}") from None
        if error.errno in ABSENT:
            raise SourceFailed(f"{name}: no such device; is it connected?") from None
        hint = HINTS.get(error.errno or 0, "")
        raise SourceFailed(f"{what}: {error.strerror or error}{hint}") from None


def need_library(loaded: LoadedConfig, index: int, name: str, extra: str, package: str = "") -> Any:
    """Import the library of a kind of source.

    Args:
        loaded, index: the configuration and the source in it, for the error's place.
        name: the Python module.
        extra: the extra of this package that installs it.
        package: the Debian package that the library itself needs.
    Raises: ConfigError: it is not installed, or does not import.
    """
    place = ("source", index, "kind")
    try:
        return importlib.import_module(name)
    except ImportError as error:
        found = "is not installed" if error.name in {name, None} else f"does not import: {error}"
        raise loaded.error(
            place, f"the Python module {name} {found}: pip install 'edgeward[{extra}]'"
        ) from None
    except OSError as error:  # how ctypes says that there is no shared library
        hint = f": sudo apt install {package}" if package else ""
        raise loaded.error(place, f"{name}: {error}{hint}") from None


def fit_channels(
    loaded: LoadedConfig, index: int, given: tuple[Channel, ...], native: tuple[Channel, ...]
) -> tuple[tuple[Channel, ...], list[float]]:
    """Return a device's channels as the configuration names them, and the factor of each.

    Args:
        loaded, index: the configuration and the source in it.
        given: what the configuration says; none for the device's own names and units.
        native: the device's own, in order. A unit that is empty fits none but itself.
    Raises: ConfigError: not as many, or a unit that the device's cannot be turned into.
    """
    if not given:
        return native, [1.0] * len(native)
    if len(given) != len(native):
        names = ", ".join(c.name for c in native)
        raise loaded.error(
            ("source", index, "channels"),
            f"{len(given)} channels, expected {len(native)}, for {names}",
        )
    factors = []
    for i, (ours, theirs) in enumerate(zip(given, native, strict=True)):
        try:
            # An empty unit on either side: nobody knows better, and it stays what it is.
            both = ours.unit and theirs.unit
            factors.append(convert_unit(theirs.unit, ours.unit) if both else 1.0)
        except ValueError as error:
            place = ("source", index, "channels", i, "unit")
            raise loaded.error(place, f"{error}, for {theirs.name}") from None
    return given, factors


def until_readable(descriptor: int, wait: Callable[[float], bool], rest_s: float) -> bool:
    """Wait until a descriptor can be read; true when it is time to stop instead.

    Wakes up every ``LOOK_S`` where no data comes; what comes after a silence is seen at once.

    Args:
        rest_s: that is slept in any case: see ``rest_s``.
    """
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    while not wait(rest_s):
        if poll.poll(LOOK_S * 1000):
            return False
        rest_s = 0.0
    return True


def rest_s(shape: StreamShape) -> float:
    """Return how long to sleep after data came: until the parts of a sample are there together,
    and not beyond the next one, unless they come so fast that they are taken several at once.
    """
    return 0.5 / shape.rate_hz if shape.rate_hz <= EACH_HZ else TICK_S


def period_ns(shape: StreamShape) -> float:
    """Return the time from one sample to the next."""
    return 1e9 / shape.rate_hz
