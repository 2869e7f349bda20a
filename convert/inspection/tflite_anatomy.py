"""What a TFLite file is made of, read from its bytes and never given to an interpreter."""

from collections.abc import Sequence
from math import prod
from typing import Any, Final

import numpy as np

from convert.inspection.anatomy import Anatomy, TensorFacts, count_operators
from convert.tflite import schema
from convert.tflite.flatbuffer import DTYPES, operator_name, unpack
from edge_bundle.errors import ModelRefused

CONTROL: Final = frozenset({"IF", "WHILE", "CALL", "STABLEHLO_WHILE", "STABLEHLO_CASE"})
STATE: Final = frozenset({"VAR_HANDLE", "HASHTABLE"})
NO_PARAMETERS: Final = frozenset({"int64", "bool", "string", "resource", "variant"})
"""Types of indices, masks, words and handles."""
CODES: Final = frozenset({"int8", "uint8", "int4", "int2"})
WEIGHTS_AT: Final = {
    "CONV_2D": 1,
    "CONV_3D": 1,
    "DEPTHWISE_CONV_2D": 1,
    "TRANSPOSE_CONV": 1,
    "FULLY_CONNECTED": 1,
    "BATCH_MATMUL": 1,
    "UNIDIRECTIONAL_SEQUENCE_LSTM": 2,
    "SVDF": 1,
}
"""Operators that multiply with weights, and which of their inputs these are."""
ALSO_MULTIPLY: Final = frozenset(
    {"BIDIRECTIONAL_SEQUENCE_LSTM", "BIDIRECTIONAL_SEQUENCE_RNN", "LSTM", "RNN", "SVDF"}
    | {"UNIDIRECTIONAL_SEQUENCE_RNN", "STABLEHLO_DOT_GENERAL", "STABLEHLO_CONVOLUTION"}
    | {"STABLEHLO_COMPOSITE"}
)
LSTM_WEIGHTS: Final = range(1, 9)
"""Inputs of a sequence LSTM that multiply: four gates' input weights, then recurrent ones."""
Shape = tuple[int, ...]


def read_tflite(data: bytes) -> Anatomy:
    """Read a TFLite file that may be damaged.

    Raises: ModelRefused: no TFLite model, or a damaged one.
    """
    model = unpack(data)
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            if any(n < 0 for n in _shape(tensor)):
                name = (tensor.name or b"").decode(errors="replace")
                raise ModelRefused(f"damaged TFLite file: tensor {name}: {list(_shape(tensor))}")
    graphs, main = model.subgraphs, model.subgraphs[0]
    names = [operator_name(model, o) for graph in graphs for o in graph.operators]
    variables = sum(bool(t.isVariable) for graph in graphs for t in graph.tensors)
    states = [f"{names.count(name)} {name}" for name in sorted(STATE.intersection(names))]
    states += [f"{variables} variable tensors"] if variables else []
    parameters, weight_bytes = _weights(model)
    macs, uncounted = _multiplications(model, main)
    return Anatomy(
        format="tflite",
        producer=_text(model.description),
        inputs=tuple(_facts(main.tensors[i]) for i in main.inputs),
        outputs=tuple(_facts(main.tensors[i]) for i in main.outputs),
        operators=count_operators(names),
        parameters=parameters,
        weight_bytes=weight_bytes,
        arithmetic=_arithmetic(model),
        stateful=tuple(states),
        control_flow=tuple(sorted(CONTROL.intersection(names))),
        custom=_custom(model),
        multiply_accumulates=macs,
        uncounted=uncounted,
    )


def _weights(model: Any) -> tuple[int, dict[str, int]]:
    """Return how many values take part in arithmetic, and the bytes of all constants by type."""
    found: dict[str, int] = {}
    parameters = 0
    seen: set[int] = set()
    for tensor in (t for graph in model.subgraphs for t in graph.tensors):
        held = model.buffers[tensor.buffer].data
        if held is None or tensor.buffer in seen:
            continue
        seen.add(tensor.buffer)
        kind = _dtype(tensor)
        found[kind] = found.get(kind, 0) + len(held)
        # An int32 constant is a bias where it has scales, else a shape, axis or index.
        is_index = kind in NO_PARAMETERS or (kind == "int32" and not _scales(tensor))
        parameters += 0 if is_index else prod(_shape(tensor))
    return parameters, found


