"""What each command does, as functions that return what they did.

The order is always: decide and write down in one transaction, publish, note that it is published,
watch. What a crash leaves between two of these the next command finishes.
"""

import secrets
import time
from dataclasses import dataclass
from datetime import datetime, timezone
from difflib import get_close_matches
from pathlib import Path

from msgspec.structs import replace

from edge_bundle.archive import Bundle
from edge_bundle.errors import ConfigError
from edge_wire import trust
from edge_wire.assignment import Ref
from edge_wire.credentials import BrokerTable
from edge_wire.topics import check_identifier
from fleet.assigning import Stamp, advance, assign, make_ref, next_issued, retreat
from fleet.errors import NothingBefore
from fleet.folder import Folder, make_folder
from fleet.following import DeviceResult, Progress, conclude, follow, to_result
from fleet.office import Office, open_office
from fleet.releases import read_version, refuse_other_bytes, take_in, to_variant
from fleet.session import Session
from fleet.watching import Goal, Outcome, Target, Verdict


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a command follows what it began."""

    goal: Goal
    timeout_s: float
    started: float
    """Monotonic seconds at which the user began to wait."""


@dataclass(frozen=True, slots=True)
class Pushed:
    """What a push did."""

    model: str
    version: str
    group: str
    seconds: float
    """From the command to the last device's report."""
    bytes_sent: int
    """On chunk topics, for all devices together."""
    devices: list[DeviceResult]


@dataclass(frozen=True, slots=True)
class RolledBack:
    """What a rollback did."""

    model: str
    groups: dict[str, str]
    """The version that each group runs now."""
    seconds: float
    model_bytes: int
    """On chunk topics, for all devices together."""
    devices: list[DeviceResult]


def init(path: Path, table: BrokerTable) -> Folder:
    """Make a new fleet; the broker is not needed.

    Raises: ConfigError: there is one already, or an option is wrong.
    """
    folder = Folder(path)
    make_folder(folder, table)
    return folder


def push(
    path: Path, bundles: list[Path], group: str, retry: bool, patience: Patience, say: Progress
) -> Pushed:
    """Make a version the one that a group runs, and send it to who asks.

    Raises: ConfigError, ArtifactRefused, MessageRefused, FileNotFoundError: nothing has changed.
        LinkError: no broker; what was decided is published by the next command.
        DevicesFailed: some failed or did not answer in time; its result is a ``Pushed``.
    """
    _check_group(group)
    version = read_version(bundles)
    manifest = version[0].manifest
    with open_office(path) as office:
        for bundle in version:
            refuse_other_bytes(office.registry, bundle)
        with office.connect() as session:
            ref = _take_in_version(office, version, retry, say)
            with office.registry.transaction():
                issued = _assign(office, group, manifest.name, ref, push=True)
            target = Target(group, manifest.name, ref, issued)
            office.publish(session)
            say(f"{group} is to run {manifest.name} {manifest.version}: published")
            verdicts = _follow(office, session, {group: target}, patience, say)
            pushed = Pushed(
                manifest.name,
                manifest.version,
                group,
                _seconds(verdicts, patience.started),
                session.sender.bytes_sent,
                [to_result(v, patience.started) for v in verdicts],
            )
    conclude(verdicts, pushed)
    return pushed


def rollback(
    path: Path, model: str, group: str | None, patience: Patience, say: Progress
) -> RolledBack:
    """Make the version before the one that a group, or every group, runs.

    Raises: ConfigError: no such model, or nothing before; nothing has changed.
        LinkError: no broker; what was decided is published by the next command.
        DevicesFailed: some failed or did not answer in time; its result is a ``RolledBack``.
    """
    if group is not None:
        _check_group(group)
    with open_office(path) as office:
        _find_groups(office, model, group)
        with office.connect() as session:
            targets = {}
            with office.registry.transaction():
                for name in _find_groups(office, model, group):
                    ref = _version_before(office, name, model)
                    issued = _assign(office, name, model, ref, push=False)
                    targets[name] = Target(name, model, ref, issued)
            office.publish(session)
            for target in targets.values():
                say(f"{target.group} is to run {model} {target.ref.version} again: published")
            verdicts = _follow(office, session, targets, patience, say)
            done = RolledBack(
                model,
                {name: target.ref.version for name, target in targets.items()},
                _seconds(verdicts, patience.started),
                session.sender.bytes_sent,
                [to_result(v, patience.started) for v in verdicts],
            )
    conclude(verdicts, done)
    return done


