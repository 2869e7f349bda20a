import itertools
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from edge_agent.life import MAX_FAILURES, REMEMBERED, UNDER_WAY, Life
from edge_agent.lifecycle import Event, IllegalTransition, State
from edge_agent.records import Record
from edge_agent.store import Store
from edge_bundle.archive import Bundle
from edge_wire.messages import Reason
from tests.edge_bundle.bundles import write_small_bundle

ROOM = 1 << 20


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store", ROOM)


@pytest.fixture
def bundles(tmp_path: Path, store: Store) -> list[Bundle]:
    made = [write_small_bundle(tmp_path / "made", version=f"1.0.{n}") for n in range(3)]
    return [store.take_in(b.path) for b in made]


def to_staged(life: Life, bundle: Bundle, attempt: int = 1) -> None:
    life.offer(bundle.sha256, attempt)
    for event in (Event.FETCH, Event.VERIFIED, Event.PROVEN):
        life.move(event)


def to_trial(life: Life, bundle: Bundle, attempt: int = 1) -> None:
    to_staged(life, bundle, attempt)
    life.begin_trial(bundle)


def to_committed(life: Life, bundle: Bundle, attempt: int = 1) -> None:
    to_trial(life, bundle, attempt)
    life.commit()


def test_a_model_that_was_never_heard_of_has_no_state(store: Store) -> None:
    report = Life(store, "watch").report()
    assert (report.state, report.running, report.target, report.held) == ("none", None, None, ())


def test_a_version_passes_every_state_and_then_runs(store: Store, bundles: list[Bundle]) -> None:
    life = Life(store, "watch")
    life.offer(bundles[0].sha256, 4)
    states = [life.report().state]
    for event in (Event.FETCH, Event.VERIFIED, Event.PROVEN):
        life.move(event)
        states.append(life.report().state)
    life.begin_trial(bundles[0])
    states.append(life.report().state)
    life.commit()
    report = life.report()
    assert [*states, report.state] == [
        "offered", "downloading", "verified", "staged", "trial", "committed",
    ]  # fmt: skip
    assert report.running is not None
    assert (report.running.sha256, report.running.version) == (bundles[0].sha256, "1.0.0")
    assert (report.target, report.attempt, report.reason) == (None, 4, None)
    assert life.is_settled(bundles[0].sha256)


def test_until_the_trial_nothing_is_written(store: Store, bundles: list[Bundle]) -> None:
    life = Life(store, "watch")
    to_staged(life, bundles[0])
    assert store.record("watch") == Record(), "each write wears the card"
    life.begin_trial(bundles[0])
    assert store.record("watch").state is State.TRIAL


def test_a_trial_is_written_down_with_the_last_good_one(
    store: Store, bundles: list[Bundle]
) -> None:
    life = Life(store, "watch")
    to_committed(life, bundles[0])
    to_trial(life, bundles[1], attempt=2)
    record = store.record("watch")
    assert (record.running, record.target) == (bundles[0].sha256, bundles[1].sha256)
    assert life.is_on_trial(bundles[1].sha256)
    assert not life.is_settled(bundles[0].sha256)
    assert life.keep() == {bundles[0].sha256, bundles[1].sha256}


def test_a_committed_version_keeps_the_one_before_for_an_instant_return(
    store: Store, bundles: list[Bundle]
) -> None:
    life = Life(store, "watch")
    to_committed(life, bundles[0])
    to_committed(life, bundles[1])
    assert store.record("watch").previous == bundles[0].sha256
    to_committed(life, bundles[0])
    record = store.record("watch")
    assert (record.running, record.previous) == (bundles[0].sha256, bundles[1].sha256)


def test_a_refused_version_leaves_what_runs_alone(store: Store, bundles: list[Bundle]) -> None:
    life = Life(store, "watch")
    to_committed(life, bundles[0])
    to_staged(life, bundles[1])
    life.fail(Event.REFUSED, Reason.GOLDEN_FAILED, "off by 1")
    report = life.report()
    assert report.running is not None
    assert report.running.sha256 == bundles[0].sha256
    assert (report.state, report.target) == ("rejected", bundles[1].sha256)
    assert (report.reason, report.detail) == (Reason.GOLDEN_FAILED, "off by 1")
    assert store.record("watch").running == bundles[0].sha256


