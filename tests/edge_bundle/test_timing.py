"""Time stamps tell a loss from lateness, and a rate in spite of both."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from edge_bundle.timing import UNTIMED, Break, Timing, read_times, runs

Times = npt.NDArray[np.float64]


def even(count: int, rate_hz: float = 100.0) -> Times:
    times: Times = np.arange(count) / rate_hz
    return times


def without(times: Times, first: int, count: int) -> Times:
    return np.concatenate([times[:first], times[first + count :]])


def delayed(times: Times, first: int, count: int) -> Times:
    """Return times as of samples that were held up, and came at once with the last of them."""
    late: Times = times.copy()
    late[first : first + count] = times[first + count]
    return late


@pytest.mark.parametrize("lost", [1, 2, 5, 1000])
def test_missing_samples_are_counted_where_they_are_missing(lost: int) -> None:
    found = read_times(without(even(2000), 300, lost))
    (only,) = found.breaks
    assert (only.position, only.lost) == (300, lost)
    assert only.seconds == pytest.approx((lost + 1) / 100)
    assert found.rate_hz == pytest.approx(100)
    assert (found.duplicates, found.jumps, found.late, found.lost) == (0, 0, 0, lost)


def test_samples_that_came_late_are_all_there() -> None:
    # As a phone wrote it: 137 ms of nothing, then fourteen samples at once.
    found = read_times(delayed(even(500), 200, 13))
    assert found.rate_hz == pytest.approx(100)
    assert replace(found, rate_hz=None) == Timing(None, (), 13, 0, 1)


@pytest.mark.parametrize("batch", [4, 32])
def test_batches_that_bear_one_time_lose_nothing(batch: int) -> None:
    times = np.ceil((np.arange(960) + 1) / batch) * batch / 100.0
    found = read_times(times)
    assert found.breaks == ()
    assert found.rate_hz == pytest.approx(100, rel=2 * batch / 960)


def test_runs_of_three_are_told_apart() -> None:
    times = np.arange(12) / 10 + np.arange(12) // 3 * 2.0
    found = read_times(times)
    assert [(b.position, b.lost) for b in found.breaks] == [(3, 20), (6, 20), (9, 20)]
    assert found.rate_hz == pytest.approx(10)


def test_loss_is_found_among_late_samples() -> None:
    found = read_times(without(delayed(delayed(even(600), 100, 4), 400, 4), 250, 7))
    assert [(b.position, b.lost) for b in found.breaks] == [(250, 7)]
    assert found.late == 2
    assert found.duplicates == 8
    assert found.rate_hz == pytest.approx(100)


def test_clock_that_ticks_coarsely_loses_nothing() -> None:
    times = np.floor(even(3000, 104.4) * 1000) / 1000
    found = read_times(times)
    assert found.rate_hz == pytest.approx(104.4, rel=1e-3)
    assert replace(found, rate_hz=None) == UNTIMED


def test_stamp_written_twice_loses_nothing() -> None:
    times = even(500)
    times[200] = times[199]
    assert replace(read_times(times), rate_hz=None) == Timing(None, duplicates=1)


def test_clock_set_back_a_day_is_a_break_of_unknown_length() -> None:
    times = even(500)
    times[200:] -= 86_400
    found = read_times(times)
    assert found.breaks == (Break(200, 0, 0.0),)
    assert found.jumps == 1
    assert found.rate_hz == pytest.approx(100)


def test_clock_set_forward_a_day_counts_what_is_missing_by_it() -> None:
    times = even(500)
    times[200:] += 86_400
    assert [(b.position, b.lost) for b in read_times(times).breaks] == [(200, 8_640_000)]


@pytest.mark.parametrize(
    ("times", "told"),
    [
        (even(20)[::-1], "back at 19 of 19 steps"),
        (np.repeat(even(20), 3)[::-1], "back at 19 of 59 steps"),  # batches of one time
        (np.concatenate([even(20)[::-1], even(10)]), "back at 19 of 29 steps"),
        (np.asarray([5.0, 4.0]), "back at 1 of 1 steps"),
    ],
)
def test_times_that_run_backwards_are_refused(times: Times, told: str) -> None:
    with pytest.raises(ValueError, match=f"{told}: sort the rows by it, oldest first"):
        read_times(times)


def test_clock_that_is_set_back_again_and_again_is_broken_each_time() -> None:
    found = read_times(np.tile(even(2), 50))
    assert [b.position for b in found.breaks] == list(range(2, 100, 2))
    assert found.jumps == 49


@pytest.mark.parametrize("times", [[], [5.0], [5.0, 5.0, 5.0]])
def test_times_that_say_no_rate(times: list[float]) -> None:
    found = read_times(np.asarray(times))
    assert (found.rate_hz, found.breaks) == (None, ())


def with_losses(count: int, lost: dict[int, int]) -> tuple[npt.NDArray[np.int64], int]:
    """Return the numbers of samples that are there: before each position some are missing."""
    missing = np.zeros(count, np.int64)
    missing[list(lost)] = list(lost.values())
    return np.arange(count) + np.cumsum(missing), int(missing.sum())


@settings(deadline=None)
@given(st.dictionaries(st.integers(1, 199), st.integers(1, 300), max_size=90))
def test_every_loss_is_counted_exactly_on_an_even_clock(lost: dict[int, int]) -> None:
    numbers, _ = with_losses(200, lost)
    found = read_times(numbers / 50.0)
    assert {b.position: b.lost for b in found.breaks} == lost
    assert found.rate_hz == pytest.approx(50.0)


@settings(deadline=None)
@given(st.dictionaries(st.integers(1, 999), st.integers(1, 5), max_size=150))
@pytest.mark.parametrize("rate_hz", [104.4, 360.0])
def test_losses_close_together_are_counted_by_a_clock_of_milliseconds(
    rate_hz: float, lost: dict[int, int]
) -> None:
    numbers, _ = with_losses(1000, lost)
    found = read_times(np.floor(numbers / rate_hz * 1000) / 1000)
    assert {b.position: b.lost for b in found.breaks} == lost
    assert found.rate_hz == pytest.approx(rate_hz, rel=2e-3)


@settings(deadline=None)
@given(
    st.integers(0, 1 << 32), st.dictionaries(st.integers(1, 999), st.integers(1, 5), max_size=150)
)
def test_losses_close_together_are_counted_by_a_clock_with_jitter(
    seed: int, lost: dict[int, int]
) -> None:
    numbers, total = with_losses(1000, lost)
    jitter_s = np.random.default_rng(seed).uniform(0, 0.001, 1000)
    found = read_times(numbers / 100 + jitter_s)
    assert found.lost == total
    assert found.rate_hz == pytest.approx(100, rel=5e-3)


def test_late_burst_between_losses_is_not_counted_with_them() -> None:
    times = delayed(even(600), 302, 6)
    for at in (330, 320, 290, 280, 270):  # the last first: the others keep their places
        times = without(times, at, 2)
    found = read_times(times)
    assert [(b.position, b.lost) for b in found.breaks] == [
        (270, 2),
        (278, 2),
        (286, 2),
        (314, 2),
        (322, 2),
    ]
    assert (found.late, found.duplicates) == (1, 6)
    assert found.rate_hz == pytest.approx(100)


@given(st.integers(0, 50), st.sets(st.integers(0, 50)))
def test_runs_hold_every_sample_once_and_no_break(samples: int, where: set[int]) -> None:
    positions = sorted(p for p in where if p < samples)
    found = runs(samples, [Break(p, 1, 1.0) for p in positions])
    assert [n for a, b in found for n in range(a, b)] == list(range(samples))
    assert all(a < b for a, b in found)
    assert not [p for p in positions for a, b in found if a < p < b]
