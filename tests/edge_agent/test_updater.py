import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from edge_agent import download, loading, staging
from edge_agent.clock import WallClock
from edge_agent.config import load_config
from edge_agent.fit import Refused, Site, StreamShape
from edge_agent.life import Life
from edge_agent.lifecycle import State
from edge_agent.reporter import Reporter
from edge_agent.service import Service
from edge_agent.slot import Slot
from edge_agent.store import Floor, Proof, Record, Store
from edge_agent.updater import HEALTHY_WINDOWS, MAX_TRIAL_BOOTS, Updater
from edge_bundle import VERSION
from edge_bundle.archive import Bundle
from edge_bundle.decision.outcome import Decision
from edge_bundle.decision.thresholds import read_thresholds
from edge_bundle.errors import ModelRefused
from edge_bundle.features.runner import Fresh
from edge_bundle.inference import Inference
from edge_bundle.manifest import Channel
from edge_bundle.tensor import Float32Array
from edge_wire import trust
from edge_wire.assignment import Candidate, Requires
from edge_wire.broker import Broker
from edge_wire.link import Handlers, Link
from edge_wire.messages import Info, ModelReport, Reason, encode
from edge_wire.topics import Topics
from tests.brokers import RunningBroker, run_broker
from tests.edge_bundle.bundles import STREAM, write_small_bundle
from tests.simulators.operator import MODEL_2, Operator, make_release, prove

ROOM = 1 << 22


class Agent:
    """A whole agent in this process; use as a context manager."""

    def __init__(self, config: Path) -> None:
        self.service = Service(load_config(config))
        self.boot = self.service._boot
        self.store = self.service._store
        self._thread = threading.Thread(target=self.service.run, name="agent")

    def __enter__(self) -> "Agent":  # noqa: PYI034
        self._thread.start()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.service.stop()
        self._thread.join(20)
        assert not self._thread.is_alive()

    @property
    def life(self) -> Life:
        return self.service._updater._places["watch"].life


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_wire.link.BACKOFF_S", (0.02, 0.3))
    monkeypatch.setattr(download, "PATIENCE_S", (0.3, 1.0))


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundle]:
    folder = tmp_path_factory.mktemp("releases")
    return {
        "1": make_release(folder, "1.0.0"),
        "2": make_release(folder, "2.0.0", MODEL_2),
        "3": make_release(folder, "3.0.0"),
    }


@pytest.fixture(scope="module")
def one_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBroker]:
    """A broker for many tests: each operator has a root of topics of its own."""
    with run_broker("embedded", tmp_path_factory.mktemp("broker")) as broker:
        yield broker


@pytest.fixture
def operator(one_broker: RunningBroker) -> Iterator[Operator]:
    with Operator(one_broker.url) as connected:
        yield connected


@pytest.fixture
def running(operator: Operator, releases: dict[str, Bundle], tmp_path: Path) -> Iterator[Agent]:
    """An agent that runs version 1, by its configuration."""
    config = operator.enrol(tmp_path, model=f'bundle = "{releases["1"].path}"')
    agent = Agent(config)
    prove(agent.store, *releases.values())
    with agent:
        operator.wait_for_more(1)
        yield agent


