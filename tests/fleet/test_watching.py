"""Which report counts as success, which as failure, and which as neither."""

import pytest

from edge_wire.assignment import Ref, Requires, Variant
from edge_wire.messages import (
    Accepted,
    Availability,
    Info,
    ModelReport,
    Reason,
    Reported,
    Running,
)
from fleet.observer import DeviceView
from fleet.watching import SETTLE_S, Goal, Outcome, Target, Watch, judge

OLD, NEW = "0" * 64, "1" * 64
BEFORE, ISSUED, AFTER = (f"2026-01-01T00:00:0{n}.000000Z" for n in range(3))
TARGET = Target("g", "watch", Ref("2.0.0", 2, (Variant("v", Requires(), NEW, 1),)), ISSUED)
RUNS_OLD = ModelReport(Running("1.0.0", "v", OLD), "committed", held=(OLD,))
RUNS_NEW = ModelReport(Running("2.0.0", "v", NEW), "committed", held=(OLD, NEW))


def view(
    model: ModelReport | None = None,
    accepted: str | None = ISSUED,
    reason: Reason | None = None,
    availability: Availability = Availability.ONLINE,
    live: bool = True,
) -> DeviceView:
    report = Reported(
        v=1,
        boot="000001-ab",
        n=1,
        t="",
        models={"watch": model} if model else {},
        accepted=Accepted("g", accepted) if accepted else None,
        reason=reason,
    )
    info = Info(1, "d", "0.1.0", "000001-ab", "g", {}, "generic", {}, {})
    return DeviceView("d", availability, info, report, 10.0, live)


def failed(state: str, attempt: int) -> ModelReport:
    running = Running("1.0.0", "v", OLD)
    return ModelReport(running, state, NEW, attempt, (OLD,), Reason.GOLDEN_FAILED, "off")


@pytest.mark.parametrize(
    ("seen", "goal", "outcome"),
    [
        (view(RUNS_NEW), Goal.RUNNING, Outcome.DONE),
        # Kept by the broker from before: it may have run this version under another assignment.
        (view(RUNS_NEW, accepted=BEFORE), Goal.RUNNING, Outcome.WAITING),
        (view(RUNS_NEW, accepted=None), Goal.HELD, Outcome.WAITING),
        # The device skipped ours for a later one that names the same version.
        (view(RUNS_NEW, accepted=AFTER), Goal.RUNNING, Outcome.DONE),
        (view(RUNS_OLD), Goal.RUNNING, Outcome.WAITING),
        (view(ModelReport(RUNS_NEW.running, "trial", NEW, 2)), Goal.RUNNING, Outcome.WAITING),
        (view(ModelReport(RUNS_NEW.running, "trial", NEW, 2)), Goal.HELD, Outcome.DONE),
        (view(ModelReport(None, "verified", NEW, 2, (NEW,))), Goal.HELD, Outcome.DONE),
        (view(ModelReport(None, "verified", NEW, 2, (NEW,))), Goal.RUNNING, Outcome.WAITING),
        (view(failed("rejected", 2)), Goal.RUNNING, Outcome.FAILED),
        (view(failed("rolled_back", 2)), Goal.HELD, Outcome.FAILED),
        # How it failed the time before says nothing of this attempt.
        (view(failed("rejected", 1)), Goal.RUNNING, Outcome.WAITING),
        (view(failed("rejected", 2), accepted=BEFORE), Goal.RUNNING, Outcome.WAITING),
        # The whole message was refused: now, or some time before we came.
        (view(RUNS_OLD, None, Reason.UNTRUSTED), Goal.RUNNING, Outcome.FAILED),
        (view(RUNS_OLD, None, Reason.UNTRUSTED, live=False), Goal.RUNNING, Outcome.WAITING),
        (view(None), Goal.RUNNING, Outcome.APART),
        # Absent: neither success nor failure; silent after it acknowledged: still waited for.
        (view(RUNS_OLD, BEFORE, None, Availability.OFFLINE), Goal.RUNNING, Outcome.APART),
        (view(RUNS_OLD, ISSUED, None, Availability.OFFLINE), Goal.RUNNING, Outcome.WAITING),
        (view(RUNS_NEW, ISSUED, None, Availability.STOPPED), Goal.RUNNING, Outcome.DONE),
    ],
)
def test_only_what_a_device_says_about_this_assignment_counts(
    seen: DeviceView, goal: Goal, outcome: Outcome
) -> None:
    assert judge(seen, TARGET, goal).outcome is outcome


def test_a_failure_counts_when_it_stands() -> None:
    watch = Watch({"g": TARGET}, Goal.RUNNING)
    watch.update(view(failed("rejected", 2)))
    assert not watch.is_over(10.0 + SETTLE_S / 2)
    assert watch.is_over(10.0 + SETTLE_S)
    watch.update(view(ModelReport(None, "offered", NEW, 2)))
    assert not watch.is_over(10.0 + SETTLE_S)


def test_devices_of_other_groups_are_not_watched() -> None:
    watch = Watch({"other": TARGET}, Goal.RUNNING)
    assert watch.update(view(RUNS_OLD)) is None
    assert watch.is_over(0.0)
