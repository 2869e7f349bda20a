"""A device on a real broker that speaks the wire contract, and fails as it is told."""

import queue
import random
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from edge_wire import trust
from edge_wire.assignment import Assignment, Encoding, Ref, Variant, choose_ref
from edge_wire.blob import decode_blob
from edge_wire.broker import Broker
from edge_wire.chunks import Receipt, to_bitmap
from edge_wire.errors import LinkError, MessageRefused
from edge_wire.link import Handlers, Link, Message
from edge_wire.messages import (
    Accepted,
    Availability,
    Info,
    ModelReport,
    Reason,
    Reported,
    Running,
    Want,
    encode,
)
from edge_wire.topics import Topics

if TYPE_CHECKING:
    from typing_extensions import Self  # in typing from Python 3.11 on

PATIENCE_S = 0.5
CONNECT_S = 10.0


@dataclass
class Behaviour:
    """What a device does otherwise than well."""

    reject: Reason | None = None
    """Refuse every bundle once it is there."""
    lose: set[int] = field(default_factory=set)
    """Chunks that do not arrive the first time."""
    deaf: bool = False
    """See no assignment at all."""
    models: tuple[str, ...] = ("watch",)


class Device:
    """Use as a context manager: online inside, with an orderly end."""

    def __init__(
        self,
        url: str,
        name: str,
        root: trust.Root,
        group: str = "g",
        behaviour: Behaviour | None = None,
        topics: Topics | None = None,
    ) -> None:
        self.name = name
        self.group = group
        self.behaviour = behaviour or Behaviour()
        self.bundles: dict[str, bytes] = {}
        """What it holds, by sha256."""
        self.wants: list[set[int]] = []
        """What it asked for, in order."""
        self.assignments: list[Assignment] = []
        self._url = url
        self._root = root
        self._topics = topics or Topics()
        self._boot = f"000001-{random.getrandbits(64):016x}"
        self._n = 0
        self._accepted: Accepted | None = None
        self._refused: tuple[Reason | None, str] = (None, "")
        self._models = {m: ModelReport(None, "none") for m in self.behaviour.models}
        self._events: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._newest = b""
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"device-{name}")
        will = Message(self._topic("availability"), b"offline", 1, True)
        handlers = Handlers(connected=self._on_connected, message=self._on_message)
        self._link = Link(Broker(url), name, handlers, will)

    def __enter__(self) -> "Self":
        self._link.start()
        self._link.wait(CONNECT_S)
        self._thread.start()
        deadline = time.monotonic() + CONNECT_S
        while self._n == 0:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        return self

    def __exit__(self, *_error: object) -> None:
        self._stopping.set()
        self._events.put(None)
        self._thread.join()
        self._publish("availability", Availability.STOPPED.value.encode())
        time.sleep(0.05)
        self._link.stop()

    def running(self, model: str = "watch") -> str | None:
        """Return the version that it runs."""
        running = self._models[model].running
        return running.version if running else None

    def say(self, report: Reported) -> None:
        """Publish a report as it is."""
        self._publish("reported", encode(report))

    def want(self, blob: str, numbers: set[int]) -> None:
        """Ask for chunks, whatever is assigned."""
        self._link.publish(Message(self._topic("want"), encode(Want(1, blob, to_bitmap(numbers)))))

    def _on_connected(self) -> None:
        self._link.subscribe([self._topics.desired(self.group)])
        self._events.put(self._announce)

    def _on_message(self, _topic: str, payload: bytes, _retained: bool) -> None:
        self._newest = payload
        self._events.put(lambda: self._follow(payload))

    def _run(self) -> None:
        while (event := self._events.get()) is not None:
            event()

    def _announce(self) -> None:
        info = Info(1, self.name, "0.1.0", self._boot, self.group, {}, "generic", {}, {})
        self._publish("info", encode(info))
        self._publish("availability", Availability.ONLINE.value.encode())
        self._report()

    def _follow(self, message: bytes) -> None:
        if self.behaviour.deaf or message is not self._newest:
            return
        try:
            assignment = trust.verify(message, self._root)
        except MessageRefused as error:
            self._refused = (Reason.UNTRUSTED, str(error))
            self._report()
            return
        self.assignments.append(assignment)
        self._accepted = Accepted(assignment.group, assignment.issued)
        self._refused = (None, "")
        self._report()
        for model, assigned in assignment.models.items():
            ref = choose_ref(assigned, self.name, {})
            if ref is not None and model in self._models:
                self._pursue(model, ref, assignment.encodings)

    def _pursue(self, model: str, ref: Ref, encodings: dict[str, tuple[Encoding, ...]]) -> None:
        variant, now = ref.variants[0], self._models[model]
        if variant.sha256 not in self.bundles:
            self._move(model, now.running, "downloading", ref)
            data = self._fetch(variant, encodings[variant.sha256][0])
            if data is None:
                return
            self.bundles[variant.sha256] = data
        if self.behaviour.reject and now.running != _running(ref):
            self._move(model, now.running, "rejected", ref, self.behaviour.reject)
            return
        self._move(model, _running(ref), "trial", ref)
        self._move(model, _running(ref), "committed", None)

    def _fetch(self, variant: Variant, encoding: Encoding) -> bytes | None:
        blob, desired = encoding.blob_sha256, self._newest
        receipt = Receipt(encoding.length, encoding.chunk_bytes, encoding.index_sha256)
        inbox: queue.SimpleQueue[tuple[str, bytes]] = queue.SimpleQueue()
        link = Link(
            Broker(self._url),
            f"{self.name}.fetch",
            Handlers(message=lambda topic, data, _retained: inbox.put((topic, data))),
        )
        link.start()
        try:
            link.wait(CONNECT_S)
            topics = [self._topics.chunk(blob, n) for n in range(receipt.chunks + 1)]
            link.subscribe([self._topics.plan(blob), *topics])
            self._stopping.wait(random.uniform(0, 0.1))
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / "blob"
                file.touch()
                while not receipt.complete and not self._is_outdated(desired):
                    self.wants.append(set(receipt.missing))
                    want = encode(Want(1, blob, to_bitmap(receipt.missing)))
                    link.publish(Message(self._topic("want"), want))
                    self._receive(inbox, receipt, file, desired)
                if not receipt.complete:
                    return None
                decode_blob(file, Path(folder) / "bundle", variant.length, variant.sha256)
                return (Path(folder) / "bundle").read_bytes()
        finally:
            link.stop()

    def _is_outdated(self, desired: bytes) -> bool:
        return self._stopping.is_set() or self._newest is not desired

    def _receive(
        self,
        inbox: "queue.SimpleQueue[tuple[str, bytes]]",
        receipt: Receipt,
        file: Path,
        desired: bytes,
    ) -> None:
        """Take chunks until all are there, or none came for a while."""
        ask_again = time.monotonic() + 4 * PATIENCE_S
        while not receipt.complete and not self._is_outdated(desired):
            try:
                topic, data = inbox.get(timeout=0.05)
            except queue.Empty:
                if time.monotonic() > ask_again:
                    return
                continue
            ask_again = time.monotonic() + PATIENCE_S
            if topic.endswith("/plan"):
                continue
            _, number = self._topics.read_chunk(topic)
            if number in self.behaviour.lose:
                self.behaviour.lose.discard(number)
            elif receipt.accept(number, data) and number:
                with file.open("r+b") as out:
                    out.seek(receipt.offset(number))
                    out.write(data)

    def _move(
        self,
        model: str,
        running: Running | None,
        state: str,
        target: Ref | None,
        reason: Reason | None = None,
    ) -> None:
        self._models[model] = ModelReport(
            running,
            state,
            target.variants[0].sha256 if target else None,
            target.attempt if target else 0,
            tuple(self.bundles),
            reason,
            "told to" if reason else "",
        )
        self._report()

    def _report(self) -> None:
        self._n += 1
        reason, detail = self._refused
        self.say(
            Reported(
                v=1,
                boot=self._boot,
                n=self._n,
                t=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                models=dict(self._models),
                accepted=self._accepted,
                reason=reason,
                detail=detail,
            )
        )

    def _publish(self, kind: str, payload: bytes) -> None:
        try:
            self._link.publish(Message(self._topic(kind), payload, qos=1, retain=True))
        except LinkError:
            return  # it says everything again after the next connect

    def _topic(self, kind: str) -> str:
        return self._topics.device(self.name, kind)