def count_stagings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that grows by the version of whatever is staged."""
    staged = []
    stage = staging.stage

    def count(bundle: Bundle, *more: Any) -> staging.Verdict | None:
        staged.append(bundle.manifest.version)
        return stage(bundle, *more)

    monkeypatch.setattr(loading, "stage", count)
    return staged


def assert_unbroken(operator: Operator, boot: str) -> None:
    """Check that every number came once, in order, and no sample was lost."""
    predictions = [p for p in operator.seen().predictions if p.boot == boot]
    assert [p.seq for p in predictions] == list(range(len(predictions)))
    assert sum(p.lost_samples for p in predictions) == 0


def break_model(monkeypatch: pytest.MonkeyPatch, version: str) -> Callable[[], None]:
    """Let a version fail at every window from when the returned function is called."""
    broken = threading.Event()
    decide = Inference.decide

    def fail(self: Inference, window: Float32Array, fresh: Fresh = None) -> Decision:
        if broken.is_set() and self.manifest.version == version:
            raise ModelRefused("a node failed")
        return decide(self, window, fresh)

    monkeypatch.setattr(Inference, "decide", fail)
    return broken.set


# --- the main job


def test_models_arrive_replace_each_other_and_return_without_a_gap(
    broker: RunningBroker,
    releases: dict[str, Bundle],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    staged = count_stagings(monkeypatch)
    with Operator(broker.url) as operator, Agent(operator.enrol(tmp_path)) as agent:
        seen = operator.seen()
        operator.wait_for(lambda: seen.reports)
        assert seen.model() == ModelReport(running=None, state="none")
        for version in ("1", "2"):
            operator.assign(releases[version])
            operator.wait_for_state("committed", releases[version])
            operator.wait_for_more(3)
        chunks = len(operator.sent)
        assert chunks
        operator.assign(releases["1"])
        report = operator.wait_for_state("committed", releases["1"])
        operator.wait_for_more(3)
        assert len(operator.sent) == chunks, "a return costs no byte of a model"
        assert staged == ["1.0.0", "2.0.0"], "and no proof"
        assert sorted(report.held) == sorted(releases[v].sha256 for v in "12")
        assert seen.versions() == ["1.0.0", "2.0.0", "1.0.0"]
        labels = {p.model.sha for p in seen.predictions}
        assert labels == {releases[v].sha256[:8] for v in "12"}
        assert_unbroken(operator, agent.boot)
        orders = [(r.boot, r.n) for r in seen.reports]
        assert orders == sorted(orders)
        assert seen.states()[-6:] == [
            "committed", "offered", "verified", "staged", "trial", "committed",
        ]  # fmt: skip


def test_what_runs_and_is_wanted_is_left_alone(
    running: Agent, operator: Operator, releases: dict[str, Bundle]
) -> None:
    message = operator.assign(releases["2"])
    operator.wait_for_state("committed", releases["2"])
    record = running.store.record("watch")
    operator.desire(message)
    operator.assign(releases["2"])
    operator.wait_for_accepted()
    operator.wait_for_more(2)
    assert operator.seen().states().count("trial") == 1
    assert running.store.record("watch") == record


def test_a_device_that_the_candidate_includes_takes_it(
    running: Agent, operator: Operator, releases: dict[str, Bundle]
) -> None:
    candidate = Candidate(operator.ref(releases["2"]), "salt", 0, include=("d1",))
    for bundle in (releases["1"], releases["2"]):
        running.store.take_in(bundle.path)
    operator.assign(releases["1"], candidate=candidate)
    operator.wait_for_state("committed", releases["2"])


# --- refused bundles


def with_other_stream(**changes: Any) -> Callable[[Path], Bundle]:
    return lambda folder: make_release(
        folder, "2.0.0", MODEL_2, stream=msgspec.structs.replace(STREAM, **changes)
    )


def with_false_golden(folder: Path) -> Bundle:
    """Write version 2's weights with the golden vectors of version 1."""
    from edge_bundle.archive import write_bundle

    first = make_release(folder, "1.0.0")
    files = {"model.onnx": MODEL_2.read_bytes(), "golden.npz": first.read("golden.npz")}
    manifest = msgspec.structs.replace(first.manifest, version="2.0.0")
    return write_bundle(folder, manifest, files)


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
        model=f'bundle = "{releases["1"].path}"',
        source=f"channels = [{units}]",
        more='[runtime]\nprefer = ["onnx"]',
    )
    bad = make(tmp_path / "bad")
    agent = Agent(config)
    prove(agent.store, releases["1"])
    with agent:
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


# --- refused assignments


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
    config = operator.enrol(tmp_path, model=f'bundle = "{releases["1"].path}"')
    old = operator.assign(releases["2"])
    operator.assign(releases["1"])
    agent = Agent(config)
    prove(agent.store, *releases.values())
    with agent:
        operator.wait_for_accepted()
    operator.desire(old)
    with Agent(config):
        operator.wait_for(lambda: operator.seen().reports[-1].reason)
        assert operator.seen().reports[-1].reason is Reason.OLD_ASSIGNMENT


