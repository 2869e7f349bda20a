"""Few labelled passes find the fewest nodes that must stay float."""

from collections.abc import Sequence
from itertools import pairwise
from math import ceil, log2

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convert.choice.search import Bisection, choose_cuts, order_nodes, repair
from convert.findings import Damage
from convert.judgement.allowance import Allowance


def damage(node: str, sqnr_db: float | None, saved: int) -> Damage:
    return Damage(node, "Conv", sqnr_db, saved, kept_float=False)


def test_nodes_are_ordered_by_damage_over_bytes() -> None:
    found = order_nodes(
        [
            damage("harmless", None, 10_000),
            damage("large", 20.0, 10_000),
            damage("small", 20.0, 100),
            damage("worst", 5.0, 100),
        ]
    )
    assert found == ["worst", "small", "large", "harmless"]


def test_equal_nodes_come_in_the_order_of_their_names() -> None:
    same = [damage(name, 20.0, 100) for name in ("c", "a", "b")]
    assert order_nodes(same) == order_nodes(same[::-1]) == ["a", "b", "c"]


def test_a_node_that_saves_nothing_is_ordered_too() -> None:
    assert order_nodes([damage("a", 30.0, 0), damage("b", 10.0, 0)]) == ["b", "a"]


@given(st.integers(2, 3000), st.integers(1, 6))
def test_cuts_rise_and_can_be_searched_in_the_passes_there_are(count: int, passes: int) -> None:
    cuts = choose_cuts(count, passes)
    assert cuts
    assert all(a < b for a, b in pairwise(cuts))
    assert cuts[0] >= 1
    assert cuts[-1] < count
    assert len(cuts) <= 2**passes - 1


@given(st.integers(2, 3000), st.integers(2, 6))
def test_cuts_reach_from_one_node_to_all_but_one(count: int, passes: int) -> None:
    cuts = choose_cuts(count, passes)
    assert cuts[0] == 1
    assert cuts[-1] == count - 1


@pytest.mark.parametrize(("count", "passes"), [(0, 3), (1, 3), (10, 0)])
def test_nothing_to_cut_or_no_pass_gives_no_cuts(count: int, passes: int) -> None:
    assert choose_cuts(count, passes) == []


def asked(cuts: Sequence[int], least: int) -> tuple[int | None, int]:
    """Bisect where every cut from ``least`` on is good; return the best and how often it asked."""
    bisection, passes = Bisection(cuts), 0
    while (cut := bisection.ask()) is not None:
        bisection.tell(cut >= least)
        passes += 1
    return bisection.best, passes


@given(st.integers(2, 500), st.integers(1, 6), st.integers(0, 600))
def test_bisection_finds_the_least_good_cut(count: int, passes: int, least: int) -> None:
    cuts = choose_cuts(count, passes)
    found, used = asked(cuts, least)
    assert found == next((c for c in cuts if c >= least), None)
    assert used <= passes
    assert used <= ceil(log2(len(cuts) + 1))


def test_bisection_of_nothing_asks_nothing() -> None:
    assert asked([], 0) == (None, 0)


costs = st.dictionaries(st.sampled_from("abcdefgh"), st.floats(0, 5), min_size=1)


@given(costs, st.floats(0.01, 2))
def test_repair_keeps_the_quality_with_a_part_of_the_nodes(
    cost: dict[str, float], allowed: float
) -> None:
    kept = sorted(cost, key=lambda node: -cost[node])

    def quality(nodes: Sequence[str]) -> float:
        return 40 - sum(cost[node] for node in cost if node not in nodes)

    needed = repair(kept, quality, allowed)
    assert set(needed) <= set(kept)
    assert needed == [node for node in kept if node in needed]
    assert quality(needed) >= quality(kept) - allowed
    assert all(quality([n for n in needed if n != node]) < 40 - allowed for node in needed)


def test_repair_gives_back_a_node_that_was_left_in_float_for_nothing() -> None:
    needed = {"first", "last"}
    found = repair(["first", "nothing", "last"], lambda nodes: 40.0 * (needed <= set(nodes)), 0.2)
    assert found == ["first", "last"]


def test_allowance_counts_what_was_used() -> None:
    allowance = Allowance(7)
    allowance.take()
    allowance.take()
    assert (allowance.left, allowance.used) == (5, 2)
