"""What a group is to run next: stacks of versions and the assignment built from them.

Pure: times, random identifiers and encodings are arguments; nothing here signs, stores or sends.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Final

from msgspec.structs import replace

from edge_wire.assignment import Assignment, Encoding, ModelAssignment, Ref, Variant
from fleet.errors import NothingBefore

ISSUED_FORMAT: Final = "%Y-%m-%dT%H:%M:%S.%fZ"
"""Of one width, so that text sorts like time."""
Stack = tuple[Ref, ...]
"""What a group ran of one model, the present version last; neighbours differ in version."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """What tells one assignment from another."""

    issued: str
    rollout: str
    """Random identifier of the rollout that it belongs to."""


def next_issued(last: str | None, now: datetime) -> str:
    """Return the time to write into an assignment: now, but always after the one before.

    Args:
        last: ``issued`` of the group's present assignment.
        now: with a time zone.
    """
    now = now.astimezone(timezone.utc)
    if last is not None:
        before = datetime.strptime(last, ISSUED_FORMAT).replace(tzinfo=timezone.utc)
        now = max(now, before + timedelta(microseconds=1))
    # Not strftime: it does not fill a year below 1000 with zeros.
    return now.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def make_ref(version: str, attempt: int, variants: Sequence[Variant]) -> Ref:
    """Return a version with its variants in order of preference."""
    return Ref(version, attempt, tuple(variants))


def advance(stack: Stack, ref: Ref) -> Stack:
    """Put a version on a stack; the same version again takes the place of itself.

    So the version before is always another one, however often one was pushed.
    """
    below = stack[:-1] if stack and stack[-1].version == ref.version else stack
    return (*below, ref)


def retreat(stack: Stack) -> Stack:
    """Take the present version off a stack.

    Raises: NothingBefore: it is the only one.
    """
    if len(stack) < 2:
        raise NothingBefore
    return stack[:-1]


def assign(
    current: Assignment | None,
    group: str,
    model: str,
    ref: Ref,
    stamp: Stamp,
    encodings: Mapping[str, tuple[Encoding, ...]],
) -> Assignment:
    """Return a group's next assignment: one model's stable version changes, the others stay.

    Args:
        current: the present one, None where the group has none yet.
        encodings: by bundle's sha256, at least those of ``ref``.
    """
    before = current or Assignment(group=group, issued=stamp.issued, rollout=stamp.rollout)
    models = {**before.models, model: ModelAssignment(stable=ref)}
    wanted = {v.sha256 for m in models.values() for r in _refs(m) for v in r.variants}
    known = {**before.encodings, **encodings}
    return replace(
        before,
        issued=stamp.issued,
        rollout=stamp.rollout,
        models=models,
        encodings={sha256: known[sha256] for sha256 in sorted(wanted)},
    )


def _refs(model: ModelAssignment) -> list[Ref]:
    candidate = model.candidate.ref if model.candidate else None
    return [ref for ref in (model.stable, candidate) if ref]