# --- interrupted by something newer


def test_a_newer_assignment_cancels_a_fetch(
    running: Agent, operator: Operator, releases: dict[str, Bundle]
) -> None:
    operator.faults.withhold = lambda number: number > 2
    operator.assign(releases["2"])
    operator.wait_for_state("downloading", releases["2"])
    operator.wait_for(lambda: operator.sent)
    operator.faults.withhold = lambda _number: False
    operator.assign(releases["3"])
    operator.wait_for_state("committed", releases["3"])
    assert "2.0.0" not in operator.seen().versions()
    partials = [f.name for f in (running.store.path / "partial").iterdir()]
    assert partials == [], "what nobody wants any more is cleared away"


def test_what_nobody_may_say_cancels_no_fetch(
    running: Agent, operator: Operator, releases: dict[str, Bundle]
) -> None:
    gone_on = threading.Event()
    operator.faults.withhold = lambda number: number > 2 and not gone_on.is_set()
    wanted = operator.assign(releases["2"])
    operator.wait_for_state("downloading", releases["2"])
    operator.wait_for(lambda: len(operator.sent) >= 3)
    for what in (b"garbage", wanted):
        operator.desire(what)
        operator.wait_for_more(8)
    operator.assign(releases["3"], key=trust.make_key())
    operator.wait_for_more(8)
    gone_on.set()
    operator.wait_for_state("committed", releases["2"])
    assert "retired" not in operator.seen().states()
    assert running.store.record("watch").running == releases["2"].sha256


def test_a_trial_that_is_superseded_gives_way_to_the_last_good_one_and_then_to_the_newer(
    operator: Operator, releases: dict[str, Bundle], tmp_path: Path
) -> None:
    config = operator.enrol(tmp_path, model=f'bundle = "{releases["1"].path}"', factor=4)
    agent = Agent(config)
    prove(agent.store, *releases.values())
    with agent:
        operator.wait_for_more(1)
        operator.assign(releases["2"])
        operator.wait_for_state("trial", releases["2"])
        operator.faults.withhold = lambda _number: True
        operator.assign(releases["3"])
        operator.wait_for_state("downloading", releases["3"])
        operator.wait_for_more(HEALTHY_WINDOWS + 2)
        assert operator.seen().predictions[-1].model.version == "1.0.0"
        record = agent.store.record("watch")
        assert (record.running, record.state) == (releases["1"].sha256, State.ROLLED_BACK)
        operator.faults.withhold = lambda _number: False
        operator.assign(releases["1"])
        operator.wait_for_state("committed", releases["1"])
        assert_unbroken(operator, agent.boot)


def test_a_rollback_during_a_trial_is_immediate(
    operator: Operator, releases: dict[str, Bundle], tmp_path: Path
) -> None:
    config = operator.enrol(tmp_path, model=f'bundle = "{releases["1"].path}"', factor=4)
    agent = Agent(config)
    prove(agent.store, *releases.values())
    with agent:
        operator.wait_for_more(1)
        operator.assign(releases["2"])
        operator.wait_for_state("trial", releases["2"])
        operator.assign(releases["1"])
        operator.wait_for_state("committed", releases["1"])
        assert not agent.life.failure(releases["2"].sha256, 1), "it is not to blame"
        operator.wait_for_more(2)
        assert operator.seen().predictions[-1].model.version == "1.0.0"
        assert operator.seen().states().count("trial") == 1
        assert_unbroken(operator, agent.boot)


def test_the_first_model_goes_on_on_trial_while_its_successor_is_fetched(
    operator: Operator, releases: dict[str, Bundle], tmp_path: Path
) -> None:
    agent = Agent(operator.enrol(tmp_path, factor=4))
    prove(agent.store, *releases.values())
    with agent:
        operator.assign(releases["1"])
        operator.wait_for_state("trial", releases["1"])
        operator.assign(releases["2"])
        operator.wait_for_state("committed", releases["2"])
        record = agent.store.record("watch")
        assert record.previous is None, "what was never proven is not returned to"
        assert_unbroken(operator, agent.boot)


# --- models that fail


