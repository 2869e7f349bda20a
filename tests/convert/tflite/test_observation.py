"""Every activation is seen, once for each input, and no weight."""

import numpy as np
import pytest

from convert.tflite.observation import observe_tflite
from edge_bundle.errors import ModelRefused
from edge_bundle.runtimes.loader import load_model
from tests.convert.tflite.example import BLOCK, INPUTS, LOGITS, SCORES, small_model

NAMES = ["x", BLOCK, f"{BLOCK}#4", LOGITS, SCORES]
"""The second use of a name is told from the first."""


def test_every_activation_of_every_input_is_given() -> None:
    assert [name for name, _ in observe_tflite(small_model(), INPUTS[:2])] == NAMES * 2


def test_values_are_those_between_the_operators() -> None:
    seen = dict(observe_tflite(small_model(), INPUTS[:1]))
    assert np.array_equal(seen["x"], INPUTS[0])
    assert seen[BLOCK].min() < 0
    assert np.array_equal(seen[f"{BLOCK}#4"], np.maximum(seen[BLOCK], 0))
    model = load_model(small_model(), "tflite")
    model.input(0)[...] = INPUTS[0]
    model.invoke()
    assert np.allclose(seen[SCORES], model.output(0), atol=1e-6)


def test_values_stay_when_the_next_input_runs() -> None:
    seen = [values for name, values in observe_tflite(small_model(), INPUTS[:2]) if name == "x"]
    assert np.array_equal(seen, INPUTS[:2])


def test_an_input_of_another_shape_is_refused() -> None:
    with pytest.raises(ModelRefused, match=r"ai-edge-litert cannot observe it: .*[Dd]imension"):
        list(observe_tflite(small_model(), [np.zeros((1, 5), np.float32)]))
