"""Golden windows stand for all classes, are few where they are large, and never by chance."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convert.findings import Precision
from convert.given.windows import spread
from convert.products.evidence import (
    GOLDEN_BYTES,
    choose_golden,
    count_golden,
    golden_tolerance,
    seed_windows,
)
from edge_bundle.features.steps import Standardise
from edge_bundle.manifest import Manifest, Tensor, Tensors
from tests.edge_bundle.bundles import prepared_manifest, watch_manifest

LABELS = st.lists(st.sampled_from("abcdefg"), min_size=1, max_size=200)


@given(labels=LABELS, most=st.integers(7, 20))
def test_golden_windows_are_different_and_show_every_class(labels: list[str], most: int) -> None:
    chosen = choose_golden(labels, most)
    assert 0 < len(set(chosen)) == len(chosen) <= most
    assert {labels[i] for i in chosen} == set(labels)
    counts = Counter(labels[i] for i in chosen)
    full = [n for label, n in counts.items() if n < labels.count(label)]
    assert not full or max(counts.values()) - min(full) <= 1


@given(count=st.integers(1, 500), most=st.integers(2, 40))
def test_spread_reaches_from_the_first_to_the_last(count: int, most: int) -> None:
    numbers = spread(count, most)
    assert numbers == sorted(set(numbers))
    assert (numbers[0], numbers[-1], len(numbers)) == (0, count - 1, min(count, most))


def taking(tensor: Tensor, outputs: int = 1) -> Manifest:
    tensors = Tensors((tensor,), (Tensor("y", (1, outputs), "float32"),))
    return prepared_manifest(tensors=tensors)


@pytest.mark.parametrize(
    ("manifest", "count"),
    [
        (watch_manifest(), 16),
        (watch_manifest(stateful=True), 64),
        (taking(Tensor("x", (1, 96, 96, 3), "int8")), 9),
        (taking(Tensor("x", (1, 96, 96, 3), "float32")), 2),
        (taking(Tensor("x", (1, 10**6), "float32")), 1),
        (taking(Tensor("x", (1, 10), "float32"), outputs=30_000), 2),
    ],
)
def test_golden_windows_are_fewer_where_they_are_large(manifest: Manifest, count: int) -> None:
    assert count_golden(manifest) == count
    windows = seed_windows(manifest, count)
    size = sum(w.nbytes for w in windows) + 4 * count * manifest.scores_count
    assert size <= GOLDEN_BYTES or count == 1


@pytest.mark.parametrize(
    ("precision", "scores", "tolerance"),
    [
        ("int8", [[0.0, 1.0], [0.5, 0.5]], 0.02),
        ("int8", [[0.25, 0.75]], 0.02),
        ("int8", [[-20.0, 30.0]], 1.0),
        ("dynamic", [[0.0, 50.0]], 1.0),
        ("fp16", [[-0.01, 0.01]], 2e-5),
        ("float", [[-200.0], [-200.0]], 0.02),
        ("float", [[0.0]], 1e-4),
    ],
)
def test_tolerance_follows_the_range_of_scores_that_are_no_fractions(
    precision: Precision, scores: list[list[float]], tolerance: float
) -> None:
    found = golden_tolerance(precision, np.asarray(scores, np.float32))
    assert found == pytest.approx(tolerance)


@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [
        *[("int8", -128, 127), ("uint8", 0, 255), ("int16", -32768, 32767)],
        *[("int32", 0, 7), ("int64", 0, 7), ("bool", 0, 1)],
    ],
)
def test_seeded_codes_cover_their_range_and_tokens_stay_small(
    dtype: str, low: int, high: int
) -> None:
    windows = np.stack(seed_windows(taking(Tensor("x", (1, 20_000), dtype)), 16))
    assert (windows.dtype, windows.shape) == (np.dtype(dtype), (16, 1, 20_000))
    assert windows.min() <= low + (high - low) // 100
    assert windows.max() >= high - (high - low) // 100
    again = np.stack(seed_windows(taking(Tensor("x", (1, 20_000), dtype)), 16))
    np.testing.assert_array_equal(windows, again)


def test_seeded_real_values_are_those_that_the_features_or_the_codes_expect() -> None:
    mean, std = (5.0, 0.0, -9.8, 0.1, 0.2, 0.3), (0.1, 1.0, 2.0, 0.1, 0.1, 0.1)
    windows = np.stack(seed_windows(watch_manifest(features=(Standardise(mean, std),)), 16))
    assert windows.dtype == np.float32
    assert windows.shape == (16, 100, 6)
    np.testing.assert_allclose(windows.mean(axis=(0, 1)), mean, atol=0.2)
    np.testing.assert_allclose(windows.std(axis=(0, 1)), std, rtol=0.1)
    coded = Tensors((Tensor("x", (1, 600), "int8", 0.5, -28),), watch_manifest().tensors.outputs)
    windows = np.stack(seed_windows(watch_manifest(tensors=coded), 16))
    assert (windows.min(), windows.max()) == (-50.0, 77.5)
