"""The thread of one source: from its chunks into the feed, and what becomes of it on the record."""

import logging
import threading
from collections.abc import Callable

from edge_agent.feed import Feed
from edge_agent.sources.source import Source

log = logging.getLogger(__name__)


class Capture:
    """Runs one source until it ends, fails, or is stopped."""

    def __init__(self, feed: Feed, source: Source, ended: Callable[[str, str], None]) -> None:
        """Describe a capture.

        Args:
            feed: where the samples go.
            source: where they come from.
            ended: called with ``ended`` or ``failed``, and the detail.
        """
        self._feed = feed
        self._source = source
        self._ended = ended
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"source-{feed.name}", daemon=True)

    def start(self) -> None:
        """Begin to capture."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopping.set()
        self._feed.close()
        self._thread.join()

    def _run(self) -> None:
        try:
            for chunk in self._source.chunks(self._stopping.wait):
                if self._stopping.is_set():
                    return
                self._feed.put(chunk)
        except Exception as error:  # whatever a source does, the other streams go on
            log.exception("source %s failed", self._feed.name)
            self._ended("failed", str(error) or type(error).__name__)
        else:
            if not self._stopping.is_set():
                self._ended("ended", "")
