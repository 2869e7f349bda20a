"""A doorbell wakes who polls, once for however many rings, and never rings elsewhere."""

import select
import threading
from collections.abc import Iterator

import pytest

from edge_wire.doorbell import Doorbell


@pytest.fixture
def doorbell() -> Iterator[Doorbell]:
    made = Doorbell()
    yield made
    made.close()


def heard(doorbell: Doorbell, wait_s: float = 0.0) -> bool:
    return bool(select.select([doorbell.ear], [], [], wait_s)[0])


def test_however_often_it_is_rung_one_look_hears_all(doorbell: Doorbell) -> None:
    assert not heard(doorbell)
    for _ in range(100_000):  # more than a socket holds
        doorbell.ring()
    assert heard(doorbell)
    doorbell.hush(heard=True)
    assert not heard(doorbell)
    doorbell.ring()
    assert heard(doorbell)


def test_who_polls_is_woken_by_another_thread(doorbell: Doorbell) -> None:
    ringer = threading.Timer(0.05, doorbell.ring)
    ringer.start()
    assert heard(doorbell, 10)
    ringer.join()


def test_ring_that_comes_while_one_looks_around_is_heard_later(doorbell: Doorbell) -> None:
    doorbell.hush(heard=False)
    doorbell.ring()
    assert heard(doorbell)


def test_ring_behind_its_end_reaches_nobody(doorbell: Doorbell) -> None:
    doorbell.close()
    later = Doorbell()  # has the descriptors of the one before
    doorbell.ring()
    assert not heard(later)
    later.close()
