"""What devices last said, and what their groups are to run: one look, nothing changed."""

from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from edge_wire.messages import ModelReport
from fleet.observer import DeviceView
from fleet.office import open_office

POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """One model on one device."""

    version: str | None
    variant: str | None
    sha256: str | None
    state: str
    reason: str | None
    detail: str


@dataclass(frozen=True, slots=True)
class DeviceStatus:
    """One device, as it was last seen."""

    device: str
    availability: str | None
    group: str | None
    agent: str | None
    models: dict[str, ModelStatus]
    reason: str | None
    """Why it refused its group's newest assignment as a whole."""
    detail: str
    accepted: str | None
    """``issued`` of the assignment that it accepted last."""
    age_s: float | None
    """Since its last report, by the device's clock and ours."""


@dataclass(frozen=True, slots=True)
class GroupStatus:
    """What a group is to run."""

    issued: str
    models: dict[str, str]
    """Version by model."""


@dataclass(frozen=True, slots=True)
class Status:
    """The fleet."""

    groups: dict[str, GroupStatus]
    devices: list[DeviceStatus]


def look(path: Path) -> Status:
    """Collect what the broker keeps of devices, remember it, and add what was known before.

    Raises: ConfigError, ArtifactRefused: no such fleet. LinkError: no broker.
    """
    with open_office(path) as office:
        with office.connect() as session:
            while not session.is_collected:
                session.pump(POLL_S)
            with office.registry.transaction():
                office.registry.remember(session.observer.views.values())
        now = datetime.now(timezone.utc)
        groups = {
            a.group: GroupStatus(
                a.issued, {m: model.stable.version for m, model in a.models.items() if model.stable}
            )
            for a in office.registry.assignments()
        }
        return Status(groups, [describe(view, now) for view in office.registry.devices()])


def describe(view: DeviceView, now: datetime) -> DeviceStatus:
    """Return one device's line."""
    report, info = view.reported, view.info
    return DeviceStatus(
        device=view.device,
        availability=view.availability.value if view.availability else None,
        group=view.group,
        agent=info.agent if info else None,
        models={n: _describe_model(m) for n, m in report.models.items()} if report else {},
        reason=report.reason.value if report and report.reason else None,
        detail=report.detail if report else "",
        accepted=report.accepted.issued if report and report.accepted else None,
        age_s=_age_s(report.t, now) if report else None,
    )


def _describe_model(model: ModelReport) -> ModelStatus:
    running = model.running
    return ModelStatus(
        version=running.version if running else None,
        variant=running.variant if running else None,
        sha256=running.sha256 if running else None,
        state=model.state,
        reason=model.reason.value if model.reason else None,
        detail=model.detail,
    )


def _age_s(said: str, now: datetime) -> float | None:
    try:
        # Python 3.10 does not read the Z.
        then = datetime.fromisoformat(said.replace("Z", "+00:00"))
        return round(max(0.0, (now - then).total_seconds()), 1)
    except (ValueError, TypeError):  # not a time, or without a zone
        return None
