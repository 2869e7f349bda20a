"""Every message that a device or the operator's side sends in JSON, and its largest size.

Readers ignore fields that they do not know; sizes are checked before anything is parsed.
"""

from enum import Enum
from typing import Annotated, Final, Literal, TypeVar

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from edge_wire.errors import MessageRefused

MAX_DESIRED_BYTES: Final = 96 << 10
MAX_MESSAGE_BYTES: Final = 64 << 10

Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$", max_length=64)]
"""The length too, since ``$`` lets a newline follow."""
Clock = Literal["synced", "holdover", "unsynced"]
Count = Annotated[int, Meta(ge=0)]


class Availability(str, Enum):
    """Plain text on the retained ``availability`` topic; OFFLINE is the will."""

    ONLINE = "online"
    STOPPED = "stopped"
    OFFLINE = "offline"


class Reason(str, Enum):
    """Why a device refused or left a model; machines read these, people read ``detail``."""

    NO_ROOT = "no_root"
    UNTRUSTED = "untrusted"
    OLD_ASSIGNMENT = "old_assignment"
    OTHER_GROUP = "other_group"
    NO_VARIANT = "no_variant"
    NO_ENCODING = "no_encoding"
    BAD_BUNDLE = "bad_bundle"
    STREAM_MISMATCH = "stream_mismatch"
    LOAD_FAILED = "load_failed"
    GOLDEN_FAILED = "golden_failed"
    TRIAL_FAILED = "trial_failed"
    STORE_FULL = "store_full"
    INTERNAL = "internal"


class LossCause(str, Enum):
    """Why a range of ``seq`` was never delivered."""

    OUTBOX_FULL = "outbox_full"
    STOPPED = "stopped"


class ModelId(Struct, frozen=True):
    """Which model made a prediction."""

    name: str
    version: str
    sha: str
    """First 8 hexadecimal digits of the bundle's sha256."""


class Latency(Struct, frozen=True, gc=False):
    """Where a prediction's time went, in milliseconds."""

    queue: float
    """From the window's last sample being received to the start of the work on it."""
    pre: float
    infer: float
    e2e: float
    """From the window's last sample to the message being ready to send."""


class Prediction(Struct, frozen=True, gc=False):
    """One window's prediction."""

    v: int
    boot: str
    seq: Count
    t: str
    """UTC end of the window, RFC 3339 with milliseconds."""
    window_ms: float
    clock: Clock
    stream: str
    model: ModelId
    label: str
    score: float
    top: list[tuple[str, float]]
    lat_ms: Latency
    lost_samples: Count
    """Samples of the stream that were lost since the prediction before it that was published."""
    quality: Literal["ok", "gap"]
    """``gap``: samples were missing or invalid between this window and the one of that
    prediction."""
    skipped_windows: Count = 0
    """Windows since that prediction that were never run, because they were past due."""
    replayed: bool = False
    values: list[tuple[str, float, str]] | UnsetType = UNSET
    """Of a regression: name, value, unit. Not there for other kinds, as ``boxes``."""
    boxes: list[tuple[str, float, float, float, float, float]] | UnsetType = UNSET
    """Of a detection, the best first: label, score, left, top, right, bottom, in fractions of the
    picture."""


class Event(Struct, frozen=True):
    """A label that lasts: it began, goes on, or ended."""

    v: int
    boot: str
    id: str
    """Of the event: the same from ``new`` to ``end``, and of no other event of any device."""
    n: Count
    """Counts the event messages of one (device, boot, stream, model), from 0."""
    kind: Literal["new", "update", "end"]
    t: str
    """UTC end of the window that this is told at, RFC 3339 with milliseconds."""
    start: str
    """UTC end of the first window that spoke for it."""
    duration_ms: float
    """From ``start`` to ``t``, in the stream's own time and by a clock that is never set."""
    clock: Clock
    stream: str
    model: ModelId
    label: str
    score: float
    """Of the label, in the last window that had one."""
    peak: float
    """The score since ``start`` that speaks most for the label: the lowest of ``low``."""
    cause: Literal["over", "gap", "model", "stopped"] | UnsetType = UNSET
    """Of an ``end``: its label is; a gap in the stream, another model, or the agent's stop came."""


class State(Struct, frozen=True):
    """The label confirmed last, and since when."""

    v: int
    boot: str
    t: str
    """UTC end of the window that confirmed it."""
    clock: Clock
    stream: str
    model: ModelId
    label: str
    score: float


class ChannelInfo(Struct, frozen=True):
    """A channel of a stream as a device has it."""

    name: str
    unit: str


class StreamInfo(Struct, frozen=True):
    """A stream as a device has it."""

    rate_hz: float
    channels: tuple[ChannelInfo, ...]
    source: str
    state: Literal["running", "retrying", "ended", "failed"] = "running"
    """``retrying``: it failed, and is tried again; ``failed``: it cannot be used as it is."""
    detail: str = ""
    """Why, or what is wrong with the samples of a stream that goes on."""


class ModelInfo(Struct, frozen=True):
    """A model as a device has it."""

    stream: str
    thresholds: dict[str, float] = {}
    """Those of the device's configuration, by label, instead of the bundle's."""


