"""A source's thread: what it gives arrives, and how it ended is known."""

import threading
from collections.abc import Callable, Iterator

import pytest

from edge_agent.capture import Capture
from edge_agent.feed import Feed
from edge_agent.fit import StreamShape
from edge_agent.ring import Chunk, Ring
from edge_bundle.manifest import Channel
from tests.edge_agent.echo import echo
from tests.edge_agent.test_feed import PATIENCE_S, chunk, make_feed, work


class Sensor:
    """Gives chunks, then ends, fails, or waits to be stopped."""

    shape = StreamShape(1000.0, (Channel("a", "g"),))

    def __init__(self, chunks: list[Chunk], then: "Exception | str" = "end") -> None:
        self._chunks = chunks
        self._then = then
        self.waiting = threading.Event()

    def chunks(self, wait: Callable[[float], bool]) -> Iterator[Chunk]:
        yield from self._chunks
        if isinstance(self._then, Exception):
            raise self._then
        if self._then == "wait":
            self.waiting.set()
            assert wait(PATIENCE_S)


class Ending:
    """How a capture said that it ended."""

    def __init__(self) -> None:
        self.said: list[tuple[str, str]] = []
        self.came = threading.Event()

    def __call__(self, state: str, detail: str) -> None:
        self.said.append((state, detail))
        self.came.set()


def test_recording_that_ends_has_been_given_whole() -> None:
    feed, ending = make_feed(100, "block", echo(10, 10)), Ending()
    capture = Capture(feed, Sensor([chunk(0, 15), chunk(15, 15)]), ending)
    capture.start()
    assert ending.came.wait(PATIENCE_S)
    assert ending.said == [("ended", "")]
    assert [m.start for m in work(feed)] == [0, 10, 20]
    capture.stop()


@pytest.mark.parametrize(
    ("error", "detail"), [(OSError("unplugged"), "unplugged"), (TimeoutError(), "TimeoutError")]
)
def test_source_that_fails_says_why(
    error: Exception, detail: str, caplog: pytest.LogCaptureFixture
) -> None:
    ending = Ending()
    capture = Capture(make_feed(100, "block"), Sensor([chunk(0, 5)], error), ending)
    capture.start()
    assert ending.came.wait(PATIENCE_S)
    assert ending.said == [("failed", detail)]
    capture.stop()
    assert "source s failed" in caplog.text


def test_stop_ends_a_source_that_waits_and_says_nothing() -> None:
    sensor, ending = Sensor([chunk(0, 5)], "wait"), Ending()
    capture = Capture(make_feed(100, "block"), sensor, ending)
    capture.start()
    assert sensor.waiting.wait(PATIENCE_S)
    capture.stop()
    assert ending.said == []


def test_stop_ends_a_source_that_is_blocked_by_a_slow_model() -> None:
    feed, ending = make_feed(10, "block", echo(10, 10)), Ending()
    capture = Capture(feed, Sensor([chunk(0, 1000)]), ending)
    capture.start()
    capture.stop()
    assert ending.said == []


def test_feed_needs_no_model() -> None:
    ending = Ending()
    feed = Feed("s", Ring(4, 1, 1000.0), "block", threading.Event())
    capture = Capture(feed, Sensor([chunk(0, 100)]), ending)
    capture.start()
    assert ending.came.wait(PATIENCE_S)
    capture.stop()
