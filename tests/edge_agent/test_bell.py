"""A bell wakes who waits, and no ring is missed."""

import threading
from collections import deque

import pytest

from edge_agent.bell import Bell

PATIENCE_S = 10.0


def test_a_ring_before_the_wait_is_heard_once() -> None:
    bell = Bell()
    bell.ring()
    bell.ring()
    assert bell.wait(0)
    assert not bell.wait(0)


def test_nothing_is_heard_where_nobody_rang() -> None:
    assert not Bell().wait(0.01)


@pytest.mark.parametrize("ringers", [1, 3])
def test_what_was_left_before_a_ring_is_found(ringers: int) -> None:
    count, bell, left = 3000, Bell(), deque[int]()
    done = threading.Event()

    def ring() -> None:
        for number in range(count):
            left.append(number)
            bell.ring()

    def hear() -> None:
        found = 0
        while found < ringers * count and bell.wait(PATIENCE_S):
            while left:
                left.popleft()
                found += 1
        if found == ringers * count:
            done.set()

    threads = [threading.Thread(target=hear)]
    threads += [threading.Thread(target=ring) for _ in range(ringers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert done.is_set()
