"""The ring gives back what it was given, and knows every place that no window may span."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.ring import MAX_BREAKS, Chunk, Ring
from edge_bundle.tensor import Float32Array

MS = 1_000_000


def column(*values: float) -> Float32Array:
    return np.asarray(values, np.float32).reshape(-1, 1)


def held(ring: Ring) -> list[float]:
    out = np.empty((ring.head - ring.tail, 1), np.float32)
    if len(out):
        ring.read(ring.tail, len(out), out.data.cast("B"))
    return list(out[:, 0].tolist())


@given(capacity=st.integers(1, 9), sizes=st.lists(st.integers(0, 23), max_size=12))
def test_last_samples_and_their_times_are_held_across_wrap_around(
    capacity: int, sizes: list[int]
) -> None:
    ring = Ring(capacity, 1, 1000.0)
    total = 0
    for size in sizes:
        values = np.arange(total, total + size, dtype=np.float32).reshape(-1, 1)
        total += size
        ring.append(Chunk(values, total * MS))
        expected = list(range(max(0, total - capacity), total))
        assert held(ring) == expected
        assert [ring.time_ns(p) for p in expected] == [(p + 1) * MS for p in expected]
    assert (ring.head, ring.breaks, ring.lost) == (total, 0, 0)


@given(
    capacity=st.integers(1, 70),
    chunks=st.lists(st.tuples(st.integers(0, 12), st.integers(0, 50)), max_size=30)
    | st.lists(st.tuples(st.integers(0, 2), st.integers(0, 5)), max_size=300)
    # Runs of long chunks are dropped before there are too many of the short ones.
    | st.builds(
        lambda long, short: [(20, 0)] * long + short,
        st.integers(1, 40),
        st.lists(st.tuples(st.integers(1, 2), st.integers(0, 50)), min_size=10, max_size=80),
    ),
)
def test_each_sample_has_the_time_that_its_own_chunk_gave_it(
    capacity: int, chunks: list[tuple[int, int]]
) -> None:
    ring, times, now = Ring(capacity, 1, 1000.0), dict[int, int](), 0
    for size, pause in chunks:
        now += (size + pause) * MS
        times |= {ring.head + i: now - (size - 1 - i) * MS for i in range(size)}
        ring.append(Chunk(np.zeros((size, 1), np.float32), now))
        held = range(ring.tail, ring.head)
        assert [ring.time_ns(p) for p in held] == [times[p] for p in held]


def test_times_take_little_memory_where_chunks_are_long() -> None:
    tracemalloc.start()
    try:
        ring = Ring(480_000, 1, 16_000.0)
        for end in range(1, 3001):
            ring.append(Chunk(np.ones((320, 1), np.float32), end * 20 * MS))
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken < 480_000 * 4 + 100_000, "the samples, and a little"
    assert ring.time_ns(ring.tail) == (3000 - 1500) * 20 * MS + MS // 16


def test_positions_beyond_32_bits_are_told_apart() -> None:
    ring = Ring(7, 1, 1000.0)
    ring.head = (1 << 32) - 3
    ring.append(Chunk(column(1, 2, 3, 4, 5, 6, 7), 7 * MS))
    assert ring.head == (1 << 32) + 4
    assert held(ring) == [1, 2, 3, 4, 5, 6, 7]
    assert ring.time_ns((1 << 32) + 3) == 7 * MS


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_samples_that_are_not_finite_are_lost_where_they_stood(bad: float) -> None:
    ring = Ring(16, 1, 1000.0)
    ring.append(Chunk(column(bad, 1, 2, bad, bad, 3, bad), 7 * MS))
    assert held(ring) == [1, 2, 3]
    assert ring.breaks_since(0) == [(1, 0, 1), (2, 2, 3), (3, 3, 4)]
    assert [ring.time_ns(p) for p in range(3)] == [2 * MS, 3 * MS, 6 * MS]


def test_one_bad_channel_makes_the_sample_bad() -> None:
    ring = Ring(16, 2, 1000.0)
    ring.append(Chunk(np.asarray([[1, 1], [2, np.nan], [3, 3]], np.float32), 3 * MS))
    assert (ring.head, ring.lost, ring.breaks_since(0)) == (2, 1, [(1, 1, 1)])


def test_infinities_of_both_signs_and_sums_that_overflow_raise_no_warning() -> None:
    ring = Ring(16, 1, 1000.0)
    ring.append(Chunk(column(np.inf, -np.inf), MS))
    ring.append(Chunk(column(3e38, 3e38), 2 * MS))
    assert (ring.head, ring.lost) == (2, 2)


def test_chunk_that_only_tells_a_loss_is_a_break() -> None:
    ring = Ring(16, 1, 1000.0)
    ring.append(Chunk(column(1), MS))
    ring.append(Chunk(np.empty((0, 1), np.float32), 3 * MS, lost=2))
    ring.append(Chunk(column(np.nan), 4 * MS, lost=5, restart=True))
    assert ring.breaks_since(0) == [(1, 1, 2), (2, 1, 8)]
    assert ring.breaks_since(1) == [(2, 1, 8)]
    assert ring.breaks_since(2) == []


def test_totals_stay_right_where_more_breaks_came_than_are_remembered() -> None:
    ring = Ring(8, 1, 1000.0)
    for n in range(MAX_BREAKS + 10):
        ring.append(Chunk(column(n), n * MS, lost=2))
    found = ring.breaks_since(0)
    assert len(found) == MAX_BREAKS
    assert found[0][0] == 11
    assert found[-1] == (MAX_BREAKS + 10, MAX_BREAKS + 9, 2 * (MAX_BREAKS + 10))


@given(count=st.integers(1, 9))
def test_pieces_of_a_chunk_say_the_same_as_the_whole(count: int) -> None:
    ring = Ring(16, 1, 1000.0)
    rest: Chunk | None = Chunk(column(*range(8)), 8 * MS, lost=3, restart=True)
    while rest is not None:
        piece, rest = ring.split(rest, count)
        ring.append(piece)
    assert held(ring) == list(range(8))
    assert [ring.time_ns(p) for p in range(8)] == [(p + 1) * MS for p in range(8)]
    assert ring.breaks_since(0) == [(1, 0, 3)]