class Listener:
    """Somebody else on the broker who notes every chunk and desired message."""

    def __init__(self, url: str, topics: Topics | None = None) -> None:
        self.topics = topics or Topics()
        self.chunks: list[tuple[str, int]] = []
        """(blob, number) in the order in which they crossed the broker."""
        self.desired: list[tuple[str, bytes]] = []
        """(topic, message)."""
        self._ready = threading.Event()
        handlers = Handlers(connected=self._on_connected, message=self._on_message)
        self._link = Link(Broker(url), "listener", handlers)

    def __enter__(self) -> "Self":
        self._link.start()
        self._link.wait(CONNECT_S)
        assert self._ready.wait(CONNECT_S)
        time.sleep(0.1)
        return self

    def __exit__(self, *_error: object) -> None:
        self._link.stop()

    def _on_connected(self) -> None:
        self._link.subscribe([self.topics.chunk("+", "+"), self.topics.desired("+")])
        self._ready.set()

    def _on_message(self, topic: str, payload: bytes, _retained: bool) -> None:
        if topic.endswith("/desired"):
            self.desired.append((topic, payload))
        else:
            self.chunks.append(self.topics.read_chunk(topic))


def wait_until(what: Callable[[], object], timeout_s: float = 15.0) -> None:
    """Wait until something is true."""
    deadline = time.monotonic() + timeout_s
    while not what():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.02)


def _running(ref: Ref) -> Running:
    variant = ref.variants[0]
    return Running(ref.version, variant.variant, variant.sha256)
