"""Ranges hold 0 and the values, and what least squares chooses is never worse than both ends."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convert.ranges import METHODS, Range, Seen, choose_ranges
from edge_bundle.tensor import Float32Array

VALUES = st.lists(
    st.floats(-1e6, 1e6, width=32, allow_subnormal=False).map(lambda v: v if abs(v) > 1e-9 else 0),
    min_size=1,
    max_size=60,
)


def seen_of(values: Float32Array) -> Seen:
    return Seen(float(values.min()), float(values.max()), values)


def squares(values: Float32Array, chosen: Range) -> float:
    """Return the sum of squares that codes leave, in float64 and in the spec's own words."""
    scale = (chosen.high - chosen.low) / 255
    if not scale:
        return float(np.square(values.astype(np.float64)).sum())
    zero = round(-chosen.low / scale)
    codes = np.clip(np.rint(values.astype(np.float64) / scale) + zero, 0, 255)
    return float(np.square((codes - zero) * scale - values).sum())


@settings(max_examples=60)
@given(VALUES)
def test_every_range_holds_zero_and_lies_within_what_was_seen(given_values: list[float]) -> None:
    values = np.asarray(given_values, np.float32)
    widest = Range(min(float(values.min()), 0), max(float(values.max()), 0))
    for method in METHODS:
        (chosen,) = choose_ranges({"t": seen_of(values)}, method).values()
        assert widest.low <= chosen.low <= 0 <= chosen.high <= widest.high
    assert choose_ranges({"t": seen_of(values)}, "min-max") == {"t": widest}


@settings(max_examples=60)
@given(VALUES)
def test_least_squares_is_never_worse_than_both_ends(given_values: list[float]) -> None:
    values = np.asarray(given_values, np.float32)
    found = {m: squares(values, choose_ranges({"t": seen_of(values)}, m)["t"]) for m in METHODS}
    # float32 rounds a value in the middle of two codes to one side or the other.
    slack = 1e-5 * (float(np.ptp(values)) / 255) ** 2 * len(values)
    assert found["least-squares"] <= found["min-max"] * (1 + 1e-3) + slack


def test_least_squares_cuts_off_a_long_tail_that_few_values_reach() -> None:
    values = np.random.default_rng(1).laplace(size=200_000).astype(np.float32)
    chosen = choose_ranges({"t": seen_of(values)}, "least-squares")["t"]
    both_ends = choose_ranges({"t": seen_of(values)}, "min-max")["t"]
    assert both_ends.low < chosen.low < chosen.high < both_ends.high
    assert squares(values, chosen) < 0.8 * squares(values, both_ends)


def test_percentile_leaves_out_one_value_in_ten_thousand() -> None:
    values = np.random.default_rng(2).uniform(-1, 1, size=100_000).astype(np.float32)
    values[:3] = [-50, 60, 70]
    chosen = choose_ranges({"t": seen_of(values)}, "percentile")["t"]
    assert chosen.low == pytest.approx(-1, abs=0.01)
    assert chosen.high == pytest.approx(1, abs=0.01)


def test_values_of_one_sign_get_a_range_from_zero() -> None:
    values = np.linspace(3, 5, 50, dtype=np.float32)
    assert choose_ranges({"t": seen_of(values)}, "percentile")["t"].low == 0
    assert choose_ranges({"t": seen_of(-values)}, "percentile")["t"].high == 0


def test_tensor_of_zeros_has_an_empty_range() -> None:
    zeros = seen_of(np.zeros(9, np.float32))
    assert {choose_ranges({"t": zeros}, m)["t"] for m in METHODS} == {Range(0, 0)}


@pytest.mark.parametrize("size", [1e-44, 3.4e38])
def test_values_at_the_ends_of_float32_set_a_range_without_a_warning(size: float) -> None:
    """Attention adds a mask of the largest negative number."""
    values = np.asarray([-size, 0.25 * size, 0], np.float32)
    chosen = choose_ranges({"t": seen_of(values)}, "least-squares")["t"]
    assert chosen.low == float(values[0])
