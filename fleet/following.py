"""Follows a push or a rollback on every device until it is through, has failed, or time is up."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from fleet.errors import DevicesFailed
from fleet.session import Session
from fleet.watching import NO_MODEL, Goal, Outcome, Target, Verdict, Watch

TICK_S: Final = 0.1
MAX_NAMED: Final = 10
Progress = Callable[["str | Verdict"], None]
"""Told what happens: a line of text, or where a device stands now."""


@dataclass(frozen=True, slots=True)
class DeviceResult:
    """How it ended on one device."""

    device: str
    state: str
    """Of its report; ``offline``, ``stopped``, ``refused``, ``no_model`` or ``waiting`` where it
    has none about this."""
    version: str | None
    """That it runs now."""
    seconds: float | None
    """From the command to the report that decided; None for a device that does not count."""
    reason: str | None
    detail: str


def follow(
    session: Session,
    targets: Mapping[str, Target],
    goal: Goal,
    timeout_s: float,
    say: Progress,
    superseded: Callable[[], str | None] = lambda: None,
) -> list[Verdict]:
    """Serve and watch; return how it ended on each device of the groups, by name.

    Args:
        session: an open one, with the blobs on offer.
        targets: by group, already published.
        goal: what to wait for.
        timeout_s: from now.
        say: told every change.
        superseded: asked now and then; says it when something else was assigned since.
    """
    watch = Watch(targets, goal)
    deadline = time.monotonic() + timeout_s
    reason, detail = "timeout", f"not done within {timeout_s:g} s"
    while True:
        for device in sorted(session.observer.take_changed()):
            verdict = watch.update(session.observer.views[device])
            if verdict is not None:
                say(verdict)
        now = time.monotonic()
        if now >= deadline or (session.is_collected and watch.is_over(now)):
            break
        if (other := superseded()) is not None:
            reason, detail = "superseded", other
            break
        session.pump(min(TICK_S, deadline - now))
    if all(v.outcome is Outcome.APART and v.state != NO_MODEL for v in watch.verdicts.values()):
        groups = ", ".join(targets)
        say(f"no online device of {groups}; edge-fleet serve sends the model to latecomers")
    return [_close(verdict, reason, detail) for _, verdict in sorted(watch.verdicts.items())]


def to_result(verdict: Verdict, started: float) -> DeviceResult:
    """Return how it ended on one device, in seconds from when the user began to wait."""
    counts = verdict.outcome is not Outcome.APART
    return DeviceResult(
        device=verdict.device,
        state=verdict.state,
        version=verdict.version,
        seconds=round(verdict.at - started, 3) if counts else None,
        reason=verdict.reason,
        detail=verdict.detail,
    )


def conclude(verdicts: Sequence[Verdict], result: object) -> None:
    """Tell whether it went well.

    Raises: DevicesFailed: naming the devices on which it did not.
    """
    failed = [v for v in verdicts if v.outcome is Outcome.FAILED]
    if not failed and not any(v.outcome is Outcome.DONE for v in verdicts):
        # A mistyped model name must not pass for success.
        failed = [v for v in verdicts if v.state == NO_MODEL]
    if failed:
        named = [": ".join(filter(None, (v.device, v.state, v.reason, v.detail))) for v in failed]
        more = [f"and {len(named) - MAX_NAMED} more"] if len(named) > MAX_NAMED else []
        raise DevicesFailed("; ".join(named[:MAX_NAMED] + more), result)


def _close(verdict: Verdict, reason: str, detail: str) -> Verdict:
    """Turn what is still open at the end into a failure."""
    if verdict.outcome is not Outcome.WAITING:
        return verdict
    return replace(
        verdict,
        outcome=Outcome.FAILED,
        reason=verdict.reason or reason,
        detail=verdict.detail or detail,
        at=time.monotonic(),
    )
