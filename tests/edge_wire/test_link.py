"""The link on both real brokers, and on strangers that answer late, badly or not at all."""

import gc
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta, timezone
from ipaddress import IPv4Address
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from paho.mqtt import client as paho
from paho.mqtt.enums import MQTTErrorCode

from edge_wire import link as link_module
from edge_wire.broker import Broker
from edge_wire.errors import LinkError
from edge_wire.link import Ack, Handlers, Link, Message
from tests.brokers import RunningBroker, find_mosquitto, free_port, listens
from tests.parts import require

if TYPE_CHECKING:
    from typing_extensions import Self  # in typing from Python 3.11 on

PATIENCE_S = 10.0
STOP_S = 1.5
"""More than ``stop`` ever takes, and less than a wait for anybody's answer."""
WILL = Message("t/will", b"gone", qos=1, retain=False)
ROOT = Path(__file__).parents[2]


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def threads() -> list[str]:
    names = [thread.name for thread in threading.enumerate()]
    return [name for name in names if name.startswith(("link-", "paho"))]


@pytest.fixture(autouse=True)
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_module, "BACKOFF_S", (0.02, 0.3))


@pytest.fixture(scope="module", autouse=True)
def _what_was_there_before() -> Iterator[None]:
    """Is not looked through for what a test left."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    """No thread; and no socket, whose warning would be this test's error."""
    yield
    assert threads() == []
    gc.collect()


class Owner:
    """Whoever has the link: remembers what it was told. Inside ``with`` it is connected."""

    def __init__(
        self,
        broker: "Broker | str",
        *topics: str,
        name: str = "owner",
        will: Message | None = None,
    ) -> None:
        self.told: list[str] = []
        self.acks: list[Ack] = []
        self.messages: list[tuple[str, bytes, bool]] = []
        self._topics = list(topics)
        handlers = Handlers(
            connected=self._on_connected,
            disconnected=lambda: self.told.append("disconnected"),
            message=lambda *message: self.messages.append(message),
            ack=self.acks.append,
        )
        broker = Broker(broker) if isinstance(broker, str) else broker
        self.link = Link(broker, name, handlers, will)

    def __enter__(self) -> "Self":
        self.link.start()
        try:
            self.link.wait(PATIENCE_S)
        except BaseException:
            self.link.stop()
            raise
        if self._topics:  # the broker takes what comes on one connection in order
            self.send("synchronous")
            self.acks.clear()
        return self

    def __exit__(self, *_error: object) -> None:
        self.link.stop()

    def _on_connected(self) -> None:
        self.told.append("connected")
        self.link.subscribe(self._topics)

    @property
    def protocol(self) -> int:
        session = self.link._session
        assert session is not None
        return int(session[0].protocol)

    def send(self, topic: str, payload: bytes = b"x", *, retain: bool = False) -> None:
        """Publish and wait until the broker has confirmed it."""
        ack = self.link.publish(Message(topic, payload, retain=retain))
        eventually(lambda: ack in self.acks)

    def sees(self, topic: str, payload: bytes) -> bool:
        return (topic, payload) in [(t, p) for t, p, _ in self.messages]


@contextmanager
def stranger(serve: Callable[[socket.socket], None]) -> Iterator[str]:
    """Serve one client after the other; gives the address."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", free_port())) as listener:
        listener.settimeout(0.02)

        def accept() -> None:
            while not over.is_set():
                with suppress(OSError), listener.accept()[0] as client:
                    client.settimeout(PATIENCE_S)
                    serve(client)

        thread = threading.Thread(target=accept, name="stranger")
        thread.start()
        try:
            yield f"mqtt://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            over.set()
            thread.join()


def accept_client(client: socket.socket) -> None:
    """Read a CONNECT, and answer in its protocol."""
    connect = client.recv(4096)
    is_5 = connect[connect.index(b"MQTT") + 4] == 5
    client.sendall(bytes([0x20, 3, 0, 0, 0] if is_5 else [0x20, 2, 0, 0]))


def wait_for_end(client: socket.socket) -> None:
    while client.recv(4096):
        pass


@contextmanager
def mosquitto(folder: Path, *settings: str) -> Iterator[int]:
    """Run mosquitto with settings of the test's own; gives the port."""
    program = find_mosquitto()
    require("mosquitto", program is not None, "apt-get install mosquitto")
    port = free_port()
    config = folder / "own.conf"
    lines = [f"listener {port} 127.0.0.1", "log_dest none", "user root", *settings]
    config.write_text("\n".join(lines) + "\n")
    with subprocess.Popen([program or "", "-c", str(config)]) as process:
        try:
            eventually(lambda: listens(port))
            yield port
        finally:
            process.kill()


