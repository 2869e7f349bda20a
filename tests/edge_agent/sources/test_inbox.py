"""Messages that wait are bounded in number and in bytes, and say what is missing before them."""

import threading
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.sources import inbox as module
from edge_agent.sources.inbox import Arrival, Inbox


def drain(inbox: Inbox) -> list[Arrival]:
    return list(iter(lambda: inbox.get(0), None))


def test_messages_come_out_in_order_with_their_times() -> None:
    inbox = Inbox(10)
    inbox.put(b"a", 1)
    inbox.put(b"b", 2)
    assert drain(inbox) == [Arrival(b"a", 1, 0), Arrival(b"b", 2, 0)]


def test_message_that_is_too_large_is_not_kept_and_the_next_says_so() -> None:
    inbox = Inbox(3)
    for payload in (b"one", b"four", b"five", b"six"):
        inbox.put(payload, 0)
    assert [(a.payload, a.missed) for a in drain(inbox)] == [(b"one", 0), (b"six", 2)]
    assert (inbox.oversize, inbox.overrun) == (2, 0)


@pytest.mark.parametrize(("limit", "value"), [("WAITING", 2), ("WAITING_BYTES", 5)])
def test_what_there_is_no_room_for_is_not_kept_and_the_next_says_so(
    limit: str, value: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, limit, value)
    inbox = Inbox(10)
    for n in range(5):
        inbox.put(b"%02d" % n, n)
    assert [(a.payload, a.missed) for a in drain(inbox)] == [(b"00", 0), (b"01", 0)]
    inbox.put(b"05", 5)
    assert inbox.get(0) == Arrival(b"05", 5, 3)
    assert (inbox.oversize, inbox.overrun) == (0, 3)


def test_largest_messages_wait_in_bounded_memory() -> None:
    inbox = Inbox(1 << 20)
    for _ in range(1000):
        inbox.put(bytes(1 << 20), 0)
    assert sum(len(a.payload) for a in drain(inbox)) <= module.WAITING_BYTES


def test_reader_is_woken_by_a_message() -> None:
    inbox = Inbox(10)
    threading.Timer(0.05, inbox.put, (b"a", 1)).start()
    assert inbox.get(10) == Arrival(b"a", 1, 0)


@given(st.lists(st.none() | st.binary(max_size=8), max_size=60))
def test_every_message_is_kept_or_counted_before_the_next(steps: list[bytes | None]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "WAITING", 4)
        patch.setattr(module, "WAITING_BYTES", 12)
        inbox, got, put = Inbox(6), [], 0
        for step in steps:
            if step is None:
                got += [a for a in [inbox.get(0)] if a]
            else:
                inbox.put(step, put)
                put += 1
        got += drain(inbox)
        inbox.put(b"", put)
        got += drain(inbox)
    assert [a.at_ns for a in got] == [
        n + missed for n, missed in enumerate(accumulate(a.missed for a in got))
    ]
    assert len(got) + inbox.overrun + inbox.oversize == put + 1
