"""Models arrive, replace each other and return, also where something newer comes meanwhile."""

import threading
from pathlib import Path

import pytest

from edge_agent.fit import Refused
from edge_agent.lifecycle import State
from edge_agent.records import Floor
from edge_agent.updater import HEALTHY_WINDOWS
from edge_bundle.archive import Bundle
from edge_wire import trust
from edge_wire.assignment import Candidate
from edge_wire.messages import ModelReport, Reason, encode
from tests.brokers import RunningBroker
from tests.edge_agent.updater.bench import Bench
from tests.edge_agent.whole_agent import (
    Agent,
    assert_unbroken,
    count_stagings,
)
from tests.simulators.operator import Operator, prove


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
    with Agent(operator.enrol(tmp_path, runs=releases["1"], factor=4)) as agent:
        prove(agent.store, *releases.values())
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
    with Agent(operator.enrol(tmp_path, runs=releases["1"], factor=4)) as agent:
        prove(agent.store, *releases.values())
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
    with Agent(operator.enrol(tmp_path, factor=4)) as agent:
        prove(agent.store, *releases.values())
        operator.assign(releases["1"])
        operator.wait_for_state("trial", releases["1"])
        operator.assign(releases["2"])
        operator.wait_for_state("committed", releases["2"])
        record = agent.store.record("watch")
        assert record.previous is None, "what was never proven is not returned to"
        assert_unbroken(operator, agent.boot)


# --- many threads


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
