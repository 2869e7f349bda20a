"""Stopping is quick whatever the broker does, and leaves nothing."""

import socket
import threading
import time

import pytest

from edge_wire import link as link_module
from edge_wire.errors import LinkError
from edge_wire.link import Message
from tests.brokers import RunningBroker
from tests.edge_wire.link.owner import (
    PATIENCE_S,
    STOP_S,
    Owner,
    accept_client,
    eventually,
    stranger,
    threads,
)


def stop_quickly(owner: Owner) -> None:
    for _ in range(2):
        began = time.monotonic()
        owner.link.stop()
        assert time.monotonic() - began < STOP_S
    assert not owner.link.connected
    assert owner.told.count("connected") == owner.told.count("disconnected")


def test_stop_is_quick_before_start(shared_broker: RunningBroker) -> None:
    owner = Owner(shared_broker.url)
    stop_quickly(owner)
    owner.link.start()
    with pytest.raises(LinkError, match="stopped"):
        owner.link.wait(0.2)
    stop_quickly(owner)


def test_stop_is_quick_while_connecting(shared_broker: RunningBroker) -> None:
    for delay_s in (0.0, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05):
        owner = Owner(shared_broker.url)
        owner.link.start()
        time.sleep(delay_s)
        stop_quickly(owner)


@pytest.mark.parametrize("scheme", ["mqtt", "mqtts"])
def test_stop_is_quick_where_nobody_answers(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_module, "CONNECT_S", 2.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        owner = Owner(f"{scheme}://127.0.0.1:{silent.getsockname()[1]}")
        owner.link.start()
        time.sleep(0.2)
        stop_quickly(owner)
    eventually(lambda: threads() == [])


def test_stop_is_quick_while_connected(shared_broker: RunningBroker) -> None:
    with Owner(shared_broker.url) as owner:
        stop_quickly(owner)


def test_stop_is_quick_where_the_broker_has_died(broker: RunningBroker) -> None:
    with Owner(broker.url) as owner:
        broker.stop()
        stop_quickly(owner)


def test_stop_is_quick_while_the_broker_is_away(broker: RunningBroker) -> None:
    with Owner(broker.url) as owner:
        broker.stop()
        eventually(lambda: "disconnected" in owner.told)
        time.sleep(0.3)
        stop_quickly(owner)


def test_stop_is_quick_where_the_broker_no_longer_reads() -> None:
    over = threading.Event()

    def serve(client: socket.socket) -> None:
        accept_client(client)
        over.wait(PATIENCE_S)

    with stranger(serve) as url:
        with Owner(url) as owner:
            for _ in range(20):
                owner.link.publish(Message("t/large", bytes(1 << 20)))
            stop_quickly(owner)
        over.set()
