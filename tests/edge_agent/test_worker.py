"""One thread infers for all streams, in turn, and ends when it is told."""

import threading
from collections.abc import Callable
from time import monotonic, sleep

import pytest

from edge_agent.bell import Bell
from edge_agent.clock import WallClock
from edge_agent.feed import Feed, Policy
from edge_agent.ring import Ring
from edge_agent.slot import Made, Slot
from edge_agent.worker import Worker
from tests.edge_agent.echo import echo, read, seen
from tests.edge_agent.test_feed import PATIENCE_S, chunk, make_feed


class Inbox:
    """Takes predictions, and lets a test wait for so many of them."""

    def __init__(self, wanted: int) -> None:
        self.made: list[Made] = []
        self.full = threading.Event()
        self._wanted = wanted

    def give(self, made: Made) -> None:
        self.made.append(made)
        if len(self.made) == self._wanted:
            self.full.set()


def run_worker(feeds: list[Feed], wanted: int) -> list[Made]:
    wake, inbox = Bell(), Inbox(wanted)
    wake.ring()
    worker = Worker(feeds, wake, inbox.give)
    worker.start()
    assert inbox.full.wait(PATIENCE_S)
    worker.stop()
    return inbox.made


def test_every_window_of_every_stream_is_given_and_none_starves() -> None:
    long, short = (make_feed(1000, "block", echo(10, 10)) for _ in range(2))
    long.put(chunk(0, 1000))
    short.put(chunk(5000, 30))
    made = run_worker([long, short], 103)
    # Due by their samples' time, then in turn: a model that ran is due again a hop later.
    assert [seen(m)[0] for m in made if seen(m)[0] >= 5000] == [5000, 5010, 5020]
    assert [seen(m)[0] for m in made if seen(m)[0] < 5000] == list(range(0, 1000, 10))


def test_model_that_fails_leaves_the_others_running() -> None:
    def crash(_call: int) -> bool:
        raise RuntimeError("nobody thought of this")

    feed = make_feed(1000, "block", echo(10, 10, fails=crash), echo(10, 10))
    feed.put(chunk(0, 100))
    made = run_worker([feed], 10)
    assert {m.model for m in made} == {"echo1"}


def test_model_offered_while_nothing_comes_takes_its_place() -> None:
    feed = make_feed(1000, "block", echo(10, 10))
    (slot,) = feed.slots
    wake = Bell()
    worker = Worker([feed], wake, lambda _made: None)
    worker.start()
    slot.offer(echo(20, 20, "2.0.0"))
    for _ in range(100):
        wake.ring()
        if feed.drained():
            break
        threading.Event().wait(0.01)
    worker.stop()
    assert slot.running is not None
    assert slot.running.bundle.manifest.version == "2.0.0"


@pytest.mark.parametrize("beside", [False, True])
def test_stream_that_is_held_waits_and_loses_nothing_while_others_go_on(
    beside: bool,
) -> None:
    feed = make_feed(1000, "block", echo(10, 10))
    other = make_feed(1000, "block", *([echo(7, 7)] if beside else []))
    wake, holds = Bell(), threading.Event()
    feed.held = holds.is_set
    for each in (feed, other):
        each.put(chunk(0, 70))

    def give(one: Made) -> None:
        if one.model == "echo0" and one.start == 20:  # the third window
            holds.set()

    worker = Worker([feed, other], wake, give)
    worker.start()
    wake.ring()
    wait_for(other.drained, wake)
    wait_for(holds.is_set, wake)
    for _ in range(20):
        wake.ring()
        threading.Event().wait(0.002)
    assert feed.slots[0].seq == 3
    holds.clear()
    wait_for(feed.drained, wake)
    worker.stop()
    assert feed.slots[0].seq == 7


@pytest.mark.parametrize("policy", ["drop_oldest", "block"])
def test_slow_model_does_not_keep_a_fast_one_waiting(policy: Policy) -> None:
    begun, finish = threading.Event(), threading.Event()

    def hang(call: int) -> bool:
        if call > 1:  # the first window showed how long one takes
            begun.set()
            assert finish.wait(PATIENCE_S)
        else:
            threading.Event().wait(0.05)
        return False

    slow, fast = make_feed(100, "drop_oldest", echo(10, 10, fails=hang)), fast_feed(policy)
    wake, inbox = Bell(), Inbox(7)
    worker = Worker([slow, fast], wake, inbox.give)
    worker.start()
    for at in (0, 10):
        slow.put(chunk(at, 10))
        fast.put(chunk(at, 10))
        wake.ring()
        while len(inbox.made) < 2:
            threading.Event().wait(0.01)
    assert begun.wait(PATIENCE_S)
    fast.put(chunk(20, 40))
    wake.ring()
    while len(inbox.made) < 7:
        threading.Event().wait(0.01)
    assert [seen(m)[0] for m in inbox.made if m.stream == "fast"] == [0, 10, 20, 30, 40, 50]
    finish.set()
    worker.stop()
    assert [seen(m)[0] for m in inbox.made if m.stream == "s"] == [0, 10]


