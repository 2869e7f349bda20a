"""What a configuration says of its sources: a table for each kind. Plain data.

Every kind has ``name``, ``policy``, ``rate_hz`` and ``channels``; the kinds are told apart by
``kind``.
"""

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct

from edge_bundle.manifest import Channel
from edge_wire.credentials import BrokerTable
from edge_wire.topics import IDENTIFIER

Identifier = Annotated[
    str,
    # Python's ``$`` also matches before a line's end.
    Meta(
        pattern=rf"^{IDENTIFIER.pattern}$(?!\n)",
        description="1 to 64 letters, digits, '.', '_' or '-'",
    ),
]
Positive = Annotated[int, Meta(ge=1)]
PositiveFloat = Annotated[float, Meta(gt=0)]
Policy = Literal["block", "drop_oldest"]
Metric = Literal[
    "cpu_percent",
    "memory_percent",
    "swap_percent",
    "load1",
    "load5",
    "load15",
    "temperature",
]


class Replay(Struct, frozen=True, kw_only=True, tag_field="kind", tag="replay"):
    """A recording that is replayed."""

    name: Identifier
    path: str
    factor: PositiveFloat | Literal["max"] = 1.0
    """How many times faster than the true rate; ``max``: as fast as the models take it."""
    channel: Annotated[int, Meta(ge=0)] | Literal["mean"] | None = None
    """Of a ``.wav``: the one channel to take, or the mean of all."""
    loop: bool = False
    policy: Policy = "block"
    rate_hz: PositiveFloat | None = None
    channels: tuple[Channel, ...] = ()


class Live(Struct, frozen=True, kw_only=True, tag_field="kind"):
    """What every device on this machine has."""

    name: Identifier
    policy: Policy = "drop_oldest"
    rate_hz: PositiveFloat
    channels: tuple[Channel, ...] = ()
    """In order; none for the device's own names and units. Where a unit is another than the
    device's, values are converted, or the table is refused."""


class TimeStamp(Struct, frozen=True):
    """Where a message says when its samples were taken."""

    path: str
    unit: Literal["s", "ms", "us", "ns"] = "s"
    """Of the time since 1970, or since whatever the sender counts from."""


class Mqtt(Live, frozen=True, kw_only=True, tag="mqtt"):
    """Samples that something else publishes."""

    topic: Annotated[str, Meta(min_length=1, max_length=1024)]
    channels: Annotated[tuple[Channel, ...], Meta(min_length=1)]
    broker: BrokerTable | None = None
    """None: the agent's own."""
    format: Literal["json", "float32", "int16"] = "json"
    """``float32`` and ``int16``: little endian, channel after channel, sample after sample."""
    paths: tuple[str, ...] = ()
    """For ``json``: where the value of each channel is, such as ``$.imu.ax`` or ``$.values[0]``;
    a number for one sample, or a list of them."""
    scale: float = 1.0
    """What every value is multiplied by."""
    time: TimeStamp | None = None
    """For ``json``: where the time is; None for when it arrives."""
    max_bytes: Annotated[int, Meta(ge=1, le=1 << 20)] = 65536
    """A larger message is refused."""


class Host(Live, frozen=True, kw_only=True, tag="host"):
    """This machine's own figures."""

    metrics: Annotated[tuple[Metric, ...], Meta(min_length=1)] = (
        "cpu_percent",
        "memory_percent",
        "load1",
    )
    rate_hz: Annotated[float, Meta(gt=0, le=10)] = 1.0
    root: str = "/"
    """Folder that ``proc`` and ``sys`` are in."""


class Hwmon(Live, frozen=True, kw_only=True, tag="hwmon"):
    """Sensors that the kernel watches the machine with: temperatures, voltages, fans, power."""

    inputs: Annotated[tuple[str, ...], Meta(min_length=1)]
    """``CHIP/LABEL`` such as ``cpu_thermal/temp1``, or ``thermal/TYPE`` for a thermal zone."""
    rate_hz: Annotated[float, Meta(gt=0, le=100)] = 1.0
    root: str = "/sys"


Source: TypeAlias = Replay | Mqtt | Host | Hwmon
"""Any of them."""