def _take_in_version(office: Office, version: list[Bundle], retry: bool, say: Progress) -> Ref:
    releases = [take_in(office.folder, office.registry, bundle, say) for bundle in version]
    attempt = max(release.attempt for release in releases) + retry
    with office.registry.transaction():
        for release in releases:
            office.registry.save_release(replace(release, attempt=attempt))
    return make_ref(version[0].manifest.version, attempt, [to_variant(r) for r in releases])


def _assign(office: Office, group: str, model: str, ref: Ref, push: bool) -> str:
    """Write down what a group runs next; return when it was issued. In a transaction."""
    registry = office.registry
    current = registry.assignment(group)
    stamp = Stamp(
        next_issued(current.issued if current else None, datetime.now(timezone.utc)),
        secrets.token_hex(8),
    )
    stack = registry.stack(group, model)
    assignment = assign(current, group, model, ref, stamp, registry.encodings())
    trust.sign(assignment, office.key)  # too large is found before it is written down
    registry.save_assignment(assignment, model, advance(stack, ref) if push else retreat(stack))
    return stamp.issued


def _version_before(office: Office, group: str, model: str) -> Ref:
    stack = office.registry.stack(group, model)
    try:
        return retreat(stack)[-1]
    except NothingBefore:
        raise ConfigError(
            f"{group} ran nothing of {model} before {stack[-1].version}: nothing to go back to"
        ) from None


def _find_groups(office: Office, model: str, group: str | None) -> list[str]:
    """Return the groups that a rollback is for, each with a version to go back to.

    Raises: ConfigError.
    """
    models = office.registry.models()
    if model not in models:
        near = get_close_matches(model, models, 1)
        known = f"did you mean {near[0]}?" if near else f"known: {', '.join(models) or 'none'}"
        raise ConfigError(f"no group runs a model {model!r}; {known}")
    if group is not None and group not in models[model]:
        raise ConfigError(f"group {group!r} runs no {model}; known: {', '.join(models[model])}")
    groups = models[model] if group is None else [group]
    for name in groups:
        _version_before(office, name, model)
    return groups


def _follow(
    office: Office,
    session: Session,
    targets: dict[str, Target],
    patience: Patience,
    say: Progress,
) -> list[Verdict]:
    session.sender.offer(office.offers())
    seen: int | None = None

    def superseded() -> str | None:
        nonlocal seen
        if (changes := office.registry.changes()) == seen:
            return None
        seen = changes
        return _find_other(office, targets)

    verdicts = follow(session, targets, patience.goal, patience.timeout_s, say, superseded)
    with office.registry.transaction():
        office.registry.remember(session.observer.views.values())
    return verdicts


def _find_other(office: Office, targets: dict[str, Target]) -> str | None:
    """Say what another command has assigned in the place of a target, if one has."""
    for group, target in targets.items():
        current = office.registry.assignment(group)
        model = current.models.get(target.model) if current else None
        if model is not None and model.stable is not None and model.stable != target.ref:
            return f"another command assigned {model.stable.version} to {group}"
    return None


def _seconds(verdicts: list[Verdict], started: float) -> float:
    """Return when the last device reported; where none was there, how long the rest took."""
    counted = [v.at for v in verdicts if v.outcome is not Outcome.APART]
    return round(max(counted, default=time.monotonic()) - started, 3)


def _check_group(group: str) -> None:
    try:
        check_identifier(group)
    except ValueError as error:
        raise ConfigError(f"group {error}") from None
