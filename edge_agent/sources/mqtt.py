"""Samples that something else publishes over MQTT."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final

import numpy as np

from edge_agent import source_tables as tables
from edge_agent.config import LoadedConfig
from edge_agent.fit import StreamShape
from edge_agent.ring import Chunk
from edge_agent.sources.inbox import Arrival, Inbox
from edge_agent.sources.payload import Decoder, PayloadRefused
from edge_agent.sources.sender_clock import SenderClock
from edge_wire.broker import Broker
from edge_wire.credentials import read_broker
from edge_wire.errors import LinkError
from edge_wire.link import Handlers, Link

LOOK_S: Final = 0.15
"""The longest that it waits for a message before it looks whether it is time to stop."""
CONNECT_S: Final = 10.0
SHOWN: Final = 3
"""Kinds of wrong messages that are told."""


class Mqtt:
    """A topic whose messages are samples."""

    def __init__(
        self, shape: StreamShape, table: tables.Mqtt, broker: Broker, client_id: str
    ) -> None:
        """Describe a source; it connects when chunks are asked for.

        Raises: ValueError: paths that cannot be.
        """
        self.shape = shape
        self._topic = table.topic
        self._broker = broker
        self._client_id = client_id
        self._decoder = Decoder(
            len(table.channels),
            table.format,
            table.paths,
            table.scale,
            (table.time.path, table.time.unit) if table.time else None,
        )
        self._clock = SenderClock(shape.rate_hz)
        self._most_bytes = table.max_bytes
        self._inbox = Inbox(table.max_bytes)
        self._wrong: Counter[str] = Counter()
        self._missed = 0
        """Messages without samples since the last one that had some."""
        self._before: bytes = b""
        self._timed = table.time is not None

    def chunks(self, wait: Callable[[float], bool]) -> Iterator[Chunk]:
        """Yield the samples of each message.

        Raises: LinkError: there is no broker, or no longer.
        """
        handlers = Handlers(message=self._take)
        link = Link(self._broker, self._client_id, handlers)
        handlers.connected = lambda: link.subscribe([self._topic])
        link.start()
        try:
            deadline = time.monotonic() + CONNECT_S
            while not link.connected:
                if wait(LOOK_S):
                    return
                if time.monotonic() > deadline:
                    raise LinkError(f"broker {self._broker.url}: {link.problem}")
            while not wait(0.0):
                arrival = self._inbox.get(LOOK_S)
                if arrival is not None:
                    yield from self._read(arrival)
                elif not link.connected:
                    raise LinkError(f"broker {self._broker.url}: {link.problem}")
        finally:
            link.stop()

    def problems(self) -> str:
        """Return what was wrong with messages, with counts."""
        said = [f"{count} messages {what}" for what, count in self._wrong.most_common(SHOWN)]
        counts = {
            f"messages of more than {self._most_bytes} bytes": self._inbox.oversize,
            "messages came faster than they were read": self._inbox.overrun,
            "times the sender's clock was set": self._clock.jumps,
            "time stamps written twice": self._clock.duplicates,
        }
        return "; ".join([*said, *(f"{n} {what}" for what, n in counts.items() if n)])

    def _take(self, _topic: str, payload: bytes, retained: bool) -> None:
        """Keep a message with the time of its arrival; on the link's thread."""
        if not retained:  # that is from whenever; it comes again with every connection
            self._inbox.put(payload, time.monotonic_ns())

    def _read(self, arrival: Arrival) -> Iterator[Chunk]:
        payload, now_ns = arrival.payload, arrival.at_ns
        self._missed += arrival.missed
        if self._timed and payload == self._before:
            self._wrong["delivered twice"] += 1  # as QoS 1 may
            return
        self._before = payload
        try:
            samples, times_s = self._decoder.decode(payload)
        except PayloadRefused as error:
            self._wrong[str(error)] += 1
            self._missed += 1
            return
        if not np.isfinite(samples).all():
            self._wrong["with values that are null, NaN or infinite"] += 1  # lost in the ring
        missed, self._missed = self._missed, 0
        if times_s is None:
            pieces = self._clock.arrived(len(samples), now_ns, missed)
        else:
            pieces = self._clock.sent(len(samples), times_s, now_ns, missed)
        for piece in pieces:
            part = samples[piece.start : piece.stop]
            yield Chunk(part, piece.end_ns, piece.lost, piece.restart)


def open_mqtt(loaded: LoadedConfig, index: int, table: tables.Mqtt) -> Mqtt:
    """Open the source of a table; the broker is looked for later.

    Raises: ConfigError: a topic, path or broker that cannot be.
    """
    place = ("source", index)
    if any(c in table.topic for c in "+#\0"):
        raise loaded.error(
            (*place, "topic"),
            f"{table.topic!r}: one topic, without + or #: samples of several senders would mix",
        )
    broker = loaded.broker()
    if table.broker is not None:
        broker = read_broker(
            table.broker,
            loaded.file.parent,
            lambda key, why: loaded.error((*place, "broker", key), why),
        )
    shape = StreamShape(table.rate_hz, table.channels)
    client_id = f"{loaded.config.device.id}.in.{table.name}"
    try:
        return Mqtt(shape, table, broker, client_id)
    except ValueError as error:
        key, _, why = str(error).partition(": ")
        raise loaded.error((*place, key.partition("[")[0].partition(".")[0]), why) from None
