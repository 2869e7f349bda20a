"""Whoever has the link, and the strangers that it meets in a broker's place."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from edge_wire.broker import Broker
from edge_wire.errors import LinkError
from edge_wire.link import Ack, Handlers, Link, Message
from tests.brokers import free_port

if TYPE_CHECKING:
    from typing_extensions import Self  # in typing from Python 3.11 on

PATIENCE_S = 10.0
STOP_S = 1.5
"""More than ``stop`` ever takes, and less than a wait for anybody's answer."""


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def threads() -> list[str]:
    names = [thread.name for thread in threading.enumerate()]
    return [name for name in names if name.startswith(("link-", "paho"))]


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
