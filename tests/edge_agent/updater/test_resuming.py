"""What runs after a restart, without a broker."""

from pathlib import Path

import pytest

from edge_agent.fit import StreamShape
from edge_agent.lifecycle import State
from edge_agent.records import Proof, Record
from edge_agent.store import Store
from edge_agent.updater import MAX_TRIAL_BOOTS
from edge_bundle import VERSION
from edge_bundle.archive import Bundle
from edge_bundle.decision.thresholds import read_thresholds
from edge_wire.messages import Reason
from tests.edge_agent.updater.bench import ROOM, SHAPE, Bench, damage, record
from tests.edge_agent.whole_agent import Agent, count_stagings
from tests.edge_bundle.bundles import STREAM
from tests.simulators.operator import Operator, prove


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
    bench = Bench(stored, StreamShape(50.0, STREAM.channels[:3]))
    assert bench.resume() is None
    if state is State.TRIAL:
        assert bench.life.report().reason is Reason.STREAM_MISMATCH


def test_where_nothing_runs_any_more_the_report_says_so_and_the_log_why(
    stored: Path, releases: dict[str, Bundle], caplog: pytest.LogCaptureFixture
) -> None:
    record(stored, releases, State.COMMITTED, running="1")
    bench = Bench(stored)
    assert bench.resume() == "1.0.0"
    assert bench.slot.models.offered is not None
    loaded = bench.slot.models.offered.loaded
    for _window in range(3):
        bench.updater.on_unhealthy(bench.slot, loaded, "no room for its windows")
    bench.updater._agenda.hear_verdicts()
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


def test_a_version_is_loaded_with_the_thresholds_of_its_device(
    tmp_path: Path, releases: dict[str, Bundle]
) -> None:
    bench = Bench(tmp_path)
    bench.updater.add(bench.slot, SHAPE, {"PEN": 0.875})
    bench.store.take_in(releases["1"].path)
    assert bench.resume(releases["1"]) == "1.0.0"
    offered = bench.slot.models.offered
    assert offered is not None
    decider = offered.loaded.inference.decider
    assert decider is not None
    assert read_thresholds(decider.rule)["PEN"] == 0.875


def test_a_version_without_a_threshold_of_its_device_is_not_run(
    tmp_path: Path, releases: dict[str, Bundle]
) -> None:
    bench = Bench(tmp_path)
    bench.updater.add(bench.slot, SHAPE, {"RUN": 0.875})
    bench.store.take_in(releases["1"].path)
    assert bench.resume(releases["1"]) is None
