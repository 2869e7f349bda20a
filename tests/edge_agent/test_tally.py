"""Durations are counted in memory of fixed size, and their quantiles are near the truth."""

import sys
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.tally import BINS, UNSORTED, Histogram, Tally

durations = st.lists(st.integers(1, 4 * 3600 * 10**9), min_size=1, max_size=300)


def counted(values: list[int]) -> Histogram:
    histogram = Histogram()
    histogram.add(values)
    return histogram


@given(durations, st.sampled_from([0.0, 0.5, 0.9, 0.99, 1.0]))
def test_quantile_is_at_most_a_tenth_above_the_truth(values: list[int], fraction: float) -> None:
    truth = np.quantile(values, fraction, method="inverted_cdf")
    found = counted(values).quantile_ns(fraction)
    assert truth <= found <= truth * 1.091


@given(durations)
def test_mean_is_exact(values: list[int]) -> None:
    assert counted(values).mean_ns() == pytest.approx(np.mean(values))


@given(durations, durations)
def test_period_holds_what_was_added_in_it(before: list[int], after: list[int]) -> None:
    histogram = counted(before)
    kept = histogram.copy()
    histogram.add(after)
    period = histogram.since(kept)
    assert period.counts == counted(after).counts
    assert period.total_ns == sum(after)


@pytest.mark.parametrize("value", [-5, 0, 1, 1 << 60])
def test_what_is_out_of_range_is_in_the_bin_at_the_end(value: int) -> None:
    counts = counted([value]).counts
    assert sum(counts) == 1
    assert counts[0 if value <= 1 else BINS - 1] == 1


def test_nothing_counted_has_no_quantile() -> None:
    assert (Histogram().mean_ns(), Histogram().quantile_ns(0.99)) == (0, 0)


@given(st.lists(st.tuples(st.integers(-9, 10**12), st.integers(-9, 10**12)), max_size=3 * UNSORTED))
def test_tally_has_every_duration_once_whenever_it_is_read(pairs: list[tuple[int, int]]) -> None:
    tally = Tally()
    for n, (infer_ns, e2e_ns) in enumerate(pairs, 1):
        tally.add(infer_ns, e2e_ns)
        if n % 7 == 0 or n == len(pairs):
            infer, e2e = tally.read()
            assert infer.counts == counted([i for i, _ in pairs[:n]]).counts
            assert e2e.counts == counted([e for _, e in pairs[:n]]).counts
            assert (tally.windows, e2e.total_ns) == (n, sum(e for _, e in pairs[:n]))


def test_tally_that_is_read_while_it_counts_only_grows() -> None:
    tally, stop = Tally(), threading.Event()

    def count() -> None:
        while not stop.is_set():
            tally.add(1000, 2000)

    counting = threading.Thread(target=count)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        counting.start()
        infer, e2e = tally.read()
        for _ in range(300):
            infer_before, e2e_before = infer, e2e
            infer, e2e = tally.read()
            assert min(infer.since(infer_before).counts) >= 0
            assert sum(e2e.since(e2e_before).counts) == sum(infer.since(infer_before).counts)
    finally:
        stop.set()
        counting.join()
        sys.setswitchinterval(interval)
