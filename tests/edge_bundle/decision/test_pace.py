"""Few predictions are published where few are wanted, and always the first."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from edge_bundle.decision.pace import Pace
from edge_bundle.decision.rules import Classification, Every

S = 1_000_000_000
LABELS = ("a", "b")


def test_all_are_published_where_nothing_is_said() -> None:
    pace = Pace(Classification(LABELS))
    assert pace.all
    assert all(pace.wants(0, "a") for _ in range(3))


@given(st.lists(st.sampled_from("abc"), max_size=30))
def test_changes_are_those_of_the_label(said: list[str]) -> None:
    pace = Pace(Classification(LABELS, predictions="changes"))
    told = [s for i, s in enumerate(said) if pace.wants(i * S, s)]
    assert told == [s for i, s in enumerate(said) if not i or said[i - 1] != s]


@given(st.lists(st.integers(0, 40), min_size=1, max_size=40), st.sampled_from([0.5, 1.0, 2.5]))
def test_one_in_so_many_seconds_and_none_later_than_it_must_be(
    waits: list[int], every_s: float
) -> None:
    pace = Pace(Classification(LABELS, predictions=Every(every_s)))
    times = [sum(waits[: i + 1]) * S // 10 for i in range(len(waits))]
    told = [t for t in times if pace.wants(t, "a")]
    assert told[0] == times[0]
    assert all(b - a >= every_s * S for a, b in pairwise(told))
    for one, other in pairwise(told):
        assert not any(one + every_s * S <= t < other for t in times)
