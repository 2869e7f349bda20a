"""The link finds its broker, and comes back to it whatever happened in between."""

import socket
import threading
import time

import pytest

from edge_wire import link as link_module
from edge_wire.broker import Broker
from edge_wire.errors import LinkError
from edge_wire.link import Handlers, Link, Message
from tests.brokers import RunningBroker
from tests.edge_wire.link.owner import (
    PATIENCE_S,
    Owner,
    accept_client,
    eventually,
    stranger,
    wait_for_end,
)


def test_connects_at_once_with_the_newest_protocol_that_the_broker_has(
    shared_broker: RunningBroker,
) -> None:
    owner = Owner(shared_broker.url)
    owner.link.start()
    owner.link.wait(link_module.CONNECT_S - 1)  # or it waited for an answer to MQTT 5
    assert owner.link.connected
    assert owner.link.problem == ""
    assert owner.protocol == (5 if shared_broker.kind == "mosquitto" else 4)
    owner.link.stop()
    assert owner.told == ["connected", "disconnected"]
    assert not owner.link.connected


def test_short_messages_do_not_wait_for_one_another(embedded: RunningBroker) -> None:
    with Owner(embedded.url) as owner:
        session = owner.link._session
        assert session is not None
        sock = session[0].socket()
        assert isinstance(sock, socket.socket)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_who_waited_finds_the_subscriptions_made(shared_broker: RunningBroker) -> None:
    made = threading.Event()

    def connected() -> None:
        time.sleep(0.05)
        made.set()

    link = Link(Broker(shared_broker.url), "owner", Handlers(connected))
    link.start()
    link.wait(PATIENCE_S)
    was_made = made.is_set()
    link.stop()
    assert was_made


# --- coming back


def test_comes_back_after_the_broker_restarted(broker: RunningBroker) -> None:
    with Owner(broker.url, "t/#") as owner:
        protocol = owner.protocol
        for n in (1, 2):
            broker.restart()
            eventually(lambda: len(owner.told) == 2 * n + 1)  # noqa: B023
            payload = str(n).encode()
            owner.send("t/again", payload)
            eventually(lambda: owner.sees("t/again", payload))  # noqa: B023
            assert owner.protocol == protocol
    assert owner.told == ["connected", "disconnected"] * 3


@pytest.mark.parametrize("hung_up", [1, 2, 3])
def test_a_broker_that_hung_up_going_down_gets_its_newest_protocol_coming_back(
    hung_up: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_module, "BACKOFF_S", (0.01, 0.01))
    levels: list[int] = []

    def serve(client: socket.socket) -> None:
        packet = client.recv(4096)
        levels.append(packet[packet.index(b"MQTT") + 4])
        if len(levels) > hung_up:
            client.sendall(b"\x20\x03\x00\x00\x00" if levels[-1] == 5 else b"\x20\x02\x00\x00")
            # As a broker that goes down for good: the connection ends, the next one is the test's.
            time.sleep(0.02)

    with stranger(serve) as url, Owner(url):
        eventually(lambda: len(levels) >= hung_up + 2)
    assert levels[: hung_up + 1] == ([5, 4] * 2)[: hung_up + 1]
    assert levels[hung_up + 1] == 5


def test_finds_a_broker_that_comes_late(broker: RunningBroker) -> None:
    broker.stop()
    owner = Owner(broker.url)
    owner.link.start()
    eventually(lambda: "refused" in owner.link.problem)
    with pytest.raises(LinkError, match="refused"):
        owner.link.wait(0.05)
    broker.start()
    owner.link.wait(PATIENCE_S)
    owner.link.stop()
    assert owner.told == ["connected", "disconnected"]


def test_the_log_says_once_why_there_is_no_connection_and_again_after_there_was_one(
    broker: RunningBroker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(link_module, "BACKOFF_S", (0.01, 0.01))
    caplog.set_level("INFO", "edge_wire.link")
    broker.stop()
    owner = Owner(broker.url)
    owner.link.start()
    try:
        for outage in (1, 2):
            eventually(lambda: caplog.text.count("refused; trying again") == outage)  # noqa: B023
            time.sleep(0.1)  # for some tries more
            assert caplog.text.count("refused; trying again") == outage
            broker.start()
            owner.link.wait(PATIENCE_S)
            broker.stop()
            eventually(lambda: not owner.link.connected)
    finally:
        owner.link.stop()


def test_a_broker_that_froze_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_module, "KEEPALIVE_S", 1)

    def freeze(client: socket.socket) -> None:
        accept_client(client)
        wait_for_end(client)

    with stranger(freeze) as url, Owner(url) as owner:
        eventually(lambda: "disconnected" in owner.told)


def test_messages_of_one_connection_are_not_confirmed_on_the_next() -> None:
    """The broker takes the first message without a word, and confirms whatever comes later."""
    first = threading.Event()

    def serve(client: socket.socket) -> None:
        accept_client(client)
        packet = client.recv(4096)
        if not first.is_set():
            first.set()
        else:
            at = 4 + len("t/x")
            client.sendall(bytes([0x40, 2]) + packet[at : at + 2])
            wait_for_end(client)

    with stranger(serve) as url, Owner(url) as owner:
        lost = owner.link.publish(Message("t/x", b""))
        eventually(lambda: owner.told == ["connected", "disconnected", "connected"])
        owner.send("t/x", b"")
        assert lost not in owner.acks
        assert len(owner.acks) == 1


@pytest.mark.parametrize("offset_s", [-0.02, -0.002, 0.0, 0.002, 0.02])
def test_who_answers_at_the_last_moment_is_connected_as_often_as_disconnected(
    offset_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_module, "CONNECT_S", 0.06)
    monkeypatch.setattr(link_module, "BACKOFF_S", (0.001, 0.001))
    served = []

    def serve(client: socket.socket) -> None:
        served.append(client)
        time.sleep(0.06 + offset_s)
        accept_client(client)
        time.sleep(0.01)

    with stranger(serve) as url:
        owner = Owner(url)
        owner.link.start()
        eventually(lambda: len(served) >= 6)
        owner.link.stop()
    assert owner.told == ["connected", "disconnected"] * (len(owner.told) // 2)
