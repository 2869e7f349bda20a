"""Sends what is in the outbox: a few at a time, each kept until the broker has confirmed it."""

import threading
from collections import deque
from time import monotonic, sleep
from typing import Final

from edge_agent.outbox import Dropped, Entry, Outbox
from edge_wire.errors import LinkError
from edge_wire.link import Ack, Link, Message
from edge_wire.messages import Loss, LossCause, encode
from edge_wire.topics import Topics

MAX_IN_FLIGHT: Final = 16
"""Below paho's own limit of 20, so that births and reports find room."""
IDLE_S: Final = 5.0
POLL_S: Final = 0.01
ANNOUNCE_S: Final = 1.0
"""What the last losses may take to be announced."""


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
        self._lost_link = self._came = False
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
        # Where it came, what was sent on it in the meantime is not lost.
        if self._link.connected:
            self._came = True
        else:
            self._lost_link = True
        self._outbox.filled.set()

    def stop(self, flush_s: float) -> None:
        """Send what is left for at most ``flush_s`` seconds, announce the rest as lost, and end
        the thread.
        """
        self._flush(flush_s)
        self._outbox.give_up(LossCause.STOPPED)
        self._flush(ANNOUNCE_S)
        self._stopping.set()
        self._outbox.filled.set()
        self._thread.join()

    def announce(self, dropped: list[Dropped]) -> bool:
        """Publish losses; tell whether the link took them all."""
        for i, loss in enumerate(dropped):
            stream, model = loss.key
            payload = encode(Loss(1, self._boot, stream, model, loss.first, loss.last, loss.cause))
            try:
                ack = self._link.publish(
                    Message(self._topics.device(self._device, "loss"), payload)
                )
            except LinkError:
                self._outbox.put_dropped(dropped[i:])
                return False
            self._outbox.sent(loss, ack)
        return True

    def _flush(self, most_s: float) -> None:
        deadline = monotonic() + most_s
        while self._link.connected and not self._outbox.empty and monotonic() < deadline:
            self._outbox.filled.set()
            sleep(POLL_S)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._outbox.filled.wait(IDLE_S)
            self._outbox.filled.clear()
            self._settle()
            room = max(0, MAX_IN_FLIGHT - self._outbox.in_flight)
            if self._link.connected and self.announce(self._outbox.take_dropped(room)):
                self._send()

    def _settle(self) -> None:
        while self._acks:
            self._outbox.confirm(self._acks.popleft())
        if self._lost_link:
            self._lost_link = False
            self._outbox.unsent()
        if self._came:
            self._came = False
            self._outbox.repeat_states()

    def _send(self) -> None:
        while self._outbox.in_flight < MAX_IN_FLIGHT and (entry := self._outbox.take()):
            try:
                ack = self._link.publish(self._message(entry))
            except LinkError:
                self._outbox.back(entry)
                return
            self._outbox.sent(entry, ack)  # with QoS 0 until it is written to the socket

    def _message(self, entry: Entry) -> Message:
        match entry.kind:
            case "event":
                return Message(self._topics.event(self._device, *entry.key), entry.payload)
            case "state":
                topic = self._topics.state(self._device, *entry.key)
                return Message(topic, entry.payload, retain=True)
            case _:
                topic = self._topics.prediction(self._device, *entry.key)
                return Message(topic, entry.payload, self._qos)
