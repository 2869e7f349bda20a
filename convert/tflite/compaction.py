"""The last steps on a TFLite file: what costs bytes and says nothing to a runtime goes."""

from typing import Any, Final

import numpy as np

from convert.tflite import schema
from convert.tflite.flatbuffer import operator_name, pack, unpack

FP16_LEAST: Final = 256
"""Values; a smaller weight costs more as an operator than it saves."""
FP16_MAX: Final = float(np.finfo(np.float16).max)
TAKEN: Final = {"GATHER": 0, "FULLY_CONNECTED": 1, "CONV_2D": 1, "DEPTHWISE_CONV_2D": 1}
"""Which input of an operator may be stored in 16 bits: what it weighs with, or looks up in."""


def compact(data: bytes, *, narrow: bool) -> bytes:
    """Return a file that does the same with fewer bytes.

    Args:
        data: a file of one graph.
        narrow: store what weights are still float32 in 16 bits; the runtime widens them once.
    """
    model = unpack(data)
    (graph,) = model.subgraphs
    if narrow:
        _store_fp16(model, graph)
    shown = {*graph.inputs, *graph.outputs}
    for index, tensor in enumerate(graph.tensors):
        if index not in shown:
            tensor.name = None
    return pack(model)


def _store_fp16(model: Any, graph: Any) -> None:
    takers: dict[int, list[tuple[Any, int]]] = {}
    for operator in graph.operators:
        for place, index in enumerate(operator.inputs):
            takers.setdefault(index, []).append((operator, place))
    widened = []
    for index, uses in takers.items():
        tensor = graph.tensors[index] if index >= 0 else None
        values = _float_values(model, tensor)
        fits = all(TAKEN.get(operator_name(model, op)) == place for op, place in uses)
        if tensor is None or values is None or not fits or np.abs(values).max() > FP16_MAX:
            continue
        half = _half(model, tensor, values)
        if sum(t.buffer == tensor.buffer for t in graph.tensors) == 1:
            model.buffers[tensor.buffer].data = None
        graph.tensors.append(half)
        # The float32 tensor is now what the new operator gives.
        tensor.buffer = 0
        widened.append(_dequantize(model, len(graph.tensors) - 1, index))
    graph.operators = [*widened, *graph.operators]


def _float_values(model: Any, tensor: Any) -> Any:
    if tensor is None or tensor.type != schema.TensorType.FLOAT32:
        return None
    data = model.buffers[tensor.buffer].data
    values = None if data is None else np.frombuffer(bytes(bytearray(data)), np.float32)
    return values if values is not None and values.size >= FP16_LEAST else None


def _half(model: Any, tensor: Any, values: Any) -> Any:
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(values.astype(np.float16).tobytes(), np.uint8)
    model.buffers.append(buffer)
    half = schema.TensorT()
    half.shape, half.type = tensor.shape, schema.TensorType.FLOAT16
    half.buffer = len(model.buffers) - 1
    half.hasRank = tensor.hasRank
    return half


def _dequantize(model: Any, given: int, made: int) -> Any:
    kind = schema.BuiltinOperator.DEQUANTIZE
    codes = [code.builtinCode for code in model.operatorCodes]
    if kind not in codes:
        code = schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = kind
        code.version = 3  # the first that takes 16 bits
        model.operatorCodes.append(code)
        codes.append(kind)
    operator = schema.OperatorT()
    operator.opcodeIndex = codes.index(kind)
    operator.inputs, operator.outputs = [given], [made]
    return operator
