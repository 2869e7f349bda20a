"""Fetches a blob chunk by chunk on a connection of its own, and keeps what it has over restarts.

The control connection never carries a chunk: a slow device would overrun the broker's queue and
not see what it is to run. Nothing is parsed before its hash is right.
"""

import queue
import random
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from edge_agent.store import Store
from edge_bundle.archive import Bundle
from edge_wire.assignment import Encoding, Variant
from edge_wire.blob import decode_blob
from edge_wire.broker import Broker
from edge_wire.chunks import Receipt, to_bitmap
from edge_wire.errors import LinkError, MessageRefused
from edge_wire.link import Handlers, Link, Message
from edge_wire.messages import Plan, Want, decode, encode
from edge_wire.topics import Topics

WINDOW: Final = 32
"""Chunks subscribed to at once: 2 MiB, far below a broker's queue of 1,000 messages."""
SPREAD_S: Final = 0.2
"""A fleet that learns of a blob in one instant asks spread over this time."""
PATIENCE_S: Final = (3.0, 60.0)
"""Without a chunk for so long a device asks again, doubling up to the second figure."""


class Cancelled(Exception):
    """Something newer came, or the agent stops; what was fetched stays for the next time."""


class Download:
    """Brings one bundle from the wire into the store."""

    def __init__(
        self, store: Store, broker: Broker, topics: Topics, device: str, variant: Variant
    ) -> None:
        self._store = store
        self._broker = broker
        self._topics = topics
        self._device = device
        self._variant = variant
        self._inbox: queue.SimpleQueue[tuple[str, bytes]] = queue.SimpleQueue()

    def run(self, encoding: Encoding, cancelled: Callable[[], bool]) -> Bundle:
        """Fetch, check and unpack; returns the bundle in the store.

        Raises: Cancelled. MessageRefused, BundleRefused: what came is not what was signed.
            OSError: the store cannot take it.
        """
        blob = encoding.blob_sha256
        receipt = Receipt(encoding.length, encoding.chunk_bytes, encoding.index_sha256)
        file = self._store.partial_file(blob)
        index = file.with_suffix(".index")
        _resume(receipt, file)
        # Unbuffered: what was fetched must outlive this process.
        with file.open("r+b" if file.exists() else "w+b", buffering=0) as out:

            def keep(number: int, data: bytes) -> None:
                if number == 0:
                    self._store.write(index, data)
                else:
                    out.seek(receipt.offset(number))
                    out.write(data)

            self._fetch(blob, receipt, keep, cancelled)
        part = self._store.path / "bundles" / f".{self._variant.sha256}.part"
        try:
            decode_blob(file, part, self._variant.length, self._variant.sha256)
            bundle = self._store.adopt(part, self._variant.sha256)
        except OSError:
            raise  # the store's trouble, not the blob's: it stays for the next time
        except BaseException:
            # Every chunk was what the sender signed, so it would not be better another time.
            _forget(file, index)
            raise
        _forget(file, index)
        return bundle

    def _fetch(
        self,
        blob: str,
        receipt: Receipt,
        keep: Callable[[int, bytes], None],
        cancelled: Callable[[], bool],
    ) -> None:
        if receipt.complete:
            return
        handlers = Handlers(message=lambda topic, data, _retained: self._inbox.put((topic, data)))
        link = Link(self._broker, f"{self._device}.fetch", handlers)
        # An empty topic in the inbox says that the connection is new and knows no subscription.
        handlers.connected = lambda: self._inbox.put(("", b""))
        link.start()
        try:
            self._ask_until_complete(link, blob, receipt, keep, cancelled)
        finally:
            link.stop()

    def _ask_until_complete(
        self,
        link: Link,
        blob: str,
        receipt: Receipt,
        keep: Callable[[int, bytes], None],
        cancelled: Callable[[], bool],
    ) -> None:
        asked: set[int] = set()
        patience_s, ask_at = PATIENCE_S[0], float("inf")
        while not receipt.complete:
            if cancelled():
                raise Cancelled
            now = time.monotonic()
            if link.connected and (now >= ask_at or (asked and not asked & receipt.missing)):
                asked = self._listen(link, blob, receipt, asked)
                self._want(link, blob, asked)
                ask_at = now + patience_s * random.uniform(1, 1.5)  # noqa: S311
                patience_s = min(patience_s * 2, PATIENCE_S[1])
            try:
                topic, data = self._inbox.get(timeout=0.1)
            except queue.Empty:
                continue
            if not topic:
                # Listen first and ask later: who asked before brings the chunks for all.
                asked = self._listen(link, blob, receipt, set())
                ask_at = time.monotonic() + random.uniform(0, SPREAD_S)  # noqa: S311
            elif topic == self._topics.plan(blob):
                if self._is_planned(data, asked & receipt.missing):
                    ask_at = time.monotonic() + PATIENCE_S[0]
            elif self._take(topic, data, blob, receipt, keep):
                patience_s = PATIENCE_S[0]
                ask_at = time.monotonic() + patience_s

    def _listen(self, link: Link, blob: str, receipt: Receipt, before: set[int]) -> set[int]:
        """Subscribe to the plan and the next window; returns its chunks."""
        window = receipt.next_window(WINDOW)
        link.unsubscribe([self._topics.chunk(blob, n) for n in sorted(before - window)])
        chunks = [self._topics.chunk(blob, n) for n in sorted(window - before)]
        link.subscribe([*chunks, *([] if before else [self._topics.plan(blob)])])
        return window

    def _want(self, link: Link, blob: str, wanted: set[int]) -> None:
        want = encode(Want(1, blob, to_bitmap(wanted)))
        # On the same connection, so that the broker knows the subscription before the want.
        with suppress(LinkError):  # the next connection asks again
            link.publish(Message(self._topics.device(self._device, "want"), want))

    def _is_planned(self, data: bytes, missing: set[int]) -> bool:
        try:
            plan = decode(data, Plan)
        except MessageRefused:
            return False
        return any(first <= n <= last for first, last in plan.ranges for n in missing)

    def _take(
        self,
        topic: str,
        data: bytes,
        blob: str,
        receipt: Receipt,
        keep: Callable[[int, bytes], None],
    ) -> bool:
        try:
            of, number = self._topics.read_chunk(topic)
        except MessageRefused:
            return False
        if of != blob or not receipt.accept(number, data):
            return False
        keep(number, data)
        return True


def _resume(receipt: Receipt, file: Path) -> None:
    """Take what an earlier attempt left, by the hashes and not by what it says of itself."""
    try:
        receipt.accept(0, file.with_suffix(".index").read_bytes())
        with file.open("rb") as left:
            for number in sorted(receipt.missing - {0}):
                left.seek(receipt.offset(number))
                receipt.accept(number, left.read(receipt.size(number)))
    except FileNotFoundError:
        return


def _forget(*files: Path) -> None:
    for file in files:
        file.unlink(missing_ok=True)
