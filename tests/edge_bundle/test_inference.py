"""One path from raw window to decision, and only for the model that the manifest describes."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnxruntime
import pytest

from edge_bundle.decision.rules import Anomaly, Score, Smoothing
from edge_bundle.errors import BundleRefused, ModelRefused
from edge_bundle.features.steps import Standardise
from edge_bundle.inference import Inference
from edge_bundle.manifest import Channel, Manifest, Stream, Tensor, Tensors
from edge_bundle.runtimes.loader import load_model
from edge_bundle.tensor import Array, TensorSpec, dequantize
from tests.edge_bundle.bundles import (
    LABELS,
    MODEL,
    WAKE_WORD,
    prepared_manifest,
    watch_manifest,
    watch_windows,
    write_small_bundle,
    write_watch_bundle,
)
from tests.parts import require_module


def reference(window: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    session = onnxruntime.InferenceSession(MODEL.read_bytes(), providers=["CPUExecutionProvider"])
    result: np.ndarray[Any, Any] = session.run(None, {"X": window.reshape(1, 600)})[1][0]
    return result


def test_scores_are_the_models_probabilities_and_decide_the_label(tmp_path: Path) -> None:
    inference = Inference.open(write_watch_bundle(tmp_path))
    for window in watch_windows(4):
        expected = reference(window)
        np.testing.assert_allclose(inference.scores(window), expected, atol=1e-6)
        assert inference.scores(window).dtype == np.float32
        assert inference.decide(window).label == LABELS[int(expected.argmax())]
        assert inference.pre_ns > 0
        assert inference.infer_ns > 0
    inference.reset()
    inference.close()


def test_features_run_before_the_model() -> None:
    mean, std = (0.5, 0.1, -0.2, 0.0, 0.3, 1.0), (2.0, 1.0, 0.5, 1.5, 1.0, 3.0)
    manifest = watch_manifest(features=(Standardise(mean, std),))
    inference = Inference(manifest, load_model(MODEL.read_bytes(), "onnx"))
    (window,) = watch_windows(1)
    expected = reference(((window - np.array(mean)) / np.array(std)).astype(np.float32))
    np.testing.assert_allclose(inference.scores(window), expected, atol=1e-5)


TENSORS = watch_manifest().tensors


@pytest.mark.parametrize(
    "tensors",
    [
        Tensors((Tensor("x", (1, 600), "float32"),), TENSORS.outputs),
        Tensors((Tensor("X", (600,), "float32"),), TENSORS.outputs),
        Tensors((Tensor("X", (1, 600), "int8"),), TENSORS.outputs),
        Tensors(TENSORS.inputs, TENSORS.outputs[::-1]),
        Tensors(TENSORS.inputs, TENSORS.outputs[1:]),
    ],
)
def test_model_with_other_tensors_than_the_manifest_is_refused(tensors: Tensors) -> None:
    manifest = msgspec.structs.replace(watch_manifest(), tensors=tensors)
    with pytest.raises(BundleRefused, match=r"tensors\.(in|out)puts: the manifest says .*") as no:
        Inference(manifest, load_model(MODEL.read_bytes(), "onnx"))
    assert str(no.value).startswith(manifest.file_name)


def test_bundle_whose_model_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelRefused):
        Inference.open(write_small_bundle(tmp_path))


# --- prepared tensors


def test_a_window_of_another_shape_is_not_repeated_to_fit(tmp_path: Path) -> None:
    inference = Inference.open(write_watch_bundle(tmp_path))
    with pytest.raises(ValueError, match=r"a window \(1, 6\), expected \(100, 6\)"):
        inference.scores(np.zeros((1, 6), np.float32))


class Doubler:
    """A simulated model whose output is twice its input, in the input's own type."""

    def __init__(self, dtype: str, outputs: int = 1) -> None:
        self.inputs: tuple[TensorSpec, ...] = (TensorSpec("x", (1, 3), dtype),)
        self.outputs = tuple(TensorSpec(f"y{i}", (1, 3), dtype) for i in range(outputs))
        self.stateful = False
        self.taken = np.zeros((1, 3), dtype)
        self.given = [np.zeros((1, 3), dtype) for _ in self.outputs]

    def input(self, index: int) -> Array:
        return (self.taken,)[index]

    def invoke(self) -> None:
        for index, out in enumerate(self.given):
            out[...] = self.taken * (index + 2)

    def output(self, index: int) -> Array:
        return self.given[index]

    def reset(self) -> None:
        """Nothing is remembered."""

    def close(self) -> None:
        """Nothing is held."""


def prepared(model: Doubler) -> Inference:
    tensors = Tensors(
        tuple(Tensor(t.name, t.shape, t.dtype) for t in model.inputs),
        tuple(Tensor(t.name, t.shape, t.dtype) for t in model.outputs),
    )
    return Inference(prepared_manifest(tensors=tensors), model)


def test_whole_numbers_reach_the_model_exactly() -> None:
    model = Doubler("int64")
    tokens = np.array([[2**53 + 1, -(2**62) + 1, 7]], np.int64)
    prepared(model).scores(tokens)
    assert model.taken.tolist() == tokens.tolist()


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8", "uint8", "int16", "int32"])
def test_all_outputs_are_given_one_after_another_as_float32(dtype: str) -> None:
    scores = prepared(Doubler(dtype, outputs=2)).scores(np.array([[1, 2, 3]], dtype))
    assert scores.dtype == np.float32
    assert scores.tolist() == [2, 4, 6, 3, 6, 9]


@pytest.mark.parametrize(
    "window", [np.zeros((1, 3), np.float32), np.zeros(3, np.int8), np.zeros((1, 1), np.int8)]
)
def test_a_prepared_tensor_is_neither_converted_nor_broadcast(window: Array) -> None:
    with pytest.raises(ValueError, match=r"expected int8 \[1, 3\]"):
        prepared(Doubler("int8")).scores(window)


