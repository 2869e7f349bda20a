"""Golden windows stand for all classes."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from convert.evidence import choose_golden
from convert.windows import spread

LABELS = st.lists(st.sampled_from("abcdefg"), min_size=1, max_size=200)


@given(labels=LABELS, most=st.integers(7, 20))
def test_golden_windows_are_different_and_show_every_class(labels: list[str], most: int) -> None:
    chosen = choose_golden(labels, most)
    assert 0 < len(set(chosen)) == len(chosen) <= most
    assert {labels[i] for i in chosen} == set(labels)
    counts = Counter(labels[i] for i in chosen)
    full = [n for label, n in counts.items() if n < labels.count(label)]
    assert not full or max(counts.values()) - min(full) <= 1


@given(count=st.integers(1, 500), most=st.integers(2, 40))
def test_spread_reaches_from_the_first_to_the_last(count: int, most: int) -> None:
    numbers = spread(count, most)
    assert numbers == sorted(set(numbers))
    assert (numbers[0], numbers[-1], len(numbers)) == (0, count - 1, min(count, most))
