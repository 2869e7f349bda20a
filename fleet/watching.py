"""Where a push or a rollback stands on each device: pure rules over what the devices say.

Only a report that acknowledges this assignment counts, so what the broker kept from before can
neither pass for success nor for failure.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from edge_wire.assignment import Ref
from edge_wire.messages import Availability, ModelReport
from fleet.observer import DeviceView

COMMITTED: Final = "committed"
NO_MODEL: Final = "no_model"
FAILED: Final = frozenset({"rejected", "rolled_back"})
SETTLE_S: Final = 0.5
"""A failure that stands for so long is one; a device that tries again says so at once."""


class Goal(str, Enum):
    """What is waited for."""

    HELD = "held"
    """Every online device has the bundle."""
    RUNNING = "running"
    """Every online device runs it, and its trial is over."""


class Outcome(str, Enum):
    """Where one device stands."""

    WAITING = "waiting"
    DONE = "done"
    FAILED = "failed"
    APART = "apart"
    """Neither success nor failure: absent, or without a model of this name."""


@dataclass(frozen=True, slots=True)
class Target:
    """What one group was just assigned."""

    group: str
    model: str
    ref: Ref
    issued: str

    @property
    def digests(self) -> frozenset[str]:
        """sha256 of each variant."""
        return frozenset(v.sha256 for v in self.ref.variants)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a device's last report means for a target."""

    device: str
    outcome: Outcome
    state: str
    version: str | None
    """That it runs now."""
    reason: str | None
    detail: str
    at: float
    """Monotonic seconds at which the report came."""


def judge(view: DeviceView, target: Target, goal: Goal) -> Verdict:
    """Return where a device of the target's group stands."""
    report = view.reported
    model = report.models.get(target.model) if report else None
    online = view.availability is Availability.ONLINE
    accepted = report.accepted if report else None
    outcome, state, detail = Outcome.WAITING, model.state if model else "waiting", ""
    reason = None
    # A later one than ours is right too: the device skipped ours.
    if accepted is None or accepted.group != target.group or accepted.issued < target.issued:
        if not online:
            outcome, state = Outcome.APART, _absence(view)
        elif report and report.reason:
            reason, detail, state = report.reason.value, report.detail, "refused"
            outcome = Outcome.FAILED if view.live else Outcome.WAITING
    elif model is None:
        outcome, state = Outcome.APART, NO_MODEL
        detail = f"the device has no model {target.model}"
    else:
        outcome = _compare(model, target, goal)
        reason, detail = model.reason.value if model.reason else None, model.detail
        if outcome is Outcome.WAITING and not online:
            state = _absence(view)
    version = model.running.version if model and model.running else None
    return Verdict(view.device, outcome, state, version, reason, detail, view.at)


def _compare(model: ModelReport, target: Target, goal: Goal) -> Outcome:
    digests = target.digests
    runs = model.running is not None and model.running.sha256 in digests
    if runs and model.state == COMMITTED:
        return Outcome.DONE
    if model.target in digests and model.state in FAILED and model.attempt == target.ref.attempt:
        return Outcome.FAILED
    if goal is Goal.HELD and (runs or digests & set(model.held)):
        return Outcome.DONE
    return Outcome.WAITING


def _absence(view: DeviceView) -> str:
    return view.availability.value if view.availability else Availability.OFFLINE.value


class Watch:
    """Follows the devices of some groups towards their targets."""

    def __init__(self, targets: Mapping[str, Target], goal: Goal) -> None:
        """Begin, with targets by group."""
        self._targets = targets
        self._goal = goal
        self.verdicts: dict[str, Verdict] = {}
        """By device."""
        self._open: set[str] = set()

    def update(self, view: DeviceView) -> Verdict | None:
        """Judge a device anew; return the verdict where it is another one."""
        target = self._targets.get(view.group or "")
        if target is None:
            self.verdicts.pop(view.device, None)
            self._open.discard(view.device)
            return None
        verdict = judge(view, target, self._goal)
        before = self.verdicts.get(view.device)
        self.verdicts[view.device] = verdict
        if verdict.outcome in {Outcome.WAITING, Outcome.FAILED}:
            self._open.add(view.device)
        else:
            self._open.discard(view.device)
        return verdict if verdict != before else None

    def is_over(self, now: float) -> bool:
        """Tell whether every device has come through or failed."""
        return not any(self._is_open(self.verdicts[device], now) for device in self._open)

    @staticmethod
    def _is_open(verdict: Verdict, now: float) -> bool:
        if verdict.outcome is Outcome.FAILED:
            return now - verdict.at < SETTLE_S
        return verdict.outcome is Outcome.WAITING
