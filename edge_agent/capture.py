"""The thread of one source: from its chunks into the feed, again and again where it fails."""

import logging
import random
import threading
import time
from collections.abc import Callable
from math import inf
from typing import Final

from edge_agent.feed import Feed
from edge_agent.intake import Intake
from edge_agent.process import wake_on_time
from edge_agent.retry import Retry
from edge_agent.sources.source import Source, SourceFailed, Telling
from edge_bundle.errors import ArtifactRefused, ConfigError
from edge_wire.errors import LinkError

SHORT_S: Final = 0.02
"""So long a stop may wait. To sleep is cheaper than to wait for an event, and ends nearer to when
it should."""
TELL_S: Final = 10.0
"""What is wrong with a source's samples is told this often, where it changed."""
FORESEEN: Final = (SourceFailed, LinkError, OSError)
"""What their message says all of."""
Note = Callable[[str, str], None]
"""Takes ``running``, ``retrying``, ``failed`` or ``ended``, and the detail."""

log = logging.getLogger(__name__)


class Capture:
    """Runs one source until it ends or is stopped."""

    def __init__(self, feed: Feed, source: Source, note: Note, speed: float = 1.0) -> None:
        """Describe a capture.

        Args:
            feed: where the samples go.
            source: where they come from.
            note: told what becomes of the source.
            speed: how many times faster than in its own time the source gives its samples.
        """
        self._feed = feed
        self._source = source
        self._note = note
        self._intake = Intake(source.shape, speed)
        self._stopping = threading.Event()
        self._told = ""
        self._tell_at_s = 0.0
        self._failed = False
        self._began_s = inf
        """When the first sample since the last failure came; infinite: none has."""
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
        wake_on_time()
        retry = Retry()
        while not self._stopping.is_set():
            self._began_s = inf
            try:
                self._capture()
            except (ArtifactRefused, ConfigError) as error:  # no time mends these
                self._note("failed", str(error))
                return
            except Exception as error:  # whatever a source does, the other streams go on
                ran_s = max(0.0, time.monotonic() - self._began_s)
                delay_s = retry.failed(ran_s, random.random())  # noqa: S311
                self._fail(error)
                self._stopping.wait(delay_s)
            else:
                if not self._stopping.is_set():
                    starved = ", ".join(self._feed.starved())
                    short = f"too short for one window of {starved}" if starved else ""
                    self._note("ended", "; ".join(s for s in (self._problems(), short) if s))
                return

    def _capture(self) -> None:
        for chunk in self._source.chunks(self._wait):
            if self._stopping.is_set():
                return
            if (good := self._intake.accept(chunk)) is not None:
                self._began_s = min(self._began_s, time.monotonic())
                if self._failed:
                    self._failed = False
                    self._told = self._problems()
                    self._note("running", self._told)
                self._feed.put(good)
            self._tell()

    def _fail(self, error: Exception) -> None:
        why = str(error) or type(error).__name__
        self._intake.interrupted()
        if not self._failed or why != self._told:  # one that stays away would fill the log
            if not isinstance(error, FORESEEN):
                log.error("source %s", self._feed.name, exc_info=error)
            self._note("retrying", why)
        self._failed, self._told = True, why

    def _wait(self, seconds: float) -> bool:
        self._tell()
        if seconds > SHORT_S:
            return self._stopping.wait(min(seconds, threading.TIMEOUT_MAX))
        time.sleep(max(0.0, seconds))
        return self._stopping.is_set()

    def _tell(self) -> None:
        now_s = time.monotonic()
        if now_s < self._tell_at_s or self._failed:
            return
        self._tell_at_s = now_s + TELL_S
        problems = self._problems()
        if problems != self._told:
            self._told = problems
            self._note("running", problems)

    def _problems(self) -> str:
        said = [self._intake.problems()]
        if isinstance(self._source, Telling):
            said.insert(0, self._source.problems())
        said += [
            f"no whole window of {model} in the last {samples} samples: there are too many gaps"
            for model, samples in self._feed.starving().items()
        ]
        return "; ".join(s for s in said if s)