def test_refusing_what_runs_already_does_not_take_it_away(
    store: Store, bundles: list[Bundle]
) -> None:
    life = Life(store, "watch")
    to_committed(life, bundles[0])
    to_committed(life, bundles[1])
    life.offer(bundles[1].sha256, 2)
    life.fail(Event.REFUSED, Reason.NO_VARIANT, "needs agent 9.0.0")
    record = store.record("watch")
    assert (record.running, record.previous) == (bundles[1].sha256, bundles[0].sha256)


def test_a_failed_trial_ends_on_the_last_good_one(store: Store, bundles: list[Bundle]) -> None:
    life = Life(store, "watch")
    to_committed(life, bundles[0])
    to_trial(life, bundles[1])
    life.fail(Event.UNHEALTHY, Reason.TRIAL_FAILED, "x" * 900)
    life.set_runs(bundles[0])
    record, report = store.record("watch"), life.report()
    assert (record.state, record.running) == (State.ROLLED_BACK, bundles[0].sha256)
    assert (report.state, report.target) == ("rolled_back", bundles[1].sha256)
    assert len(report.detail) == 500


def test_a_superseded_trial_is_not_held_against_the_version(
    store: Store, bundles: list[Bundle]
) -> None:
    life = Life(store, "watch")
    to_committed(life, bundles[0])
    to_trial(life, bundles[1])
    life.end_trial()
    life.run(bundles[0])
    assert life.is_settled(bundles[0].sha256)
    assert life.failure(bundles[1].sha256, 1) is None
    record = store.record("watch")
    assert (record.state, record.target) == (State.ROLLED_BACK, None)


def test_what_runs_and_fails_gives_way_to_the_one_before(
    store: Store, bundles: list[Bundle]
) -> None:
    life = Life(store, "watch")
    to_committed(life, bundles[0], attempt=1)
    to_committed(life, bundles[1], attempt=7)
    life.leave(Reason.TRIAL_FAILED, "it raised")
    record = store.record("watch")
    assert (record.running, record.previous) == (bundles[0].sha256, None)
    assert life.report().state == "rolled_back"
    assert life.report().target == bundles[1].sha256
    failure = life.failure(bundles[1].sha256, 7)
    assert failure is not None
    assert failure.reason is Reason.TRIAL_FAILED


def test_what_runs_can_fail_after_another_was_refused(store: Store, bundles: list[Bundle]) -> None:
    life = Life(store, "watch")
    to_committed(life, bundles[0])
    to_committed(life, bundles[1], attempt=3)
    life.offer(bundles[2].sha256, 9)
    life.fail(Event.REFUSED, Reason.BAD_BUNDLE, "")
    assert life.is_running(bundles[1].sha256)
    life.leave(Reason.TRIAL_FAILED, "it raised")
    assert store.record("watch").running == bundles[0].sha256
    assert life.failure(bundles[1].sha256, 3), "by its own attempt, not by the refused one's"


def test_what_runs_can_fail_while_another_is_on_its_way(
    store: Store, bundles: list[Bundle]
) -> None:
    life = Life(store, "watch")
    to_committed(life, bundles[0])
    to_committed(life, bundles[1])
    life.offer(bundles[2].sha256, 2)
    life.move(Event.FETCH)
    life.leave(Reason.TRIAL_FAILED, "it raised")
    assert store.record("watch").running == bundles[0].sha256
    assert (life.state, life.record.target) == (State.DOWNLOADING, bundles[2].sha256)
    for event in (Event.VERIFIED, Event.PROVEN):
        life.move(event)
    life.begin_trial(bundles[2])
    life.commit()
    assert store.record("watch").previous == bundles[0].sha256


def test_a_remembered_failure_holds_for_its_attempt_after_a_restart(
    store: Store, bundles: list[Bundle]
) -> None:
    life = Life(store, "watch")
    to_committed(life, bundles[0])
    to_staged(life, bundles[1], attempt=2)
    life.fail(Event.REFUSED, Reason.GOLDEN_FAILED, "off by 1")
    again = Life(store, "watch")
    failure = again.failure(bundles[1].sha256, 2)
    assert failure is not None
    assert again.failure(bundles[1].sha256, 3) is None
    report = again.report()
    assert (report.state, report.reason) == ("rejected", Reason.GOLDEN_FAILED)
    again.settle()
    again.recall(failure)
    report = again.report()
    assert (report.state, report.target) == ("rejected", bundles[1].sha256)
    assert (report.reason, report.detail, report.attempt) == (Reason.GOLDEN_FAILED, "off by 1", 2)


