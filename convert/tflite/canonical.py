"""One plain form of a float file, reached by steps that change no more than rounding.

Exporters leave what integer kernels are slow or unable at: weights in float16, and activations
beside the operator that could apply them.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from convert.tflite import schema
from convert.tflite.flatbuffer import is_constant, operator_name, pack, tensor_names
from convert.tflite.source import float_model

ACTIVATIONS: Final = {
    "RELU": schema.ActivationFunctionType.RELU,
    "RELU_N1_TO_1": schema.ActivationFunctionType.RELU_N1_TO_1,
    "RELU6": schema.ActivationFunctionType.RELU6,
}
APPLY_ACTIVATIONS: Final = (
    *("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"),
    *("ADD", "SUB", "MUL", "AVERAGE_POOL_2D", "MAX_POOL_2D"),
)
"""Operators that apply one to what they give, in every runtime."""


def canonicalise(data: bytes, outputs: Sequence[str] = ()) -> bytes:
    """Return the canonical form of a float file: named tensors, the same input.

    Args:
        data: the file's bytes.
        outputs: names of those to keep, in this order; empty for all.
    Raises: ModelRefused: as ``float_model``.
    """
    model = float_model(data)
    (graph,) = model.subgraphs
    names = tensor_names(graph)
    for tensor, name in zip(graph.tensors, names, strict=True):
        tensor.name = name.encode()
    if outputs:
        _keep_outputs(model, graph, [names.index(name) for name in outputs])
    widen_weights(model, graph)
    fuse_activations(model, graph)
    _drop_unused(model, graph)
    return pack(model)


def _keep_outputs(model: Any, graph: Any, outputs: list[int]) -> None:
    """Leave out what leads to other outputs."""
    graph.outputs, needed, kept = outputs, set(outputs), []
    for operator in reversed(graph.operators):
        if needed.intersection(operator.outputs):
            needed.update(operator.inputs)
            kept.append(operator)
    graph.operators = kept[::-1]
    for signature in model.signatureDefs or ():
        signature.outputs = [e for e in signature.outputs if e.tensorIndex in outputs]


def widen_weights(model: Any, graph: Any) -> None:
    """Hold weights as the float32 that they are used as."""
    kept = []
    for operator in graph.operators:
        halves = graph.tensors[operator.inputs[0]] if operator.inputs else None
        if (
            halves is None
            or operator_name(model, operator) != "DEQUANTIZE"
            or halves.type != schema.TensorType.FLOAT16
            or not is_constant(model, halves)
        ):
            kept.append(operator)
            continue
        values = np.frombuffer(model.buffers[halves.buffer].data, "<f2").astype("<f4")
        buffer = schema.BufferT()
        buffer.data = values.view(np.uint8)
        graph.tensors[operator.outputs[0]].buffer = len(model.buffers)
        model.buffers.append(buffer)
    graph.operators = kept


def fuse_activations(model: Any, graph: Any) -> None:
    """Let an operator apply the activation that follows it: an int8 RELU of its own is slow."""
    uses = Counter([*(i for op in graph.operators for i in op.inputs), *graph.outputs])
    makers = {index: operator for operator in graph.operators for index in operator.outputs}
    kept = []
    for operator in graph.operators:
        function = ACTIVATIONS.get(operator_name(model, operator))
        maker = makers.get(operator.inputs[0]) if function is not None else None
        if (
            maker is None
            or operator_name(model, maker) not in APPLY_ACTIVATIONS
            or uses[operator.inputs[0]] > 1
            or maker.builtinOptions is None
            or maker.builtinOptions.fusedActivationFunction
        ):
            kept.append(operator)
            continue
        maker.builtinOptions.fusedActivationFunction = function
        maker.outputs = operator.outputs
        makers[operator.outputs[0]] = maker
    graph.operators = kept


def _drop_unused(model: Any, graph: Any) -> None:
    """Leave out tensors that no operator uses, and weights that no tensor uses."""
    used = {index for op in graph.operators for index in (*op.inputs, *op.outputs)}
    used.update(graph.inputs, graph.outputs)
    kept = [index for index in range(len(graph.tensors)) if index in used]
    place = {index: new for new, index in enumerate(kept)} | {-1: -1}
    graph.tensors = [graph.tensors[index] for index in kept]
    graph.inputs, graph.outputs = (
        [place[index] for index in indices] for indices in (graph.inputs, graph.outputs)
    )
    for operator in graph.operators:
        operator.inputs = [place[index] for index in operator.inputs]
        operator.outputs = [place[index] for index in operator.outputs]
    for signature in model.signatureDefs or ():
        for entry in (*signature.inputs, *signature.outputs):
            entry.tensorIndex = place[entry.tensorIndex]
    held = {tensor.buffer for tensor in graph.tensors}
    held.update(entry.buffer for entry in model.metadata or ())
    buffers = [index for index in range(len(model.buffers)) if index in held | {0}]
    moved = {index: new for new, index in enumerate(buffers)}
    model.buffers = [model.buffers[index] for index in buffers]
    for holder in (*graph.tensors, *(model.metadata or ())):
        holder.buffer = moved[holder.buffer]
