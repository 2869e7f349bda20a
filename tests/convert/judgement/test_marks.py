"""A verdict on two models rests on the same samples, and says how sure it is."""

from itertools import product
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convert.findings import Difference, Interval
from convert.judgement.marks import (
    Marks,
    cannot_keep,
    compare,
    mcnemar,
    samples_to_prove,
    score,
    student,
)

ROUNDING = 1e-9
drops = st.floats(0, 0.3)
pairs = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=300)
values = st.lists(
    st.tuples(st.floats(-2, 1, width=32), st.floats(-2, 1, width=32)), min_size=2, max_size=60
)


def right(given_marks: list[bool]) -> Marks:
    each = np.asarray(given_marks, np.float64)
    return Marks(len(each), each, None, each.astype(np.int64), binary=True)


def graded(each: list[float]) -> Marks:
    return Marks(len(each), np.asarray(each, np.float64), None, None, binary=False)


def whole(each: list[float]) -> Marks:
    """As a metric that gives one number for all: here the mean of what nobody sees."""
    hidden = np.asarray(each, np.float64)
    return Marks(len(each), None, lambda n: float(hidden[n].mean()), None, binary=False)


def everything(marks: Marks) -> "np.typing.NDArray[np.int64]":
    return np.arange(marks.samples, dtype=np.int64)


def judge(before: Marks, after: Marks, max_drop: float = 0.01) -> Difference:
    return compare(before, after, everything(before), max_drop)


@given(st.lists(st.booleans(), min_size=1, max_size=400))
def test_interval_of_a_share_holds_it_and_stays_between_0_and_1(answers: list[bool]) -> None:
    marks = right(answers)
    found = score(marks, everything(marks))
    assert found.value == pytest.approx(sum(answers) / len(answers))
    assert found.samples == len(answers)
    assert 0 <= found.interval.low <= found.value + ROUNDING
    assert found.value - ROUNDING <= found.interval.high <= 1
    assert found.interval.low < found.interval.high


def test_interval_of_a_share_is_wilsons() -> None:
    marks = right([True] * 9 + [False])
    # (0.9 + z²/20 ± z·sqrt(0.09/10 + z²/400)) / (1 + z²/10), with z = 1.959964
    found = score(marks, everything(marks)).interval
    assert [found.low, found.high] == pytest.approx([0.595850, 0.982124])


def test_interval_narrows_with_the_samples() -> None:
    few, many = right([True, False] * 20), right([True, False] * 200)
    narrow, wide = score(many, everything(many)).interval, score(few, everything(few)).interval
    assert (narrow.high - narrow.low) * 3 < wide.high - wide.low


def test_mark_of_some_samples_is_theirs_alone() -> None:
    marks = right([True, True, False, False])
    found = score(marks, np.asarray([0, 1, 2], np.int64))
    assert found.value == pytest.approx(2 / 3)
    assert found.samples == 3


@given(pairs, drops)
def test_classifiers_differ_by_the_mean_difference(
    answers: list[tuple[bool, bool]], max_drop: float
) -> None:
    before, after = right([a for a, _ in answers]), right([b for _, b in answers])
    found = judge(before, after, max_drop)
    assert found.value == pytest.approx(np.mean([b - a for a, b in answers]))
    assert -1 <= found.interval.low <= found.value + ROUNDING
    assert found.value - ROUNDING <= found.interval.high <= 1
    assert found.worse == sum(a and not b for a, b in answers)
    assert found.better == sum(b and not a for a, b in answers)
    assert found.flips >= found.worse + found.better
    assert found.p == mcnemar(found.worse, found.better)
    assert found.within or not found.proven


@given(values, drops)
def test_graded_answers_differ_by_the_mean_difference(
    each: list[tuple[float, float]], max_drop: float
) -> None:
    before, after = graded([a for a, _ in each]), graded([b for _, b in each])
    found = judge(before, after, max_drop)
    assert found.value == pytest.approx(np.mean([b - a for a, b in each]), abs=1e-9)
    assert found.interval.low <= found.value <= found.interval.high
    assert found.p is None
    assert found.worse + found.better == sum(a != b for a, b in each)
    assert found.within or not found.proven


@given(values, drops)
def test_a_mark_of_the_whole_differs_likewise(
    each: list[tuple[float, float]], max_drop: float
) -> None:
    before, after = whole([a for a, _ in each]), whole([b for _, b in each])
    found = judge(before, after, max_drop)
    assert found.value == pytest.approx(np.mean([b - a for a, b in each]), abs=1e-9)
    assert found.interval.low <= found.value <= found.interval.high
    assert (found.worse, found.better, found.flips, found.p) == (0, 0, 0, None)
    assert found.within or not found.proven


def test_leaving_out_blocks_gives_the_interval_that_single_marks_give() -> None:
    each = np.random.default_rng(5).normal(0.5, 0.1, 400).tolist()
    one, all_ = graded(each), whole(each)
    found, expected = (score(m, everything(m)).interval for m in (all_, one))
    assert found.high - found.low == pytest.approx(expected.high - expected.low, rel=0.3)


