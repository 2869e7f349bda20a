"""Predictions, events and states on their way to the broker: bounded memory, drops on the record.

An entry leaves when the broker has confirmed it. Where memory is full the oldest prediction that
waits is dropped, and its ``seq`` becomes part of a loss that is announced, until the broker has
confirmed that. Events are sent first, and the oldest is dropped only where no prediction waits;
of states the newest of each model waits, and is never dropped. Pure bookkeeping behind a lock.
"""

import threading
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Hashable
from typing import Final, Literal

from msgspec import Struct

from edge_wire.messages import LossCause

ENTRY_BYTES: Final = 200
"""What an entry costs beside its payload."""
Key = tuple[str, str]
"""Stream and model: what ``seq`` counts within."""


class Entry(Struct, frozen=True):
    """One message."""

    key: Key
    seq: int
    """Of a prediction; of an event its ``n``."""
    payload: bytes
    kind: Literal["pred", "event", "state"] = "pred"

    @property
    def cost(self) -> int:
        return len(self.payload) + ENTRY_BYTES


class Dropped(Struct, frozen=True):
    """A range of ``seq`` that will never be sent."""

    key: Key
    first: int
    last: int
    cause: LossCause


class Outbox:
    """Holds at most ``max_bytes`` of predictions and events, and a state of each model."""

    def __init__(
        self,
        max_bytes: int,
        on_room: Callable[[], None] = lambda: None,
        on_filled: Callable[[], None] = lambda: None,
    ) -> None:
        """Make an empty one.

        Args:
            max_bytes: of what is held, with what an entry costs.
            on_room: called when it is ``tight`` no more, by whatever thread made it so.
            on_filled: called when there is something to send, likewise.
        """
        self._max_bytes = max_bytes
        self._on_room = on_room
        self._on_filled = on_filled
        self.tight = False
        """Whether who can wait had better: since it was half full, until it is a quarter full."""
        self._waiting: deque[Entry] = deque()
        """Predictions."""
        self._first: deque[Entry] = deque()
        """Events and states, which go before them."""
        self._states: dict[Key, Entry] = {}
        """The newest of each model."""
        self.dropped_events = 0
        """Events' messages that were never sent, for want of room or at the end."""
        self._sent: dict[Hashable, Entry | Dropped] = {}
        self._bytes = 0
        self._dropped: dict[tuple[Key, LossCause], _Ranges] = {}
        self._settled: dict[Key, _Ranges] = {}
        self._lock = threading.Lock()

    def put(self, entry: Entry) -> None:
        """Take a message, at the cost of the oldest ones that wait if there is no room."""
        with self._lock:
            if entry.kind == "state":
                self._replace_state(entry)
            else:
                self._queue(entry).append(entry)
                self._bytes += entry.cost
                self.tight = self.tight or self._bytes > self._max_bytes // 2
            while self._bytes > self._max_bytes and self._waiting:
                self._drop(self._waiting.popleft(), LossCause.OUTBOX_FULL)
            if self._bytes > self._max_bytes:
                self._drop_events(self._max_bytes)
        self._on_filled()

    def repeat_states(self) -> None:
        """Let the newest state of each model be sent once more: the broker may not have it."""
        with self._lock:
            for state in self._states.values():
                if not any(entry is state for entry in self._first):
                    self._first.append(state)
        self._on_filled()

    def take(self) -> Entry | None:
        """Return the next entry that waits; the caller calls ``sent`` or ``back`` with it."""
        with self._lock:
            queue = self._first or self._waiting
            return queue.popleft() if queue else None

    def sent(self, item: Entry | Dropped, ticket: Hashable) -> None:
        """Remember an entry, or a loss, that the broker has not confirmed yet."""
        with self._lock:
            self._sent[ticket] = item

    def back(self, entry: Entry) -> None:
        """Put back an entry that could not be sent."""
        with self._lock:
            self._queue(entry).appendleft(entry)

    def confirm(self, ticket: Hashable) -> bool:
        """Forget an entry or a loss that the broker has; tell whether there was one."""
        with self._lock:
            item = self._sent.pop(ticket, None)
            if isinstance(item, Entry):
                if item.kind != "state":
                    self._free(item)
                if item.kind == "pred":
                    self._settle(item.key, item.seq, item.seq)
            elif item is not None:
                self._settle(item.key, item.first, item.last)
            return item is not None

    def unsent(self) -> None:
        """Put all that is unconfirmed back: the connection it was sent on is gone."""
        with self._lock:
            for item in reversed(self._sent.values()):
                if isinstance(item, Entry):
                    self._queue(item).appendleft(item)
                else:
                    self._lose(item)
            self._sent.clear()

    def give_up(self, cause: LossCause) -> None:
        """Drop everything that waits or is unconfirmed; only predictions are announced as lost."""
        self.unsent()
        with self._lock:
            while self._waiting:
                self._drop(self._waiting.popleft(), cause)
            self._drop_events(0)
            self._first.clear()
        self._on_filled()

    def take_dropped(self, most: int | None = None) -> list[Dropped]:
        """Return losses that nobody announced yet; the caller calls ``sent`` with each, or
        ``put_dropped``.
        """
        with self._lock:
            dropped = [
                Dropped(key, first, last, cause)
                for (key, cause), ranges in self._dropped.items()
                for first, last in ranges.all
            ]
            self._dropped.clear()
            if most is not None:
                for loss in dropped[most:]:
                    self._lose(loss)
            return dropped[:most]

    def put_dropped(self, dropped: list[Dropped]) -> None:
        """Give back losses that could not be announced."""
        with self._lock:
            for loss in dropped:
                self._lose(loss)

    @property
    def in_flight(self) -> int:
        """Entries and losses that are sent and not confirmed."""
        return len(self._sent)

    @property
    def waiting(self) -> bool:
        """Whether there is something to send."""
        return bool(self._first or self._waiting or self._dropped)

    @property
    def empty(self) -> bool:
        """Whether nothing waits, is unconfirmed, or is lost without the broker having it."""
        with self._lock:
            return not (self._first or self._waiting or self._sent or self._dropped)

    def last_settled(self) -> dict[Key, int]:
        """Return for each key the last ``seq`` up to which every one was delivered, or announced
        as lost.
        """
        with self._lock:
            runs = {key: settled.all[0] for key, settled in self._settled.items()}
            return {key: last for key, (first, last) in runs.items() if first == 0}

    def _queue(self, entry: Entry) -> deque[Entry]:
        return self._waiting if entry.kind == "pred" else self._first

    def _replace_state(self, entry: Entry) -> None:
        old = self._states.get(entry.key)
        self._first = deque(waiting for waiting in self._first if waiting is not old)
        self._first.append(entry)
        self._states[entry.key] = entry

    def _drop_events(self, room: int) -> None:
        """Drop the oldest events that wait, until what is held fits."""
        kept: deque[Entry] = deque()
        for entry in self._first:
            if entry.kind == "event" and self._bytes > room:
                self._free(entry)
                self.dropped_events += 1
            else:
                kept.append(entry)
        self._first = kept

    def _free(self, entry: Entry) -> None:
        """Give back the memory of an entry that is held no more."""
        self._bytes -= entry.cost
        if self.tight and self._bytes <= self._max_bytes // 4:
            self.tight = False
            self._on_room()

    def _drop(self, entry: Entry, cause: LossCause) -> None:
        self._free(entry)
        self._lose(Dropped(entry.key, entry.seq, entry.seq, cause))

    def _lose(self, loss: Dropped) -> None:
        self._dropped.setdefault((loss.key, loss.cause), _Ranges()).add(loss.first, loss.last)

    def _settle(self, key: Key, first: int, last: int) -> None:
        self._settled.setdefault(key, _Ranges()).add(first, last)


class _Ranges:
    """Numbers as ranges in order that do not touch; little memory where few are missing."""

    def __init__(self) -> None:
        self.all: list[tuple[int, int]] = []
        """First and last number of each."""

    def add(self, first: int, last: int) -> None:
        """Add numbers, none of which is there yet."""
        at = bisect_left(self.all, (first, last))
        begin, end = at, at
        if at < len(self.all) and self.all[at][0] == last + 1:
            last, end = self.all[at][1], at + 1
        if at and self.all[at - 1][1] == first - 1:
            first, begin = self.all[at - 1][0], at - 1
        self.all[begin:end] = [(first, last)]