# --- connecting


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


# --- messages


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


def test_a_message_of_qos_0_is_confirmed_when_it_is_on_its_way(
    shared_broker: RunningBroker,
) -> None:
    with Owner(shared_broker.url, "t/#") as owner:
        ack = owner.link.publish(Message("t/0", b"zero", qos=0))
        eventually(lambda: ack in owner.acks and owner.sees("t/0", b"zero"))


# --- turns


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


# --- why there is no connection


def refusal(broker: Broker, wait_s: float = 0.05) -> str:
    """Return what the link says of a broker that it cannot use."""
    owner = Owner(broker)
    owner.link.start()
    eventually(lambda: owner.link.problem != "no answer yet")
    began = time.monotonic()
    with pytest.raises(LinkError) as error:
        owner.link.wait(wait_s)
    assert time.monotonic() - began < wait_s + STOP_S
    owner.link.stop()
    assert owner.told == []
    return str(error.value)


def test_says_that_nobody_listens() -> None:
    port = free_port()
    said = refusal(Broker(f"mqtt://127.0.0.1:{port}"))
    assert said.startswith(f"broker 127.0.0.1:{port}: ")
    assert "refused" in said


def test_says_that_a_name_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(*_args: object, **_kwargs: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    # Where there is no network, a resolver may take longer than anybody waits.
    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    said = refusal(Broker("mqtt://nowhere.invalid"))
    assert said.startswith("broker nowhere.invalid:1883: ")
    assert "Name or service not known" in said


def test_says_that_tls_is_not_spoken_there(shared_broker: RunningBroker) -> None:
    said = refusal(Broker(f"mqtts://127.0.0.1:{shared_broker.port}"))
    assert "SSL" in said or "reset" in said


def test_says_that_a_broker_hung_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_module, "BACKOFF_S", (0.01, 0.01))
    with stranger(lambda client: client.close()) as url:
        assert "hung up without an answer" in refusal(Broker(url))


def test_says_that_a_broker_did_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_module, "CONNECT_S", 0.1)
    with stranger(wait_for_end) as url:
        assert "no answer within 0.1 s" in refusal(Broker(url))


