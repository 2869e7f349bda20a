"""Sends the chunks that devices ask for: each once, for all who asked within the settle time.

Times are arguments and ``publish`` is handed in. What a device may not have, or asks for too
often, is ignored; it costs the fleet nothing.
"""

import logging
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from edge_wire.assignment import Encoding
from edge_wire.chunks import Wants, count_chunks, from_bitmap, to_ranges
from edge_wire.errors import LinkError, MessageRefused
from edge_wire.link import Ack, Message
from edge_wire.messages import Plan, Want, decode, encode
from edge_wire.topics import Topics

SETTLE_S: Final = 0.5
"""More than the time over which devices spread their wants, with their connecting."""
MAX_UNACKED: Final = 16
"""Below paho's window of 20, so that a report or an assignment never waits behind chunks."""
MAX_RANGES: Final = 1000
"""In one plan, so that it stays far below the largest message."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Offer:
    """A blob that is here to be sent."""

    encoding: Encoding
    file: Path
    index: bytes
    """Chunk 0."""
    groups: frozenset[str]
    """Groups that are assigned the bundle."""

    def read(self, number: int) -> bytes:
        """Return a chunk.

        Raises: OSError: the file cannot be read.
        """
        if number == 0:
            return self.index
        with self.file.open("rb") as file:
            file.seek((number - 1) * self.encoding.chunk_bytes)
            return file.read(self.encoding.chunk_bytes)


@dataclass(slots=True)
class _Blob:
    """A blob on offer, and what is asked of it."""

    offer: Offer
    wants: Wants
    elsewhere: set[int] = field(default_factory=set)
    """What another sender has announced since the first of the present wants."""


class Sender:
    """Merges wants and sends what they need."""

    def __init__(
        self, publish: Callable[[Message], Ack], topics: Topics, settle_s: float = SETTLE_S
    ) -> None:
        self._publish = publish
        self._topics = topics
        self._settle_s = settle_s
        self._blobs: dict[str, _Blob] = {}
        self._queue: deque[tuple[str, int]] = deque()
        self._queued: set[tuple[str, int]] = set()
        self._unacked: set[Ack] = set()
        self._own_plans: Counter[bytes] = Counter()
        self._told: set[tuple[str, str]] = set()
        self.bytes_sent = 0
        """Payload bytes published on chunk topics."""

    def topics(self) -> list[str]:
        """Return what to subscribe to."""
        return [self._topics.device("+", "want"), self._topics.plan("+")]

    def offer(self, offers: Iterable[Offer]) -> None:
        """Say which blobs are here now; others are no longer sent."""
        blobs = {}
        for offer in offers:
            name = offer.encoding.blob_sha256
            chunks = 1 + count_chunks(offer.encoding.length, offer.encoding.chunk_bytes)
            known = self._blobs.get(name)
            wants = known.wants if known else Wants(chunks, self._settle_s)
            blobs[name] = _Blob(offer, wants)
        self._blobs = blobs

    def on_want(self, device: str, group: str, payload: bytes, now: float) -> None:
        """Take what a device asks for.

        Args:
            device: who asks.
            group: what its birth message says.
            payload: of the message.
            now: monotonic seconds.
        """
        try:
            want = decode(payload, Want)
            blob = self._blobs.get(want.blob)
            if blob is None or group not in blob.offer.groups:
                self._ignore(device, f"{want.blob[:12]} is not assigned to group {group!r}")
                return
            numbers = from_bitmap(want.missing, blob.wants.chunks)
        except MessageRefused as error:
            self._ignore(device, str(error))
            return
        if numbers and not blob.wants.add(device, numbers, now):
            self._ignore(device, f"{want.blob[:12]} too often today")

    def on_plan(self, payload: bytes) -> None:
        """Learn what a sender, perhaps another one, is about to send."""
        if self._own_plans[payload] > 0:
            self._own_plans[payload] -= 1
            return
        try:
            plan = decode(payload, Plan)
        except MessageRefused:
            return
        blob = self._blobs.get(plan.blob)
        if blob is not None and blob.wants.due(0.0) is not None:
            for first, last in plan.ranges:
                blob.elsewhere.update(range(first, min(last, blob.wants.chunks) + 1))

    def on_ack(self, ack: Ack) -> None:
        """Learn that the broker has a chunk."""
        self._unacked.discard(ack)

    def on_disconnected(self) -> None:
        """Forget what was under way: who still lacks it asks again."""
        self._queue.clear()
        self._queued.clear()
        self._unacked.clear()
        self._own_plans.clear()

    def wait_s(self, now: float) -> float | None:
        """Return in how many seconds ``work`` has something to announce; None for nothing."""
        dues = [due for b in self._blobs.values() if (due := b.wants.due(now)) is not None]
        return min(dues, default=None)

    def work(self, now: float) -> None:
        """Announce and send what is due, as far as the broker keeps up."""
        try:
            for name, blob in self._blobs.items():
                if blob.wants.due(now) == 0:
                    self._announce(name, blob)
            while self._queue and len(self._unacked) < MAX_UNACKED:
                self._send(*self._queue[0])
                self._queued.discard(self._queue.popleft())
        except LinkError:
            return  # on_disconnected follows

    def _announce(self, name: str, blob: _Blob) -> None:
        numbers = blob.wants.take() - blob.elsewhere
        blob.elsewhere = set()
        new = [(name, n) for n in sorted(numbers) if (name, n) not in self._queued]
        if not new:
            return
        log.info("sending %d chunks of %s", len(new), name[:12])
        ranges = to_ranges({n for _, n in new})
        for at in range(0, len(ranges), MAX_RANGES):
            plan = encode(Plan(1, name, ranges[at : at + MAX_RANGES]))
            # Before it is published: the broker sends it back to us at once.
            self._own_plans[plan] += 1
            self._publish(Message(self._topics.plan(name), plan))
        self._queue.extend(new)
        self._queued.update(new)

    def _send(self, name: str, number: int) -> None:
        blob = self._blobs.get(name)
        if blob is None:
            return
        try:
            data = blob.offer.read(number)
        except OSError as error:
            log.warning("%s: %s", blob.offer.file, error.strerror)
            return
        self._unacked.add(self._publish(Message(self._topics.chunk(name, number), data)))
        self.bytes_sent += len(data)

    def _ignore(self, device: str, why: str) -> None:
        # Once each, or a device that goes wrong would fill the operator's screen.
        if (device, why) not in self._told:
            self._told.add((device, why))
            log.warning("ignored what %s asked for: %s", device, why)
