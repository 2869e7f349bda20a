"""The operator's connection: one loop that listens to devices, sends chunks, and publishes.

Everything happens in the caller's thread, in ``pump``; paho's thread only fills the inbox.
"""

import queue
import secrets
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Final

from edge_wire.broker import Broker
from edge_wire.errors import LinkError
from edge_wire.link import Ack, Handlers, Link, Message
from edge_wire.topics import Topics
from fleet.observer import Observer
from fleet.sender import SETTLE_S, Sender

if TYPE_CHECKING:
    from typing_extensions import Self  # in typing from Python 3.11 on

CONNECT_S: Final = 6.0
"""Enough for a broker that answers MQTT 5 with silence."""
PUBACK_S: Final = 10.0
QUIET_S: Final = 0.5
"""What the broker kept has come when nothing more came for so long."""
COLLECT_S: Final = 3.0
CLOSE_S: Final = 0.5
BIRTH_S: Final = 3.0
"""A want that overtakes its device's birth message is kept for so long."""


class Session:
    """One connection; open it with ``with``."""

    def __init__(self, broker: Broker, topics: Topics, settle_s: float = SETTLE_S) -> None:
        handlers = Handlers(
            connected=lambda: self._on_connected(),
            disconnected=lambda: self._inbox.put(self._take_disconnected),
            message=lambda topic, payload, retained: self._inbox.put(
                lambda: self._take_message(topic, payload, retained)
            ),
            ack=lambda ack: self._inbox.put(lambda: self._take_ack(ack)),
        )
        self._inbox: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._link = Link(broker, f"fleet-{secrets.token_hex(4)}", handlers)
        self._topics = topics
        self._acked: set[Ack] = set()
        self._awaited: Ack | None = None
        self._early: dict[str, tuple[bytes, float]] = {}
        self._last_news = time.monotonic()
        self._began = self._last_news
        self.connections = 0
        """How often the broker has accepted us."""
        self.observer = Observer(topics)
        self.sender = Sender(self._link.publish, topics, settle_s)

    def __enter__(self) -> "Self":
        """Connect.

        Raises: LinkError: no broker, or it refuses us.
        """
        self._link.start()
        try:
            self._link.wait(CONNECT_S)
        except BaseException:
            self._close()
            raise
        self._began = self._last_news = time.monotonic()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._close()

    @property
    def is_collected(self) -> bool:
        """Whether what the broker kept of devices has come."""
        now = time.monotonic()
        return now - self._last_news >= QUIET_S or now - self._began >= COLLECT_S

    def publish(self, message: Message) -> None:
        """Publish and wait until the broker has it.

        Raises: LinkError: it did not say so in time.
        """
        deadline = time.monotonic() + PUBACK_S
        try:
            while (now := time.monotonic()) < deadline:
                if self._awaited is None and self._link.connected:
                    try:
                        self._awaited = self._link.publish(message)
                    except LinkError:
                        continue  # lost between the two lines; the link comes back by itself
                self.pump(min(0.05, deadline - now))
                if self._awaited in self._acked:
                    return
        finally:
            self._awaited = None
            self._acked.clear()
        raise LinkError(f"broker: no confirmation of {message.topic} within {PUBACK_S:g} s")

    def pump(self, timeout_s: float) -> None:
        """Handle what comes, and send what is due; returns early where ``publish`` is confirmed."""
        end = time.monotonic() + timeout_s
        while True:
            now = time.monotonic()
            due_s = self.sender.wait_s(now)
            left_s = max(0.0, end - now)
            try:
                event = self._inbox.get(timeout=left_s if due_s is None else min(due_s, left_s))
            except queue.Empty:
                pass
            else:
                event()
            self.sender.work(time.monotonic())
            if time.monotonic() >= end or self._acked:
                return

    def wake(self) -> None:
        """Let ``pump`` look around; may be called from a signal handler."""
        self._inbox.put(lambda: None)

    def _close(self) -> None:
        # A link in the middle of connecting takes seconds to end, which nobody should wait for.
        patience_s = None if self._link.connected else CLOSE_S
        closing = threading.Thread(target=self._link.stop, name="closing", daemon=True)
        closing.start()
        closing.join(patience_s)

    # --- on paho's thread

    def _on_connected(self) -> None:
        # Births first: what a device asks for counts by its group.
        self._link.subscribe([*self.observer.topics(), *self.sender.topics()])
        self._inbox.put(self._take_connected)

    # --- on ours

    def _take_connected(self) -> None:
        self.connections += 1

    def _take_disconnected(self) -> None:
        self._awaited = None
        self.sender.on_disconnected()

    def _take_ack(self, ack: Ack) -> None:
        if ack == self._awaited:
            self._acked.add(ack)
        self.sender.on_ack(ack)

    def _take_message(self, topic: str, payload: bytes, retained: bool) -> None:
        now = time.monotonic()
        if topic.endswith("/plan"):
            self.sender.on_plan(payload)
        elif topic.endswith("/want"):
            self._take_want(self._topics.read_device(topic)[0], payload, now)
        else:
            if retained:
                self._last_news = now
            device = self.observer.take(topic, payload, retained, now)
            if device is not None and device in self._early:
                self._take_want(device, *self._early.pop(device))

    def _take_want(self, device: str, payload: bytes, at: float) -> None:
        view = self.observer.views.get(device)
        if view is not None and view.group is not None:
            self.sender.on_want(device, view.group, payload, at)
            return
        self._early = {d: (p, t) for d, (p, t) in self._early.items() if at - t < BIRTH_S}
        self._early[device] = (payload, at)
