"""An updater that was never started, and a store as a restart finds it."""

from pathlib import Path

import msgspec

from edge_agent.clock import WallClock
from edge_agent.fit import Site, StreamShape
from edge_agent.lifecycle import State
from edge_agent.records import Record
from edge_agent.reporter import Reporter
from edge_agent.slot import Slot
from edge_agent.store import Store
from edge_agent.updater import Updater
from edge_bundle import VERSION
from edge_bundle.archive import Bundle
from edge_wire.broker import Broker
from edge_wire.link import Handlers, Link
from edge_wire.messages import Info
from edge_wire.topics import Topics
from tests.edge_bundle.bundles import STREAM

ROOM = 1 << 22
SHAPE = StreamShape(50.0, STREAM.channels)


class Bench:
    """An updater that was never started, on a store: what it does first after a restart."""

    def __init__(self, folder: Path, shape: StreamShape = SHAPE) -> None:
        self.store = Store(folder / "store", ROOM)
        site = Site("d1", "g", {}, "generic", VERSION, ("onnx",), 1)
        nobody = Broker("mqtt://127.0.0.1:1")
        info = Info(1, "d1", VERSION, "b", "g", {}, "generic", {}, {})
        reporter = Reporter(Link(nobody, "d1", Handlers()), Topics(), info, WallClock())
        self.updater = Updater(site, self.store, nobody, Topics(), reporter)
        self.slot = Slot("watch", "imu0", "b", WallClock())
        self.updater.add(self.slot, shape)
        self.life = self.updater._places["watch"].life

    def resume(self, configured: Bundle | None = None) -> str | None:
        """Start anew; return the version that the slot was offered."""
        self.updater.resume({"watch": configured.sha256} if configured else {})
        offered = self.slot.models.offered
        return offered.loaded.bundle.manifest.version if offered else None

    def fallback(self) -> str | None:
        offered = self.slot.models.offered
        before = offered.fallback if offered else None
        return before.bundle.manifest.version if before else None


def record(stored: Path, releases: dict[str, Bundle], state: State, **shas: str) -> None:
    names = {k: releases[v].sha256 for k, v in shas.items()}
    found = msgspec.structs.replace(Record(state=state, attempt=1), **names)
    Store(stored / "store", ROOM).save_record("watch", found)


def damage(stored: Path, bundle: Bundle) -> None:
    (stored / "store" / "bundles" / f"{bundle.sha256}.bundle").write_bytes(b"damaged")
