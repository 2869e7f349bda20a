"""Puts the agent together, starts its threads, and stops them in order."""

import contextlib
import gc
import itertools
import logging
import queue
import random
import signal
import socket
import threading
import time
from collections.abc import Callable
from typing import Final

import msgspec

from edge_agent.assembly import (
    begin_boot,
    describe_device,
    describe_site,
    keep_enough,
    make_feeds,
    open_collection,
    open_store,
    speed,
    take_in_bundles,
)
from edge_agent.bell import Bell
from edge_agent.capture import Capture
from edge_agent.clock import WallClock
from edge_agent.config import LoadedConfig
from edge_agent.outbox import Entry, Key, Outbox
from edge_agent.publisher import Publisher
from edge_agent.reporter import Reporter
from edge_agent.slot import Made, Slot
from edge_agent.sources.opening import open_source
from edge_agent.telemetry import TelemetryThread
from edge_agent.telling import Note
from edge_agent.updater import Updater
from edge_agent.worker import Worker
from edge_wire.broker import Broker
from edge_wire.link import Ack, Handlers, Link, Message
from edge_wire.messages import Availability, Info
from edge_wire.topics import Topics

FLUSH_S: Final = 5.0
LAST_WORD_S: Final = 1.0
"""What the broker may take to confirm that we stopped."""
REFRESH_S: Final = 900.0
"""The retained desired message is asked for again this often, with jitter."""
QOS0_BYTES: Final = 64 << 10
ENDS: Final = (signal.SIGINT, signal.SIGTERM)
"""Signals that ask for the end."""

log = logging.getLogger(__name__)


