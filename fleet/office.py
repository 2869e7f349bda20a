"""An opened fleet: its settings, key and registry, and what several commands do with them."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge_wire import trust
from edge_wire.assignment import Assignment, Encoding
from edge_wire.broker import Broker
from edge_wire.link import Message
from edge_wire.topics import Topics
from fleet.folder import Folder, read_settings
from fleet.registry import Registry
from fleet.releases import read_index
from fleet.sender import SETTLE_S, Offer
from fleet.session import Session

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Office:
    """What the commands of one fleet share."""

    folder: Folder
    topics: Topics
    broker: Broker
    registry: Registry
    key: Ed25519PrivateKey

    @contextmanager
    def connect(self, settle_s: float | None = None) -> Iterator[Session]:
        """Connect, and first finish what a command before left unpublished.

        Args:
            settle_s: how long wants are merged; a push's, where not said.
        Raises: LinkError: no broker, or it refuses us.
        """
        with Session(self.broker, self.topics, settle_s or SETTLE_S) as session:
            self.publish(session)
            yield session

    def publish(self, session: Session, all_again: bool = False) -> None:
        """Publish assignments, each retained and confirmed, and note it.

        The registry is held meanwhile, so that of two commands none publishes an older assignment
        over a newer one.
        Args:
            session: a connection.
            all_again: also those that were published before; a broker may have lost them.
        Raises: LinkError: the broker does not confirm one.
        """
        with self.registry.transaction():
            for assignment in self.registry.assignments(unpublished_only=not all_again):
                payload = trust.sign(assignment, self.key)
                topic = self.topics.desired(assignment.group)
                session.publish(Message(topic, payload, qos=1, retain=True))
                self.registry.mark_published(assignment)

    def offers(self) -> list[Offer]:
        """Return every blob that some group is assigned; a damaged one is told and left out."""
        found: dict[str, tuple[Encoding, set[str]]] = {}
        for assignment in self.registry.assignments():
            for encoding in _encodings(assignment):
                _, groups = found.setdefault(encoding.blob_sha256, (encoding, set()))
                groups.add(assignment.group)
        offers = []
        for encoding, groups in found.values():
            file, index = self.folder.blob(encoding.blob_sha256), read_index(self.folder, encoding)
            if index is None:
                # It keeps no other model from being sent, nor one that devices hold from returning.
                log.warning("%s: missing or damaged; push its bundle again to mend it", file)
            else:
                offers.append(Offer(encoding, file, index, frozenset(groups)))
        return offers


@contextmanager
def open_office(path: Path) -> Iterator[Office]:
    """Open a fleet's folder.

    Raises: ConfigError: no fleet there, or wrong settings. TrustRefused: the key is none, or not
        private. ArtifactRefused: the registry is damaged.
    """
    folder = Folder(path)
    table, broker = read_settings(folder)
    key = trust.read_key(folder.key)
    registry = Registry(folder.database)
    try:
        yield Office(folder, Topics(table.root), broker, registry, key)
    finally:
        registry.close()


def _encodings(assignment: Assignment) -> list[Encoding]:
    return [encoding for ways in assignment.encodings.values() for encoding in ways]
