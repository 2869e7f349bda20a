"""A source's thread: what it gives arrives, and how it ended is known."""

import ctypes
import math
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from msgspec.structs import replace

from edge_agent import retry
from edge_agent.bell import Bell
from edge_agent.capture import Capture
from edge_agent.feed import Feed
from edge_agent.fit import StreamShape
from edge_agent.ring import Chunk, Ring
from edge_bundle.errors import RecordingRefused
from edge_bundle.manifest import Channel
from tests.edge_agent.echo import MS, echo, read, seen
from tests.edge_agent.test_feed import PATIENCE_S, chunk, make_feed, work

PR_GET_TIMERSLACK = 30


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

    def __init__(self, wanted: int = 1) -> None:
        self.said: list[tuple[str, str]] = []
        self.came = threading.Event()
        self._wanted = wanted

    def __call__(self, state: str, detail: str) -> None:
        self.said.append((state, detail))
        if len(self.said) == self._wanted:
            self.came.set()


def test_recording_that_ends_has_been_given_whole() -> None:
    feed, ending = make_feed(100, "block", echo(10, 10)), Ending()
    capture = Capture(feed, Sensor([chunk(0, 15), chunk(15, 15)]), ending)
    capture.start()
    assert ending.came.wait(PATIENCE_S)
    assert ending.said == [("ended", "")]
    assert [m.start for m in work(feed)] == [0, 10, 20]
    capture.stop()


class Paced:
    """Asks for the time between its samples, and remembers how its thread is woken."""

    shape = StreamShape(1000.0, (Channel("a", "g"),))

    def __init__(self, seconds: list[float]) -> None:
        self._seconds = seconds
        self.answers: list[bool] = []
        self.slack_ns = -1

    def chunks(self, wait: Callable[[float], bool]) -> Iterator[Chunk]:
        self.slack_ns = ctypes.CDLL(None).prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0)
        for number, seconds in enumerate(self._seconds):
            self.answers.append(wait(seconds))
            yield chunk(number, 1)


def test_source_is_woken_when_it_asked_for() -> None:
    feed, ending = make_feed(100, "block", echo(10, 10)), Ending()
    source = Paced([0.005, -1.0, 0.03])
    capture = Capture(feed, source, ending)
    began = time.monotonic()
    capture.start()
    assert ending.came.wait(PATIENCE_S)
    assert time.monotonic() - began >= 0.035
    assert source.answers == [False, False, False]
    assert source.slack_ns == 1
    capture.stop()


@pytest.mark.parametrize("seconds", [0.001, PATIENCE_S, 1e12, math.inf])
def test_source_that_waits_is_stopped(seconds: float) -> None:
    feed, ending = make_feed(100, "drop_oldest", echo(10, 10)), Ending()
    source = Paced([seconds] * 100_000)
    capture = Capture(feed, source, ending)
    capture.start()
    time.sleep(0.02)
    began = time.monotonic()
    capture.stop()
    assert time.monotonic() - began < 1
    assert not any(source.answers[:-1])
    assert ending.said == []


def test_recording_shorter_than_a_window_says_so_when_it_ends() -> None:
    feed, ending = make_feed(100, "block", echo(10, 10), echo(40, 10)), Ending()
    capture = Capture(feed, Sensor([chunk(0, 35)]), ending)
    capture.start()
    assert ending.came.wait(PATIENCE_S)
    assert ending.said == [("ended", "too short for one window of echo1")]
    assert [m.start for m in work(feed)] == [0, 10, 20]
    capture.stop()


def test_stream_whose_pieces_are_all_shorter_than_a_window_says_so_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("edge_agent.capture.TELL_S", 0.0)
    feed, ending = make_feed(1000, "drop_oldest", echo(10, 10), echo(9, 9)), Ending()
    pieces = [replace(chunk(9 * n, 9), lost=1) for n in range(30)]
    sensor = Sensor(pieces, "wait")
    capture = Capture(feed, sensor, ending)
    capture.start()
    assert sensor.waiting.wait(PATIENCE_S)
    work(feed)
    capture.stop()
    why = "no whole window of echo0 in the last 100 samples: there are too many gaps"
    assert ending.said == [("running", why)]


@pytest.mark.parametrize(
    ("error", "detail"), [(OSError("unplugged"), "unplugged"), (TimeoutError(), "TimeoutError")]
)
def test_source_that_fails_says_why_and_is_tried_again(error: Exception, detail: str) -> None:
    ending = Ending()
    capture = Capture(make_feed(100, "block"), Sensor([chunk(0, 5)], error), ending)
    capture.start()
    assert ending.came.wait(PATIENCE_S)
    assert ending.said == [("retrying", detail)]
    capture.stop()  # does not wait for the next try


class Absent(Sensor):
    """Is never there; remembers when it was looked for."""

    def __init__(self) -> None:
        super().__init__([])
        self.tried_s: list[float] = []

    def chunks(self, _wait: Callable[[float], bool]) -> Iterator[Chunk]:
        self.tried_s.append(time.monotonic())
        raise OSError("unplugged")