class Service:
    """The agent of one device, from a configuration."""

    def __init__(self, loaded: LoadedConfig) -> None:
        """Open everything that can be wrong, and start nothing.

        Raises: ConfigError, ArtifactRefused: what the configuration names cannot be used.
        """
        config = self._config = loaded.config
        self._topics = Topics(config.broker.root)
        self._store = open_store(loaded)
        sources = [open_source(loaded, i) for i in range(len(config.source))]
        shapes = {t.name: s.shape for t, s in zip(config.source, sources, strict=True)}
        self._configured = take_in_bundles(loaded, self._store, shapes)
        shapes = keep_enough(config, self._store, shapes, self._configured)
        self._boot, previous = begin_boot(loaded, self._store)
        self._clock = WallClock()
        self._link = self._make_link(loaded.broker())
        wake = Bell()
        size = config.outbox.max_bytes or QOS0_BYTES
        outbox = self._outbox = Outbox(size, wake.ring, self._link.ring)
        qos = 1 if config.outbox.max_bytes else 0
        device = config.device.id
        self._publisher = Publisher(self._outbox, self._link, self._topics, device, self._boot, qos)
        info = describe_device(config, shapes, self._boot, previous)
        self._reporter = Reporter(self._link, self._topics, info, self._clock)
        self._updater = Updater(
            describe_site(config), self._store, loaded.broker(), self._topics, self._reporter
        )
        self._feeds = make_feeds(loaded, shapes, wake, lambda: outbox.tight)
        numbers = itertools.count()
        for model in config.model:
            slot = Slot(
                model.name,
                model.stream,
                self._boot,
                self._clock,
                self._updater.on_unhealthy,
                self._updater.on_healthy,
                numbers,
            )
            slot.late = model.late
            self._feeds[model.stream].add(slot)
            self._updater.add(slot, shapes[model.stream], model.thresholds)
        self._broken: BaseException | None = None
        """What ended a thread without which nothing is inferred."""
        self._worker = Worker(list(self._feeds.values()), wake, self._give, self._break)
        self._captures = [
            Capture(self._feeds[t.name], s, self._note_state(t.name), speed(t))
            for t, s in zip(config.source, sources, strict=True)
        ]
        self._collection = open_collection(loaded, self._boot)
        feeds, every_s = self._feeds.values(), config.telemetry.every_s
        self._telemetry = TelemetryThread(
            *(self._link, self._topics, device, self._boot, self._clock, feeds, every_s),
            self._collection.describe if self._collection else lambda: None,
        )
        for slot in (slot for feed in feeds for slot in feed.slots):
            slot.keep = self._collection.offer if self._collection else None
        self._ending = False
        self._acks: queue.SimpleQueue[Ack] = queue.SimpleQueue()
        self._stopped = threading.Event()

    def start(self) -> None:
        """Set everything going."""
        self._updater.resume(self._configured)
        self._link.start()
        self._updater.start()
        for feed in self._feeds.values():
            for slot in feed.slots:
                feed.take(slot)  # it stands at the stream's beginning before there is a sample
        if self._collection:
            self._collection.start()
        self._worker.start()
        for capture in self._captures:
            capture.start()
        if self._config.telemetry.every_s:
            self._telemetry.start()
        log.info("running as %s, boot %s", self._config.device.id, self._boot)

    def run(self) -> None:
        """Work until ``stop`` is called, then end in order; after ``start``.

        Raises: RuntimeError: it cannot go on. Nothing was ended then: the process must, so that
            what watches it starts it anew.
        """
        while not self._stopped.wait(REFRESH_S * random.uniform(0.8, 1.2)):  # noqa: S311
            # Not every broker gives a retained message again to who is subscribed already.
            self._link.unsubscribe(self._own_topics())
            self._link.subscribe(self._own_topics())
        if self._broken is not None:
            raise RuntimeError("the worker ended, and nothing is inferred") from self._broken
        self._end()

    def stop(self) -> None:
        """Let ``run`` end; may be called by any thread."""
        self._stopped.set()

    def _break(self, error: BaseException) -> None:
        self._broken = error
        self._stopped.set()

    def _end(self) -> None:
        for capture in self._captures:
            capture.stop()
        self._telemetry.stop()
        self._updater.stop()
        self._worker.stop()
        for slot in (s for feed in self._feeds.values() for s in feed.slots):
            self._note((slot.stream, slot.model), slot.end())
        if self._collection:
            self._collection.stop()
        self._publisher.stop(FLUSH_S)
        self._say_stopped()
        self._link.stop()
        self._end_boot()
        self._store.unlock()

    def _end_boot(self) -> None:
        last = self._outbox.last_settled()
        try:
            self._store.end_boot(
                {f"{stream}/{model}": seq for (stream, model), seq in last.items()},
                # What could be neither sent nor announced is missing behind the last.
                clean=self._outbox.empty,
            )
        except OSError as error:  # as after a crash, the next boot does not know how far this came
            log.warning("store: %s: %s", self._store.path, error.strerror or error)

    def _say_stopped(self) -> None:
        """Say the last word, and wait until the broker has it.

        A socket that is closed with something unread in it takes what was just sent with it, and
        the broker would send our will. So nothing more may come to us, and nothing be unread.
        """
        self._link.unsubscribe(self._own_topics())
        self._ending = True
        ack = self._reporter.say(Availability.STOPPED)
        deadline = time.monotonic() + LAST_WORD_S
        with contextlib.suppress(queue.Empty):
            while ack is not None:
                if self._acks.get(timeout=max(0.0, deadline - time.monotonic())) == ack:
                    return

    def _on_ack(self, ack: Ack) -> None:
        self._publisher.on_ack(ack)
        if self._ending:
            self._acks.put(ack)

    def _give(self, made: Made) -> None:
        key = made.stream, made.model
        if made.payload:
            self._outbox.put(Entry(key, made.seq, made.payload))
        self._note(key, made.notes)

    def _note(self, key: Key, notes: tuple[Note, ...]) -> None:
        for note in notes:
            self._outbox.put(Entry(key, note.n, note.payload, note.kind))

    def _note_state(self, stream: str) -> Callable[[str, str], None]:
        def note(state: str, detail: str) -> None:
            level = logging.INFO if state in {"running", "ended"} else logging.WARNING
            log.log(level, "source %s %s%s", stream, state, f": {detail}" if detail else "")
            self._reporter.change_info(lambda info: _with_stream(info, stream, state, detail))

        return note

    # --- the link

    def _make_link(self, broker: Broker) -> Link:
        device = self._config.device.id
        will = Message(
            self._topics.device(device, "availability"),
            Availability.OFFLINE.value.encode(),
            qos=1,
            retain=True,
        )
        handlers = Handlers(
            connected=self._on_connected,
            disconnected=lambda: self._publisher.on_disconnected(),
            message=self._on_message,
            ack=self._on_ack,
            turn=lambda: self._publisher.turn(),
        )
        return Link(broker, device, handlers, will)

    def _on_connected(self) -> None:
        log.info("connected to %s", self._config.broker.url)
        self._link.subscribe(self._own_topics())
        self._reporter.announce()
        self._publisher.on_connected()

    def _own_topics(self) -> list[str]:
        device = self._config.device
        return [self._topics.desired(device.group), self._topics.device(device.id, "availability")]

    def _on_message(self, topic: str, payload: bytes, _retained: bool) -> None:
        if topic == self._topics.desired(self._config.device.group):
            self._updater.desire(payload)
        elif payload == Availability.OFFLINE.value.encode() and not self._ending:
            # The will of an earlier connection of ours came late; we are here.
            self._reporter.say(Availability.ONLINE)


def run_service(loaded: LoadedConfig) -> None:
    """Run the agent until SIGINT or SIGTERM."""
    # Python runs a handler in the main thread alone, and a signal that the kernel gives to another
    # thread does not wake that one. What C writes into a socket wakes whoever reads it.
    here, there = socket.socketpair()
    with here, there:
        there.setblocking(False)
        signal.set_wakeup_fd(there.fileno(), warn_on_full_buffer=False)
        for number in ENDS:
            signal.signal(number, lambda _number, _frame: None)
        service = Service(loaded)

        def wait() -> None:
            here.recv(1)
            service.stop()

        threading.Thread(target=wait, name="signals", daemon=True).start()
        service.start()
        # The start went without, and what it made is never looked through.
        gc.freeze()
        gc.enable()
        service.run()
        # It has ended in order. Python takes handlers of ours away before it ends itself, and one
        # request more would then kill it.
        for number in ENDS:
            signal.signal(number, signal.SIG_IGN)
        signal.set_wakeup_fd(-1)


def _with_stream(info: Info, stream: str, state: str, detail: str) -> Info:
    changed = msgspec.structs.replace(info.streams[stream], state=state, detail=detail)
    return msgspec.structs.replace(info, streams={**info.streams, stream: changed})
