"""Turns come on the link's thread or on one that rings, and never on two at once."""

import socket
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
from paho.mqtt import client as paho
from paho.mqtt.enums import MQTTErrorCode

from edge_wire import link as link_module
from edge_wire.broker import Broker
from edge_wire.errors import LinkError
from edge_wire.link import Ack, Handlers, Link, Message
from tests.brokers import RunningBroker
from tests.edge_wire.link.owner import (
    PATIENCE_S,
    Owner,
    accept_client,
    eventually,
    stranger,
    wait_for_end,
)


class Sender:
    """Sends in its turns what it was given; nothing goes before it was told of the connection."""

    def __init__(self, url: str, waiting: int = 0, qos: int = 0) -> None:
        self.waiting = deque(range(waiting))
        self.acks: list[Ack] = []
        self.told: list[str] = []
        self.turned_on: set[str] = set()
        self.clashes = 0
        self._qos = qos
        self._busy = threading.Lock()
        handlers = Handlers(self._on_connected, self._on_disconnected, self._on_message)
        handlers.ack, handlers.turn = self._on_ack, self._on_turn
        self.link = Link(Broker(url), "sender", handlers)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        self.clashes += not self._busy.acquire(blocking=False)
        yield
        self._busy.release()

    def _on_connected(self) -> None:
        with self._alone():
            self.told.append("connected")

    def _on_disconnected(self) -> None:
        with self._alone():
            self.told.append("disconnected")

    def _on_message(self, *_message: object) -> None:
        with self._alone():
            self.told.append("message")

    def _on_ack(self, ack: Ack) -> None:
        with self._alone():
            self.acks.append(ack)
        if self.waiting:
            self.link.ring()

    def _on_turn(self) -> None:
        with self._alone():
            self.turned_on.add(threading.current_thread().name)
            if self.waiting:
                self.told.append(f"sent {self.waiting[0]}")
                payload = str(self.waiting.popleft()).encode()
                with suppress(LinkError):
                    self.link.publish(Message("t/turn", payload, self._qos))


@pytest.mark.parametrize("qos", [0, 1])
def test_who_sends_in_turns_needs_no_thread(shared_broker: RunningBroker, qos: int) -> None:
    with Owner(shared_broker.url, "t/turn") as listener:
        sender = Sender(shared_broker.url, 50, qos)
        sender.link.ring()  # before there is anybody to hear it
        sender.link.start()
        began = time.monotonic()
        eventually(lambda: len(listener.messages) == 50)
        took_s = time.monotonic() - began
        sender.link.stop()
    assert [int(payload) for _, payload, _ in listener.messages] == list(range(50))
    assert sender.told == ["connected", *(f"sent {n}" for n in range(50)), "disconnected"]
    assert sender.turned_on == {"link-sender"}
    assert took_s < 50 * link_module.POLL_S / 2  # it did not wait for the next look
    assert sender.clashes == 0


def test_who_rings_writes_where_nobody_else_is_at_it(shared_broker: RunningBroker) -> None:
    with Owner(shared_broker.url, "t/turn") as listener:
        sender = Sender(shared_broker.url)
        sender.link.start()
        sender.link.wait(PATIENCE_S)
        time.sleep(0.05)  # it waits for the broker
        sender.turned_on.clear()
        sender.waiting.append(7)
        sender.link.ring()
        assert sender.acks  # it is on its way
        assert sender.turned_on == {threading.current_thread().name}
        eventually(lambda: listener.sees("t/turn", b"7"))
        sender.link.stop()