def test_source_that_stays_away_is_looked_for_at_longer_and_longer_times(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(retry, "FIRST_S", 0.02)
    monkeypatch.setattr(retry, "JITTER", 0.0)
    source = Absent()
    capture = Capture(make_feed(100, "block"), source, Ending())
    capture.start()
    deadline = time.monotonic() + PATIENCE_S
    while len(source.tried_s) < 5 and time.monotonic() < deadline:
        time.sleep(0.005)
    capture.stop()
    waited_s = np.diff(source.tried_s[:5])
    assert len(waited_s) == 4
    assert all(waited_s >= [0.02, 0.04, 0.08, 0.16])


def test_source_that_cannot_be_used_is_not_tried_again() -> None:
    ending = Ending()
    capture = Capture(make_feed(100, "block"), Sensor([], RecordingRefused("no sample")), ending)
    capture.start()
    assert ending.came.wait(PATIENCE_S)
    capture._thread.join(PATIENCE_S)
    assert not capture._thread.is_alive()
    assert ending.said == [("failed", "no sample")]


class Plugged(Sensor):
    """Fails so many times, each time after one chunk; then gives the rest and ends."""

    def __init__(self, chunks: list[Chunk], failures: int, given_before: int) -> None:
        super().__init__(chunks)
        self._failures = failures
        self._left = list(chunks)
        self._given_before = given_before

    def chunks(self, _wait: Callable[[float], bool]) -> Iterator[Chunk]:
        for _ in range(self._given_before):
            yield self._left.pop(0)
        if self._failures:
            self._failures -= 1
            self._given_before = 0
            raise OSError("unplugged")
        yield from self._left

    def problems(self) -> str:
        return "worn out"


def test_device_that_comes_back_is_a_gap(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(retry, "FIRST_S", 0.02)
    feed, ending = make_feed(100, "block", echo(10, 10)), Ending(wanted=4)
    source = Plugged([chunk(0, 25), chunk(40, 20)], failures=3, given_before=1)
    capture = Capture(feed, source, ending)
    capture.start()
    assert ending.came.wait(PATIENCE_S)
    assert ending.said == [
        ("running", "worn out"),
        ("retrying", "unplugged"),
        ("running", "worn out"),
        ("ended", "worn out"),
    ]
    made = work(feed)
    assert [seen(m) for m in made] == [(0, 9), (10, 19), (40, 49), (50, 59)]
    assert [(read(m).lost_samples, read(m).quality) for m in made] == [
        (0, "ok"),
        (0, "ok"),
        (15, "gap"),
        (0, "ok"),
    ]
    capture.stop()
    assert caplog.text == "", "all of it is told"


def test_error_that_nobody_thought_of_says_once_where_it_happened(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(retry, "FIRST_S", 0.001)
    sensor, ending = Sensor([], ZeroDivisionError("a bug")), Ending()
    capture = Capture(make_feed(100, "block"), sensor, ending)
    capture.start()
    assert ending.came.wait(PATIENCE_S)
    threading.Event().wait(0.05)
    capture.stop()
    assert ending.said == [("retrying", "a bug")]
    assert caplog.text.count("Traceback") == 1


def test_other_streams_go_on_while_one_is_tried_again() -> None:
    broken, whole = Ending(), Ending()
    bad = Capture(make_feed(100, "block"), Sensor([], OSError("unplugged")), broken)
    feed = make_feed(100, "block", echo(10, 10))
    good = Capture(feed, Sensor([chunk(0, 30)]), whole)
    bad.start()
    good.start()
    assert broken.came.wait(PATIENCE_S)
    assert whole.came.wait(PATIENCE_S)
    assert [m.start for m in work(feed)] == [0, 10, 20]
    bad.stop()
    good.stop()
    assert broken.said == [("retrying", "unplugged")]


def test_samples_of_another_width_are_lost_and_told_and_the_stream_goes_on() -> None:
    feed, ending = make_feed(100, "block", echo(10, 10)), Ending()
    wide = Chunk(np.zeros((5, 3), np.float32), 25 * MS)
    capture = Capture(feed, Sensor([chunk(0, 20), wide, chunk(25, 20)]), ending)
    capture.start()
    assert ending.came.wait(PATIENCE_S)
    assert ending.said == [("ended", "5 samples of 3 channels instead of 1")]
    made = work(feed)
    assert [seen(m) for m in made] == [(0, 9), (10, 19), (25, 34), (35, 44)]
    assert [read(m).lost_samples for m in made] == [0, 0, 5, 0]
    capture.stop()


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
    feed = Feed("s", Ring(4, 1, 1000.0), "block", Bell())
    capture = Capture(feed, Sensor([chunk(0, 100)]), ending)
    capture.start()
    assert ending.came.wait(PATIENCE_S)
    capture.stop()
