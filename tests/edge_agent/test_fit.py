"""What a device refuses before it fetches a byte, and why."""

import pytest
from msgspec.structs import replace

from edge_agent.fit import (
    Refused,
    Site,
    StreamShape,
    check_stream,
    check_thresholds,
    choose_variant,
)
from edge_bundle.manifest import Channel
from edge_wire.assignment import Ref, Requires, Variant
from edge_wire.messages import Reason
from tests.edge_bundle.bundles import CHANNELS, STREAM, watch_manifest

SITE = Site("d1", "home", {}, "generic", "0.1.0", ("onnx",), 1)
CHANNEL_LIST = tuple(Channel(*c) for c in CHANNELS.items())
NAMES = ", ".join(CHANNELS)
COUNT = (
    "let [[source]] give 6, not 2: see its channels (of a .csv they choose columns), and channel "
    "(of a .wav), paths, columns, inputs or metrics"
)
ORDER = "let [[source]] give them in that order"
CALLED = (
    "if they are the same, call them so in channels of [[source]], or in the file where a "
    "recording names its own"
)
UNIT = (
    'say unit = "g" in channels of [[source]] where it gives that; a device\'s own unit is '
    "converted, and mqtt and serial have scale"
)
RATE = (
    "let [[source]] give that (a sensor by its rate_hz, a recording by a file that was resampled), "
    'or say resample = "linear" or "polyphase" in [stream] of the bundle\'s specification'
)


def ref(*needs: Requires) -> Ref:
    names = (Variant(f"v{i}", r, f"{i:064x}", 1) for i, r in enumerate(needs))
    return Ref("1.0.0", 1, tuple(names))


@pytest.mark.parametrize(
    "requires",
    [
        Requires(),
        Requires(agent="0.0.9"),
        Requires(agent="0.1.0-rc.1"),
        Requires(formats=("tflite", "onnx")),
        Requires(profiles=("raspberry-pi-4", "generic")),
    ],
)
def test_variant_that_lacks_nothing_is_taken(requires: Requires) -> None:
    assert choose_variant(ref(requires), SITE).variant == "v0"


@pytest.mark.parametrize(
    ("requires", "why"),
    [
        (Requires(agent="0.2.0"), "needs agent 0.2.0, this is 0.1.0"),
        (Requires(agent="0.10.0"), "needs agent 0.10.0, this is 0.1.0"),
        (Requires(agent="newest"), "needs agent newest, this is 0.1.0"),
        (Requires(agent="²"), "needs agent ², this is 0.1.0"),
        (Requires(formats=("tflite",)), "needs a runtime for tflite, here is one for onnx"),
        (Requires(profiles=("jetson-orin",)), "is for jetson-orin, this is generic"),
    ],
)
def test_variant_that_lacks_something_is_refused_with_what(requires: Requires, why: str) -> None:
    with pytest.raises(Refused, match=f"^v0: {why}$") as refused:
        choose_variant(ref(requires), SITE)
    assert refused.value.reason is Reason.NO_VARIANT


def test_first_variant_that_can_run_is_taken() -> None:
    wanted = ref(Requires(formats=("tflite",)), Requires(), Requires())
    assert choose_variant(wanted, SITE).variant == "v1"


def test_refusal_names_what_every_variant_lacks() -> None:
    with pytest.raises(Refused, match=r"v0: needs a runtime .*; v1: is for x, this is generic"):
        choose_variant(ref(Requires(formats=("tflite",)), Requires(profiles=("x",))), SITE)


@pytest.mark.parametrize("rate_hz", [50.0, 49.1, 50.9])
def test_stream_that_the_model_was_trained_on_fits(rate_hz: float) -> None:
    check_stream(watch_manifest(), StreamShape(rate_hz, CHANNEL_LIST))
    unstated = tuple(Channel(c.name, "") for c in CHANNEL_LIST)
    check_stream(watch_manifest(), StreamShape(rate_hz, unstated))


@pytest.mark.parametrize("policy", ["linear", "polyphase"])
def test_other_rate_fits_where_the_bundle_says_to_resample(policy: str) -> None:
    stream = replace(STREAM, resample=policy)
    check_stream(watch_manifest(stream=stream), StreamShape(100.0, CHANNEL_LIST))
    with pytest.raises(Refused, match="has 9000 Hz: 9000 Hz cannot become 50 Hz") as refused:
        check_stream(watch_manifest(stream=stream), StreamShape(9000.0, CHANNEL_LIST))
    assert refused.value.reason is Reason.STREAM_MISMATCH
    with pytest.raises(Refused, match="has nan Hz"):
        check_stream(watch_manifest(stream=stream), StreamShape(float("nan"), CHANNEL_LIST))


@pytest.mark.parametrize(
    ("shape", "why"),
    [
        (StreamShape(100.0, CHANNEL_LIST), f"the model wants 50 Hz, the stream has 100 Hz: {RATE}"),
        (
            StreamShape(float("nan"), CHANNEL_LIST),
            f"the model wants 50 Hz, the stream has nan Hz: {RATE}",
        ),
        (
            StreamShape(50.0, CHANNEL_LIST[:2]),
            f"the model wants channels {NAMES}; the stream has ax, ay: {COUNT}",
        ),
        (
            StreamShape(50.0, CHANNEL_LIST[::-1]),
            f"the model wants channels {NAMES}; the stream has wz, wy, wx, az, ay, ax: {ORDER}",
        ),
        (
            StreamShape(50.0, (Channel("x", "g"), *CHANNEL_LIST[1:])),
            f"the model wants channels {NAMES}; the stream has x, ay, az, wx, wy, wz: {CALLED}",
        ),
        (
            StreamShape(50.0, (Channel("ax", "m/s2"), *CHANNEL_LIST[1:])),
            f"channel ax: the model wants g, the stream has m/s2: {UNIT}",
        ),
    ],
)
def test_other_stream_is_refused_with_the_difference(shape: StreamShape, why: str) -> None:
    with pytest.raises(Refused) as refused:
        check_stream(watch_manifest(), shape)
    assert (str(refused.value), refused.value.reason) == (why, Reason.STREAM_MISMATCH)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"stream": None}, "takes prepared tensors: it has no [stream]; build it with --spec"),
        ({"decision": None}, "gives bare scores: it has no [decision]; build it with --spec"),
    ],
)
def test_bundle_that_is_not_for_live_samples_is_refused(changes: dict[str, None], why: str) -> None:
    with pytest.raises(Refused) as refused:
        check_stream(watch_manifest(**changes), StreamShape(50.0, CHANNEL_LIST))
    assert str(refused.value) == f"watch-1.0.0-onnx-float.bundle {why}"
    assert refused.value.reason is Reason.STREAM_MISMATCH


def test_version_without_a_threshold_that_the_device_changes_is_refused() -> None:
    check_thresholds(watch_manifest(), {"PEN": 0.5})
    check_thresholds(watch_manifest(decision=None), {"PEN": 0.5})  # refused for that
    with pytest.raises(Refused, match=r"^thresholds: no 'RUN'; the model has PEN, ABD") as refused:
        check_thresholds(watch_manifest(), {"RUN": 0.5})
    assert refused.value.reason is Reason.STREAM_MISMATCH
