"""What one thread does, in the order in which others told it; its verdicts also in between."""

import logging
import queue
import threading
from collections.abc import Callable

Event = Callable[[], None]

log = logging.getLogger(__name__)


class Agenda:
    """Events that one thread takes, from ``start`` to ``stop``; an error in one ends no other."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._verdicts: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @property
    def stopping(self) -> bool:
        """Whether an event that takes long is to break off."""
        return self._stopping.is_set()

    def start(self) -> None:
        """Begin to take events."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread, behind the event that it is in the midst of."""
        self._stopping.set()
        self._events.put(lambda: None)
        if self._thread.ident is not None:
            self._thread.join()

    def put(self, event: Event) -> None:
        """Add an event; any thread may."""
        self._events.put(event)

    def put_verdict(self, verdict: Event) -> None:
        """Add an event that an event which takes long lets in; any thread may."""
        self._verdicts.put(verdict)
        self._events.put(self.hear_verdicts)

    def hear_verdicts(self) -> None:
        """Take the verdicts that are there; for the thread itself."""
        while not self._verdicts.empty():
            self._guard(self._verdicts.get())

    def _run(self) -> None:
        while not self.stopping:
            event = self._events.get()
            if not self.stopping:
                self._guard(event)

    def _guard(self, event: Event) -> None:
        try:
            event()
        except Exception:  # a thread that ended here would keep every later event away
            log.exception("%s", self._name)
