"""Wakes one thread from others, as an event that whoever waited for it clears, but in C.

In a pipeline that rests between two samples every step of Python is slow: to ring takes less than
half of what it takes to set an event, and the other thread runs sooner.
"""

import queue


class Bell:
    """Rung by any thread, and heard by one."""

    def __init__(self) -> None:
        self._rings: queue.SimpleQueue[None] = queue.SimpleQueue()

    def ring(self) -> None:
        """Let who waits, or will, go on; once, however often it is rung until then."""
        if self._rings.empty():
            self._rings.put(None)

    def wait(self, timeout_s: float) -> bool:
        """Wait until it is rung, or was since the last wait; tell whether that came in time."""
        try:
            self._rings.get(timeout=timeout_s)
        except queue.Empty:
            return False
        return True
