"""What devices say of themselves, in the order in which they said it.

Pure: messages and times are arguments. Reports are ordered by (boot, n), because a broker may
deliver one twice and an old one late.
"""

from dataclasses import dataclass, replace

from edge_wire.errors import MessageRefused
from edge_wire.messages import Availability, Info, Reported, decode
from edge_wire.topics import Topics, check_identifier

KINDS = ("availability", "info", "reported")


@dataclass(frozen=True, slots=True)
class DeviceView:
    """What is known of one device."""

    device: str
    availability: Availability | None = None
    info: Info | None = None
    reported: Reported | None = None
    at: float = 0.0
    """Monotonic seconds at which ``reported`` came."""
    live: bool = False
    """Whether ``reported`` was sent while we listened, and not kept by the broker from before."""

    @property
    def group(self) -> str | None:
        """The group that the device says it is in."""
        return self.info.group if self.info else None


class Observer:
    """Collects what devices say."""

    def __init__(self, topics: Topics) -> None:
        self._topics = topics
        self._changed: set[str] = set()
        self.views: dict[str, DeviceView] = {}
        """By device."""

    def topics(self) -> list[str]:
        """Return what to subscribe to."""
        return [self._topics.device("+", kind) for kind in KINDS]

    def take(self, topic: str, payload: bytes, retained: bool, now: float) -> str | None:
        """Take a message; return the device whose view it changed.

        What cannot be read changes nothing: whoever wrote it, no other device suffers.
        """
        try:
            device, kind = self._topics.read_device(topic)
            view = self.views.get(check_identifier(device), DeviceView(device))
            changed = _change(view, kind, payload, retained, now)
        except (MessageRefused, ValueError):
            return None
        if changed == view:
            return None
        self.views[device] = changed
        self._changed.add(device)
        return device

    def take_changed(self) -> set[str]:
        """Return the devices whose view changed since the last call."""
        changed, self._changed = self._changed, set()
        return changed


def _change(view: DeviceView, kind: str, payload: bytes, retained: bool, now: float) -> DeviceView:
    if kind == "availability":
        return replace(view, availability=Availability(payload[:16].decode()))
    if kind == "info":
        return replace(view, info=decode(payload, Info))
    if kind == "reported":
        report = decode(payload, Reported)
        if is_newer(view, report):
            return replace(view, reported=report, at=now, live=not retained)
    return view


def is_newer(view: DeviceView, report: Reported) -> bool:
    """Tell whether a report follows the one that is known.

    The counter in ``boot`` begins anew on a device that was wiped, so a report of the boot that the
    birth message names is newer, whatever its counter.
    """
    known = view.reported
    if known is None:
        return True
    if report.boot == known.boot:
        return report.n > known.n
    birth = view.info.boot if view.info else None
    return report.boot == birth or report.boot > known.boot
