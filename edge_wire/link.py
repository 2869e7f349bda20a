"""One MQTT connection that comes back by itself: MQTT 5 where the broker has it, else 3.1.1.

Every connection is a new paho client, so that paho never carries messages over; who needs a
message delivered keeps it until ``on_ack``. One thread per link does paho's network work, since
nobody would notice an end of paho's own; ``Handlers`` are called on it: be quick.
"""

import contextlib
import logging
import random
import select
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Final
from urllib.parse import urlsplit

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.reasoncodes import ReasonCode
from typing_extensions import ParamSpec

from edge_wire.errors import LinkError

CONNECT_S: Final = 5.0
KEEPALIVE_S: Final = 30
BACKOFF_S: Final = (0.2, 30.0)
LEAVE_S: Final = 0.5
"""What a broker that no longer reads may delay a ``stop``."""
POLL_S: Final = 1.0
PORTS: Final = {"mqtt": 1883, "mqtts": 8883}
Ack = tuple[int, int]
"""Number of the connection and paho's message id: together they name one publish."""


@dataclass(frozen=True, slots=True)
class Broker:
    """Where the broker is and who we are to it."""

    url: str
    """``mqtt://host:port`` or ``mqtts://host:port``."""
    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    user: str | None = None
    password: str | None = field(default=None, repr=False)

    def address(self) -> tuple[str, int, bool]:
        """Return host, port, and whether TLS is used.

        Raises: ValueError: not such an address.
        """
        parts = urlsplit(self.url)
        if parts.scheme not in PORTS or not parts.hostname or parts.path not in {"", "/"}:
            raise ValueError(f"{self.url!r}: expected mqtt://HOST:PORT or mqtts://HOST:PORT")
        return parts.hostname, parts.port or PORTS[parts.scheme], parts.scheme == "mqtts"


@dataclass(frozen=True, slots=True)
class Message:
    """Something to publish."""

    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = False


@dataclass(slots=True)
class Handlers:
    """What the link tells its owner."""

    connected: Callable[[], None] = lambda: None
    disconnected: Callable[[], None] = lambda: None
    message: Callable[[str, bytes, bool], None] = lambda _topic, _payload, _retained: None
    ack: Callable[[Ack], None] = lambda _ack: None


