"""The threads that infer, window by window, over all streams and models in the schedule's order.

One thread decides and does most of the work; a second one, started when it is first needed, runs
what would keep it for so long that another model's windows came too late.
"""

import queue
import threading
from collections.abc import Callable
from typing import Final

from edge_agent.feed import Feed
from edge_agent.schedule import Thread, choose
from edge_agent.slot import Made, Slot

IDLE_S: Final = 1.0


class Worker:
    """Runs the slots of all feeds, the most urgent window first."""

    def __init__(
        self, feeds: list[Feed], wake: threading.Event, give: Callable[[Made], None]
    ) -> None:
        self._places = [(feed, slot) for feed in feeds for slot in feed.slots]
        self._wake = wake
        self._give = give
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="worker", daemon=True)
        self._second: threading.Thread | None = None
        self._long: queue.SimpleQueue[Slot | None] = queue.SimpleQueue()
        self._at_long: Slot | None = None
        """What the second thread is at."""

    def start(self) -> None:
        """Begin to infer."""
        self._thread.start()

    def stop(self) -> None:
        """End the threads after the windows that they are at."""
        self._stopping.set()
        self._wake.set()
        self._thread.join()
        if self._second is not None:
            self._long.put(None)
            self._second.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._wake.wait(IDLE_S)
            self._wake.clear()
            while self._turn() and not self._stopping.is_set():
                pass

    def _turn(self) -> bool:
        """Begin the most urgent window; tell whether there was one."""
        busy = self._at_long
        resting = [(feed, slot) for feed, slot in self._places if slot is not busy]
        if len(resting) == 1 and busy is None:
            ((feed, slot),) = resting  # nothing to choose
            chosen = Thread.FIRST
            if not feed.take(slot):
                return False
        else:
            choice = choose([feed.job(slot) for feed, slot in resting], busy is None)
            if choice is None:
                return False
            (feed, slot), chosen = resting[choice[0]], choice[1]
            if not feed.take(slot):
                return True  # it moved over a break, or to another model: choose again
        if chosen is Thread.FIRST:
            self._predict(slot)
        else:
            self._hand_over(slot)
        return True

    def _predict(self, slot: Slot) -> None:
        made = slot.predict()
        if made is not None:
            self._give(made)

    def _hand_over(self, slot: Slot) -> None:
        self._at_long = slot
        if self._second is None:
            self._second = threading.Thread(target=self._run_long, name="worker-2", daemon=True)
            self._second.start()
        self._long.put(slot)

    def _run_long(self) -> None:
        while (slot := self._long.get()) is not None:
            self._predict(slot)
            self._at_long = None
            self._wake.set()
