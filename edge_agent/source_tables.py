"""What a configuration says of its sources: a table for each kind. Plain data.

Every kind has ``name``, ``policy``, ``keep_s``, ``rate_hz`` and ``channels``; the kinds are told
apart by ``kind``.
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
KeepS = Annotated[float, Meta(gt=0, le=7 * 86400)]
Policy = Literal["block", "drop_oldest"]
IioInput = Annotated[
    str,
    # It becomes part of a path in sysfs.
    Meta(
        pattern=r"^[a-z][a-z0-9_-]*$(?!\n)",
        description="an input's name between in_ and _raw, such as accel_x or voltage0",
    ),
]
HexBytes = Annotated[
    str,
    Meta(
        pattern=r"^([0-9A-Fa-f]{2}){1,8}$(?!\n)",
        description='1 to 8 bytes in hexadecimal, such as "aa55"',
    ),
]
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
    """How many times faster than the true rate; ``max``: as fast as models and broker take it."""
    channel: Annotated[int, Meta(ge=0)] | Literal["mean"] | None = None
    """Of a ``.wav``: the one channel to take, or the mean of all."""
    loop: bool = False
    policy: Policy = "block"
    keep_s: KeepS | None = None
    """How much of the stream memory holds; None: as ``retention`` says."""
    rate_hz: PositiveFloat | None = None
    channels: tuple[Channel, ...] = ()


class Live(Struct, frozen=True, kw_only=True, tag_field="kind"):
    """What every device on this machine has."""

    name: Identifier
    policy: Policy = "drop_oldest"
    keep_s: KeepS | None = None
    """How much of the stream memory holds; None: as ``retention`` says."""
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


class Iio(Live, frozen=True, kw_only=True, tag="iio"):
    """A sensor of the Linux Industrial I/O subsystem."""

    device: str
    """Its name, such as ``lsm6dso_accel``, or its number."""
    inputs: Annotated[tuple[IioInput, ...], Meta(min_length=1)]
    mode: Literal["poll", "buffer"] = "poll"
    trigger: str | None = None
    """Name of what makes the buffer take a sample; None: as it is."""
    buffer_length: Positive = 256
    """Samples that the kernel keeps for us."""
    root: str = "/sys/bus/iio/devices"
    dev: str = "/dev"
    """Folder of the device nodes."""


class Serial(Live, frozen=True, kw_only=True, tag="serial"):
    """A serial line that carries numbers."""

    device: str
    baud: Positive = 115200
    channels: Annotated[tuple[Channel, ...], Meta(min_length=1)]
    format: Literal["lines", "frames"] = "lines"
    scale: float = 1.0
    """What every value is multiplied by."""
    separator: str = ","
    """Of a line's columns; empty for blanks."""
    columns: tuple[Annotated[int, Meta(ge=0)], ...] = ()
    """Which columns are the channels, from 0; none for the first ones."""
    skip_lines: Annotated[int, Meta(ge=0)] = 0
    comment: str = "#"
    """What a line begins with that is no sample; empty for none."""
    sync: HexBytes = "aa55"
    """What a frame begins with, in hexadecimal."""
    values: Literal["float32", "int16"] = "float32"
    order: Literal["little", "big"] = "little"
    checksum: Literal["none", "sum8", "xor8"] = "none"
    """One byte behind the values and over them."""


class Mpu6050(Live, frozen=True, kw_only=True, tag="mpu6050"):
    """An accelerometer and gyroscope on an I2C bus."""

    bus: Annotated[int, Meta(ge=0)] = 1
    address: Annotated[int, Meta(ge=0x08, le=0x77)] = 0x68
    who_am_i: Annotated[int, Meta(ge=0, le=255)] = 0x68
    """What its WHO_AM_I register must hold; some copies differ."""
    accel_range_g: Literal[2, 4, 8, 16] = 2
    gyro_range_dps: Literal[250, 500, 1000, 2000] = 250
    low_pass_hz: Literal[184, 94, 44, 21, 10, 5] = 44
    """Bandwidth of the accelerometer's filter; the gyroscope's is about the same."""


class Microphone(Live, frozen=True, kw_only=True, tag="microphone"):
    """A sound card's input."""

    device: str | int | None = None
    """PortAudio's number, or part of a name; None for the default."""
    block_ms: Annotated[float, Meta(ge=1, le=200)] = 20.0
    """How much sound comes at once."""
    queue_s: Annotated[float, Meta(gt=0, le=60)] = 2.0
    """How much may wait before it is lost."""


class Camera(Struct, frozen=True, kw_only=True, tag_field="kind", tag="camera"):
    """Frames of a camera or of a video file: a sample for each pixel, row by row."""

    name: Identifier
    policy: Literal["latest", "drop_oldest"] = "latest"
    keep_s: KeepS | None = None
    """How much of the stream memory holds; None: as ``retention`` says."""
    channels: tuple[Channel, ...] = ()
    device: str | int
    """``/dev/video0``, its number, a video file, or ``picamera2``."""
    width: Annotated[int, Meta(ge=1, le=1920)]
    height: Annotated[int, Meta(ge=1, le=1080)]
    """What frames are resized to."""
    keep: Annotated[int, Meta(ge=1, le=1000)] = 1
    """With ``latest``: how many frames a model that is late can still have."""
    rate_hz: PositiveFloat
    """Frames a second; of several in that time the newest is kept."""


Hardware: TypeAlias = Iio | Serial | Mpu6050 | Microphone | Camera

Source: TypeAlias = Replay | Mqtt | Host | Hwmon | Hardware
"""Any of them."""
