"""Samples at another rate: on the grid, the same whatever the chunks, filtered as SciPy does."""

from fractions import Fraction
from itertools import pairwise
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import resample_poly

from edge_bundle.resampling import Linear, Policy, Polyphase, Resampler, make_resampler, rate_step
from edge_bundle.tensor import Float32Array

RATES = [(48000, 16000), (44100, 16000), (16000, 16000), (104.39, 50), (50, 100), (100, 104.3)]


def noise(count: int, channels: int = 2) -> Float32Array:
    return np.random.default_rng(count).normal(size=(count, channels)).astype(np.float32)


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from(get_args(Policy)),
    st.sampled_from(RATES),
    st.lists(st.integers(0, 600), max_size=30),
)
def test_chunks_change_no_bit_of_the_result(
    policy: Policy, rates: tuple[float, float], cuts: list[int]
) -> None:
    samples = noise(600)
    edges = [0, *sorted(cuts), 600]
    resampler = make_resampler(policy, *rates, 2)
    parts = [resampler.push(samples[a:b]) for a, b in pairwise(edges)]
    whole = make_resampler(policy, *rates, 2).push(samples)
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    assert whole.dtype == np.float32
    assert (resampler.received, resampler.given) == (600, len(whole))


@pytest.mark.parametrize("rates", RATES)
def test_polyphase_is_what_scipy_gives_away_from_the_edges(rates: tuple[float, float]) -> None:
    samples = noise(3000)
    resampler = make_resampler("polyphase", *rates, 2)
    found = resampler.push(samples)
    step = resampler.step
    expected = resample_poly(samples.astype(float), step.denominator, step.numerator)
    first = resampler.first
    np.testing.assert_allclose(found, expected[first : first + len(found)], atol=1e-6)
    # Nothing is left out but the filter's reach on both sides.
    reach = 10 * max(1.0, float(step))
    assert (first - 1) * step < reach
    assert (first + len(found)) * step > 2999 - reach


@pytest.mark.parametrize("rates", RATES)
def test_linear_is_exact_on_a_line_and_on_the_grid(rates: tuple[float, float]) -> None:
    line = np.arange(500, dtype=np.float32).reshape(-1, 1)
    resampler = make_resampler("linear", *rates, 1)
    found = resampler.push(line)[:, 0]
    expected = [float(n * resampler.step) for n in range(len(found))]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert len(found) * resampler.step > 499  # all that can be made is made


def test_positions_stay_exact_after_more_samples_than_a_double_can_count() -> None:
    resampler = Linear(Fraction(441, 160), 1)
    resampler.push(np.zeros((2, 1), np.float32))
    # As after a hundred thousand years of sound: a run's counts are whole numbers of any size.
    outputs = 160 * 10**15
    resampler.given, resampler.received = outputs, 441 * 10**15
    resampler._held = np.zeros((0, 1), np.float32)
    found = resampler.push(np.arange(7, dtype=np.float32).reshape(-1, 1))
    assert found[:, 0] == pytest.approx([0, 441 / 160, 2 * 441 / 160])


def test_what_the_output_cannot_hold_is_filtered_out_by_polyphase_alone() -> None:
    tone = np.sin(2 * np.pi * 7000 * np.arange(4000) / 16000).astype(np.float32).reshape(-1, 1)
    assert np.abs(make_resampler("polyphase", 16000, 8000, 1).push(tone)).max() < 0.01
    assert np.abs(make_resampler("linear", 16000, 8000, 1).push(tone)).max() > 0.5


@pytest.mark.parametrize("kind", [Linear, Polyphase])
def test_new_run_remembers_nothing(kind: type[Linear] | type[Polyphase]) -> None:
    resampler: Resampler = kind(Fraction(3, 2), 2)
    resampler.push(noise(50) + 1000)
    resampler.restart()
    np.testing.assert_array_equal(
        resampler.push(noise(70)), kind(Fraction(3, 2), 2).push(noise(70))
    )


@pytest.mark.parametrize(
    ("rates", "step"), [((50.0, 25.0), Fraction(2)), ((3.0, 9.0), Fraction(1, 3))]
)
def test_step_is_a_fraction_of_the_rates(rates: tuple[float, float], step: Fraction) -> None:
    assert rate_step(*rates) == step


@given(st.floats(0.5, 50_000), st.floats(1 / 100, 100))
def test_step_is_within_a_thousandth_of_the_rates(rate: float, ratio: float) -> None:
    step = rate_step(rate * ratio, rate)
    assert float(step) == pytest.approx(ratio, rel=2e-3)
    assert max(step.numerator, step.denominator) <= 1000


def test_rates_too_far_apart_are_refused() -> None:
    with pytest.raises(ValueError, match="1000 Hz cannot become 1 Hz"):
        rate_step(1000.0, 1.0)