class PreviousBoot(Struct, frozen=True):
    """How far the boot before is known to have come: what bounds the tail after a crash."""

    boot: str
    clean: bool
    """Whether it stopped in order, so that nothing is missing after ``last_seq``."""
    last_seq: dict[str, int]
    """By ``stream/model``: the last ``seq`` that was delivered or announced lost."""


class Info(Struct, frozen=True):
    """A device's birth message."""

    v: int
    device: str
    agent: str
    boot: str
    group: str
    labels: dict[str, str]
    profile: str
    runtimes: dict[str, str]
    streams: dict[str, StreamInfo]
    previous: PreviousBoot | None = None
    models: dict[str, ModelInfo] = {}


class Running(Struct, frozen=True):
    """The bundle that a device runs."""

    version: str
    variant: str
    sha256: str


class ModelReport(Struct, frozen=True):
    """Where a device stands with one model."""

    running: Running | None
    state: str
    """Of the life in docs/updates.md, of ``target`` where there is one, else of ``running``;
    ``none`` where there is neither."""
    target: str | None = None
    """sha256 of the bundle that the device is moving to or has refused."""
    attempt: int = 0
    held: tuple[str, ...] = ()
    """sha256 of every bundle of this model in the store."""
    reason: Reason | None = None
    detail: str = ""


class Accepted(Struct, frozen=True):
    """The newest assignment that the device verified."""

    group: str
    issued: str


class Reported(Struct, frozen=True):
    """A device's report; (boot, n) orders reports."""

    v: int
    boot: str
    n: int
    t: str
    models: dict[str, ModelReport]
    accepted: Accepted | None = None
    reason: Reason | None = None
    """Why the newest desired message was refused as a whole."""
    detail: str = ""


class Loss(Struct, frozen=True, rename={"first": "from", "last": "to"}):
    """A range of ``seq`` that will never come."""

    v: int
    boot: str
    stream: str
    model: str
    first: Count
    last: Count
    cause: LossCause


class Spread(Struct, frozen=True):
    """Durations of a period, in milliseconds."""

    mean: float
    p99: float
    """At most 13 % above the true one."""


class DriftReport(Struct, frozen=True):
    """How far what a model sees and says is from what it was built on."""

    psi: float | None
    """Population stability index of the channel where it is largest; None where not known yet."""
    channel: str
    """Which that is."""
    score_statistic: float
    """Of the Page-Hinkley test on how sure the answers are, in standard deviations of what was
    usual; 0 for the 1,920 windows that say what that is."""
    score_changes: Count
    """How often that found a change since the model was loaded."""
    drifted: bool


class ModelTelemetry(Struct, frozen=True):
    """One model's counts since the boot, and its durations since the message before."""

    stream: str
    model: ModelId | None
    """None where nothing runs."""
    windows: Count
    """Predictions made."""
    late: Count
    """Windows never run: past due, or overwritten before that."""
    failed: Count
    """Windows of which no prediction was given because the model, or what follows it, failed."""
    infer_ms: Spread | None
    """None where there was no window."""
    e2e_ms: Spread | None
    drift: DriftReport | None = None


class StreamFigures(Struct, frozen=True):
    """One stream's counts since the boot."""

    samples: Count
    """Received, and finite."""
    lost: Count
    """Known to be missing."""
    breaks: Count
    """Places that no window spans."""


class CaptureFigures(Struct, frozen=True):
    """Windows kept on the device for retraining."""

    windows: Count
    """Written since the boot."""
    waiting: Count
    """In memory, to be written together."""
    dropped: Count
    """That were to be kept and could not be."""
    bytes: Count
    """On the disk, from earlier boots as well."""
    error: str = ""
    """Why the last ones could not be written."""


class Process(Struct, frozen=True):
    """What the agent takes of its machine."""

    rss_bytes: Count
    """Resident memory."""
    cpu_s: float
    """CPU time since it began."""
    celsius: float | None
    """The warmest zone; None where the kernel tells none."""


class Telemetry(Struct, frozen=True):
    """A device's figures; (boot, n) orders them."""

    v: int
    boot: str
    n: int
    t: str
    uptime_s: float
    period_s: float
    """Since the message before was made, or since the start."""
    models: dict[str, ModelTelemetry]
    process: Process
    capture: CaptureFigures | None = None
    """None where nothing is captured."""
    streams: dict[str, StreamFigures] = {}


class Want(Struct, frozen=True):
    """The chunks of a blob that a device lacks."""

    v: int
    blob: Sha256
    missing: str
    """Hexadecimal bitmap: bit n of the little-endian integer stands for chunk n."""


class Plan(Struct, frozen=True):
    """The chunks of a blob that the sender is about to send."""

    v: int
    blob: Sha256
    ranges: list[tuple[Count, Count]]
    """First and last chunk of each range."""


T = TypeVar("T")
_ENCODER = msgspec.json.Encoder()
encode = _ENCODER.encode


def decode(data: bytes, kind: type[T], limit: int = MAX_MESSAGE_BYTES) -> T:
    """Read a message.

    Raises: MessageRefused: too large, not JSON, or not of this kind.
    """
    if len(data) > limit:
        raise MessageRefused(f"{kind.__name__}: {len(data)} bytes, at most {limit}")
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MessageRefused(f"{kind.__name__}: {error}") from None
