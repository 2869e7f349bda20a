"""A source that stays away is tried ever less often, at no fixed beat."""

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.retry import FIRST_S, JITTER, LONGEST_S, Retry

CHANCE = st.floats(0, 1, exclude_max=True)


def test_delays_double_up_to_the_longest() -> None:
    retry = Retry()
    assert [retry.failed(0.0, 0.0) for _ in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]


def test_run_as_long_as_the_delay_begins_again_with_the_first_and_a_shorter_one_does_not() -> None:
    retry = Retry()
    for _ in range(4):
        retry.failed(0.0, 0.0)
    assert retry.failed(15.9, 0.0) == 16
    assert retry.failed(32.0, 0.0) == FIRST_S
    assert retry.failed(0.0, 0.0) == 2 * FIRST_S


def test_sensor_that_fails_twice_a_minute_is_away_for_a_moment_each_time() -> None:
    retry = Retry()
    assert {retry.failed(30.0, 0.0) for _ in range(100)} == {FIRST_S}


@given(st.lists(st.tuples(st.floats(0, 1e6), CHANCE), max_size=30))
def test_delay_is_within_its_bounds_whatever_happens(runs: list[tuple[float, float]]) -> None:
    retry = Retry()
    for ran_s, chance in runs:
        assert FIRST_S * (1 - JITTER) <= retry.failed(ran_s, chance) <= LONGEST_S


def test_simulated_day_without_a_device_costs_a_try_a_minute() -> None:
    retry, now_s, tries = Retry(), 0.0, 0
    while now_s < 86_400:
        now_s += retry.failed(0.0, (tries % 10) / 10)
        tries += 1
    assert 86_400 / 60 < tries < 86_400 / 30
