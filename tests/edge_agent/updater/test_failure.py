"""A model that fails, on trial or long after, gives way to the last good one."""

from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from edge_bundle.archive import Bundle
from edge_wire.messages import Reason
from tests.edge_agent.whole_agent import Agent, assert_unbroken, break_model
from tests.edge_bundle.bundles import write_small_bundle
from tests.simulators.operator import Operator


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
