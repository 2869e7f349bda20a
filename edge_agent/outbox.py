"""Predictions on their way to the broker: bounded memory, and every drop on the record.

An entry leaves when the broker has confirmed it. Where memory is full the oldest that waits is
dropped, and its ``seq`` becomes part of a loss that is announced. Pure bookkeeping behind a lock.
"""

import threading
from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final

from edge_wire.messages import LossCause

ENTRY_BYTES: Final = 200
"""What an entry costs beside its payload."""
Key = tuple[str, str]
"""Stream and model: what ``seq`` counts within."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One prediction."""

    key: Key
    seq: int
    payload: bytes

    @property
    def cost(self) -> int:
        return len(self.payload) + ENTRY_BYTES


@dataclass(frozen=True, slots=True)
class Dropped:
    """A range of ``seq`` that will never be sent."""

    key: Key
    first: int
    last: int
    cause: LossCause


class Outbox:
    """Holds at most ``max_bytes`` of predictions."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._waiting: deque[Entry] = deque()
        self._sent: dict[Hashable, Entry] = {}
        self._bytes = 0
        self._dropped: list[Dropped] = []
        self._settled: dict[Key, _Settled] = {}
        self._lock = threading.Lock()
        self.filled = threading.Event()
        """Set when there is something to send."""

    def put(self, entry: Entry) -> None:
        """Take a prediction, at the cost of the oldest one that waits if there is no room."""
        with self._lock:
            self._waiting.append(entry)
            self._bytes += entry.cost
            while self._bytes > self._max_bytes and self._waiting:
                self._drop(self._waiting.popleft(), LossCause.OUTBOX_FULL)
        self.filled.set()

    def take(self) -> Entry | None:
        """Return the oldest entry that waits; the caller calls ``sent`` or ``back`` with it."""
        with self._lock:
            return self._waiting.popleft() if self._waiting else None

    def sent(self, entry: Entry, ticket: Hashable) -> None:
        """Remember an entry that the broker has not confirmed yet."""
        with self._lock:
            self._sent[ticket] = entry

    def back(self, entry: Entry) -> None:
        """Put back an entry that could not be sent."""
        with self._lock:
            self._waiting.appendleft(entry)

    def confirm(self, ticket: Hashable) -> bool:
        """Forget an entry that the broker has; tell whether there was one."""
        with self._lock:
            entry = self._sent.pop(ticket, None)
            if entry is not None:
                self._leave(entry)
            return entry is not None

    def unsent(self) -> None:
        """Put all unconfirmed entries back: the connection they were sent on is gone."""
        with self._lock:
            self._waiting.extendleft(reversed(self._sent.values()))
            self._sent.clear()

    def give_up(self, cause: LossCause) -> None:
        """Drop everything that waits or is unconfirmed."""
        self.unsent()
        with self._lock:
            while self._waiting:
                self._drop(self._waiting.popleft(), cause)

    def take_dropped(self) -> list[Dropped]:
        """Return the losses that nobody announced yet, and leave that to the caller."""
        with self._lock:
            dropped, self._dropped = self._dropped, []
            return dropped

    def put_dropped(self, dropped: list[Dropped]) -> None:
        """Give back losses that could not be announced."""
        with self._lock:
            self._dropped[:0] = dropped

    @property
    def in_flight(self) -> int:
        """Entries that are sent and not confirmed."""
        return len(self._sent)

    @property
    def empty(self) -> bool:
        """Whether nothing waits, is unconfirmed, or is lost without anybody having said so."""
        with self._lock:
            return not (self._waiting or self._sent or self._dropped)

    def last_settled(self) -> dict[Key, int]:
        """Return for each key the last ``seq`` up to which every one was delivered or dropped."""
        with self._lock:
            return {key: s.last for key, s in self._settled.items() if s.last >= 0}

    def _drop(self, entry: Entry, cause: LossCause) -> None:
        self._leave(entry)
        last = self._dropped[-1] if self._dropped else None
        if last and (last.key, last.cause, last.last + 1) == (entry.key, cause, entry.seq):
            self._dropped[-1] = Dropped(entry.key, last.first, entry.seq, cause)
        else:
            self._dropped.append(Dropped(entry.key, entry.seq, entry.seq, cause))

    def _leave(self, entry: Entry) -> None:
        self._bytes -= entry.cost
        self._settled.setdefault(entry.key, _Settled()).add(entry.seq)


class _Settled:
    """The end of the gapless run of numbers from 0 that were added in nearly any order."""

    def __init__(self) -> None:
        self.last = -1
        self._ahead: set[int] = set()

    def add(self, number: int) -> None:
        self._ahead.add(number)
        while self.last + 1 in self._ahead:
            self.last += 1
            self._ahead.discard(self.last)
