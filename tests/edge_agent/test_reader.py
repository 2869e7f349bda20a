"""A stream in pieces gives the windows of the whole, and none across a break."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.reader import Reader
from edge_agent.ring import Chunk, Ring
from edge_bundle.manifest import Channel, Stream
from edge_bundle.window import window_starts

MS = 1_000_000
sizes = st.integers(1, 30)
chunks = st.lists(st.integers(0, 50), max_size=20)


def stream(window: int, hop: int) -> Stream:
    return Stream(rate_hz=1000.0, channels=(Channel("a", "g"),), window=window, hop=hop)


class Bench:
    """A stream whose every sample is its position, and a reader on it."""

    def __init__(self, window: int, hop: int, capacity: int = 4096) -> None:
        self.ring = Ring(capacity, 1, 1000.0)
        self.reader = Reader()
        self.reader.enter(self.ring)
        self.reader.change(stream(window, hop))

    def push(self, count: int, restart: bool = False) -> None:
        first = self.ring.head
        samples = np.arange(first, first + count, dtype=np.float32).reshape(-1, 1)
        self.ring.append(Chunk(samples, (first + count - 1) * MS, restart=restart))

    def starts(self) -> list[int]:
        """Take what there is, and check that it is what its position and time say."""
        starts, reader = [], self.reader
        while reader.take(self.ring, None):
            end = reader.start + len(reader.window)
            assert reader.window[:, 0].tolist() == list(range(reader.start, end))
            assert reader.end_ns == (end - 1) * MS
            starts.append(reader.start)
            reader.settle()
        assert reader.idle(self.ring)
        return starts


@given(chunks, sizes, sizes)
def test_any_chunking_gives_the_same_windows(lengths: list[int], window: int, hop: int) -> None:
    bench, starts = Bench(window, hop), list[int]()
    for length in lengths:
        bench.push(length)
        starts += bench.starts()
    assert starts == list(window_starts(sum(lengths), window, hop))


@given(st.lists(st.tuples(chunks, st.booleans()), max_size=6), sizes, sizes)
def test_no_window_spans_a_break_and_none_is_missed_after_it(
    runs: list[tuple[list[int], bool]], window: int, hop: int
) -> None:
    bench, breaks, starts = Bench(window, hop, 1 << 13), [0], list[int]()
    for lengths, broken in runs:
        for length in lengths:
            bench.push(length)
            starts += bench.starts()
        if broken:
            breaks.append(bench.ring.head)
            bench.push(0, restart=True)
    assert starts == sorted(set(starts))
    for start in starts:
        assert not any(start < b < start + window for b in breaks)
    if hop <= window:
        # After a break the first whole window begins right at it.
        for begin, end in zip(breaks, [*breaks[1:], bench.ring.head], strict=True):
            expected = [begin + n for n in window_starts(end - begin, window, hop)]
            assert [s for s in starts if begin <= s < end] == expected


@given(st.integers(1, 12), st.integers(1, 12), st.lists(st.integers(0, 40), max_size=12))
def test_what_was_overwritten_is_counted_and_nothing_else_is_missed(
    window: int, hop: int, lengths: list[int]
) -> None:
    bench, covered, lost = Bench(window, hop, capacity=20), 0, 0
    for length in lengths:
        bench.push(length)
        while bench.reader.take(bench.ring, None):
            if hop <= window:
                lost += max(0, bench.reader.start - covered)
            covered = bench.reader.start + window
            assert bench.reader.gap or not bench.reader.lost
            lost -= bench.reader.lost if hop <= window else 0
            bench.reader.settle()
    assert lost == 0


def test_another_model_goes_on_at_the_window_boundary() -> None:
    bench = Bench(10, 5)
    bench.push(12)
    assert bench.starts() == [0]
    bench.reader.change(stream(4, 3))
    bench.push(4)
    assert bench.starts() == [5, 8, 11]


def test_a_window_that_is_given_back_is_taken_once_more() -> None:
    bench = Bench(4, 4)
    bench.push(8)
    assert bench.reader.take(bench.ring, None)
    bench.reader.give_back()
    assert bench.starts() == [0, 4]


def test_windows_are_written_to_the_memory_that_is_given() -> None:
    bench = Bench(4, 4)
    bench.push(8)
    assert bench.reader.take(bench.ring, None)
    memory = np.zeros((4, 1), np.float32)
    bench.reader.change(stream(4, 4), memory)
    assert bench.reader.window is memory
    assert memory[:, 0].tolist() == [0, 1, 2, 3], "what was taken is there for another model"
    assert bench.starts() == [4]
    assert memory[:, 0].tolist() == [4, 5, 6, 7]
