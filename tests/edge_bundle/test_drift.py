"""Drift is found where another population comes, as in the literature, and not without cause."""

import io
import random
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convert.products.evidence import pack_reference
from edge_bundle.drift import (
    BLOCK,
    PSI_DRIFTED,
    ROWS,
    Drift,
    PageHinkley,
    ScoreChanges,
    StabilityIndex,
)
from edge_bundle.errors import BundleRefused
from edge_bundle.tensor import Array, Float32Array

CHANNELS = 3
WINDOW = 64


def draw(seed: int, count: int, shift: float = 0.0, scale: float = 1.0) -> Float32Array:
    """Return windows float32 [count, window, channels]; the last channel is always the same."""
    values = np.random.default_rng(seed).normal(shift, scale, (count, WINDOW, CHANNELS))
    values[:, :, -1] = 5.0
    return values.astype(np.float32)


def referred(windows: Float32Array) -> dict[str, Array]:
    with np.load(io.BytesIO(pack_reference(list(windows)))) as arrays:
        return dict(arrays)


def watching(windows: Float32Array) -> StabilityIndex:
    arrays = referred(windows)
    return StabilityIndex(arrays["deciles"], arrays["decile_counts"])


def test_same_population_has_a_small_index_and_another_a_large_one() -> None:
    index = watching(draw(0, 50))
    for window in draw(1, 1000):
        index.push(window)
    assert max(index.values) < 0.02
    for window in draw(2, 1000, shift=1.0):
        index.push(window)
    assert min(index.values[:2]) > PSI_DRIFTED
    assert index.values[2] < 1e-9  # a channel that never moves has not drifted


def test_index_forgets_and_comes_back() -> None:
    index = watching(draw(0, 50))
    for seed, shift in ((1, 2.0), (2, 0.0)):
        for window in draw(seed, 4000, shift=shift):
            index.push(window)
    assert max(index.values) < 0.02


def test_index_is_that_of_its_formula() -> None:
    reference, windows = draw(0, 50), draw(1, BLOCK // ROWS + 1, shift=0.3)
    index = watching(reference)
    for window in windows:
        index.push(window)
    seen = windows[:-1, :: WINDOW // ROWS].reshape(-1, CHANNELS)
    edges = np.quantile(
        reference.reshape(-1, CHANNELS).astype(float), np.arange(1, 10) / 10, axis=0
    )
    for channel in range(2):
        ends = [-np.inf, *edges[:, channel], np.inf]
        expected = np.histogram(reference[..., channel], ends)[0] / reference[..., 0].size
        actual = np.histogram(seen[:, channel], ends)[0] / len(seen)
        psi = np.sum((actual - expected) * np.log(actual / expected))
        assert index.values[channel] == pytest.approx(psi, abs=1e-3)


def test_nothing_is_said_before_a_block_was_seen() -> None:
    index = watching(draw(0, 50))
    for window in draw(1, BLOCK // ROWS):
        index.push(window)
    assert index.values == []


def test_a_window_of_one_sample_will_do() -> None:
    index = watching(draw(0, 50))
    for window in draw(1, BLOCK + 1):
        index.push(window[:1])
    assert len(index.values) == CHANNELS


@pytest.mark.parametrize(
    "change",
    [
        lambda d, c: (d[:, :8], c),
        lambda d, c: (d[0], c[0]),
        lambda d, c: (d, c[:2]),
        lambda d, c: (d[:, ::-1] * 2, c),
        lambda d, c: (d * np.nan, c),
        lambda d, c: (d, c * 0),
        lambda d, c: (d, c.astype(float)),
        lambda d, c: (d.astype(int), c),
        lambda d, c: (d.reshape(-1)[0], c),
    ],
)
def test_damaged_reference_is_refused(
    change: Callable[[Array, Array], tuple[Array, Array]],
) -> None:
    arrays = referred(draw(0, 50))
    with pytest.raises(BundleRefused, match=r"^reference: "):
        StabilityIndex(*change(arrays["deciles"], arrays["decile_counts"]))


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 1 << 30),
    means=st.lists(st.sampled_from([0.1, 0.4, 0.5, 0.7, 0.95]), min_size=1, max_size=6),
    threshold=st.sampled_from([1.0, 5.0, 20.0]),
)
def test_changes_are_found_where_river_finds_them(
    seed: int, means: list[float], threshold: float
) -> None:
    river = pytest.importorskip("river.drift", reason="river is not built for Python 3.10")
    rng = random.Random(seed)
    ours, theirs = PageHinkley(threshold), river.PageHinkley(threshold=threshold)
    for mean in means:
        for _ in range(200):
            score = min(1.0, max(0.0, rng.gauss(mean, 0.1)))
            theirs.update(score)
            assert ours.push(score) == theirs.drift_detected


def test_steady_scores_are_no_change_and_a_fall_is_one() -> None:
    rng = random.Random(0)
    test = PageHinkley()
    assert not any(test.push(rng.gauss(0.9, 0.05)) for _ in range(20_000))
    assert test.statistic < 10
    assert sum(test.push(rng.gauss(0.6, 0.05)) for _ in range(200)) == 1
    assert test.changes == 1


def talk(rng: random.Random, windows: int) -> list[float]:
    """Return how sure something hears speech: sentences and pauses of some seconds, at 31 Hz."""
    values: list[float] = []
    while len(values) < windows:
        speaks = len(values) % 2 == 0
        mean, lasts = 0.97 if speaks else 0.8, rng.randrange(20, 160)
        values += [min(1.0, max(0.5, rng.gauss(mean, 0.1))) for _ in range(lasts)]
    return values[:windows]


def silence(rng: random.Random, windows: int) -> list[float]:
    """Return how sure a wake word is that it was not said, but now and then."""
    return [0.6 if rng.random() < 0.002 else 0.999 for _ in range(windows)]


def errors(rng: random.Random, windows: int) -> list[float]:
    """Return anomaly scores in a unit of their own, with some large ones."""
    return [rng.lognormvariate(6, 0.6) * (20 if rng.random() < 0.01 else 1) for _ in range(windows)]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("usual", [talk, silence, errors])
def test_scores_as_usual_are_no_change_and_those_that_stay_others_are_one(
    usual: Callable[[random.Random, int], list[float]], seed: int
) -> None:
    rng, scores = random.Random(seed), ScoreChanges()
    for value in usual(rng, 40_000):
        scores.push(value)
    assert scores.changes == 0
    for value in usual(rng, 6_000):
        scores.push(value * 0.6)
    assert scores.changes == 1
    for value in usual(rng, 20_000):
        scores.push(value * 0.6)
    assert scores.changes == 1, "what is usual was learned anew"


def test_drift_is_of_inputs_or_of_scores() -> None:
    assert not Drift(("a", "b", "c"), None, ScoreChanges()).drifted
    inputs = Drift(("a", "b", "c"), watching(draw(0, 50)), ScoreChanges())
    for window in draw(1, 200, shift=3.0):
        inputs.push(window, 0.9)
    assert inputs.drifted
    scores = Drift(("a", "b", "c"), watching(draw(0, 50)), ScoreChanges())
    for number, window in enumerate(draw(1, 3200)):
        scores.push(window, 0.9 if number < 2000 else 0.5)
    assert scores.drifted
    assert scores.scores.changes == 1
