"""Predictions reach a real broker in order, over restarts, and what is dropped is announced."""

import threading
import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from edge_agent.outbox import Dropped, Entry, Outbox
from edge_agent.publisher import MAX_IN_FLIGHT, Publisher
from edge_wire.broker import Broker
from edge_wire.errors import LinkError
from edge_wire.link import Ack, Handlers, Link, Message
from edge_wire.messages import LossCause
from edge_wire.topics import Topics
from tests.brokers import RunningBroker

PATIENCE_S = 15.0
KEY = ("imu0", "har")
TOPICS = Topics()


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


class Subscriber:
    """An outside reader of one device: plain paho, and a new connection whenever it is asked."""

    def __init__(self, port: int) -> None:
        self.seqs: list[int] = []
        self.losses: list[tuple[int, int]] = []
        self.ready = threading.Event()
        self._port = port
        self._client: paho.Client | None = None

    def connect(self) -> None:
        """Connect and wait until the broker has taken the subscription."""
        self._client = client = paho.Client(CallbackAPIVersion.VERSION2)
        client.on_message = self._on_message
        client.on_subscribe = lambda *_: self.ready.set()
        client.connect("127.0.0.1", self._port)
        client.loop_start()
        client.subscribe("edge/v1/dev/d1/#", qos=1)
        assert self.ready.wait(PATIENCE_S)

    def disconnect(self) -> None:
        self.ready.clear()
        if self._client is not None:
            self._client.disconnect()
            self._client.loop_stop()

    def _on_message(self, _client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        if message.topic == TOPICS.prediction("d1", *KEY):
            self.seqs.append(int(message.payload))
        elif message.topic == TOPICS.device("d1", "loss"):
            loss = msgspec.json.decode(message.payload)
            assert (loss["boot"], loss["stream"], loss["model"]) == ("boot", *KEY)
            self.losses.append((loss["from"], loss["to"]))


class WatchedOutbox(Outbox):
    """Remembers which predictions the broker confirmed."""

    def __init__(self, max_bytes: int, on_filled: Callable[[], None]) -> None:
        super().__init__(max_bytes, on_filled=on_filled)
        self.confirmed: set[int] = set()
        self._seqs: dict[Hashable, int] = {}

    def sent(self, item: Entry | Dropped, ticket: Hashable) -> None:
        if isinstance(item, Entry):
            self._seqs[ticket] = item.seq
        super().sent(item, ticket)

    def confirm(self, ticket: Hashable) -> bool:
        done = super().confirm(ticket)
        if done and ticket in self._seqs:
            self.confirmed.add(self._seqs[ticket])
        return done


class Device:
    """What publishes: outbox, publisher and link, joined as the service joins them."""

    def __init__(self, url: str, subscriber: Subscriber, max_bytes: int, qos: int) -> None:
        self._subscriber = subscriber
        handlers = Handlers(
            connected=self._on_connected,
            disconnected=lambda: self.publisher.on_disconnected(),
            ack=lambda ack: self.publisher.on_ack(ack),
            turn=lambda: self.publisher.turn(),
        )
        self.link = Link(Broker(url), "d1", handlers)
        self.outbox = WatchedOutbox(max_bytes, self.link.ring)
        self.publisher = Publisher(self.outbox, self.link, TOPICS, "d1", "boot", qos)

    def _on_connected(self) -> None:
        # On the network thread: nothing is on the wire before somebody listens.
        self._subscriber.ready.wait(PATIENCE_S)
        self.publisher.on_connected()

    def put(self, *seqs: int) -> None:
        for seq in seqs:
            self.outbox.put(Entry(KEY, seq, str(seq).encode()))

    def is_done(self) -> bool:
        return self.outbox.empty


@contextmanager
def publishing(
    broker: RunningBroker, max_bytes: int = 1 << 20, qos: int = 1
) -> Iterator[tuple[Device, Subscriber]]:
    subscriber = Subscriber(broker.port)
    device = Device(broker.url, subscriber, max_bytes, qos)
    device.link.start()
    try:
        yield device, subscriber
    finally:
        subscriber.ready.set()
        device.publisher.stop(0)
        device.link.stop()
        subscriber.disconnect()


def test_predictions_arrive_once_and_in_order_from_before_the_connection_on(
    broker: RunningBroker,
) -> None:
    with publishing(broker) as (device, subscriber):
        device.put(*range(50))
        eventually(lambda: device.link.connected)
        subscriber.connect()
        device.put(*range(50, 300))
        eventually(device.is_done)
        eventually(lambda: len(subscriber.seqs) >= 300)
        assert subscriber.seqs == list(range(300))
        assert subscriber.losses == []
        assert device.outbox.last_settled() == {KEY: 299}


def test_restart_of_the_broker_loses_nothing_that_it_had_not_confirmed(
    broker: RunningBroker,
) -> None:
    with publishing(broker) as (device, subscriber):
        subscriber.connect()
        eventually(lambda: device.link.connected)
        device.put(*range(200))
        eventually(lambda: len(subscriber.seqs) >= 200)
        device.put(*range(200, 300))
        broker.stop()
        subscriber.disconnect()
        eventually(lambda: not device.link.connected)
        by_the_old_one = set(device.outbox.confirmed)
        device.put(*range(300, 350))
        broker.start()
        subscriber.connect()
        device.put(*range(350, 400))
        eventually(device.is_done)
        missing = set(range(400)) - by_the_old_one
        eventually(lambda: set(subscriber.seqs) >= missing)
        seqs = list(dict.fromkeys(subscriber.seqs))
        assert seqs == sorted(seqs)
        assert len(subscriber.seqs) <= len(seqs) + MAX_IN_FLIGHT
        assert subscriber.losses == []
        assert device.outbox.last_settled() == {KEY: 399}


def test_what_overflows_while_the_broker_is_away_is_announced_exactly(
    broker: RunningBroker,
) -> None:
    room = 10 * Entry(KEY, 100, b"100").cost
    with publishing(broker, room) as (device, subscriber):
        subscriber.connect()
        eventually(lambda: device.link.connected)
        device.put(*range(5))
        # What the broker confirmed it need not have passed on when it is stopped.
        eventually(lambda: device.is_done() and len(subscriber.seqs) == 5)
        broker.stop()
        subscriber.disconnect()
        eventually(lambda: not device.link.connected)
        device.put(*range(5, 200))
        broker.start()
        subscriber.connect()
        eventually(device.is_done)
        eventually(lambda: len(subscriber.seqs) >= 15 and bool(subscriber.losses))
        assert subscriber.seqs == [*range(5), *range(190, 200)]
        assert subscriber.losses == [(5, 189)]
        assert device.outbox.last_settled() == {KEY: 199}


def test_stop_sends_what_is_left_first(embedded: RunningBroker) -> None:
    with publishing(embedded) as (device, subscriber):
        subscriber.connect()
        eventually(lambda: device.link.connected)
        device.put(*range(300))
        device.publisher.stop(PATIENCE_S)
        eventually(lambda: len(subscriber.seqs) >= 300)
        assert subscriber.seqs == list(range(300))
        assert device.outbox.last_settled() == {KEY: 299}


def test_stop_without_time_announces_what_is_left(embedded: RunningBroker) -> None:
    with publishing(embedded) as (device, subscriber):
        subscriber.connect()
        eventually(lambda: device.link.connected)
        device.put(*range(3000))
        device.publisher.stop(0)

        def said() -> set[int]:
            lost = {n for first, last in subscriber.losses for n in range(first, last + 1)}
            return set(subscriber.seqs) | lost

        eventually(lambda: said() >= set(range(3000)))
        assert device.outbox.last_settled() == {KEY: 2999}


def test_unconfirmed_qos_0_is_sent_too(embedded: RunningBroker) -> None:
    with publishing(embedded, qos=0) as (device, subscriber):
        subscriber.connect()
        device.put(*range(100))
        eventually(lambda: len(subscriber.seqs) >= 100)
        eventually(device.is_done)
        assert subscriber.seqs == list(range(100))


# --- what a real broker does too seldom


class WaywardLink(Link):
    """A link to a broker that takes what it is given and confirms only what it is told to.

    Its thread is whoever rings.
    """

    def __init__(self) -> None:
        super().__init__(Broker("mqtt://127.0.0.1:1"), "d1", Handlers())
        self.published: list[tuple[Ack, Message]] = []
        self.refusing = False
        self.number = 1
        self.outbox = Outbox(1 << 20, on_filled=self.ring)
        self.publisher = Publisher(self.outbox, self, TOPICS, "d1", "boot", 1)

    def publish(self, message: Message) -> Ack:
        if self.refusing or not self.connected:
            raise LinkError("no connection")
        ack = (self.number, len(self.published))
        self.published.append((ack, message))
        return ack

    def ring(self) -> None:
        if self.connected:
            self.publisher.turn()

    def come(self) -> None:
        self._up.set()
        self.publisher.on_connected()

    def go(self) -> None:
        self._up.clear()
        self.number += 1
        self.publisher.on_disconnected()

    def put(self, *seqs: int) -> None:
        for seq in seqs:
            self.outbox.put(Entry(KEY, seq, str(seq).encode()))

    @property
    def payloads(self) -> list[bytes]:
        return [m.payload for _, m in self.published]


def test_few_are_unconfirmed_at_a_time() -> None:
    link = WaywardLink()
    link.put(*range(100))
    link.come()
    assert len(link.published) == MAX_IN_FLIGHT
    link.publisher.on_ack(link.published[0][0])
    assert len(link.published) == MAX_IN_FLIGHT + 1
    assert link.outbox.in_flight == MAX_IN_FLIGHT


def test_nobody_is_rung_for_a_confirmation_where_nothing_waits() -> None:
    link = WaywardLink()
    link.come()
    link.put(0)
    rung: list[None] = []
    link.ring = lambda: rung.append(None)  # type: ignore[method-assign]
    link.publisher.on_ack(link.published[0][0])
    assert link.outbox.empty
    assert rung == []


def test_loss_that_was_not_confirmed_is_announced_again() -> None:
    link = WaywardLink()
    link.put(0, 1, 2)
    link.outbox.give_up(LossCause.OUTBOX_FULL)
    link.come()
    assert len(link.published) == 1
    link.go()
    assert link.outbox.in_flight == 0
    link.come()
    assert len(link.published) == 2
    assert link.payloads[0] == link.payloads[1]
    assert (b'"from":0,"to":2' in link.payloads[0], link.outbox.last_settled()) == (True, {})
    link.publisher.on_ack(link.published[1][0])
    assert link.outbox.empty
    assert link.outbox.last_settled() == {KEY: 2}


def test_link_that_refuses_costs_nothing() -> None:
    link = WaywardLink()
    link.refusing = True
    link.come()
    link.put(0, 1, 2)
    link.refusing = False
    link.put(3)
    assert link.payloads == [b"0", b"1", b"2", b"3"]


def test_confirmation_of_an_earlier_connection_confirms_nothing() -> None:
    link = WaywardLink()
    link.put(0)
    link.come()
    assert len(link.published) == 1
    link.go()
    assert link.outbox.in_flight == 0
    link.publisher.on_ack(link.published[0][0])
    link.come()
    assert len(link.published) == 2
    assert not link.outbox.empty


def test_stop_without_a_link_is_quick_and_claims_nothing() -> None:
    link = WaywardLink()
    link.put(0, 1)
    began = time.monotonic()
    link.publisher.stop(PATIENCE_S)
    assert time.monotonic() - began < 1
    assert link.outbox.last_settled() == {}


def test_nothing_is_sent_after_the_stop() -> None:
    link = WaywardLink()
    link.put(0)
    link.publisher.stop(0)
    link.come()
    assert link.published == []
