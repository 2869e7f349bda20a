"""One MQTT connection that comes back by itself: MQTT 5 where the broker has it, else 3.1.1.

Every connection is a new paho client, so that paho never carries messages over; who needs a
message delivered keeps it until ``on_ack``. One thread per link does paho's network work, since
nobody would notice an end of paho's own; ``Handlers`` are called on it: be quick. While it waits
for the broker, whoever publishes writes to the socket, and wakes nobody: then ``turn`` is called
there, and ``ack`` of QoS 0.
"""

import logging
import random
import select
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from time import monotonic
from typing import Any, Final, ParamSpec

from msgspec import Struct
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.reasoncodes import ReasonCode

from edge_wire.broker import Broker, make_tls
from edge_wire.doorbell import Doorbell
from edge_wire.errors import LinkError

CONNECT_S: Final = 5.0
KEEPALIVE_S: Final = 30
BACKOFF_S: Final = (0.2, 30.0)
LEAVE_S: Final = 0.5
"""What a broker that no longer reads may delay a ``stop``."""
POLL_S: Final = 1.0
UNSUPPORTED_VERSION: Final = 0x84
MAX_IN_FLIGHT: Final = 20
"""What may be unconfirmed; the rest waits. A broker may allow less."""
P = ParamSpec("P")
Ack = tuple[int, int]
"""Number of the connection and paho's message id: together they name one publish."""

_log = logging.getLogger(__name__)


class Message(Struct, frozen=True):
    """Something to publish."""

    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = False