class Link:
    """Keeps one connection to the broker, from ``start`` to ``stop``."""

    def __init__(
        self, broker: Broker, client_id: str, handlers: Handlers, will: Message | None = None
    ) -> None:
        """Describe a connection; nothing is opened yet.

        Raises: ValueError: the broker's address is none.
        """
        self._host, self._port, self._tls = broker.address()
        self._broker = broker
        self._client_id = client_id
        self._handlers = handlers
        self._will = will
        self._client: paho.Client | None = None
        self._number = 0
        self._protocol = MQTTProtocolVersion.MQTTv5
        self._up = threading.Event()
        self._down = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self.problem = "not started"
        """Why there is no connection, for people."""

    @property
    def connected(self) -> bool:
        """Whether the broker has accepted us."""
        return self._up.is_set()

    def start(self) -> None:
        """Begin to connect, and to reconnect, in the background."""
        self._thread = threading.Thread(
            target=self._run, name=f"link-{self._client_id}", daemon=True
        )
        self._thread.start()

    def wait(self, timeout_s: float) -> None:
        """Wait for the connection.

        Raises: LinkError: none within the time, with the reason.
        """
        if not self._up.wait(timeout_s):
            raise LinkError(f"broker {self._host}:{self._port}: {self.problem}")

    def publish(self, message: Message) -> Ack:
        """Hand a message to the broker; QoS 1 is confirmed by ``Handlers.ack``.

        Raises: LinkError: there is no connection; the message was not taken.
        """
        client, number = self._client, self._number
        if client is None or not self._up.is_set():
            raise LinkError(f"broker {self._host}:{self._port}: {self.problem}")
        info = client.publish(message.topic, message.payload, message.qos, message.retain)
        if info.rc not in {MQTTErrorCode.MQTT_ERR_SUCCESS, MQTTErrorCode.MQTT_ERR_NO_CONN}:
            raise LinkError(f"broker {self._host}:{self._port}: {paho.error_string(info.rc)}")
        return number, info.mid

    def subscribe(self, topics: "list[str]", qos: int = 1) -> None:
        """Subscribe; forgotten with the connection, so call it from ``connected``."""
        if self._client is not None and topics:
            self._client.subscribe([(topic, qos) for topic in topics])

    def unsubscribe(self, topics: "list[str]") -> None:
        """Undo ``subscribe``."""
        if self._client is not None and topics:
            self._client.unsubscribe(topics)

    def stop(self) -> None:
        """Disconnect in order, so that no will is sent, and end the threads. Safe to call twice."""
        self._stopping.set()
        if self._client is not None and self._up.is_set():
            self._client.disconnect()
        self._down.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(CONNECT_S + 2)

    def _run(self) -> None:
        wait_s = BACKOFF_S[0]
        while not self._stopping.is_set():
            self._down.clear()
            if self._stopping.is_set():  # stop() came between the test and the clear
                return
            accepted = self._connect_once()
            if self._stopping.is_set():
                return
            wait_s = BACKOFF_S[0] if accepted else min(wait_s * 2, BACKOFF_S[1])
            # Jitter, or a fleet whose broker restarts comes back in one instant.
            self._stopping.wait(wait_s * random.uniform(0.5, 1))  # noqa: S311

    def _connect_once(self) -> bool:
        """Hold one connection until it ends; tell whether the broker accepted it."""
        self._number += 1
        client = self._client = self._make_client()
        try:
            client.connect(self._host, self._port, KEEPALIVE_S)
        except (OSError, ValueError, ssl.SSLError) as error:
            self.problem = str(error) or type(error).__name__
            return False
        client.loop_start()
        self._down.wait(CONNECT_S)
        accepted = self._up.is_set()
        if accepted:
            self._down.wait()
        elif not self._stopping.is_set() and self._protocol == MQTTProtocolVersion.MQTTv5:
            # A broker without MQTT 5 refuses it or hangs up, so the next attempt is the other one.
            self._protocol = MQTTProtocolVersion.MQTTv311
        elif not self._stopping.is_set():
            self._protocol = MQTTProtocolVersion.MQTTv5
        client.disconnect()
        client.loop_stop()
        self._up.clear()
        if accepted:
            self._handlers.disconnected()
        return accepted

    def _make_client(self) -> paho.Client:
        v5 = self._protocol == MQTTProtocolVersion.MQTTv5
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._client_id,
            clean_session=None if v5 else True,
            protocol=self._protocol,
            reconnect_on_failure=False,
        )
        client.connect_timeout = CONNECT_S
        client.max_inflight_messages_set(20)
        if self._broker.user:
            client.username_pw_set(self._broker.user, self._broker.password)
        if self._tls:
            client.tls_set(self._broker.ca, self._broker.cert, self._broker.key)
        if self._will:
            will = self._will
            client.will_set(will.topic, will.payload, will.qos, will.retain)
        number = self._number
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_message = lambda _client, _data, m: self._handlers.message(
            m.topic, bytes(m.payload), m.retain
        )
        client.on_publish = lambda _client, _data, mid, _code, _properties: self._handlers.ack(
            (number, mid)
        )
        return client

    def _on_connect(
        self, _client: paho.Client, _data: Any, _flags: Any, code: ReasonCode, _properties: Any
    ) -> None:
        if code.is_failure:
            self.problem = f"refused: {code}"
            self._down.set()
            return
        self.problem = ""
        self._up.set()
        self._handlers.connected()

    def _on_disconnect(
        self, _client: paho.Client, _data: Any, _flags: Any, code: ReasonCode, _properties: Any
    ) -> None:
        if not self.problem:
            self.problem = f"connection lost: {code}"
        self._down.set()
