"""State tensors go from one window to the next, and begin with zeros after a break."""

import re
from typing import Any

import msgspec
import numpy as np
import pytest

from edge_bundle import document
from edge_bundle.errors import BundleRefused
from edge_bundle.feedback import Feedback
from edge_bundle.inference import Inference
from edge_bundle.manifest import Manifest, State, Tensor, Tensors
from edge_bundle.runtimes.loader import load_model
from edge_bundle.tensor import Array, TensorSpec
from tests.edge_bundle.accumulator import GAIN, WINDOW, accumulator, accumulator_manifest
from tests.edge_bundle.bundles import watch_manifest


def opened(manifest: Manifest) -> Inference:
    return Inference(manifest, load_model(accumulator(), "onnx", shapes=manifest.shapes))


def test_state_goes_on_from_window_to_window_until_reset() -> None:
    inference = opened(accumulator_manifest())
    windows = np.random.default_rng(0).normal(size=(5, WINDOW, 1)).astype(np.float32)
    totals = [float(inference.scores(w)[0]) for w in windows]
    sums = GAIN * np.cumsum(windows.sum(axis=(1, 2)))
    np.testing.assert_allclose(totals, sums, rtol=1e-5)
    inference.reset()
    assert float(inference.scores(windows[0])[0]) == totals[0]


def test_state_that_is_not_finite_is_not_carried_on() -> None:
    inference = opened(accumulator_manifest())
    ones, huge = np.ones((WINDOW, 1), np.float32), np.full((WINDOW, 1), 3e38, np.float32)
    assert [float(inference.scores(w)[0]) for w in (ones, huge)] == [GAIN * WINDOW, np.inf]
    again = [float(inference.scores(ones)[0]) for _ in range(2)]
    assert again == [GAIN * WINDOW, 2 * GAIN * WINDOW]


def test_state_is_no_score() -> None:
    manifest = accumulator_manifest()
    assert opened(manifest).scores(np.ones((WINDOW, 1), np.float32)).tolist() == [GAIN * WINDOW]
    assert manifest.scores_count == 1
    assert manifest.window_shape == (WINDOW, 1)


def test_prepared_tensor_goes_to_the_input_that_nothing_else_fills() -> None:
    inputs = accumulator_manifest().tensors.inputs
    outputs = accumulator_manifest().tensors.outputs
    manifest = accumulator_manifest(stream=None, tensors=Tensors(inputs, outputs))
    document.check(manifest)
    scores = opened(manifest).scores(np.ones((1, WINDOW), np.float32))
    assert scores.tolist() == [GAIN * WINDOW]


def test_manifest_survives_its_bytes_and_one_without_state_keeps_its_own() -> None:
    manifest = accumulator_manifest()
    assert document.decode(document.encode(manifest)) == manifest
    plain = msgspec.json.decode(document.encode(watch_manifest()))
    assert not {"state", "constants"} & set(plain)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"state": (State("stat", "stateN"),)}, "state[0].input: 'stat', the model has x, state"),
        ({"state": (State("state", "state"),)}, "state[0].output: 'state', the model has total"),
        ({"state": (State("state", "total"),)}, "state[0]: state is float32 2x1, total is float32"),
        (
            {"state": (State("state", "stateN"),) * 2},
            "state, constants: 'state' stands there twice",
        ),
        ({"stateful": False}, "stateful: false, and there is state"),
        (
            {"constants": {}},
            "tensors.inputs: x 1x4, state 2x1, gain scalar, expected one beside state",
        ),
        (
            {"constants": {"gain": 3, "x": 0}},
            "tensors.inputs: x 1x4, state 2x1, gain scalar, expected",
        ),
        ({"constants": {"gian": 3}}, "constants: 'gian', the model has x, state, gain"),
    ],
)
def test_contradiction_is_refused_by_field(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(BundleRefused, match=re.escape(f"manifest.json: {message}")):
        document.check(accumulator_manifest(**changes))


@pytest.mark.parametrize("value", [1.5, 1 << 80, float("inf"), float("nan")])
def test_constant_that_its_input_cannot_hold_is_refused(value: float) -> None:
    with pytest.raises(BundleRefused, match=r"constants\.gain: .*: the input is int64"):
        opened(accumulator_manifest(constants={"gain": value}))


class Codes:
    """A simulated integer model whose state comes out in another scale than it goes in."""

    def __init__(self) -> None:
        self.inputs: tuple[TensorSpec, ...] = (
            TensorSpec("x", (1,), "int8"),
            TensorSpec("s", (2,), "int8", 0.5, 10),
        )
        self.outputs: tuple[TensorSpec, ...] = (
            TensorSpec("y", (1,), "int8"),
            TensorSpec("t", (2,), "int8", 0.25, -20),
        )
        self.stateful = False
        self._in: list[Array] = [np.zeros(t.shape, np.int8) for t in self.inputs]
        self._out: list[Array] = [np.zeros(1, np.int8), np.array([-20, 20], np.int8)]

    def input(self, index: int) -> Array:
        return self._in[index]

    def output(self, index: int) -> Array:
        return self._out[index]

    def invoke(self) -> None:
        """Nothing to do: the outputs are there."""

    def reset(self) -> None:
        """Nothing is remembered here."""

    def close(self) -> None:
        """Nothing is held."""


def test_integer_state_keeps_its_real_values() -> None:
    model = Codes()
    manifest = accumulator_manifest(
        tensors=Tensors(
            tuple(Tensor(t.name, t.shape, t.dtype) for t in model.inputs),
            tuple(Tensor(t.name, t.shape, t.dtype) for t in model.outputs),
        ),
        state=(State("s", "t"),),
        constants={},
    )
    feedback = Feedback(manifest, model)
    assert model.input(1).tolist() == [10, 10]  # zero
    feedback.carry()
    assert model.input(1).tolist() == [10, 30]  # 0.0 and 10.0
    feedback.reset()
    assert model.input(1).tolist() == [10, 10]
