"""ONNX files with int8 codes: onnxruntime's quantizer as an emitter of ranges that we chose."""

import logging
import tempfile
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
import onnx
import onnxruntime
from onnx import shape_inference

from convert.given.source import QUANTIZED, first_line
from convert.onnx.canonical import MAX_IR, to_bytes
from convert.onnx.compaction import compact, own_weights, store_fp16
from convert.parity import SILENT
from convert.ranges import Ranges
from edge_bundle.errors import ModelRefused

WEIGHTED: Final = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""What holds most weights and does most of the work."""
BETWEEN: Final = (
    *("Add", "Clip", "Relu", "AveragePool", "GlobalAveragePool", "MaxPool"),
    *("Concat", "Flatten", "Pad", "Reshape", "Squeeze", "Transpose", "Unsqueeze"),
    "Softmax",
)
"""What stands between two of these. Not what scales raw channels: their units differ, and one
scale for all loses the smaller ones."""
FLOAT_OUTPUTS: Final = ("Softmax",)
"""Scores stay float32, which costs nothing. (Softmax is listed above all the same: onnxruntime
1.20 wants its range even where it stays float.)"""

Activations = Literal["uint8", "int8"]
Scope = Literal["all operators", "weighted operators"]


@dataclass(frozen=True, slots=True)
class Static:
    """How codes are made where their ranges are known."""

    activations: Activations
    """uint8 is fast on x86, int8 on ARM; weights are int8 either way."""
    scope: Scope
    reduce_range: bool = False
    """7-bit weights: x86 without VNNI adds pairs of products in 16 bits, which saturate."""


def quantize_static(
    data: bytes,
    ranges: Ranges,
    recipe: Static,
    keep_float: Collection[str] = (),
    only: Collection[str] = (),
) -> bytes:
    """Return a canonical model with int8 weights by channel and 8-bit activations (QDQ).

    Args:
        data: with unique node names.
        ranges: of every float tensor.
        recipe: types and scope.
        keep_float: nodes that stay float.
        only: where given, no other node becomes int8.
    Raises: ModelRefused: where onnxruntime cannot, or finds nothing to quantize.
    """
    model = own_weights(onnx.load_model_from_string(data))
    operators = WEIGHTED if recipe.scope == "weighted operators" else (*WEIGHTED, *BETWEEN)
    with _quiet():
        try:
            made = _emit(
                shape_inference.infer_shapes(model),
                ranges,
                recipe,
                operators,
                sorted(keep_float),
                sorted(only),
            )
        except Exception as error:  # the quantizer raises what it likes
            raise ModelRefused(f"onnxruntime cannot quantize it: {first_line(error)}") from None
    if not any(node.op_type in QUANTIZED for node in made.graph.node):
        raise ModelRefused("nothing in it can be int8; build it with --precision float")
    return _finish(store_fp16(made))


def quantize_dynamic(data: bytes, keep_float: Collection[str] = ()) -> bytes:
    """Return a model with int8 weights whose activations get their ranges as it runs.

    Only of matrix products: onnxruntime's dynamic convolution is an order of magnitude slower
    than float.

    Raises: ModelRefused: where onnxruntime cannot, or there is no such product.
    """
    from onnxruntime import quantization as ort

    model = own_weights(onnx.load_model_from_string(data))
    # quantize_dynamic empties a model given in memory, so it gets a file.
    with tempfile.TemporaryDirectory(prefix="edge-convert-") as folder, _quiet():
        given, made = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        given.write_bytes(to_bytes(model))
        try:
            ort.quantize_dynamic(
                given,
                made,
                op_types_to_quantize=["MatMul", "Gemm"],
                nodes_to_exclude=sorted(keep_float),
                per_channel=True,
                weight_type=ort.QuantType.QInt8,
                extra_options={"MatMulConstBOnly": True},
            )
            model = onnx.load(made)
        except Exception as error:  # the quantizer raises what it likes
            raise ModelRefused(f"onnxruntime cannot quantize it: {first_line(error)}") from None
    if not any(node.op_type in QUANTIZED for node in model.graph.node):
        raise ModelRefused("no matrix product with constant weights in it")
    return _finish(store_fp16(model))


def narrow_weights(data: bytes) -> bytes:
    """Return a model whose float weights take 16 bits in the file; it computes in float32."""
    return _finish(store_fp16(onnx.load_model_from_string(data)))


def keep_weights(data: bytes) -> bytes:
    """Return the float model as it is shipped: canonical, and no larger than it must be."""
    return _finish(onnx.load_model_from_string(data))


def int8_nodes(data: bytes) -> list[onnx.NodeProto]:
    """Return the nodes whose weights int8 makes smaller, in the order in which they run."""
    model = onnx.load_model_from_string(data)
    weights = {t.name for t in model.graph.initializer}
    return [
        node
        for node in model.graph.node
        if node.op_type in WEIGHTED and any(name in weights for name in node.input)
    ]


def _emit(
    model: onnx.ModelProto,
    ranges: Ranges,
    recipe: Static,
    operators: Collection[str],
    keep_float: list[str],
    only: list[str],
) -> onnx.ModelProto:
    from onnxruntime.quantization import CalibrationMethod, QuantType
    from onnxruntime.quantization.calibrate import TensorsData
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    ends = {
        name: (np.asarray(r.low, np.float32), np.asarray(r.high, np.float32))
        for name, r in ranges.items()
    }
    kinds = {"uint8": QuantType.QUInt8, "int8": QuantType.QInt8}
    quantizer = QDQQuantizer(
        model,
        per_channel=True,
        reduce_range=recipe.reduce_range,
        weight_qType=QuantType.QInt8,
        activation_qType=kinds[recipe.activations],
        tensors_range=TensorsData(CalibrationMethod.MinMax, ends),
        nodes_to_quantize=only,
        nodes_to_exclude=keep_float,
        op_types_to_quantize=list(operators),
        extra_options={
            "OpTypesToExcludeOutputQuantization": list(FLOAT_OUTPUTS),
            # It compares arrays as if they were numbers where a Gemm is quantized by channel.
            "QDQDisableWeightAdjustForInt32Bias": True,
            "MatMulConstBOnly": True,
        },
    )
    quantizer.quantize_model()
    # It puts new nodes at the end.
    quantizer.model.topological_sort()
    made: onnx.ModelProto = quantizer.model.model
    return made


def _finish(model: onnx.ModelProto) -> bytes:
    model = compact(model)
    model.ir_version = min(model.ir_version, MAX_IR)
    model.producer_name = "edgeward"
    model.ClearField("producer_version")
    used = {node.domain for node in model.graph.node} | {""}
    opsets = [o for o in model.opset_import if o.domain in used]
    kept = [onnx.helper.make_opsetid(o.domain, o.version) for o in opsets]
    del model.opset_import[:]
    model.opset_import.extend(kept)
    try:
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:  # the checker's classes share no base
        raise ModelRefused(f"the quantized graph is not valid: {first_line(error)}") from None
    return to_bytes(model)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep onnxruntime's advice, given through the root logger, off the user's screen."""
    root, sink = logging.getLogger(), logging.NullHandler()
    # Without a handler logging.warning() installs one that prints, for the whole process.
    root.addHandler(sink)
    root.addFilter(_not_from_root)
    onnxruntime.set_default_logger_severity(SILENT)
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            yield
    finally:
        root.removeFilter(_not_from_root)
        root.removeHandler(sink)


def _not_from_root(record: logging.LogRecord) -> bool:
    return record.name != "root"
