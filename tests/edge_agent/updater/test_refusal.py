"""What must not run or be followed is refused with its reason, and what runs runs on."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edge_bundle.archive import Bundle
from edge_bundle.manifest import Channel
from edge_wire import trust
from edge_wire.assignment import Requires
from edge_wire.messages import Reason
from tests.edge_agent.whole_agent import Agent, assert_unbroken, with_false_golden
from tests.edge_bundle.bundles import STREAM, write_small_bundle
from tests.simulators.operator import MODEL_2, Operator, make_release


def with_other_stream(**changes: Any) -> Callable[[Path], Bundle]:
    return lambda folder: make_release(
        folder, "2.0.0", MODEL_2, stream=msgspec.structs.replace(STREAM, **changes)
    )


CHANNELS = STREAM.channels
RENAMED = (*CHANNELS[:5], Channel("other", "rad/s"))
RESCALED = (Channel("ax", "m/s2"), *CHANNELS[1:])
GOOD = with_other_stream()
BAD: list[tuple[str, Callable[[Path], Bundle], dict[str, Any], Reason, str]] = [
    ("wrong_hash", GOOD, {"wire": b"something else"}, Reason.BAD_BUNDLE, "expected"),
    ("no_bundle", GOOD, {"sha256": "0" * 64}, Reason.BAD_BUNDLE, "expected"),
    ("golden", with_false_golden, {}, Reason.GOLDEN_FAILED, "golden scores off"),
    (
        "no_model",
        lambda f: write_small_bundle(f, version="2.0.0"),
        {},
        Reason.LOAD_FAILED,
        "onnxruntime",
    ),
    ("channels", with_other_stream(channels=RENAMED), {}, Reason.STREAM_MISMATCH, "other"),
    ("units", with_other_stream(channels=RESCALED), {}, Reason.STREAM_MISMATCH, "wants m/s2"),
    ("rate", with_other_stream(rate_hz=100.0), {}, Reason.STREAM_MISMATCH, "wants 100 Hz"),
    (
        "prepared",
        lambda f: write_small_bundle(f, version="2.0.0", stream=None),
        {},
        Reason.STREAM_MISMATCH,
        "watch-2.0.0-onnx-float.bundle takes prepared tensors: it has no [stream]",
    ),
    (
        "undecided",
        lambda f: write_small_bundle(f, version="2.0.0", decision=None),
        {},
        Reason.STREAM_MISMATCH,
        "watch-2.0.0-onnx-float.bundle gives bare scores: it has no [decision]",
    ),
    (
        "runtime",
        GOOD,
        {"requires": Requires(formats=("tflite",))},
        Reason.NO_VARIANT,
        "needs a runtime for tflite",
    ),
    (
        "profile",
        GOOD,
        {"requires": Requires(profiles=("jetson-orin",))},
        Reason.NO_VARIANT,
        "is for jetson-orin",
    ),
    (
        "old_agent",
        GOOD,
        {"requires": Requires(agent="99.0.0")},
        Reason.NO_VARIANT,
        "needs agent 99.0.0",
    ),
    ("too_large", GOOD, {"length": 1 << 40}, Reason.STORE_FULL, "no room"),
]


@pytest.mark.parametrize(
    ("make", "how", "reason", "detail"), [b[1:] for b in BAD], ids=[b[0] for b in BAD]
)
def test_a_bad_bundle_is_refused_with_its_reason_and_the_running_model_runs_on(
    operator: Operator,
    releases: dict[str, Bundle],
    tmp_path: Path,
    make: Callable[[Path], Bundle],
    how: dict[str, Any],
    reason: Reason,
    detail: str,
) -> None:
    units = ", ".join(f'{{name = "{c.name}", unit = "{c.unit}"}}' for c in CHANNELS)
    config = operator.enrol(
        tmp_path,
        runs=releases["1"],
        source=f"channels = [{units}]",
        more='[runtime]\nprefer = ["onnx"]',
    )
    bad = make(tmp_path / "bad")
    with Agent(config) as agent:
        operator.wait_for_more(1)
        operator.assign(bad, **how)
        operator.wait_for(lambda: "rejected" in operator.seen().states())
        report = operator.seen().model()
        assert report is not None
        assert (report.state, report.reason) == ("rejected", reason)
        assert detail in report.detail
        assert report.target == how.get("sha256", bad.sha256)
        assert report.running is not None
        assert report.running.sha256 == releases["1"].sha256
        operator.wait_for_more(3)
        assert operator.seen().versions() == ["1.0.0"]
        assert "trial" not in operator.seen().states()
        assert_unbroken(operator, agent.boot)
        assert agent.store.record("watch").running == releases["1"].sha256


def test_after_a_bad_bundle_a_good_one_is_taken(
    running: Agent, operator: Operator, releases: dict[str, Bundle], tmp_path: Path
) -> None:
    operator.assign(write_small_bundle(tmp_path, version="2.0.0"))
    operator.wait_for(lambda: "rejected" in operator.seen().states())
    operator.assign(releases["3"])
    report = operator.wait_for_state("committed", releases["3"])
    assert (report.reason, report.detail) == (None, "")
    assert running.store.record("watch").previous == releases["1"].sha256


def test_a_refused_bundle_is_not_fetched_again_but_a_higher_attempt_is(
    running: Agent, operator: Operator, tmp_path: Path
) -> None:
    bad = write_small_bundle(tmp_path, version="2.0.0")
    operator.assign(bad)
    operator.wait_for(lambda: "rejected" in operator.seen().states())
    running.store.remove(bad.sha256)
    chunks = len(operator.sent)
    operator.assign(bad)
    operator.wait_for_accepted()
    operator.wait_for_more(2)
    assert len(operator.sent) == chunks
    assert operator.seen().states().count("offered") == 1
    operator.assign(bad, attempt=2)
    operator.wait_for(lambda: operator.seen().states().count("rejected") == 2)
    assert len(operator.sent) > chunks


def test_going_back_to_what_runs_after_a_refused_offer_costs_nothing(
    running: Agent, operator: Operator, releases: dict[str, Bundle], tmp_path: Path
) -> None:
    operator.assign(write_small_bundle(tmp_path, version="2.0.0"))
    operator.wait_for(lambda: "rejected" in operator.seen().states())
    operator.assign(releases["1"])
    report = operator.wait_for_state("committed", releases["1"])
    assert (report.target, report.reason) == (None, None)
    assert "trial" not in operator.seen().states()
    assert running.life.is_settled(releases["1"].sha256)


# --- assignments


@pytest.mark.parametrize(
    "case", ["garbage", "unsigned", "other_key", "older", "other_group", "tampered"]
)
def test_an_assignment_that_must_not_be_followed_is_refused_with_its_reason(
    running: Agent, operator: Operator, releases: dict[str, Bundle], case: str
) -> None:
    reason = Reason.UNTRUSTED
    if case == "garbage":
        operator.desire(b"\0 not json")
    elif case == "unsigned":
        envelope = msgspec.json.decode(operator.assign(releases["1"]))
        operator.wait_for_accepted()
        operator.desire(msgspec.json.encode({**envelope, "signatures": []}))
    elif case == "tampered":
        operator.assign(releases["1"])
        envelope = msgspec.json.decode(operator.assign(releases["1"]))
        operator.wait_for_accepted()
        envelope["payload"] = trust._b64(b'{"group": "g"}')
        operator.desire(msgspec.json.encode(envelope))
    elif case == "other_key":
        operator.assign(releases["2"], key=trust.make_key())
    elif case == "other_group":
        operator.assign(releases["2"], group="h")
        reason = Reason.OTHER_GROUP
    elif case == "older":
        operator.assign(releases["1"], issued="2026-06-01T00:00:00.000000Z")
        operator.wait_for_accepted()
        operator.assign(releases["2"], issued="2026-05-31T23:59:59.999999Z")
        reason = Reason.OLD_ASSIGNMENT
    operator.wait_for(lambda: operator.seen().reports[-1].reason)
    last = operator.seen().reports[-1]
    assert last.reason is reason
    assert last.detail
    assert last.models["watch"].state == "committed"
    operator.wait_for_more(2)
    assert operator.seen().versions() == ["1.0.0"]
    assert operator.sent == []
    assert_unbroken(operator, running.boot)


def test_a_device_without_a_root_follows_nobody_and_says_what_to_do(
    operator: Operator, releases: dict[str, Bundle], tmp_path: Path
) -> None:
    operator.assign(releases["2"])
    with Agent(operator.enrol(tmp_path, trusted=False)) as agent:
        operator.wait_for(lambda: operator.seen().reports and operator.seen().reports[-1].reason)
        last = operator.seen().reports[-1]
        assert last.reason is Reason.NO_ROOT
        assert "edge-agent trust" in last.detail
        agent.store.write(agent.store.root_file(), b"damaged")
        operator.assign(releases["2"])
        operator.wait_for(lambda: "Root" in operator.seen().reports[-1].detail)
        agent.store.write(agent.store.root_file(), operator.root())
        operator.assign(releases["2"])
        operator.wait_for_state("committed", releases["2"])
        assert operator.seen().reports[-1].reason is None


def test_a_replayed_older_assignment_is_refused_after_a_restart_too(
    operator: Operator, releases: dict[str, Bundle], tmp_path: Path
) -> None:
    config = operator.enrol(tmp_path, runs=releases["1"])
    old = operator.assign(releases["2"])
    operator.assign(releases["1"])
    with Agent(config):
        operator.wait_for_accepted()
    operator.desire(old)
    with Agent(config):
        operator.wait_for(lambda: operator.seen().reports[-1].reason)
        assert operator.seen().reports[-1].reason is Reason.OLD_ASSIGNMENT