def test_codes_of_a_real_model_are_taken_as_they_are() -> None:
    require_module("ai_edge_litert")
    model = load_model(WAKE_WORD.read_bytes(), "tflite")
    inference = Inference(prepared_manifest(), model)
    codes = np.random.default_rng(0).integers(-128, 128, (1, 3, 40)).astype(np.int8)
    assert inference.scores(codes).shape == (1,)
    np.testing.assert_array_equal(model.input(0), codes)


class HalfModel:
    """Gives back half of what it is given."""

    def __init__(self, dtype: str = "float32", scale: float | None = None) -> None:
        zero_point = None if scale is None else 3
        self.inputs: tuple[TensorSpec, ...] = (TensorSpec("x", (1, 4), dtype, scale, zero_point),)
        self.outputs: tuple[TensorSpec, ...] = (TensorSpec("y", (1, 4), "float32"),)
        self.stateful = False
        self._input = np.zeros((1, 4), dtype)
        self._output = np.zeros((1, 4), np.float32)

    def input(self, _index: int) -> Array:
        return self._input

    def invoke(self) -> None:
        self._output[...] = dequantize(self._input, self.inputs[0]) / 2
        self._input[...] = 0  # as a runtime may that uses the memory for other things

    def output(self, _index: int) -> Array:
        return self._output

    def reset(self) -> None:
        """Remember nothing."""

    def close(self) -> None:
        """Hold nothing."""


def half_manifest(model: HalfModel, **changes: Any) -> Manifest:
    (x,) = model.inputs
    tensors = Tensors(
        (Tensor(x.name, x.shape, x.dtype, x.scale, x.zero_point),),
        (Tensor("y", (1, 4), "float32"),),
    )
    return watch_manifest(tensors=tensors, decision=Anomaly(threshold=1.0), **changes)


def test_reconstruction_is_of_what_the_features_gave() -> None:
    model = HalfModel()
    stream = Stream(50.0, (Channel("a", "g"),), window=4, hop=4)
    features = (Standardise((1.0,), (2.0,)),)
    inference = Inference(half_manifest(model, stream=stream, features=features), model)
    window = np.array([[1], [3], [5], [9]], np.float32)  # standardised 0, 1, 2, 4
    decision = inference.decide(window)
    assert decision.score == np.mean(np.square([0, 0.5, 1, 2]))
    assert decision.label == "anomaly"


@pytest.mark.parametrize(("dtype", "scale"), [("float32", None), ("int8", 0.5)])
def test_reconstruction_of_a_window_without_features_is_of_the_window(
    dtype: str, scale: float | None
) -> None:
    model = HalfModel(dtype, scale)
    stream = Stream(50.0, (Channel("a", "g"),), window=4, hop=4)
    inference = Inference(half_manifest(model, stream=stream), model)
    window = np.array([[1], [3], [5], [-9]], np.float32)
    given = window if inference.window is None else inference.window
    given[...] = window
    assert inference.decide(given).score == np.mean(np.square([0.5, 1.5, 2.5, 4.5]))
    assert inference.decide(np.zeros((4, 1), np.float32)).score == 0


@pytest.mark.parametrize(("dtype", "scale"), [("float32", None), ("int8", 0.5)])
def test_reconstruction_of_a_prepared_tensor_is_of_its_real_values(
    dtype: str, scale: float | None
) -> None:
    model = HalfModel(dtype, scale)
    inference = Inference(half_manifest(model, stream=None), model)
    prepared = np.array([[3, 7, 11, -5]], dtype)
    real = dequantize(prepared, model.inputs[0])
    assert inference.decide(prepared).score == np.mean(np.square(real / 2))


def test_wake_word_needs_five_windows_after_every_reset() -> None:
    require_module("ai_edge_litert")
    rule = Score(("silence", "hey_jarvis"), threshold=0.0, smoothing=Smoothing("mean", 5))
    model = load_model(WAKE_WORD.read_bytes(), "tflite")
    inference = Inference(prepared_manifest(decision=rule), model)
    rng = np.random.default_rng(0)
    codes = rng.integers(-128, 128, (7, 1, 3, 40)).astype(np.int8)
    inference.reset()
    scores = [float(inference.scores(c)[0]) for c in codes]
    for _ in range(2):
        inference.reset()
        decisions = [inference.decide(c) for c in codes]
        assert [d.label for d in decisions] == ["unknown"] * 4 + ["hey_jarvis"] * 3
        means = [np.mean(scores[max(0, i - 4) : i + 1]) for i in range(7)]
        assert [d.score for d in decisions] == pytest.approx(means, abs=1e-6)


def test_thresholds_may_be_others_than_the_bundles(tmp_path: Path) -> None:
    inference = Inference.open(write_watch_bundle(tmp_path))
    (window,) = watch_windows(1)
    label = inference.decide(window).label
    inference.override({label: 1.0})
    assert inference.decide(window).label == "unknown"
    inference.override({})
    assert inference.decide(window).label == label
    with pytest.raises(BundleRefused, match=r"bundle: thresholds: no 'RUN'; the model has PEN, "):
        inference.override({"RUN": 0.5})


def test_scores_without_a_decision_name_no_label() -> None:
    manifest = watch_manifest(decision=None)
    inference = Inference(manifest, load_model(MODEL.read_bytes(), "onnx"))
    (window,) = watch_windows(1)
    scores = inference.scores(window)
    np.testing.assert_allclose(scores[1:], reference(window), atol=1e-6)
    with pytest.raises(
        BundleRefused, match=r"^watch-1\.0\.0-onnx-float\.bundle: .*no \[decision\]"
    ):
        inference.decide(window)
