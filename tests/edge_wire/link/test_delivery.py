"""What the broker takes, keeps and passes on: messages, retained ones, and the will."""

import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from edge_wire.errors import LinkError
from edge_wire.link import Ack, Message
from tests.brokers import RunningBroker
from tests.edge_wire.link.owner import Owner, accept_client, eventually, stranger

PUBLISH_BYTES = 9
"""Of one on ``t`` with one byte: head and length, topic, id, properties, payload."""


def test_every_message_is_confirmed_exactly_once(shared_broker: RunningBroker) -> None:
    sent: list[Ack] = []
    with Owner(shared_broker.url) as owner:

        def publish() -> None:
            for i in range(1500):
                ack = owner.link.publish(Message("t/many", str(i).encode()))
                sent.append(ack)

        publishers = [threading.Thread(target=publish) for _ in range(2)]
        for publisher in publishers:
            publisher.start()
        for publisher in publishers:
            publisher.join()
        eventually(lambda: len(owner.acks) >= len(sent))
        owner.send("t/last")
        assert sorted(owner.acks[:-1]) == sorted(sent)
        assert len(set(sent)) == 3000
    assert owner.told == ["connected", "disconnected"]


def test_no_more_is_unconfirmed_than_the_broker_takes_at_once() -> None:
    begun: list[int] = []

    def serve(client: socket.socket) -> None:
        client.recv(4096)
        client.sendall(bytes([0x20, 6, 0, 0, 3, 0x21, 0, 2]))  # Receive Maximum: 2
        unconfirmed = b""
        while (came := client.recv(4096)) and came[0] != 0xE0:
            unconfirmed += came
            begun.append(len(unconfirmed) // PUBLISH_BYTES)
            if len(unconfirmed) >= 2 * PUBLISH_BYTES:
                for at in range(0, len(unconfirmed), PUBLISH_BYTES):
                    client.sendall(b"\x40\x02" + unconfirmed[at + 5 : at + 7])
                unconfirmed = b""

    with stranger(serve) as url, Owner(url) as owner:
        sent = [owner.link.publish(Message("t", b"x")) for _ in range(8)]
        eventually(lambda: owner.acks == sent)
    assert max(begun) == 2


def test_what_the_broker_does_not_let_us_do_is_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def serve(client: socket.socket) -> None:
        accept_client(client)
        while (came := client.recv(4096)) and came[0] != 0xE0:
            if came[0] == 0x82:
                client.sendall(b"\x90\x04" + came[2:4] + b"\x00\x87")
            elif came[0] == 0x32:
                client.sendall(b"\x40\x03" + came[5:7] + b"\x87")

    with stranger(serve) as url, Owner(url) as owner:
        owner.link.subscribe(["t/#"])
        eventually(lambda: len(caplog.records) == 1)
        for _ in range(2):
            owner.send("t")
    refused = [r.getMessage().partition(": ")[2] for r in caplog.records]
    assert refused == [
        "does not let us subscribe: Not authorized",
        "does not take what we publish: Not authorized",
    ]


def test_a_message_of_qos_0_is_confirmed_when_it_is_on_its_way(
    shared_broker: RunningBroker,
) -> None:
    with Owner(shared_broker.url, "t/#") as owner:
        ack = owner.link.publish(Message("t/0", b"zero", qos=0))
        eventually(lambda: ack in owner.acks and owner.sees("t/0", b"zero"))


def test_a_retained_message_reaches_who_comes_later(broker: RunningBroker) -> None:
    with Owner(broker.url) as owner:
        owner.send("t/kept", b"old", retain=True)
        owner.send("t/kept", b"new", retain=True)
    with Owner(broker.url, "t/kept") as later:
        eventually(lambda: later.messages == [("t/kept", b"new", True)])


def test_a_message_has_the_retained_flag_only_where_it_waited(broker: RunningBroker) -> None:
    with Owner(broker.url, "t/kept") as owner:
        owner.send("t/kept", b"now", retain=True)
        eventually(lambda: owner.messages == [("t/kept", b"now", False)])


def test_nothing_comes_after_unsubscribe(shared_broker: RunningBroker) -> None:
    with Owner(shared_broker.url, "t/a", "t/b") as owner:
        owner.send("t/a", b"1")
        owner.link.unsubscribe(["t/a"])
        owner.send("t/a", b"2")
        owner.send("t/b", b"3")
        eventually(lambda: owner.sees("t/b", b"3"))
        assert [(t, p) for t, p, _ in owner.messages] == [("t/a", b"1"), ("t/b", b"3")]


def test_publish_without_a_connection_is_refused_and_takes_nothing(
    broker: RunningBroker,
) -> None:
    owner = Owner(broker.url)
    lost = Message("t/lost", b"", retain=True)
    with pytest.raises(LinkError, match=f"127.0.0.1:{broker.port}: not started"):
        owner.link.publish(lost)
    with owner:
        owner.send("t/taken")
        broker.stop()
        eventually(lambda: not owner.link.connected)
        with pytest.raises(LinkError, match=f"127.0.0.1:{broker.port}: "):
            owner.link.publish(lost)
        broker.start()
        eventually(lambda: owner.link.connected)
        with Owner(broker.url, "t/#", name="other") as other:
            owner.send("t/taken", b"again")
            eventually(lambda: bool(other.messages))
            assert other.messages == [("t/taken", b"again", False)]
    with pytest.raises(LinkError, match="stopped"):
        owner.link.publish(lost)


def test_subscribing_without_a_connection_is_forgotten(shared_broker: RunningBroker) -> None:
    owner = Owner(shared_broker.url, "t/b")
    owner.link.subscribe(["t/a"])
    owner.link.unsubscribe(["t/b"])
    with owner:
        owner.link.subscribe([])
        owner.send("t/a")
        owner.send("t/b")
        eventually(lambda: owner.messages == [("t/b", b"x", False)])


# --- the will

ROOT = Path(__file__).parents[3]
WILL = Message("t/will", b"gone", qos=1, retain=False)
VICTIM = """
import sys, time
from edge_wire.broker import Broker
from edge_wire.link import Handlers, Link, Message
link = Link(Broker(sys.argv[1]), "victim", Handlers(), Message("t/will", b"gone"))
link.start()
link.wait(15)
print("up", flush=True)
time.sleep(60)
"""


def test_the_will_is_published_where_the_process_is_killed(shared_broker: RunningBroker) -> None:
    with Owner(shared_broker.url, "t/#") as owner:
        command = [sys.executable, "-c", VICTIM, shared_broker.url]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as victim:
            assert victim.stdout is not None
            assert victim.stdout.readline() == b"up\n"
            assert owner.messages == []
            victim.send_signal(signal.SIGKILL)
        eventually(lambda: owner.sees("t/will", b"gone"))


def test_the_will_is_not_published_after_stop(shared_broker: RunningBroker) -> None:
    with Owner(shared_broker.url, "t/#") as owner:
        with Owner(shared_broker.url, name="other", will=WILL) as other:
            other.send("t/said")
        eventually(lambda: owner.sees("t/said", b"x"))
        time.sleep(0.2)
        assert not owner.sees(WILL.topic, WILL.payload)
