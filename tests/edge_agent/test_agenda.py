"""Events are taken in order by one thread; verdicts are also taken in the midst of a long one."""

import threading
from collections.abc import Iterator

import pytest

from edge_agent.agenda import Agenda

PATIENCE_S = 10.0


@pytest.fixture
def agenda() -> Iterator[Agenda]:
    running = Agenda("tested")
    running.start()
    yield running
    running.stop()
    assert not running._thread.is_alive()


def finish(agenda: Agenda) -> None:
    """Wait until everything told so far has been taken."""
    over = threading.Event()
    agenda.put(over.set)
    assert over.wait(PATIENCE_S)


def test_events_are_taken_in_order_after_one_that_fails(
    agenda: Agenda, caplog: pytest.LogCaptureFixture
) -> None:
    taken: list[int] = []

    def fail() -> None:
        raise ZeroDivisionError("nobody thought of it")

    agenda.put(fail)
    for n in range(100):
        agenda.put(lambda n=n: taken.append(n))  # type: ignore[misc]
    finish(agenda)
    assert taken == list(range(100))
    assert [r.getMessage() for r in caplog.records] == ["tested"]


def test_a_verdict_is_heard_once_and_in_the_midst_of_a_long_event(agenda: Agenda) -> None:
    told, heard = threading.Event(), list[str]()

    def work() -> None:
        assert told.wait(PATIENCE_S)
        agenda.hear_verdicts()
        heard.append("long")

    agenda.put(work)
    agenda.put(lambda: heard.append("next"))
    agenda.put_verdict(lambda: heard.append("verdict"))
    told.set()
    finish(agenda)
    assert heard == ["verdict", "long", "next"]


def test_nothing_is_taken_behind_the_event_in_which_it_was_stopped() -> None:
    agenda, taken = Agenda("tested"), list[str]()
    begun = threading.Event()

    def work() -> None:
        begun.set()
        while not agenda.stopping:
            pass
        taken.append("long")

    agenda.put(work)
    agenda.put(lambda: taken.append("next"))
    agenda.start()
    assert begun.wait(PATIENCE_S)
    agenda.stop()
    assert taken == ["long"]


def test_one_that_never_started_stops() -> None:
    agenda = Agenda("tested")
    agenda.stop()
    assert not agenda._thread.is_alive()
