"""Back pressure is a policy: ``block`` loses nothing, ``drop_oldest`` counts what it loses."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf

import numpy as np
import pytest
from msgspec.structs import replace

from edge_agent.bell import Bell
from edge_agent.clock import WallClock
from edge_agent.feed import UNTAKEN_S, Feed, Policy
from edge_agent.ring import Chunk, Ring
from edge_agent.slot import STARVING, Made, Slot
from edge_agent.succession import Loaded
from tests.edge_agent.echo import MS, echo, read, seen

PATIENCE_S = 10


def make_feed(capacity: int, policy: Policy, *models: Loaded, speed: float = 1.0) -> Feed:
    ring = Ring(capacity, 1, 1000.0, speed)
    feed = Feed("s", ring, policy, Bell())
    for i, loaded in enumerate(models):
        slot = Slot(f"echo{i}", "s", "boot", WallClock())
        slot.offer(loaded)
        feed.slots.append(slot)
        feed.take(slot)
    return feed


def chunk(first: int, count: int) -> Chunk:
    values = np.arange(first, first + count, dtype=np.float32).reshape(-1, 1)
    return Chunk(values, (first + count) * MS)


def work(feed: Feed) -> list[Made]:
    made = []
    for slot in feed.slots:
        while feed.take(slot):
            one = slot.predict()
            assert one is not None
            made.append(one)
    return made


@contextmanager
def writing(feed: Feed, chunks: list[Chunk]) -> Iterator[threading.Thread]:
    def write() -> None:
        for each in chunks:
            feed.put(each)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield thread
    finally:
        feed.close()
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


@pytest.mark.parametrize("capacity", [13, 40, 4096])
@pytest.mark.parametrize("size", [1, 7, 13, 500])
@pytest.mark.parametrize(("window", "hop"), [(13, 5), (6, 6), (4, 30)])
def test_block_loses_nothing_whatever_the_chunks(
    capacity: int, size: int, window: int, hop: int
) -> None:
    feed = make_feed(capacity, "block", echo(window, hop))
    made: list[Made] = []
    with writing(feed, [chunk(at, size) for at in range(0, 500, size)]) as thread:
        while thread.is_alive() or not feed.drained():
            made += work(feed)
    starts = range(0, 500 - window + 1, hop)
    assert [seen(m) for m in made][: len(starts)] == [(s, s + window - 1) for s in starts]
    assert {(read(m).lost_samples, read(m).quality) for m in made} == {(0, "ok")}


def test_block_loses_no_window_at_another_rate_whatever_samples_are_missing() -> None:
    # Behind each break resampling begins anew: it gives more than its share.
    feed = make_feed(22, "block", echo(1, 1, rate_hz=100.0, resample="linear"))
    broken = chunk(0, 200)
    broken.samples[1::2] = np.nan
    made: list[Made] = []
    with writing(feed, [broken]) as thread:
        while thread.is_alive() or not feed.drained():
            made += work(feed)
    assert [seen(m)[0] for m in made] == list(range(0, 200, 2))
    assert sum(read(m).skipped_windows for m in made) == 0


def test_block_waits_for_the_slowest_of_two_models() -> None:
    feed = make_feed(20, "block", echo(10, 10), echo(5, 5))
    slow, fast = feed.slots
    with writing(feed, [chunk(at, 5) for at in range(0, 60, 5)]) as thread:
        while fast.seq < 4:
            if feed.take(fast):
                fast.predict()
        assert thread.is_alive()  # 20 samples are written, and the slow model needs them all
        assert not feed.take(fast)
        while thread.is_alive() or not feed.drained():
            work(feed)
    assert (slow.seq, fast.seq) == (6, 12)


def test_samples_stay_while_a_window_may_still_be_needed_by_another_model() -> None:
    feed = make_feed(10, "block", echo(10, 10))
    (slot,) = feed.slots
    feed.put(chunk(0, 10))
    failing = echo(4, 4, "2.0.0", lambda _call: True)
    slot.offer(failing, trial=True)
    assert feed.take(slot)
    with writing(feed, [chunk(10, 10)]) as thread:
        thread.join(0.05)
        assert thread.is_alive()
        assert slot.predict() is None  # falls back, on windows of ten
        made = []
        while thread.is_alive() or not feed.drained():
            made += work(feed)
    assert [seen(m) for m in made] == [(0, 9), (10, 19)]


def test_drop_oldest_never_waits_and_counts_what_it_drops() -> None:
    feed = make_feed(20, "drop_oldest", echo(10, 10))
    for at in range(0, 100, 10):
        feed.put(chunk(at, 10))
    made = work(feed)
    assert [seen(m) for m in made] == [(80, 89), (90, 99)]
    assert [read(m).lost_samples for m in made] == [80, 0]
    assert [read(m).quality for m in made] == ["gap", "ok"]


def test_chunk_larger_than_the_memory_does_not_block_where_no_model_runs() -> None:
    feed = make_feed(10, "block")
    feed.slots.append(Slot("echo", "s", "boot", WallClock()))
    feed.put(chunk(0, 1000))
    assert feed.drained()


def test_close_releases_a_writer_that_waits() -> None:
    feed = make_feed(10, "block", echo(10, 10))
    with writing(feed, [chunk(0, 1000)]) as thread:
        thread.join(0.05)
        assert thread.is_alive()


def broken_chunks(count: int) -> list[Chunk]:
    """Return recordings of five samples each, as one that begins again and again gives them."""
    return [replace(chunk(at, 5), restart=at > 0) for at in range(0, 5 * count, 5)]


def write_as_fast_as_taken(
    monkeypatch: pytest.MonkeyPatch, chunks: list[Chunk], *models: Loaded
) -> tuple[int, list[Made]]:
    """Return how often a writer waited for somebody to take a chunk, and the predictions."""
    waits = []
    wait_for = threading.Condition.wait_for

    def count(
        self: threading.Condition, predicate: Callable[[], bool], timeout: float | None = None
    ) -> bool:
        if timeout == UNTAKEN_S:
            waits.append(predicate())
            return True
        return wait_for(self, predicate, timeout)

    monkeypatch.setattr(threading.Condition, "wait_for", count)
    feed = make_feed(40, "block", *models, speed=inf)
    made: list[Made] = []
    with writing(feed, chunks) as thread:
        while thread.is_alive() or not feed.drained():
            made += work(feed)
    return waits.count(False), made


def test_stream_that_comes_as_fast_as_it_is_taken_waits_where_no_model_takes_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert write_as_fast_as_taken(monkeypatch, broken_chunks(100))[0] == 100


def test_stream_that_comes_as_fast_as_it_is_taken_waits_where_no_window_is_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waits, made = write_as_fast_as_taken(monkeypatch, broken_chunks(100), echo(6, 6))
    assert (waits, made) == (100 - STARVING * 6 // 5, [])


def test_stream_that_comes_as_fast_as_it_is_taken_does_not_wait_for_one_that_gets_no_window(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waits, made = write_as_fast_as_taken(monkeypatch, broken_chunks(100), echo(5, 5), echo(6, 6))
    assert (waits, len(made)) == (0, 100)


def test_put_wakes_the_worker() -> None:
    wake = Bell()
    Feed("s", Ring(10, 1, 1000.0), "block", wake).put(chunk(0, 3))
    assert wake.wait(0)