def test_one_bad_moment_costs_one_window(caplog: pytest.LogCaptureFixture) -> None:
    def give(made: Made) -> None:
        if len(given) in bad:
            bad.discard(len(given))
            raise MemoryError("one bad moment")
        given.append(made)

    bad, given = {2, 3, 5}, list[Made]()
    feed = make_feed(1000, "block", echo(10, 10))
    (slot,) = feed.slots
    wake = Bell()
    worker = Worker([feed], wake, give)
    worker.start()
    feed.put(chunk(0, 100))
    wait_for(lambda: len(given) == 7, wake)
    worker.stop()
    assert [seen(m)[0] for m in given] == [0, 10, 30, 50, 60, 80, 90]
    assert [read(m).quality for m in given] == ["ok", "ok", "gap", "gap", "ok", "gap", "ok"]
    assert slot.tally.failed == 3
    assert [r.getMessage() for r in caplog.records] == ["model echo0: a window failed"]


def test_whatever_goes_wrong_with_the_windows_of_a_trial_ends_it() -> None:
    def give(made: Made) -> None:
        if read(made).model.version == "2.0.0":
            raise ValueError("it cannot be sent")
        given.append(read(made).model.version)

    left: list[str] = []
    given = list[str]()
    feed = Feed("s", Ring(1000, 1, 1000.0), "block", Bell())
    slot = Slot("echo", "s", "boot", WallClock(), lambda _slot, _loaded, why: left.append(why))
    feed.add(slot)
    slot.offer(echo(10, 10))
    feed.take(slot)
    slot.offer(echo(10, 10, "2.0.0"), trial=True)
    wake = Bell()
    worker = Worker([feed], wake, give)
    worker.start()
    feed.put(chunk(0, 30))
    wait_for(lambda: len(given) == 2, wake)
    worker.stop()
    assert left == ["ValueError: it cannot be sent"]
    assert given == ["1.0.0", "1.0.0"]


def test_model_whose_windows_cannot_be_taken_keeps_no_other_waiting(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def take(_ring: Ring) -> bool:
        raise IndexError("nobody thought of this")

    broken, good = (make_feed(1000, "block", echo(10, 10)) for _ in range(2))
    monkeypatch.setattr(broken.slots[0], "take", take)
    wake, inbox = Bell(), Inbox(10)
    worker = Worker([broken, good], wake, inbox.give)
    worker.start()
    for feed in (broken, good):
        feed.put(chunk(0, 100))
    wait_for(lambda: len(inbox.made) == 10, wake)
    worker.stop()
    assert broken.slots[0].tally.failed
    assert len(caplog.records) == 1


def test_long_window_that_goes_wrong_is_not_the_last_of_its_model() -> None:
    def give(made: Made) -> None:
        if made.stream == "s" and len(inbox.made) >= 2:
            slow_given.append(made)
            raise MemoryError("one bad moment")
        inbox.give(made)

    def last(_call: int) -> bool:
        sleep(0.05)
        return False

    slow_given: list[Made] = []
    slow = make_feed(1000, "drop_oldest", echo(10, 10, fails=last))
    wake, inbox = Bell(), Inbox(2)
    worker = Worker([slow, fast_feed("drop_oldest")], wake, give)
    worker.start()
    slow.put(chunk(0, 10))
    worker._places[1][0].put(chunk(0, 10))
    wait_for(lambda: len(inbox.made) == 2, wake)
    slow.put(chunk(10, 30))
    wait_for(lambda: len(slow_given) == 3, wake)
    assert worker._second is not None
    worker.stop()
    assert [seen(m)[0] for m in slow_given] == [10, 20, 30]


def test_what_ends_a_thread_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def end(*_more: object) -> None:
        raise ZeroDivisionError("a bug")

    feeds = [make_feed(1000, "block", echo(10, 10)) for _ in range(2)]
    told: list[BaseException] = []
    monkeypatch.setattr(feeds[0], "job", end)
    wake = Bell()
    worker = Worker(feeds, wake, lambda _made: None, told.append)
    worker.start()
    wait_for(lambda: bool(told), wake)
    worker.stop()
    assert [str(e) for e in told] == ["a bug"]


def wait_for(done: Callable[[], bool], wake: Bell) -> None:
    """Wake a worker until something has happened."""
    until_s = monotonic() + PATIENCE_S
    while not done():
        assert monotonic() < until_s
        wake.ring()
        sleep(0.01)


def fast_feed(policy: Policy) -> Feed:
    feed = Feed("fast", Ring(1000, 1, 1000.0), policy, Bell())
    slot = Slot("echo", "fast", "boot", WallClock())
    slot.late = "keep"
    slot.offer(echo(10, 10))
    feed.add(slot)
    feed.take(slot)
    return feed
