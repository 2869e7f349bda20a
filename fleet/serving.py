"""Sends the chunks of every assigned bundle to whoever asks, for as long as it is let."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Final

from edge_wire.errors import LinkError
from fleet.office import Office, open_office
from fleet.session import Session

TICK_S: Final = 0.5
SETTLE_S: Final = 1.0
"""Longer than a push waits, so that where both run the push announces first and sends alone."""


class Service:
    """``edge-fleet serve``, until ``stop`` is called."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._stopping = False
        self._session: Session | None = None

    def stop(self) -> None:
        """Let ``run`` return; may be called from a signal handler or another thread."""
        self._stopping = True
        if self._session is not None:
            self._session.wake()

    def run(self, path: Path) -> int:
        """Serve; return how many bytes were sent on chunk topics.

        Raises: ConfigError, ArtifactRefused: no such fleet, or a damaged one. LinkError: no broker
            at the start; later it is waited for.
        """
        with open_office(path) as office, office.connect(SETTLE_S) as session:
            self._session = session
            seen, connections, sent = -1, 0, 0
            while not self._stopping:
                if (changes := office.registry.changes()) != seen:
                    seen = changes
                    self._offer(office, session)
                if session.connections != connections:
                    connections = session.connections
                    self._publish_again(office, session)
                if session.sender.bytes_sent != sent:
                    sent = session.sender.bytes_sent
                    self._say(f"{sent} bytes sent so far")
                session.pump(TICK_S)
            return session.sender.bytes_sent

    def _offer(self, office: Office, session: Session) -> None:
        offers = office.offers()
        session.sender.offer(offers)
        groups = sorted(set().union(*(offer.groups for offer in offers)))
        self._say(f"serving {len(offers)} bundles of {', '.join(groups) or 'no group yet'}")

    def _publish_again(self, office: Office, session: Session) -> None:
        # A broker that was restarted without persistence has forgotten what it kept.
        try:
            office.publish(session, all_again=True)
        except LinkError as error:
            self._say(f"{error}; waiting for the broker")


@contextmanager
def stopped_by_signals(service: Service) -> Iterator[None]:
    """Let SIGINT and SIGTERM end a service in order."""
    numbers = (signal.SIGINT, signal.SIGTERM)

    def stop(_number: int, _frame: FrameType | None) -> None:
        service.stop()

    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