def test_survives_what_is_not_mqtt(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(link_module, "BACKOFF_S", (0.01, 0.01))
    answers = [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x20\x00", b"\x20\x01\x00", b"\xff" * 99]
    left = list(answers)
    served = threading.Event()

    def serve(client: socket.socket) -> None:
        if left:
            client.recv(4096)
            client.sendall(left.pop())
            return
        accept_client(client)
        served.set()
        wait_for_end(client)

    with stranger(serve) as url, Owner(url) as owner:
        assert served.is_set()
        assert owner.told == ["connected"]
    assert all(record.name == link_module.__name__ for record in caplog.records)


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[str]:
    """A broker that asks for a password, which is anna's ``secret``."""
    passwords = tmp_path / "passwords"
    passwords.touch(mode=0o600)
    require("mosquitto", find_mosquitto() is not None, "apt-get install mosquitto")
    subprocess.run(
        ["mosquitto_passwd", "-b", str(passwords), "anna", "secret"],
        check=True,
        stderr=subprocess.DEVNULL,
    )
    with mosquitto(tmp_path, "allow_anonymous false", f"password_file {passwords}") as port:
        yield f"mqtt://127.0.0.1:{port}"


def test_says_that_the_password_is_wrong(guarded: str) -> None:
    assert "refused: Not authorized" in refusal(Broker(guarded, user="anna", password="no"))
    assert "refused: Not authorized" in refusal(Broker(guarded))


def test_connects_with_user_and_password(guarded: str) -> None:
    with Owner(Broker(guarded, user="anna", password="secret"), "t/#") as owner:
        owner.send("t/x")


# --- TLS


def write_identity(folder: Path) -> tuple[Path, Path]:
    """Write a certificate of this host that vouches for itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(timezone.utc)
    host = x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(host, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "host.crt").write_bytes(certificate.public_bytes(pem))
    (folder / "host.key").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return folder / "host.crt", folder / "host.key"


@pytest.fixture
def secured(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A broker that speaks TLS, and the certificate to know it by."""
    certificate, key = write_identity(tmp_path)
    settings = ["allow_anonymous true", f"certfile {certificate}", f"keyfile {key}"]
    with mosquitto(tmp_path, *settings) as port:
        yield f"mqtts://127.0.0.1:{port}", certificate


def test_large_messages_pass_through_tls(secured: tuple[str, Path]) -> None:
    url, certificate = secured
    with Owner(Broker(url, ca=str(certificate)), "t/#") as owner:
        sent = [bytes([i]) * 200_000 for i in range(20)]
        for payload in sent:
            owner.link.publish(Message("t/large", payload))
        eventually(lambda: len(owner.messages) == len(owner.acks) == len(sent))
        assert [payload for _, payload, _ in owner.messages] == sent


def test_a_broker_that_nobody_vouches_for_is_refused(secured: tuple[str, Path]) -> None:
    assert "certificate verify failed" in refusal(Broker(secured[0]))


def test_plain_speech_to_a_broker_with_tls_is_refused(secured: tuple[str, Path]) -> None:
    url = secured[0].replace("mqtts", "mqtt")
    assert "hung up without an answer" in refusal(Broker(url))


@pytest.mark.parametrize("content", [None, b"not a certificate"])
def test_a_bad_certificate_file_is_a_problem_until_it_is_mended(
    content: bytes | None, secured: tuple[str, Path], tmp_path: Path
) -> None:
    url, certificate = secured
    ca = tmp_path / "ca.crt"
    if content is not None:
        ca.write_bytes(content)
    owner = Owner(Broker(url, ca=str(ca)))
    owner.link.start()
    eventually(lambda: owner.link.problem != "no answer yet")
    with pytest.raises(LinkError, match="No such file" if content is None else "SSL|X509|PEM"):
        owner.link.wait(0.05)
    ca.write_bytes(certificate.read_bytes())
    owner.link.wait(PATIENCE_S)
    owner.link.stop()
    assert owner.told == ["connected", "disconnected"]


# --- stopping


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


# --- handlers


def test_a_handler_that_fails_is_logged_and_the_link_goes_on(
    broker: RunningBroker, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[str] = []

    def fail(what: str) -> None:
        told.append(what)
        raise RuntimeError(what)

    def connected() -> None:
        link.subscribe(["t/#"])
        fail("connected")

    handlers = Handlers(
        connected,
        disconnected=lambda: fail("disconnected"),
        message=lambda topic, _payload, _retained: fail(topic),
        ack=lambda _ack: fail("ack"),
    )
    link = Link(Broker(broker.url), "owner", handlers)
    link.start()
    link.wait(PATIENCE_S)
    for n in (1, 2):
        eventually(lambda: told.count("connected") == n)  # noqa: B023
        assert link.connected
        link.publish(Message("t/x", b""))
        eventually(lambda: told.count("t/x") == told.count("ack") == n)  # noqa: B023
        if n == 1:
            broker.restart()
    link.stop()
    assert told.count("disconnected") == 2
    errors = [record.exc_info for record in caplog.records if record.name == link_module.__name__]
    assert sorted(str(error[1]) for error in errors if error) == sorted(told)


def test_a_handler_may_stop_the_link(shared_broker: RunningBroker) -> None:
    with Owner(shared_broker.url, "t/#") as owner:
        owner.link._handlers.message = lambda *_: owner.link.stop()
        owner.link.publish(Message("t/x", b""))
        eventually(lambda: owner.told == ["connected", "disconnected"])


def test_the_link_is_connected_when_it_says_so_and_not_when_it_says_otherwise(
    shared_broker: RunningBroker,
) -> None:
    said: list[tuple[str, bool]] = []
    handlers = Handlers(
        connected=lambda: said.append(("connected", link.connected)),
        disconnected=lambda: said.append(("disconnected", link.connected)),
    )
    link = Link(Broker(shared_broker.url), "owner", handlers)
    link.start()
    link.wait(PATIENCE_S)
    link.stop()
    assert said == [("connected", True), ("disconnected", False)]
