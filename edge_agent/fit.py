"""Whether a version can run on this device: pure rules over what it needs and what there is."""

from collections.abc import Mapping
from math import ceil, isfinite

from msgspec import Struct

from edge_bundle.decision.thresholds import override
from edge_bundle.errors import BundleRefused
from edge_bundle.manifest import RATE_TOLERANCE, Channel, Manifest, Stream
from edge_bundle.resampling import rate_step
from edge_wire.assignment import Ref, Requires, Variant
from edge_wire.messages import Reason


class Refused(Exception):
    """This device will not run a version."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class StreamShape(Struct, frozen=True):
    """What a source says of its samples."""

    rate_hz: float
    channels: tuple[Channel, ...]
    """A unit is empty where neither the configuration nor the recording says it."""
    block: int = 1
    """How many samples belong together, such as a frame's pixels: memory holds whole blocks."""
    kept: int | None = None
    """How many samples memory holds; None: that is not settled yet."""


class Site(Struct, frozen=True):
    """What a version can find on this device."""

    device: str
    group: str
    labels: dict[str, str]
    profile: str
    agent: str
    formats: tuple[str, ...]
    """Model formats that can run here, the preferred one first."""
    threads: int


def choose_variant(ref: Ref, site: Site) -> Variant:
    """Return the first variant of a version that can run here.

    Raises: Refused: none can, with what each lacks.
    """
    lacking = []
    for variant in ref.variants:
        what = _lacking(variant.requires, site)
        if what is None:
            return variant
        lacking.append(f"{variant.variant}: {what}")
    raise Refused(Reason.NO_VARIANT, "; ".join(lacking))


def check_stream(manifest: Manifest, found: StreamShape) -> None:
    """Refuse a version that was trained to see another stream, or none.

    A unit that nobody states here is not held against it, nor a rate that its own policy turns
    into the one it wants.
    Raises: Refused.
    """
    try:
        wanted = manifest.expect_stream()
    except BundleRefused as error:
        raise Refused(Reason.STREAM_MISMATCH, str(error)) from None
    names = [c.name for c in found.channels]
    expected = [c.name for c in wanted.channels]
    if names != expected:
        raise Refused(
            Reason.STREAM_MISMATCH,
            f"the model wants channels {', '.join(expected)}; the stream has {', '.join(names)}: "
            + _mend(expected, names),
        )
    for ours, theirs in zip(found.channels, wanted.channels, strict=True):
        if ours.unit and ours.unit != theirs.unit:
            raise Refused(
                Reason.STREAM_MISMATCH,
                f"channel {ours.name}: the model wants {theirs.unit}, the stream has {ours.unit}: "
                f'say unit = "{theirs.unit}" in channels of [[source]] where it gives that; a '
                "device's own unit is converted, and mqtt and serial have scale",
            )
    if not _same_rate(wanted, found):
        told = f"the model wants {wanted.rate_hz:g} Hz, the stream has {found.rate_hz:g} Hz"
        if wanted.resample == "refuse" or not isfinite(found.rate_hz):
            raise Refused(
                Reason.STREAM_MISMATCH,
                f"{told}: let [[source]] give that (a sensor by its rate_hz, a recording by a file "
                "that was resampled), or say "
                'resample = "linear" or "polyphase" in [stream] of the bundle\'s specification',
            )
        try:
            rate_step(found.rate_hz, wanted.rate_hz)
        except ValueError as error:
            raise Refused(Reason.STREAM_MISMATCH, f"{told}: {error}") from None
    span = count_samples(wanted, found, wanted.window)
    if found.kept is not None and span > found.kept:
        raise Refused(
            Reason.STREAM_MISMATCH,
            f"the model's window is {span / found.rate_hz:.6g} s of the stream, of which "
            f"{found.kept / found.rate_hz:.6g} s are kept: say more with keep_s in its [[source]]",
        )


def count_samples(wanted: Stream, found: StreamShape, count: int) -> int:
    """Return how many samples of a stream so many of what a model wants to see are made of.

    Raises: ValueError: the rates are too far apart.
    """
    if _same_rate(wanted, found):
        return count
    # One more, for a branch rounds its part of the memory down.
    return ceil(count * float(rate_step(found.rate_hz, wanted.rate_hz))) + 1


def check_thresholds(manifest: Manifest, thresholds: Mapping[str, float]) -> None:
    """Refuse a version that has not the thresholds that the configuration changes.

    Raises: Refused.
    """
    if manifest.decision is None:
        return  # refused for that
    try:
        override(manifest.decision, thresholds)
    except ValueError as error:
        raise Refused(Reason.STREAM_MISMATCH, str(error)) from None


def _same_rate(wanted: Stream, found: StreamShape) -> bool:
    return abs(found.rate_hz / wanted.rate_hz - 1) <= RATE_TOLERANCE


def _mend(expected: list[str], names: list[str]) -> str:
    """Return what to do where a stream has not the channels that a model wants."""
    if len(names) != len(expected):
        return (
            f"let [[source]] give {len(expected)}, not {len(names)}: see its channels (of a .csv "
            "they choose columns), and channel (of a .wav), paths, columns, inputs or metrics"
        )
    if sorted(names) == sorted(expected):
        return "let [[source]] give them in that order"
    return (
        "if they are the same, call them so in channels of [[source]], or in the file where a "
        "recording names its own"
    )


def _lacking(requires: Requires, site: Site) -> str | None:
    if _version_key(requires.agent) > _version_key(site.agent):
        return f"needs agent {requires.agent}, this is {site.agent}"
    if requires.formats and not set(requires.formats) & set(site.formats):
        return (
            f"needs a runtime for {' or '.join(requires.formats)}, "
            f"here is one for {', '.join(site.formats) or 'none'}"
        )
    if requires.profiles and site.profile not in requires.profiles:
        return f"is for {', '.join(requires.profiles)}, this is {site.profile}"
    return None


def _version_key(version: str) -> tuple[int, ...]:
    """Order versions by their three numbers; what cannot be read is newer than all."""
    parts = version.split("-", maxsplit=1)[0].split(".")
    return tuple(int(p) for p in parts) if all(p.isdecimal() for p in parts) else (1 << 30,)