@pytest.mark.parametrize("reason", sorted(set(Reason) - REMEMBERED))
def test_what_can_be_mended_here_is_tried_at_every_offer(
    store: Store, bundles: list[Bundle], reason: Reason
) -> None:
    life = Life(store, "watch")
    life.offer(bundles[0].sha256, 1)
    life.fail(Event.REFUSED, reason, "")
    assert life.failure(bundles[0].sha256, 1) is None
    assert life.report().reason is reason


def test_failures_do_not_grow_without_end_and_the_newest_stay(
    store: Store, bundles: list[Bundle]
) -> None:
    life = Life(store, "watch")
    for attempt in range(MAX_FAILURES + 3):
        life.offer(bundles[0].sha256, attempt)
        life.fail(Event.REFUSED, Reason.BAD_BUNDLE, "")
    assert len(store.record("watch").failures) == MAX_FAILURES
    assert life.failure(bundles[0].sha256, 2) is None
    assert life.failure(bundles[0].sha256, MAX_FAILURES + 2)


def test_what_ran_before_stands_in_for_what_cannot_run_any_more(
    store: Store, bundles: list[Bundle]
) -> None:
    life = Life(store, "watch")
    to_committed(life, bundles[0])
    to_committed(life, bundles[1])
    again = Life(store, "watch")
    again.run(bundles[0])
    record = store.record("watch")
    assert (record.running, record.previous) == (bundles[0].sha256, None)
    assert not again.is_settled(bundles[1].sha256), "so it is fetched anew when it is wanted"


def test_a_model_of_which_nothing_can_run_is_not_settled(
    store: Store, bundles: list[Bundle]
) -> None:
    life = Life(store, "watch")
    to_committed(life, bundles[0])
    again = Life(store, "watch")
    again.lose()
    assert not again.is_settled(bundles[0].sha256)
    assert not again.is_running(bundles[0].sha256)
    assert again.report().state == "none"


def test_an_event_that_cannot_be_changes_nothing(store: Store, bundles: list[Bundle]) -> None:
    life = Life(store, "watch")
    to_committed(life, bundles[0])
    before = life.report(), store.record("watch")
    for act in (
        life.commit,
        lambda: life.begin_trial(bundles[1]),
        lambda: life.fail(Event.REFUSED, Reason.BAD_BUNDLE, ""),
        lambda: life.move(Event.VERIFIED),
    ):
        with pytest.raises(IllegalTransition):
            act()
        assert (life.report(), store.record("watch")) == before


