"""Sends what is in the outbox: a few at a time, each kept until the broker has confirmed it."""

from time import monotonic, sleep
from typing import Final

from edge_agent.outbox import Dropped, Entry, Outbox
from edge_wire.errors import LinkError
from edge_wire.link import Ack, Link, Message
from edge_wire.messages import Loss, LossCause, encode
from edge_wire.topics import Topics

MAX_IN_FLIGHT: Final = 16
"""Below paho's own limit of 20, so that births and reports find room."""
POLL_S: Final = 0.01
ANNOUNCE_S: Final = 1.0
"""What the last losses may take to be announced."""


class Publisher:
    """Between the outbox, which rings the link when it is filled, and the link.

    Everything but ``stop`` is one of the link's handlers, which calls one at a time.
    """

    def __init__(
        self, outbox: Outbox, link: Link, topics: Topics, device: str, boot: str, qos: int
    ) -> None:
        self._outbox = outbox
        self._link = link
        self._topics = topics
        self._device = device
        self._boot = boot
        self._qos = qos
        self._stopped = False

    def on_connected(self) -> None:
        """Learn that the connection came."""
        self._outbox.repeat_states()

    def on_disconnected(self) -> None:
        """Learn that it went: what it was not seen to bring is sent on the next one."""
        self._outbox.unsent()

    def on_ack(self, ack: Ack) -> None:
        """Take a confirmation."""
        self._outbox.confirm(ack)
        if self._outbox.waiting:
            self._link.ring()

    def turn(self) -> None:
        """Send what waits, as far as there is room in flight."""
        if self._stopped:
            return
        room = max(0, MAX_IN_FLIGHT - self._outbox.in_flight)
        if self._announce(self._outbox.take_dropped(room)):
            self._send()

    def stop(self, flush_s: float) -> None:
        """Send what is left for at most ``flush_s`` seconds, and announce the rest as lost; after
        that nothing is sent. Called by any thread.
        """
        self._flush(flush_s)
        self._outbox.give_up(LossCause.STOPPED)
        self._flush(ANNOUNCE_S)
        self._stopped = True

    def _flush(self, most_s: float) -> None:
        deadline = monotonic() + most_s
        while self._link.connected and not self._outbox.empty and monotonic() < deadline:
            sleep(POLL_S)

    def _announce(self, dropped: list[Dropped]) -> bool:
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