@pytest.mark.parametrize("qos", [0, 1])
def test_many_who_ring_send_everything_once_in_order(
    shared_broker: RunningBroker, qos: int
) -> None:
    count = 900
    with Owner(shared_broker.url, "t/turn") as listener:
        sender = Sender(shared_broker.url, 0, qos)
        sender.link.start()
        sender.link.wait(PATIENCE_S)
        numbers, taking = iter(range(count)), threading.Lock()

        def put() -> None:
            while True:
                with taking:
                    number = next(numbers, None)
                    if number is None:
                        return
                    sender.waiting.append(number)
                sender.link.ring()

        threads = [threading.Thread(target=put) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        eventually(lambda: len(listener.messages) >= count)
        eventually(lambda: len(sender.acks) >= count)
        sender.link.stop()
    assert [int(payload) for _, payload, _ in listener.messages] == list(range(count))
    assert len(set(sender.acks)) == len(sender.acks) == count
    assert len(sender.turned_on) > 1
    assert sender.clashes == 0


def test_connection_that_breaks_where_another_thread_writes_comes_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(link_module, "POLL_S", PATIENCE_S)  # nobody looks around by himself
    over = threading.Event()

    def serve(client: socket.socket) -> None:
        accept_client(client)
        if over.is_set():
            wait_for_end(client)
        over.wait(PATIENCE_S)

    with stranger(serve) as url:
        sender = Sender(url, 0, 1)
        sender.link.start()
        sender.link.wait(PATIENCE_S)
        session = sender.link._session
        assert session is not None
        sock = session[0].socket()
        assert isinstance(sock, socket.socket)
        time.sleep(0.05)  # the link's thread waits, and hears nothing of this:
        sock.shutdown(socket.SHUT_WR)
        sender.waiting.append(0)
        sender.link.ring()
        eventually(lambda: "disconnected" in sender.told)
        assert sender.turned_on >= {threading.current_thread().name}
        over.set()
        eventually(lambda: sender.link.connected)
        sender.link.stop()
    assert sender.told[:4] == ["connected", "sent 0", "disconnected", "connected"]
    assert sender.clashes == 0


def test_what_goes_wrong_where_another_thread_writes_is_the_connection_s(
    shared_broker: RunningBroker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(link_module, "POLL_S", PATIENCE_S)  # nobody looks around by himself
    write, here = paho.Client.loop_write, threading.current_thread()
    failed: list[None] = []

    def loop_write(client: paho.Client) -> MQTTErrorCode:
        if threading.current_thread() is here and not failed:
            failed.append(None)
            raise RuntimeError("paho cannot")
        return write(client)

    monkeypatch.setattr(paho.Client, "loop_write", loop_write)
    sender = Sender(shared_broker.url, 0, 1)
    sender.link.start()
    sender.link.wait(PATIENCE_S)
    time.sleep(0.05)  # its thread waits for the broker
    sender.waiting.append(0)
    sender.link.ring()
    eventually(lambda: sender.told == ["connected", "sent 0", "disconnected", "connected"])
    sender.link.stop()
    assert failed
    assert "RuntimeError: paho cannot" in caplog.text


def test_whoever_rings_is_heard(
    shared_broker: RunningBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_module, "POLL_S", PATIENCE_S)  # nobody looks around by himself
    rung = heard = 0

    def turn() -> None:
        nonlocal heard
        heard = rung

    link = Link(Broker(shared_broker.url), "rung", Handlers(turn=turn))
    link.start()
    link.wait(PATIENCE_S)
    try:
        for _ in range(100):
            for _ in range(20):
                rung += 1
                link.ring()
            eventually(lambda number=rung: heard == number)  # type: ignore[misc]
    finally:
        link.stop()


def test_no_turn_comes_without_a_connection(broker: RunningBroker) -> None:
    sender = Sender(broker.url)
    sender.link.start()
    sender.link.wait(PATIENCE_S)
    broker.stop()
    eventually(lambda: not sender.link.connected)
    sender.turned_on.clear()
    sender.waiting.append(0)
    sender.link.ring()
    time.sleep(0.05)
    assert not sender.turned_on
    broker.start()
    eventually(lambda: sender.told == ["connected", "disconnected", "connected", "sent 0"])
    sender.link.stop()