def test_a_full_disk_keeps_a_trial_from_beginning(
    store: Store, bundles: list[Bundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    life = Life(store, "watch")
    to_committed(life, bundles[0])
    to_staged(life, bundles[1])

    def full(_file: Path, _data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store, "write", full)
    with pytest.raises(OSError, match="No space"):
        life.begin_trial(bundles[1])
    assert life.state is State.STAGED
    with pytest.raises(OSError, match="No space"):
        life.fail(Event.REFUSED, Reason.STORE_FULL, "No space left on device")
    assert life.report().reason is Reason.STORE_FULL, "said, though it could not be written"


class LifeMachine(RuleBasedStateMachine):
    """Whatever happens in whatever order, with restarts between."""

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.store = Store(self.folder / "store", ROOM)
        written = (write_small_bundle(self.folder, version=f"1.0.{n}") for n in range(3))
        self.made = {b.sha256: self.store.take_in(b.path) for b in written}
        self.life = Life(self.store, "watch")
        self.slot: Bundle | None = None
        """What the slot would run."""
        self.good: set[str] = set()
        """What passed a trial once."""
        self.failed: set[tuple[str, int]] = set()

    def teardown(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def on_trial(self) -> bool:
        return self.life.state is State.TRIAL

    @rule(which=st.integers(0, 2), attempt=st.integers(1, 2))
    def pursue(self, which: int, attempt: int) -> None:
        """Take an offer as the updater does."""
        bundle, life = list(self.made.values())[which], self.life
        if not life.is_on_trial(bundle.sha256) and self.on_trial:
            life.end_trial()
            self.go_back()
        if life.is_settled(bundle.sha256) or life.is_on_trial(bundle.sha256):
            return
        failure = life.failure(bundle.sha256, attempt)
        assert (failure is not None) == ((bundle.sha256, attempt) in self.failed)
        if failure:
            life.recall(failure)
        elif life.is_running(bundle.sha256):
            life.settle()
        else:
            life.offer(bundle.sha256, attempt)

    @precondition(lambda self: self.life.state in UNDER_WAY)
    @rule()
    def go_on(self) -> None:
        life = self.life
        if life.state is State.STAGED:
            life.begin_trial(self.made[life.record.target or ""])
            self.slot = self.made[life.record.target or ""]
            return
        life.move(
            {
                State.OFFERED: Event.FETCH,
                State.DOWNLOADING: Event.VERIFIED,
                State.VERIFIED: Event.PROVEN,
            }[life.state]
        )

    @precondition(lambda self: self.life.state in UNDER_WAY)
    @rule(reason=st.sampled_from([Reason.BAD_BUNDLE, Reason.STORE_FULL]))
    def refuse(self, reason: Reason) -> None:
        record = self.life.record
        self.life.fail(Event.REFUSED, reason, "")
        if reason in REMEMBERED:
            self.failed.add((record.target or "", record.attempt))

    @precondition(lambda self: self.on_trial)
    @rule()
    def commit(self) -> None:
        self.good.add(self.life.record.target or "")
        self.life.commit()
        assert self.slot
        self.life.set_runs(self.slot)

    @precondition(lambda self: self.on_trial)
    @rule()
    def fail_trial(self) -> None:
        record = self.life.record
        self.life.fail(Event.UNHEALTHY, Reason.TRIAL_FAILED, "")
        self.failed.add((record.target or "", record.attempt))
        self.slot = self.made[record.running] if record.running else None
        self.life.set_runs(self.slot)

    @precondition(lambda self: self.life.record.running and not self.on_trial)
    @rule()
    def fail_running(self) -> None:
        record = self.life.record
        self.life.leave(Reason.TRIAL_FAILED, "")
        self.failed.add((record.running or "", record.running_attempt))
        self.go_back()

    @rule(trial_survives=st.booleans())
    def restart(self, trial_survives: bool) -> None:
        self.life, self.slot = Life(self.store, "watch"), None
        life, record = self.life, self.life.record
        if self.on_trial and trial_survives:
            life.count_trial_boot()
            self.slot = self.made[record.target or ""]
            life.set_runs(self.slot)
            return
        if self.on_trial:
            life.fail(Event.UNHEALTHY, Reason.TRIAL_FAILED, "")
            self.failed.add((record.target or "", record.attempt))
        self.go_back()

    def go_back(self) -> None:
        running = self.life.record.running
        if running:
            self.slot = self.made[running]
            self.life.run(self.slot)
        elif self.slot is None:
            self.life.lose()

    @invariant()
    def the_report_says_what_runs(self) -> None:
        report = self.life.report()
        assert (report.running.sha256 if report.running else None) == (
            self.slot.sha256 if self.slot else None
        )
        assert report.state == self.life.state.value or not (report.running or report.target)

    @invariant()
    def the_record_agrees_with_the_report(self) -> None:
        record, report = self.store.record("watch"), self.life.report()
        running = report.running.sha256 if report.running else None
        assert (record.state is State.TRIAL) == (report.state == State.TRIAL.value)
        if record.state is State.TRIAL:
            assert (record.target, record.attempt) == (running, report.attempt)
        elif record.running is not None:
            assert record.running == running

    @invariant()
    def only_what_passed_a_trial_is_returned_to(self) -> None:
        record = self.store.record("watch")
        assert {record.running, record.previous} - {None} <= self.good
        assert record.previous is None or record.previous != record.running

    @invariant()
    def a_remembered_failure_is_for_one_attempt(self) -> None:
        for sha256, attempt in itertools.product(self.made, range(3)):
            known = self.life.failure(sha256, attempt) is not None
            assert known == ((sha256, attempt) in self.failed)


TestLifeMachine = LifeMachine.TestCase
TestLifeMachine.settings = settings(
    max_examples=60,
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
