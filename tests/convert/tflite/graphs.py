"""Small ONNX graphs with seeded weights, and the comparison of both runtimes on them."""

import zlib
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper, parser, shape_inference

from convert.tflite.emission import emit_tflite
from convert.tflite.flatbuffer import operator_name, unpack
from edge_bundle.runtimes.loader import load_model
from edge_bundle.tensor import Array

BOUND = 1e-4
"""Of an output's range."""
IGNORED = frozenset({"RESHAPE", "TRANSPOSE"})


def graph(
    inputs: str,
    body: str,
    weights: Mapping[str, Any] | None = None,
    outputs: str = "float y",
    opset: int = 17,
    domains: str = "",
) -> bytes:
    """Return an ONNX file.

    Args:
        inputs: such as ``float[1,3,8,8] x``.
        body: nodes in ONNX's text form.
        weights: by name, values or the shape of seeded float32 ones.
        outputs: names with their types; shapes that are not there are inferred.
        opset: of ONNX's own operators.
        domains: further ones, such as ``, "com.acme" : 1``.
    """
    head = f'<ir_version: 8, opset_import: ["" : {opset}{domains}]>'
    model = parser.parse_model(f"{head} g ({inputs}) => ({outputs}) {{ {body} }}")
    for name, given in (weights or {}).items():
        values = np.asarray(given) if hasattr(given, "dtype") else seeded(name, given)
        model.graph.initializer.append(numpy_helper.from_array(values, name))
    for value in model.graph.output:
        if not value.type.tensor_type.shape.dim:
            value.type.tensor_type.ClearField("shape")
    inferred: bytes = shape_inference.infer_shapes(model, data_prop=True).SerializeToString()
    return inferred


def seeded(name: str, shape: Sequence[int]) -> Array:
    """Return float32 numbers of a normal distribution, the same for the same name."""
    return np.random.default_rng(zlib.crc32(name.encode())).normal(size=shape).astype(np.float32)


def operators(file: bytes) -> list[str]:
    """Return what a TFLite file's operators are, in order."""
    model = unpack(file)
    return [operator_name(model, operator) for operator in model.subgraphs[0].operators]


def largest_error(data: bytes, low: float = -3, high: float = 3, count: int = 3) -> float:
    """Emit an ONNX file, run both on random inputs, and compare.

    Args:
        data: of any number of inputs and outputs.
        low, high: of the input's values; integers are their rounded magnitudes.
        count: inferences.
    Returns: largest difference relative to the range of its output over all inferences.
    """
    rng = np.random.default_rng(5)
    worst = 0.0
    with (
        closing(load_model(data, "onnx")) as a,
        closing(load_model(emit_tflite(data), "tflite")) as b,
    ):
        assert a.inputs == b.inputs
        # onnxruntime gives no shape where the file states none.
        assert [(o.name, o.dtype) for o in a.outputs] == [(o.name, o.dtype) for o in b.outputs]
        for _ in range(count):
            for place, spec in enumerate(a.inputs):
                real = spec.dtype.startswith("float")
                drawn = rng.uniform(low, high, spec.shape)
                values = drawn if real else np.abs(np.rint(drawn))
                a.input(place)[...] = b.input(place)[...] = values.astype(spec.dtype)
            a.invoke()
            b.invoke()
            for place in range(len(a.outputs)):
                expected, found = (np.array(m.output(place), np.float64) for m in (a, b))
                assert expected.shape == found.shape
                assert np.isfinite(found).all()
                extent = np.ptp(expected) or np.abs(expected).max() or 1.0
                worst = max(worst, float(np.abs(expected - found).max() / extent))
    return worst


def load(data: bytes) -> onnx.ModelProto:
    """Return the model of an ONNX file."""
    return onnx.load_model_from_string(data)
