"""Every whole window of a run begins a hop after the one before."""

from hypothesis import given
from hypothesis import strategies as st

from edge_bundle.window import window_starts

sizes = st.integers(1, 30)


@given(st.integers(0, 300), sizes, sizes)
def test_starts_are_all_whole_windows(samples: int, window: int, hop: int) -> None:
    expected = [n for n in range(0, samples + 1, hop) if n + window <= samples]
    assert list(window_starts(samples, window, hop)) == expected