def test_same_answers_are_no_proof_of_equality_on_few_samples() -> None:
    found = judge(right([True] * 8), right([True] * 8))
    assert (found.value, found.flips, found.p) == (0, 0, 1)
    assert found.within
    assert not found.proven


def test_same_answers_on_many_samples_are_proof() -> None:
    many = [True, False, True] * 300
    assert judge(right(many), right(many)).proven


def test_model_is_as_good_as_itself_on_any_samples() -> None:
    same = right([True] * 8)
    assert judge(same, same).proven


@pytest.mark.parametrize(
    ("degrees", "quantile"),
    [(1, 12.7062), (2, 4.3027), (3, 3.1824), (4, 2.7764), (7, 2.3646), (19, 2.0930), (99, 1.9842)],
)
def test_quantiles_are_those_of_the_tables(degrees: int, quantile: float) -> None:
    assert student(degrees) == pytest.approx(quantile, rel=0.004)


def test_flips_count_another_wrong_answer_too() -> None:
    before = Marks(3, np.asarray([1.0, 0.0, 1.0]), None, np.asarray([0, 1, 2]), binary=True)
    after = Marks(3, np.asarray([1.0, 0.0, 0.0]), None, np.asarray([0, 2, 1]), binary=True)
    found = judge(before, after)
    assert (found.worse, found.better, found.flips) == (1, 0, 2)


def test_graded_float_against_an_all_or_nothing_model_is_no_count_of_right_and_wrong() -> None:
    before = graded([0.5, 0.5, 0.5, 0.5])
    after = Marks(4, np.asarray([1.0, 0.0, 1.0, 0.0]), None, None, binary=True)
    found = judge(before, after)
    assert found.p is None
    assert found.value == 0
    assert found.interval.high == pytest.approx(-found.interval.low)


@pytest.mark.parametrize(
    ("worse", "better", "p"),
    [(0, 0, 1.0), (0, 1, 1.0), (0, 5, 0.0625), (1, 7, 0.0703125), (2, 8, 0.109375), (5, 5, 1.0)],
)
def test_mcnemars_test_is_the_exact_one(worse: int, better: int, p: float) -> None:
    assert mcnemar(worse, better) == p
    assert mcnemar(better, worse) == p


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemars_test_is_the_sum_of_both_tails(worse: int, better: int) -> None:
    n, distance = worse + better, abs(worse - better)
    tails = sum(comb(n, k) for k in range(n + 1) if abs(n - 2 * k) >= distance) / 2**n
    assert mcnemar(worse, better) == pytest.approx(min(1.0, tails))


def test_mcnemars_test_holds_for_thousands_of_changes() -> None:
    assert 0 <= mcnemar(3000, 1000) < 1e-200


@given(
    st.lists(st.sampled_from([0.0, 1.0]), min_size=1, max_size=7),
    st.integers(0, 7),
    st.lists(st.sampled_from([0.0, 1.0]), min_size=7, max_size=7),
    st.sampled_from([0.0, 0.01, 0.15, 0.3]),
)
def test_a_budget_is_lost_early_only_where_no_completion_keeps_it(
    marks_float: list[float], seen: int, marks: list[float], max_drop: float
) -> None:
    before = np.asarray(marks_float)
    first = marks[: min(seen, len(before))]
    rest = len(before) - len(first)
    keeps = any(
        np.mean([*first, *others]) - before.mean() >= -max_drop - ROUNDING
        for others in product((0.0, 1.0), repeat=rest)
    )
    assert cannot_keep(before, first, max_drop) is not keeps


def test_a_loss_of_just_the_budget_keeps_it() -> None:
    before, after = right([True] * 100), right([True] * 99 + [False])
    assert judge(before, after, 0.01).within
    assert not judge(before, after, 0.009).within


@given(pairs, drops)
def test_proof_takes_more_samples_than_did_not_prove_it(
    answers: list[tuple[bool, bool]], max_drop: float
) -> None:
    before, after = right([a for a, _ in answers]), right([b for _, b in answers])
    found = judge(before, after, max_drop)
    needed = samples_to_prove(found, len(answers), max_drop)
    if not found.proven and needed is not None:
        assert needed > len(answers)
    if not found.within:
        assert needed is None


@pytest.mark.parametrize(("lost", "count"), [(k, n) for n in (100, 300, 1000) for k in (1, 3, 10)])
def test_a_loss_of_just_the_budget_is_proven_by_no_number_of_samples(lost: int, count: int) -> None:
    before, after = right([True] * count), right([True] * (count - lost) + [False] * lost)
    found = judge(before, after, lost / count)
    assert samples_to_prove(found, count, lost / count) is None


def test_proof_is_four_times_as_far_at_twice_the_distance() -> None:
    near = Difference(0.0, Interval(-0.02, 0.02), 1, 1, 2, 1.0, within=True, proven=False)
    assert samples_to_prove(near, 100, 0.01) == 400