class Handlers(Struct):
    """What the link tells its owner."""

    connected: Callable[[], None] = lambda: None
    disconnected: Callable[[], None] = lambda: None
    message: Callable[[str, bytes, bool], None] = lambda _topic, _payload, _retained: None
    ack: Callable[[Ack], None] = lambda _ack: None
    turn: Callable[[], None] = lambda: None
    """The time to publish: after each ``ring`` while there is a connection, and at least every
    ``POLL_S``. On the link's thread or on that of who rang, never while another handler runs."""


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
        self._session: tuple[paho.Client, int] | None = None
        """The connection that the broker has accepted, and its number: one value, so that a
        publisher never has the one of one connection with the other of the next."""
        self._number = 0
        self._answer: ReasonCode | None = None
        self._up = threading.Event()
        self._ready = threading.Event()
        """Set when the owner has been told of the connection as well."""
        self._stopping = threading.Event()
        self._doorbell: Doorbell | None = None
        """Of the link's thread."""
        self._using = threading.Lock()
        """Held by whoever reads, writes or closes the connection; none but the link's thread waits
        for it."""
        self._user = 0
        """Which thread that is."""
        self._due = False
        """Whether its user has to take a turn, once more."""
        self._leaving = False
        self._broken: Exception | None = None
        """What went wrong on another thread than the link's."""
        self._thread: threading.Thread | None = None
        self._refusals: set[str] = set()
        """What the broker did not let us do on this connection."""
        self.problem = "not started"
        """Why there is no connection, for people."""
        self._told = ""
        """The same, as the log was told of it last."""

    @property
    def connected(self) -> bool:
        """Whether the broker has accepted us."""
        return self._up.is_set()

    def start(self) -> None:
        """Begin to connect, and to reconnect, in the background."""
        doorbell = self._doorbell = Doorbell()
        self.problem = "no answer yet"
        self._thread = threading.Thread(
            target=self._run, args=(doorbell,), name=f"link-{self._client_id}", daemon=True
        )
        self._thread.start()

    def wait(self, timeout_s: float) -> None:
        """Wait for the connection, and for ``connected`` to have been called.

        Raises: LinkError: none within the time, with the reason.
        """
        if not self._ready.wait(timeout_s):
            raise self._error(self.problem)

    def publish(self, message: Message) -> Ack:
        """Hand a message to the broker; QoS 1 is confirmed by ``Handlers.ack``.

        That may be before this returns. What is not confirmed when ``disconnected`` is called
        never will be, even where this returns later: publish it again on the next connection.

        Raises: LinkError: there is no connection; the message was not taken.
        """
        session = self._session
        if session is None:
            raise self._error(self.problem)
        client, number = session
        info = client.publish(message.topic, message.payload, message.qos, message.retain)
        if info.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
            raise self._error(paho.error_string(info.rc))
        if self._user != threading.get_ident():  # who uses the connection is about to write
            self.ring()
        return number, info.mid

    def subscribe(self, topics: "list[str]", qos: int = 1) -> None:
        """Subscribe; forgotten with the connection, so call it from ``connected``."""
        if (session := self._session) and topics:
            session[0].subscribe([(topic, qos) for topic in topics])
            self.ring()

    def unsubscribe(self, topics: "list[str]") -> None:
        """Undo ``subscribe``."""
        if (session := self._session) and topics:
            session[0].unsubscribe(topics)
            self.ring()

    def ring(self) -> None:
        """Let ``Handlers.turn`` be called, and what was published be written.

        That is done at once where nobody is using the connection; nothing here waits.
        """
        if self._user == threading.get_ident():
            self._due = True
        elif self._using.acquire(blocking=False):
            try:
                self._user = threading.get_ident()
                self._send()
            except Exception as error:  # it is the connection's, and not of who rang
                self._broken = error
                self._wake()
            finally:
                self._user = 0
                self._using.release()
        else:
            self._wake()

    def stop(self) -> None:
        """Disconnect in order, so that no will is sent, and end the thread. Safe to call twice.

        Where a host does not even answer, the thread ends after this call, within ``CONNECT_S``.
        """
        self._stopping.set()
        self._wake()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(LEAVE_S + 0.3)

    def _error(self, problem: str) -> LinkError:
        return LinkError(f"broker {self._host}:{self._port}: {problem}")

    def _wake(self) -> None:
        """Let the thread look around."""
        if self._doorbell is not None:
            self._doorbell.ring()

    def _send(self) -> None:
        """Take a turn, and write what came of it; by another thread than the link's."""
        if self._session is None or self._leaving:
            return
        client = self._session[0]
        self._take_turn(client)
        if self._due or client.want_write() or client.socket() is None:
            self._wake()

    def _take_turn(self, client: paho.Client) -> None:
        self._due = False
        if self._session and not self._leaving:
            _tell(self._handlers.turn)
        if client.want_write():
            client.loop_write()

    @contextmanager
    def _use(self) -> Iterator[None]:
        with self._using:
            self._user = threading.get_ident()
            try:
                yield
            finally:
                self._user = 0

    # --- on the link's thread

    def _run(self, doorbell: Doorbell) -> None:
        wait_s = BACKOFF_S[0]
        with closing(doorbell):
            while not self._stopping.is_set():
                lasted = self._connect(doorbell)
                if self.problem != self._told and not self._stopping.is_set():
                    self._told = self.problem
                    _log.info("%s; trying again", self._error(self.problem))
                wait_s = BACKOFF_S[0] if lasted else min(wait_s * 2, BACKOFF_S[1])
                # Jitter, or a fleet whose broker restarts comes back in one instant.
                self._stopping.wait(wait_s * random.uniform(0.5, 1))  # noqa: S311
        self.problem = "stopped"

    def _connect(self, doorbell: Doorbell) -> bool:
        """Hold one connection until it ends; tell whether it lasted.

        Every time MQTT 5 is tried first: what a broker did while it went down says nothing of it.
        """
        for protocol in (MQTTProtocolVersion.MQTTv5, MQTTProtocolVersion.MQTTv311):
            began = monotonic()
            client = self._open(protocol)
            if client is None:
                return False
            self._hold(client, doorbell)
            answer = self._answer
            # A broker without MQTT 5 says so, hangs up, or says nothing.
            if self._stopping.is_set() or (answer and answer.value != UNSUPPORTED_VERSION):
                return answer == 0 and monotonic() - began >= CONNECT_S
        return False

    def _open(self, protocol: MQTTProtocolVersion) -> paho.Client | None:
        self._number += 1
        self._answer = None
        try:
            client = self._make_client(protocol)
            client.connect(self._host, self._port, KEEPALIVE_S)
        except (OSError, ValueError, struct.error) as error:
            # The last is paho's of a text that MQTT has no room for. The thread must outlive it.
            self.problem = str(error) or type(error).__name__
            return None
        if isinstance(sock := client.socket(), socket.socket):
            # Or the second of two short messages waits until the broker's system acknowledges the
            # first, which may take 40 ms.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return client

    def _hold(self, client: paho.Client, doorbell: Doorbell) -> None:
        try:
            self._serve(client, doorbell)
        except Exception as error:  # such as paho's on packets that it cannot read
            _log.exception("broker %s:%d", self._host, self._port)
            self.problem = f"{type(error).__name__}: {error}"
        with self._use():
            if sock := client.socket():
                sock.close()
            if self._session:
                self._ready.clear()
                self._up.clear()
                self._session = None
                _tell(self._handlers.disconnected)

    def _serve(self, client: paho.Client, doorbell: Doorbell) -> None:
        """Do paho's reading and writing until the connection ends."""
        poll = select.poll()
        poll.register(doorbell.ear, select.POLLIN)
        deadline, self._leaving, self._broken = monotonic() + CONNECT_S, False, None
        while sock := client.socket():
            if self._stopping.is_set() and not self._leaving:
                deadline = monotonic() + LEAVE_S
                with self._use():
                    self._leaving = True
                    client.disconnect()
            elif self._session and not self._leaving:
                deadline = monotonic() + POLL_S
            left_s = deadline - monotonic()
            if left_s <= 0:
                self.problem = f"no answer within {CONNECT_S:g} s"
                return
            with self._use():
                if sock.fileno() < 0:  # it broke where another thread wrote
                    continue
                # What TLS has decrypted already does not show in poll.
                waiting = isinstance(sock, ssl.SSLSocket) and sock.pending() > 0
                writing = select.POLLOUT if client.want_write() else 0
                poll.register(sock, select.POLLIN | writing)
            ready = dict(poll.poll(0 if waiting else min(left_s, POLL_S) * 1000))
            doorbell.hush(doorbell.ear.fileno() in ready)
            if self._broken is not None:
                raise self._broken
            with self._use():
                if waiting or ready.get(sock.fileno(), 0) & ~select.POLLOUT:
                    client.loop_read()
                self._take_turn(client)
                client.loop_misc()
            if self._due:
                self._wake()

    def _make_client(self, protocol: MQTTProtocolVersion) -> paho.Client:
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._client_id,
            clean_session=None if protocol == MQTTProtocolVersion.MQTTv5 else True,
            protocol=protocol,
            reconnect_on_failure=False,
        )
        client.connect_timeout = CONNECT_S
        client.max_inflight_messages_set(MAX_IN_FLIGHT)
        if self._broker.user:
            client.username_pw_set(self._broker.user, self._broker.password)
        if self._tls:
            client.tls_set_context(make_tls(self._broker))
        if self._will:
            will = self._will
            client.will_set(will.topic, will.payload, will.qos, will.retain)
        number = self._number
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_message = lambda _client, _data, m: _tell(
            lambda: self._handlers.message(m.topic, bytes(m.payload), m.retain)
        )

        def confirm(_client: Any, _data: Any, mid: int, code: ReasonCode, _properties: Any) -> None:
            self._note_refusal("does not take what we publish", [code])
            _tell(self._handlers.ack, (number, mid))

        client.on_publish = confirm
        client.on_subscribe = lambda _client, _data, _mid, codes, _properties: self._note_refusal(
            "does not let us subscribe", codes
        )
        # With this set, publishers only queue; else they write too, each from its own thread.
        client.on_socket_register_write = lambda _client, _data, _sock: None
        return client

    def _on_connect(
        self, client: paho.Client, _data: Any, _flags: Any, code: ReasonCode, properties: Any
    ) -> None:
        self._answer = code
        if code.is_failure:
            self.problem = f"refused: {code}"
            return
        # A broker of MQTT 5 hangs up on who has more unconfirmed than it said; paho does not
        # look, and lets nobody say so once the connection is there.
        most = getattr(properties, "ReceiveMaximum", MAX_IN_FLIGHT)
        client._max_inflight_messages = min(most, MAX_IN_FLIGHT)  # noqa: SLF001
        self.problem = self._told = ""
        self._refusals.clear()
        self._session = client, self._number
        self._up.set()
        _tell(self._handlers.connected)
        self._ready.set()

    def _note_refusal(self, what: str, codes: list[ReasonCode]) -> None:
        """Say once on a connection what the broker refuses: nothing else would show it."""
        for code in codes:
            if code.is_failure and (said := f"{what}: {code}") not in self._refusals:
                self._refusals.add(said)
                _log.warning("%s", self._error(said))

    def _on_disconnect(
        self, _client: paho.Client, _data: Any, _flags: Any, code: ReasonCode, _properties: Any
    ) -> None:
        if self._answer is None:
            self.problem = f"hung up without an answer: {code}"
        elif not self._answer.is_failure:
            self.problem = f"connection lost: {code}"


def _tell(handler: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
    """Call a handler, whose error must not end the link, or a device would be deaf for ever."""
    try:
        handler(*args, **kwargs)
    except Exception:
        _log.exception("a handler of the link failed")
