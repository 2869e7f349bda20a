"""One path from raw window to decision, and only for the model that the manifest describes."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnxruntime
import pytest

from edge_bundle.errors import BundleRefused, ModelRefused
from edge_bundle.features import Standardise
from edge_bundle.inference import Inference
from edge_bundle.manifest import Tensor, Tensors
from edge_bundle.runtimes.loader import load_model
from tests.edge_bundle.bundles import (
    LABELS,
    MODEL,
    watch_manifest,
    watch_windows,
    write_small_bundle,
    write_watch_bundle,
)


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
