"""A stream in pieces gives the windows of the whole, and none across a break."""

from hypothesis import given
from hypothesis import strategies as st

from edge_bundle.window import Cursor, window_starts

sizes = st.integers(1, 30)
chunks = st.lists(st.integers(0, 50), max_size=20)


def windows(cursor: Cursor, head: int) -> list[int]:
    starts = []
    while cursor.ready(head):
        starts.append(cursor.start)
        cursor.advance()
    return starts


@given(st.integers(0, 300), sizes, sizes)
def test_starts_are_all_whole_windows(samples: int, window: int, hop: int) -> None:
    expected = [n for n in range(0, samples + 1, hop) if n + window <= samples]
    assert list(window_starts(samples, window, hop)) == expected


@given(chunks, sizes, sizes)
def test_any_chunking_gives_the_same_windows(lengths: list[int], window: int, hop: int) -> None:
    cursor, head, starts = Cursor(window, hop), 0, []
    for length in lengths:
        head += length
        starts += windows(cursor, head)
    assert starts == list(window_starts(head, window, hop))


@given(st.lists(st.tuples(chunks, st.booleans()), max_size=6), sizes, sizes)
def test_no_window_spans_a_break_and_none_is_missed_after_it(
    runs: list[tuple[list[int], bool]], window: int, hop: int
) -> None:
    cursor, head, breaks = Cursor(window, hop), 0, [0]
    starts: list[int] = []
    for lengths, broken in runs:
        for length in lengths:
            head += length
            starts += windows(cursor, head)
        if broken:
            stood = cursor.start
            assert cursor.restart(head) == (stood < head)
            assert cursor.start == max(stood, head)
            breaks.append(head)
    assert starts == sorted(set(starts))
    for start in starts:
        assert not any(start < b < start + window for b in breaks)
    if hop <= window:
        # After a break the first whole window begins right at it.
        for begin, end in zip(breaks, [*breaks[1:], head], strict=True):
            expected = [begin + n for n in window_starts(end - begin, window, hop)]
            assert [s for s in starts if begin <= s < end] == expected


def test_restart_behind_the_cursor_moves_nothing() -> None:
    cursor = Cursor(10, 20)
    cursor.advance()
    assert not cursor.restart(15)
    assert not cursor.restart(20)
    assert cursor.start == 20


def test_another_model_goes_on_at_the_window_boundary() -> None:
    cursor = Cursor(10, 5)
    assert windows(cursor, 12) == [0]
    cursor.change(4, 3)
    assert windows(cursor, 16) == [5, 8, 11]