def test_a_failed_trial_gives_the_same_window_to_the_last_good_one(
    running: Agent,
    operator: Operator,
    releases: dict[str, Bundle],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    break_model(monkeypatch, "2.0.0")()
    operator.assign(releases["2"])
    report = operator.wait_for_state("rolled_back", releases["2"])
    assert (report.reason, report.detail) == (Reason.TRIAL_FAILED, "a node failed")
    assert report.running is not None
    assert report.running.sha256 == releases["1"].sha256
    operator.wait_for_more(3)
    assert operator.seen().versions() == ["1.0.0"]
    assert_unbroken(operator, running.boot)
    operator.assign(releases["2"])
    operator.wait_for_more(5)
    assert operator.seen().states().count("trial") == 1, "not tried again by itself"
    monkeypatch.undo()
    operator.assign(releases["2"], attempt=2)
    operator.wait_for_state("committed", releases["2"])


@pytest.mark.parametrize("meanwhile", ["nothing", "refused", "fetching"])
def test_a_running_model_that_begins_to_fail_gives_way_to_the_one_before(
    running: Agent,
    operator: Operator,
    releases: dict[str, Bundle],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    meanwhile: str,
) -> None:
    break_it = break_model(monkeypatch, "2.0.0")
    operator.assign(releases["2"])
    operator.wait_for_state("committed", releases["2"])
    if meanwhile == "refused":
        operator.assign(write_small_bundle(tmp_path, version="4.0.0"))
        operator.wait_for(lambda: "rejected" in operator.seen().states())
    elif meanwhile == "fetching":
        operator.faults.withhold = lambda _number: True
        operator.assign(releases["3"])
        operator.wait_for_state("downloading", releases["3"])
    break_it()
    operator.wait_for(
        lambda: (
            (r := operator.seen().model()) is not None
            and r.running is not None
            and r.running.sha256 == releases["1"].sha256
        )
    )
    operator.wait_for_more(3)
    assert operator.seen().predictions[-1].model.version == "1.0.0"
    assert running.store.record("watch").running == releases["1"].sha256
    assert running.life.failure(releases["2"].sha256, 1)
    predictions = operator.seen().predictions
    assert [p.seq for p in predictions] == list(range(len(predictions)))


def test_a_trial_needs_good_windows_of_its_own(
    running: Agent, releases: dict[str, Bundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = running.service._updater
    place = agent._places["watch"]
    committed: list[str] = []
    monkeypatch.setattr(agent, "_commit", lambda _place, bundle: committed.append(bundle.sha256))
    heard: list[Callable[[], None]] = []
    monkeypatch.setattr(agent._agenda, "put_verdict", heard.append)
    old, new = (agent._loader.load(place, releases[v]) for v in "12")
    for loaded in (old, old, new, new):
        agent.on_healthy(place.slot, loaded)
    assert heard == [], "the last windows of another model do not count"
    agent.on_healthy(place.slot, new)
    assert len(heard) == 1
    heard[0]()
    assert committed == [releases["2"].sha256]


def test_a_return_to_the_version_before_takes_one_good_window(
    running: Agent, releases: dict[str, Bundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = running.service._updater
    place = agent._places["watch"]
    place.life.record = replace(place.life.record, previous=releases["1"].sha256)
    heard: list[Callable[[], None]] = []
    monkeypatch.setattr(agent._agenda, "put_verdict", heard.append)
    agent.on_healthy(place.slot, agent._loader.load(place, releases["1"]))
    assert len(heard) == 1


def test_whatever_nobody_thought_of_is_said_and_does_not_end_the_updater(
    running: Agent,
    operator: Operator,
    releases: dict[str, Bundle],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def bug(*_more: object) -> None:
        raise ZeroDivisionError("nobody thought of it")

    with monkeypatch.context() as patch:
        patch.setattr(running.service._updater._loader, "prove", bug)
        operator.assign(releases["2"])
        operator.wait_for(lambda: "rejected" in operator.seen().states())
    report = operator.seen().model()
    assert report is not None
    assert report.reason is Reason.INTERNAL
    assert report.detail == "ZeroDivisionError: nobody thought of it"
    operator.assign(releases["2"])
    operator.wait_for_state("committed", releases["2"])
    assert_unbroken(operator, running.boot)


def test_a_disk_that_is_full_for_a_time_keeps_the_old_model_until_it_is_not(
    running: Agent,
    operator: Operator,
    releases: dict[str, Bundle],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = running.store
    write = store.write

    def full(file: Path, data: bytes) -> None:
        if file.parent.name == "models":
            raise OSError(28, "No space left on device")
        write(file, data)

    with monkeypatch.context() as patch:
        patch.setattr(store, "write", full)
        operator.assign(releases["2"])
        operator.wait_for(lambda: "rejected" in operator.seen().states())
        report = operator.seen().model()
        assert report is not None
        assert report.reason is Reason.STORE_FULL
        operator.wait_for_more(3)
        assert operator.seen().versions() == ["1.0.0"]
    operator.assign(releases["2"])
    operator.wait_for_state("committed", releases["2"])
    assert_unbroken(operator, running.boot)


# --- after a restart, without a broker


SHAPE = StreamShape(50.0, CHANNELS)


class Bench:
    """An updater that was never started, on a store: what it does first after a restart."""

    def __init__(self, folder: Path, shape: StreamShape = SHAPE) -> None:
        self.store = Store(folder / "store", ROOM)
        site = Site("d1", "g", {}, "generic", VERSION, ("onnx",), 1)
        nobody = Broker("mqtt://127.0.0.1:1")
        info = Info(1, "d1", VERSION, "b", "g", {}, "generic", {}, {})
        reporter = Reporter(Link(nobody, "d1", Handlers()), Topics(), info, WallClock())
        self.updater = Updater(site, self.store, nobody, Topics(), reporter)
        self.slot = Slot("watch", "imu0", "b", WallClock())
        self.updater.add(self.slot, shape)
        self.life = self.updater._places["watch"].life

    def resume(self, configured: Bundle | None = None) -> str | None:
        """Start anew; return the version that the slot was offered."""
        self.updater.resume({"watch": configured.sha256} if configured else {})
        offered = self.slot._offered
        return offered[0].bundle.manifest.version if offered else None

    def fallback(self) -> str | None:
        offered = self.slot._offered
        before = offered[2] if offered else None
        return before.bundle.manifest.version if before else None


@pytest.fixture
def stored(tmp_path: Path, releases: dict[str, Bundle]) -> Path:
    store = Store(tmp_path / "store", ROOM)
    for bundle in releases.values():
        store.take_in(bundle.path)
    prove(store, *releases.values())
    return tmp_path


def record(stored: Path, releases: dict[str, Bundle], state: State, **shas: str) -> None:
    names = {k: releases[v].sha256 for k, v in shas.items()}
    found = msgspec.structs.replace(Record(state=state, attempt=1), **names)
    Store(stored / "store", ROOM).save_record("watch", found)


def damage(stored: Path, bundle: Bundle) -> None:
    (stored / "store" / "bundles" / f"{bundle.sha256}.bundle").write_bytes(b"damaged")


@pytest.mark.parametrize("state", sorted(set(State) - {State.TRIAL}))
def test_what_ran_before_a_restart_runs_after_it(
    stored: Path, releases: dict[str, Bundle], state: State
) -> None:
    more = {} if state in {State.COMMITTED, State.RETIRED} else {"target": "2"}
    record(stored, releases, state, running="1", previous="3", **more)
    bench = Bench(stored)
    assert bench.resume() == "1.0.0"
    assert bench.life.is_running(releases["1"].sha256)
    assert bench.store.record("watch").previous == releases["3"].sha256


def test_an_interrupted_trial_goes_on_with_the_last_good_one_behind_it(
    stored: Path, releases: dict[str, Bundle]
) -> None:
    record(stored, releases, State.TRIAL, running="1", target="2")
    bench = Bench(stored)
    assert bench.resume() == "2.0.0"
    assert bench.fallback() == "1.0.0"
    assert bench.life.is_on_trial(releases["2"].sha256)


@pytest.mark.parametrize("first", [True, False])
def test_a_trial_that_ends_the_process_again_and_again_is_left(
    stored: Path, releases: dict[str, Bundle], first: bool
) -> None:
    before = {} if first else {"running": "1"}
    record(stored, releases, State.TRIAL, target="2", **before)
    assert [Bench(stored).resume() for _ in range(MAX_TRIAL_BOOTS)] == ["2.0.0"] * 3
    last = Bench(stored)
    assert last.resume() == (None if first else "1.0.0")
    report = last.life.report()
    assert (report.state, report.reason) == ("rolled_back", Reason.TRIAL_FAILED)
    assert report.target == releases["2"].sha256
    assert last.life.failure(releases["2"].sha256, 1)
    again = Bench(stored)
    assert again.resume() == (None if first else "1.0.0"), "and that is the end of it"


def test_a_damaged_trial_ends_on_the_last_good_one(
    stored: Path, releases: dict[str, Bundle]
) -> None:
    record(stored, releases, State.TRIAL, running="1", target="2")
    damage(stored, releases["2"])
    bench = Bench(stored)
    assert bench.resume() == "1.0.0"
    assert bench.life.report().reason is Reason.BAD_BUNDLE


def test_a_damaged_last_good_one_is_not_held_against_the_trial(
    stored: Path, releases: dict[str, Bundle]
) -> None:
    record(stored, releases, State.TRIAL, running="1", target="2")
    damage(stored, releases["1"])
    bench = Bench(stored)
    assert bench.resume() == "2.0.0"
    assert bench.fallback() is None
    assert bench.life.failure(releases["2"].sha256, 1) is None


def test_a_damaged_model_gives_way_to_the_one_before(
    stored: Path, releases: dict[str, Bundle]
) -> None:
    record(stored, releases, State.COMMITTED, running="1", previous="2")
    damage(stored, releases["1"])
    bench = Bench(stored)
    assert bench.resume() == "2.0.0"
    assert not bench.life.is_settled(releases["1"].sha256), "so it is fetched anew when wanted"


def test_the_configuration_s_model_runs_where_nothing_else_does(
    stored: Path, releases: dict[str, Bundle]
) -> None:
    assert Bench(stored).resume(releases["3"]) == "3.0.0"
    record(stored, releases, State.COMMITTED, running="1")
    assert Bench(stored).resume(releases["3"]) == "1.0.0", "what the fleet said goes before it"


def test_with_everything_damaged_nothing_runs_and_nothing_is_settled(
    stored: Path, releases: dict[str, Bundle]
) -> None:
    record(stored, releases, State.COMMITTED, running="1", previous="2")
    for bundle in releases.values():
        damage(stored, bundle)
    bench = Bench(stored)
    assert bench.resume(releases["3"]) is None
    assert not bench.life.is_settled(releases["1"].sha256)
    assert bench.life.report().running is None


@pytest.mark.parametrize("state", [State.TRIAL, State.COMMITTED])
def test_what_was_proven_with_another_runtime_is_proven_anew_before_it_runs(
    stored: Path, releases: dict[str, Bundle], state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(stored, releases, state, running="1", target="2")
    (stored / "store" / "proofs.json").unlink()
    before = Store(stored / "store", ROOM)
    for bundle in releases.values():
        before.save_proof(Proof(bundle.sha256, "onnxruntime 0.1.0", VERSION))
    staged = count_stagings(monkeypatch)
    expected = ["2.0.0", "1.0.0"] if state is State.TRIAL else ["1.0.0"]
    assert Bench(stored).resume() == expected[0]
    assert staged == expected
    assert Bench(stored).resume() == expected[0]
    assert staged == expected, "once for each"


@pytest.mark.parametrize("state", [State.TRIAL, State.COMMITTED])
def test_a_model_for_another_stream_than_there_is_now_does_not_run(
    stored: Path, releases: dict[str, Bundle], state: State
) -> None:
    record(stored, releases, state, running="1", target="2")
    bench = Bench(stored, StreamShape(50.0, CHANNELS[:3]))
    assert bench.resume() is None
    if state is State.TRIAL:
        assert bench.life.report().reason is Reason.STREAM_MISMATCH


def test_where_nothing_runs_any_more_the_report_says_so_and_the_log_why(
    stored: Path, releases: dict[str, Bundle], caplog: pytest.LogCaptureFixture
) -> None:
    record(stored, releases, State.COMMITTED, running="1")
    bench = Bench(stored)
    assert bench.resume() == "1.0.0"
    (loaded, _, _) = bench.slot._offered or (None, None, None)
    assert loaded is not None
    for _window in range(3):
        bench.updater.on_unhealthy(bench.slot, loaded, "no room for its windows")
    bench.updater._hear_verdicts()
    report = bench.life.report()
    assert (report.running, report.state) == (None, "rolled_back")
    assert report.detail == "no room for its windows"
    assert [r.getMessage() for r in caplog.records] == [
        f"model watch: {releases['1'].sha256}.bundle is left: no room for its windows"
    ]


def test_a_lost_record_leaves_a_device_that_can_be_told_again(
    stored: Path, releases: dict[str, Bundle]
) -> None:
    record(stored, releases, State.COMMITTED, running="1")
    (stored / "store" / "models" / "watch.json").write_bytes(b"")
    bench = Bench(stored)
    assert bench.resume() is None
    assert bench.life.report().state == "none"


def test_a_damaged_bundle_is_fetched_again_when_it_is_wanted(
    operator: Operator, releases: dict[str, Bundle], tmp_path: Path
) -> None:
    config = operator.enrol(tmp_path)
    store = Store(tmp_path / "d1-store", ROOM)
    store.take_in(releases["1"].path)
    prove(store, releases["1"])
    store.save_record("watch", Record(state=State.COMMITTED, running=releases["1"].sha256))
    store.bundle_file(releases["1"].sha256).write_bytes(b"damaged")
    operator.assign(releases["1"])
    with Agent(config):
        operator.wait_for_state("committed", releases["1"])
        operator.wait_for_more(1)
    assert operator.sent


# --- the queue between threads


def test_of_many_assignments_the_last_is_followed_whatever_the_order_of_threads(
    stored: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(stored)
    followed: list[bytes] = []

    def accept(message: bytes) -> None:
        followed.append(message)
        raise Refused(Reason.UNTRUSTED, "")

    monkeypatch.setattr(bench.updater, "_accept", accept)
    bench.updater.start()
    for n in range(3000):
        bench.updater.desire(b"%d" % n)
    while not followed or followed[-1] != b"2999":
        assert bench.updater._agenda._thread.is_alive()
    bench.updater.stop()
    assert followed == sorted(followed, key=int), "none twice, none after a newer one"


def test_the_floor_is_written_before_an_assignment_is_followed(
    stored: Path, releases: dict[str, Bundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(stored)
    key = trust.make_key()
    bench.store.write(bench.store.root_file(), encode(trust.make_root(key)))
    floors: list[Floor | None] = []
    monkeypatch.setattr(bench.updater, "_pursue", lambda *_more: floors.append(bench.store.floor()))
    operator = Operator("mqtt://127.0.0.1:1")
    operator.key = key
    monkeypatch.setattr(operator, "desire", bench.updater.desire)
    operator.assign(releases["2"], issued="2026-03-01T00:00:00.000000Z")
    bench.updater._follow_desired()
    assert floors == [Floor("g", "2026-03-01T00:00:00.000000Z")]


def test_a_version_is_loaded_with_the_thresholds_of_its_device(
    tmp_path: Path, releases: dict[str, Bundle]
) -> None:
    bench = Bench(tmp_path)
    bench.updater.add(bench.slot, SHAPE, {"PEN": 0.875})
    bench.store.take_in(releases["1"].path)
    assert bench.resume(releases["1"]) == "1.0.0"
    offered = bench.slot._offered
    assert offered is not None
    decider = offered[0].inference.decider
    assert decider is not None
    assert read_thresholds(decider.rule)["PEN"] == 0.875


def test_a_version_without_a_threshold_of_its_device_is_not_run(
    tmp_path: Path, releases: dict[str, Bundle]
) -> None:
    bench = Bench(tmp_path)
    bench.updater.add(bench.slot, SHAPE, {"RUN": 0.875})
    bench.store.take_in(releases["1"].path)
    assert bench.resume(releases["1"]) is None
