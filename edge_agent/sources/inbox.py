"""Messages between the link's thread, which must not wait, and the source's. No clock.

What does not fit is not kept, but its place is: the next message that is kept says how many are
missing directly before it.
"""

import threading
from collections import deque
from typing import Final

from msgspec import Struct

WAITING: Final = 1000
"""Messages that may wait to be read;"""
WAITING_BYTES: Final = 4 << 20
"""and what they may hold in all."""


class Arrival(Struct, frozen=True):
    """A message that was kept."""

    payload: bytes
    at_ns: int
    """Monotonic time of its arrival."""
    missed: int
    """Messages that came directly before it and were not kept."""


class Inbox:
    """Holds at most so many messages, and so many bytes."""

    def __init__(self, most_bytes: int) -> None:
        """Make one that is empty.

        Args:
            most_bytes: of one message.
        """
        self.overrun = 0
        """Messages for which there was no room."""
        self.oversize = 0
        """Messages of more than ``most_bytes``."""
        self._most_bytes = most_bytes
        self._waiting: deque[Arrival] = deque()
        self._bytes = 0
        self._missed = 0
        self._came = threading.Condition()

    def put(self, payload: bytes, at_ns: int) -> None:
        """Keep a message where there is room for it."""
        with self._came:
            oversize = len(payload) > self._most_bytes
            full = len(self._waiting) >= WAITING or self._bytes + len(payload) > WAITING_BYTES
            if oversize or full:
                self.oversize += oversize
                self.overrun += not oversize
                self._missed += 1
                return
            self._waiting.append(Arrival(payload, at_ns, self._missed))
            self._bytes += len(payload)
            self._missed = 0
            self._came.notify()

    def get(self, timeout_s: float) -> Arrival | None:
        """Take the oldest message out; None where none comes in time."""
        with self._came:
            if not self._came.wait_for(lambda: self._waiting, timeout_s):
                return None
            arrival = self._waiting.popleft()
            self._bytes -= len(arrival.payload)
            return arrival
