"""Sends what is in the outbox: a few at a time, each kept until the broker has confirmed it."""

import threading
from collections import deque
from typing import Final

from edge_agent.outbox import Dropped, Entry, Outbox
from edge_wire.errors import LinkError
from edge_wire.link import Ack, Link, Message
from edge_wire.messages import Loss, encode
from edge_wire.topics import Topics

MAX_IN_FLIGHT: Final = 16
"""Below paho's own limit of 20, so that births and reports find room."""
IDLE_S: Final = 5.0


class Publisher:
    """One thread between the outbox and the link."""

    def __init__(
        self, outbox: Outbox, link: Link, topics: Topics, device: str, boot: str, qos: int
    ) -> None:
        self._outbox = outbox
        self._link = link
        self._topics = topics
        self._device = device
        self._boot = boot
        self._qos = qos
        self._acks: deque[Ack] = deque()
        self._lost_link = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def on_ack(self, ack: Ack) -> None:
        """Take a confirmation; called on the network thread, acted on in ours."""
        self._acks.append(ack)
        self._outbox.filled.set()

    def on_connection(self) -> None:
        """Learn that the connection came or went."""
        self._lost_link = True
        self._outbox.filled.set()

    def stop(self, flush_s: float) -> None:
        """Send what is left for at most ``flush_s`` seconds, then end the thread."""
        deadline = threading.Event()
        timer = threading.Timer(flush_s, deadline.set)
        timer.start()
        while self._link.connected and not self._outbox.empty and not deadline.wait(0.01):
            self._outbox.filled.set()
        timer.cancel()
        self._stopping.set()
        self._outbox.filled.set()
        self._thread.join()

    def announce(self, dropped: list[Dropped]) -> bool:
        """Publish losses; tell whether the link took them all."""
        for i, loss in enumerate(dropped):
            stream, model = loss.key
            payload = encode(Loss(1, self._boot, stream, model, loss.first, loss.last, loss.cause))
            try:
                self._link.publish(Message(self._topics.device(self._device, "loss"), payload))
            except LinkError:
                self._outbox.put_dropped(dropped[i:])
                return False
        return True

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._outbox.filled.wait(IDLE_S)
            self._outbox.filled.clear()
            self._settle()
            if self._link.connected and self.announce(self._outbox.take_dropped()):
                self._send()

    def _settle(self) -> None:
        while self._acks:
            self._outbox.confirm(self._acks.popleft())
        if self._lost_link:
            self._lost_link = False
            self._outbox.unsent()

    def _send(self) -> None:
        while self._outbox.in_flight < MAX_IN_FLIGHT and (entry := self._outbox.take()):
            try:
                ack = self._link.publish(self._message(entry))
            except LinkError:
                self._outbox.back(entry)
                return
            self._outbox.sent(entry, ack)
            if self._qos == 0:
                self._outbox.confirm(ack)

    def _message(self, entry: Entry) -> Message:
        topic = self._topics.prediction(self._device, *entry.key)
        return Message(topic, entry.payload, self._qos)
