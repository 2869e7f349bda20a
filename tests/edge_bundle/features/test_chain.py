"""Features are plain NumPy in preallocated memory."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_bundle.features.chain import compile_steps
from edge_bundle.features.steps import Form, Standardise, form_after

values = st.floats(-8, 8, width=32)
scales = st.floats(0.5, 1e3, width=32)


@given(st.data(), st.integers(1, 20), st.integers(1, 6), st.integers(0, 3))
def test_steps_are_those_of_plain_numpy(
    data: st.DataObject, window: int, channels: int, count: int
) -> None:
    def draw(strategy: st.SearchStrategy[float], n: int) -> tuple[float, ...]:
        return tuple(data.draw(st.lists(strategy, min_size=n, max_size=n)))

    steps = [Standardise(draw(values, channels), draw(scales, channels)) for _ in range(count)]
    seed = data.draw(st.integers(0, 2**32 - 1))
    samples = np.random.default_rng(seed).normal(size=(window, channels)).astype(np.float32)
    before, form = samples.copy(), Form(window, channels, 50.0)
    expected = samples.astype(np.float64)
    for step in steps:
        expected = (expected - np.array(step.mean)) / np.array(step.std)
    result = compile_steps(steps, form).run(samples)
    assert result.dtype == np.float32
    assert form_after(steps, form) == form
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(samples, before)


def test_without_steps_the_input_comes_back_uncopied() -> None:
    samples = np.zeros((4, 2), np.float32)
    assert compile_steps([], Form(4, 2, 50.0)).run(samples) is samples


def test_result_lives_in_memory_that_is_reused() -> None:
    chain = compile_steps([Standardise((1.0,), (2.0,))], Form(3, 1, 50.0))
    assert chain.run(np.zeros((3, 1), np.float32)) is chain.run(np.ones((3, 1), np.float32))


@pytest.mark.parametrize(
    ("mean", "std"), [((0.0,), (1.0, 1.0)), ((0.0, 0.0), (1.0,)), ((0.0,) * 3, (1.0,) * 3)]
)
def test_step_that_does_not_fit_is_refused_by_its_number(
    mean: tuple[float, ...], std: tuple[float, ...]
) -> None:
    steps = [Standardise((0.0, 0.0), (1.0, 1.0)), Standardise(mean, std)]
    with pytest.raises(ValueError, match=r"^features\[1\]: .* for 2 channels"):
        compile_steps(steps, Form(10, 2, 50.0))
