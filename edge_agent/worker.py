"""The one thread that infers: window by window, over all streams and models in turn."""

import threading
from collections.abc import Callable
from typing import Final

from edge_agent.feed import Feed
from edge_agent.slot import Made

IDLE_S: Final = 1.0


class Worker:
    """Runs the slots of all feeds; each gets one window a turn, so that none starves another."""

    def __init__(
        self, feeds: list[Feed], wake: threading.Event, give: Callable[[Made], None]
    ) -> None:
        self._feeds = feeds
        self._wake = wake
        self._give = give
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="worker", daemon=True)

    def start(self) -> None:
        """Begin to infer."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread after the window that it is at."""
        self._stopping.set()
        self._wake.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._wake.wait(IDLE_S)
            self._wake.clear()
            while self._turn() and not self._stopping.is_set():
                pass

    def _turn(self) -> bool:
        """Do one window of every slot that has one; tell whether any had."""
        did = False
        for feed in self._feeds:
            for slot in feed.slots:
                if feed.take(slot):
                    did = True
                    made = slot.predict()
                    if made is not None:
                        self._give(made)
        return did