def _arithmetic(model: Any) -> dict[str, int]:
    """Return how many operators with weights compute how."""
    found: dict[str, int] = {}
    for graph in model.subgraphs:
        # Weights of float16 files are widened as they are loaded.
        narrow = {
            o.outputs[0]: _dtype(graph.tensors[o.inputs[0]])
            for o in graph.operators
            if operator_name(model, o) == "DEQUANTIZE" and o.inputs and o.outputs
        }
        for operator in graph.operators:
            name = operator_name(model, operator)
            at = WEIGHTS_AT.get(name, 0)
            if not 0 < at < len(operator.inputs) or operator.inputs[at] < 0:
                continue
            weights = graph.tensors[operator.inputs[at]]
            if name == "BATCH_MATMUL" and model.buffers[weights.buffer].data is None:
                continue  # of two activations, as in attention
            activation = _dtype(graph.tensors[operator.inputs[_taken_at(name)]])
            stored = narrow.get(operator.inputs[at], _dtype(weights))
            kind = _kind(activation, stored)
            found[kind] = found.get(kind, 0) + 1
    return found


def _kind(activation: str, weights: str) -> str:
    if activation in CODES:
        return "int8"
    if activation == "int16":
        return "int16 activations"
    return f"dynamic {weights}" if weights in CODES else weights


def _multiplications(model: Any, graph: Any) -> tuple[int, tuple[str, ...]]:
    """Return the multiply-accumulates of one run, and which operators are not in the number."""
    total = 0
    uncounted = set(_custom(model))
    for operator in graph.operators:
        name = operator_name(model, operator)
        shapes = [_shape(graph.tensors[i]) if i >= 0 else None for i in operator.inputs]
        try:
            if name in ALSO_MULTIPLY | CONTROL:
                uncounted.add(name)
            elif name in WEIGHTS_AT:
                total += _macs(name, shapes, _shape(graph.tensors[operator.outputs[0]]))
        except (TypeError, IndexError):  # an input is left out, or has no shape
            uncounted.add(name)
    return total, tuple(sorted(uncounted))


def _macs(name: str, shapes: Sequence[Shape | None], given: Shape) -> int:
    """Return the multiply-accumulates of one operator.

    Raises: TypeError, IndexError: where an input is left out or has too few dimensions.
    """
    taken, kernel = shapes[_taken_at(name)], shapes[WEIGHTS_AT[name]]
    if taken is None or kernel is None:
        raise TypeError(name)
    if name == "UNIDIRECTIONAL_SEQUENCE_LSTM":  # [steps, batch, values] or [batch, steps, values]
        return prod(taken[:2]) * sum(prod(shape) for i in LSTM_WEIGHTS if (shape := shapes[i]))
    if name == "TRANSPOSE_CONV":  # weights [out, height, width, in]
        return prod(taken) * prod(kernel[:-1])
    each = {
        "CONV_2D": kernel[1:],
        "CONV_3D": kernel[:-1],
        "DEPTHWISE_CONV_2D": kernel[1:3],
        "FULLY_CONNECTED": kernel[-1:],
        "BATCH_MATMUL": taken[-1:],
    }
    return prod(given) * prod(each[name])


def _taken_at(name: str) -> int:
    return 2 if name == "TRANSPOSE_CONV" else 0


def _custom(model: Any) -> tuple[str, ...]:
    is_custom = [c.builtinCode == schema.BuiltinOperator.CUSTOM for c in model.operatorCodes]
    found = {
        operator_name(model, operator)
        for graph in model.subgraphs
        for operator in graph.operators
        if is_custom[operator.opcodeIndex]
    }
    return tuple(sorted(found))


def _facts(tensor: Any) -> TensorFacts:
    shape = _shape(tensor)
    stated = tensor.shapeSignature
    signature = shape if stated is None or len(stated) != len(shape) else stated
    scales = _scales(tensor)
    points: Any = None if tensor.quantization is None else tensor.quantization.zeroPoint
    # One scale for each channel says nothing of the whole tensor's values.
    is_coded = len(scales) == 1
    return TensorFacts(
        _text(tensor.name),
        tuple("?" if free < 0 else n for n, free in zip(shape, signature, strict=True)),
        _dtype(tensor),
        float(scales[0]) if is_coded else None,
        int(points[0]) if is_coded and points is not None and len(points) else None,
    )


def _scales(tensor: Any) -> Sequence[float]:
    found = None if tensor.quantization is None else tensor.quantization.scale
    return () if found is None else np.asarray(found).tolist()


def _shape(tensor: Any) -> Shape:
    return () if tensor.shape is None else tuple(int(n) for n in tensor.shape)


def _dtype(tensor: Any) -> str:
    return DTYPES.get(tensor.type, f"type {tensor.type}").lower()


def _text(raw: bytes | None) -> str:
    return (raw or b"").decode(errors="replace")
