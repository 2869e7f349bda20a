"""A window that overlaps the one before gives what it would give alone, at less cost."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_bundle.features.chain import compile_steps
from edge_bundle.features.spectrogram import SpectrogramRunner
from edge_bundle.features.steps import form_after
from edge_bundle.tensor import Float32Array
from edge_bundle.window import window_starts
from tests.edge_bundle.features.every_step import AUDIO, CHAINS, LOG_MEL, REMEMBER, SPECTROGRAM


def stream(seed: int, samples: int, columns: int) -> Float32Array:
    noise = np.random.default_rng(seed).normal(size=(samples, columns))
    return np.asarray(noise * 0.1, np.float32)


@pytest.mark.parametrize("name", sorted(CHAINS.keys() - REMEMBER))
@settings(max_examples=15)
@given(data=st.data(), seed=st.integers(0, 2**32 - 1))
def test_stream_gives_what_each_window_gives_alone(
    name: str, data: st.DataObject, seed: int
) -> None:
    form, steps = CHAINS[name]
    # Multiples of the frames' step, and others; windows that touch, and a break among them.
    hop = data.draw(st.sampled_from([1, 7, 10, 50, 160, 320, 480, 1440, 1600]))
    hop = min(hop, form.rows)
    broken = data.draw(st.integers(0, 6))
    streamed, alone = compile_steps(steps, form), compile_steps(steps, form)
    samples = stream(seed, form.rows + 6 * hop, form.columns)
    for number, start in enumerate(window_starts(len(samples), form.rows, hop)):
        window = samples[start : start + form.rows]
        fresh = None if number in {0, broken} else hop
        found, expected = streamed.run(window, fresh), alone.run(window)
        after = form_after(steps, form)
        assert found.shape == expected.shape == (after.rows, after.columns)
        assert found.dtype == np.float32
        # A product of one row may add in another order than that of many.
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", sorted(CHAINS))
def test_steps_change_nothing_that_they_are_given_and_reuse_their_memory(name: str) -> None:
    form, steps = CHAINS[name]
    chain = compile_steps(steps, form)
    samples = stream(1, form.rows, form.columns)
    before = samples.copy()
    assert chain.run(samples) is chain.run(samples, 160)
    np.testing.assert_array_equal(samples, before)


@pytest.mark.parametrize("name", sorted(CHAINS.keys() - REMEMBER - {"resize_nearest"}))
def test_what_is_not_a_number_is_never_hidden(name: str) -> None:
    form, steps = CHAINS[name]
    samples = stream(2, form.rows, form.columns)
    samples[form.rows // 2, 0] = np.nan
    assert np.isnan(compile_steps(steps, form).run(samples)).any()


@pytest.mark.parametrize(("fresh", "frames"), [(160, 1), (480, 3), (None, 8), (100, 8), (1600, 8)])
def test_only_frames_with_new_samples_are_transformed(fresh: int | None, frames: int) -> None:
    runner = SpectrogramRunner(SPECTROGRAM, AUDIO)
    samples = stream(3, AUDIO.rows, 1)
    before = runner.run(samples, None)[0].copy()
    # What is not worked out again shows no trace of other samples.
    found, _ = runner.run(samples * np.float32(2), fresh)
    expected = np.concatenate([before[frames:], before[8 - frames :] * 4])
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_rows_that_nobody_reads_are_not_moved() -> None:
    chain = compile_steps([LOG_MEL], AUDIO)
    kept = [runner.result.keeps for runner in chain._runners]  # type: ignore[attr-defined]
    assert kept == [False, False, True]
