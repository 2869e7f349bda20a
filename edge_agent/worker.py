"""The threads that infer, window by window, over all streams and models in the schedule's order.

One thread decides and does most of the work; a second one, started when it is first needed, runs
what would keep it for so long that another model's windows came too late.

What goes wrong in a model's turn costs that window and no more. What goes wrong beside that ends a
thread, and without both of them nothing is inferred any more: the owner is told.
"""

import logging
import queue
import threading
from collections.abc import Callable
from typing import Final

from edge_agent.bell import Bell
from edge_agent.feed import Feed
from edge_agent.schedule import Thread, choose
from edge_agent.slot import Made, Slot

IDLE_S: Final = 1.0

log = logging.getLogger(__name__)


class Worker:
    """Runs the slots of all feeds, the most urgent window first."""

    def __init__(
        self,
        feeds: list[Feed],
        wake: Bell,
        give: Callable[[Made], None],
        ended: Callable[[BaseException], None] | None = None,
    ) -> None:
        """Make a worker that does nothing yet.

        Args:
            feeds: whose models to run.
            wake: rung when there may be something to do.
            give: takes each prediction.
            ended: told why a thread ended that should not have; None: as any thread's end is told.
        """
        self._places = [(feed, slot) for feed in feeds for slot in feed.slots]
        self._wake = wake
        self._give = give
        self._ended = ended
        self._told: set[tuple[str, type[Exception]]] = set()
        """What went wrong already, of which model."""
        self._stopping = threading.Event()
        self._thread = self._make_thread("worker", self._run)
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
        self._wake.ring()
        self._thread.join()
        if self._second is not None:
            self._long.put(None)
            self._second.join()

    def _make_thread(self, name: str, work: Callable[[], None]) -> threading.Thread:
        def guarded() -> None:
            try:
                work()
            except BaseException as error:
                if self._ended is None:
                    raise
                self._ended(error)

        return threading.Thread(target=guarded, name=name, daemon=True)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._wake.wait(IDLE_S)
            while self._turn() and not self._stopping.is_set():
                pass

    def _turn(self) -> bool:
        """Begin the most urgent window; tell whether there was one."""
        busy = self._at_long
        resting = [(feed, slot) for feed, slot in self._places if slot is not busy]
        if len(resting) == 1 and busy is None:
            ((feed, slot),) = resting  # nothing to choose
            chosen, again = Thread.FIRST, False
        else:
            choice = choose([feed.job(slot) for feed, slot in resting], busy is None)
            if choice is None:
                return False
            (feed, slot), chosen = resting[choice[0]], choice[1]
            again = True  # where it moved over a break, or to another model
        try:
            if not feed.take(slot):
                return again
            if chosen is Thread.SECOND:
                self._hand_over(slot)
                return True
        except Exception as error:  # whatever it is, the other models go on
            self._fail(slot, error)
            return False  # not at once: it may be the same again
        self._predict(slot)
        return True

    def _predict(self, slot: Slot) -> None:
        try:
            made = slot.predict()
            if made is not None:
                self._give(made)
        except Exception as error:  # whatever it is, the next window may go well
            self._fail(slot, error)

    def _fail(self, slot: Slot, error: Exception) -> None:
        self._tell(slot, error)
        try:
            slot.fail(f"{type(error).__name__}: {error}")
        except Exception as again:
            self._tell(slot, again)

    def _tell(self, slot: Slot, error: Exception) -> None:
        """Log where something went wrong; once of a kind, as each window may be the same."""
        kind = slot.model, type(error)
        if kind not in self._told:
            self._told.add(kind)
            log.error("model %s: a window failed", slot.model, exc_info=error)

    def _hand_over(self, slot: Slot) -> None:
        if self._second is None:
            second = self._make_thread("worker-2", self._run_long)
            second.start()
            self._second = second
        self._at_long = slot
        self._long.put(slot)

    def _run_long(self) -> None:
        while (slot := self._long.get()) is not None:
            try:
                self._predict(slot)
            finally:
                self._at_long = None
                self._wake.ring()
