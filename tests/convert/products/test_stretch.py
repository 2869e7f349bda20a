"""A model that remembers is proven by the piece of stream that moves it most, from a reset on."""

from collections.abc import Sequence

import numpy as np
import pytest
from msgspec.structs import replace

from convert.products.stretch import TRIED, choose_stretch, choose_windows, find_fresh
from edge_bundle.golden import run_golden
from edge_bundle.inference import Inference
from edge_bundle.runtimes.loader import load_model
from edge_bundle.tensor import Float32Array
from tests.edge_bundle.accumulator import WINDOW, accumulator, accumulator_manifest
from tests.edge_bundle.bundles import MODEL, watch_manifest, watch_windows

MOST = 16


@pytest.fixture(scope="module")
def inference() -> Inference:
    """A model that adds up what it hears."""
    manifest = accumulator_manifest()
    return Inference(manifest, load_model(accumulator(), "onnx", shapes=manifest.shapes))


def stream(count: int, sounds: Sequence[int], value: float = 1.0) -> list[Float32Array]:
    """Return windows that are silent but for some."""
    windows = np.zeros((count, WINDOW, 1), np.float32)
    windows[list(sounds)] = value
    return list(windows)


@pytest.mark.parametrize("sound", [0, 1, 15, 16, 100, 137, 298, 299])
def test_what_is_heard_once_is_in_the_stretch(inference: Inference, sound: int) -> None:
    windows = stream(300, [sound])
    chosen = choose_stretch(inference, windows, MOST)
    assert len(chosen) == MOST
    assert sound in chosen
    assert 0 <= chosen.start < chosen.stop <= 300
    scores = run_golden(inference, [windows[i] for i in chosen])
    assert np.ptp(scores) > 0 or chosen.start == sound


def test_a_stretch_is_judged_by_what_it_gives_from_a_reset_on(inference: Inference) -> None:
    # Whoever begins at 40 hears nothing of what made it large before.
    windows = stream(200, range(0, 200, 2), 0.01)
    windows[120][:] = 5
    assert 120 in choose_stretch(inference, windows, MOST)


def test_a_short_stream_is_taken_whole(inference: Inference) -> None:
    for count in (1, 5, MOST):
        assert choose_stretch(inference, stream(count, []), MOST) == range(count)


def test_of_equal_stretches_the_first_is_taken_and_always_the_same(inference: Inference) -> None:
    assert choose_stretch(inference, stream(200, []), MOST) == range(MOST)
    random = np.random.default_rng(3).normal(size=(400, WINDOW, 1)).astype(np.float32)
    found = {choose_stretch(inference, list(random), MOST) for _ in range(3)}
    assert len(found) == 1


def test_a_score_that_is_not_finite_is_not_passed_over(inference: Inference) -> None:
    windows = stream(300, range(0, 100, 3))
    windows[250][0] = np.inf
    assert 250 in choose_stretch(inference, windows, MOST)


def test_more_liveliness_than_can_be_tried_does_not_hide_the_most(inference: Inference) -> None:
    windows = stream(40 * MOST, range(0, 40 * MOST, 5), 0.1)
    assert len(windows) > TRIED * MOST
    windows[500][:] = 3
    assert 500 in choose_stretch(inference, windows, MOST)


def test_windows_of_a_model_that_forgets_stand_for_its_classes() -> None:
    inference = Inference(watch_manifest(), load_model(MODEL.read_bytes(), "onnx"))
    windows = list(watch_windows())
    labels = [0] * (len(windows) - 1) + [1]
    chosen = choose_windows(inference, windows, labels)
    assert any(np.array_equal(w, windows[-1]) for w in chosen.windows)
    assert chosen.fresh == []


def test_windows_that_overlap_follow_each_other_until_the_stream_breaks(
    inference: Inference,
) -> None:
    samples = np.random.default_rng(0).normal(size=(40, 1)).astype(np.float32)
    first, second = (
        [samples[at : at + WINDOW] for at in range(begin, end, 3)]
        for begin, end in ((0, 12), (20, 29))
    )
    chosen = choose_windows(inference, [*first, *second], [None] * 7)
    assert chosen.fresh == [0, 3, 3, 3, 0, 3, 3]
    assert len(chosen.windows) == 7


def test_windows_of_no_stream_or_without_overlap_stand_alone() -> None:
    windows = stream(9, [])
    overlapping = accumulator_manifest().stream
    assert overlapping is not None
    assert find_fresh(windows, None) == []
    assert find_fresh(windows, replace(overlapping, hop=WINDOW)) == []
