"""Inputs and outputs in a form that onnx2tf leaves alone, and their own form put back after it.

It rewrites names with colons and slashes, and then no longer knows the input whose shape it was
told to keep; outputs of three dimensions and more it transposes where a convolution made them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any, Final

import numpy as np
import onnx
from onnx import helper, numpy_helper

from convert.tflite import schema
from edge_bundle.errors import ModelRefused
from edge_bundle.tensor import TensorSpec

MIN_LAYOUT_RANK: Final = 3
"""What has fewer dimensions is no image to onnx2tf."""


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output, and what onnx2tf is given for it."""

    own: TensorSpec
    name: str
    flat: bool
    """Whether it is given with one dimension."""


@dataclass(frozen=True, slots=True)
class Ports:
    """All of a model's, in its order."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]


def hide_ports(
    model: onnx.ModelProto, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]
) -> Ports:
    """Give a model plain names and flat outputs, in place.

    Args:
        model: changed.
        inputs: of the model, without its weights.
        outputs: of the model.
    """
    graph = model.graph
    stem = _unused_stem(graph)
    names = {spec.name: f"{stem}{n}" for n, spec in enumerate((*inputs, *outputs))}
    _rename(graph, names)
    given = []
    for value, spec in zip(graph.output, outputs, strict=True):
        name, flat = names[spec.name], len(spec.shape) >= MIN_LAYOUT_RANK
        if flat:
            name = f"{name}flat"
            size = numpy_helper.from_array(np.array([spec.size], np.int64), f"{name}size")
            graph.initializer.append(size)
            graph.node.append(helper.make_node("Reshape", [value.name, size.name], [name]))
            element = value.type.tensor_type.elem_type
            value.CopyFrom(helper.make_tensor_value_info(name, element, [spec.size]))
        given.append(Port(spec, name, flat))
    taken = tuple(Port(spec, names[spec.name], flat=False) for spec in inputs)
    return Ports(taken, tuple(given))


def restore_ports(tflite: Any, ports: Ports) -> None:
    """Give a converted model the order, names and shapes of before, in place.

    Args:
        tflite: the schema's ``ModelT``.
        ports: that ``hide_ports`` gave.
    Raises: ModelRefused: it has others.
    """
    graph = tflite.subgraphs[0]
    graph.inputs = _in_order(graph, graph.inputs, ports.inputs, "inputs")
    graph.outputs = _in_order(graph, graph.outputs, ports.outputs, "outputs")
    for place, port in enumerate(ports.outputs):
        if port.flat:
            graph.outputs[place] = _append_reshape(tflite, graph.outputs[place], port.own)
    for indices, own in ((graph.inputs, ports.inputs), (graph.outputs, ports.outputs)):
        for index, port in zip(indices, own, strict=True):
            graph.tensors[index].name = port.own.name.encode()


def graphs_of(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """Yield a graph and those within its nodes, which see its values by name."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from graphs_of(inner)


def _unused_stem(graph: onnx.GraphProto) -> str:
    used = {name for part in graphs_of(graph) for name in _value_names(part)}
    stem = "port"
    while any(name.startswith(stem) for name in used):
        stem += "_"
    return stem


def _rename(graph: onnx.GraphProto, names: dict[str, str]) -> None:
    for part in graphs_of(graph):
        for node in part.node:
            node.input[:] = [names.get(name, name) for name in node.input]
            node.output[:] = [names.get(name, name) for name in node.output]
        for value in (*part.input, *part.output, *part.value_info, *part.initializer):
            value.name = names.get(value.name, value.name)


def _value_names(graph: onnx.GraphProto) -> Iterator[str]:
    for node in graph.node:
        yield from (*node.input, *node.output)
    for value in (*graph.input, *graph.output, *graph.initializer):
        yield value.name


def _in_order(graph: Any, indices: list[int], ports: tuple[Port, ...], what: str) -> list[int]:
    found = {(graph.tensors[n].name or b"").decode(errors="replace"): n for n in indices}
    wanted = [port.name for port in ports]
    if len(indices) != len(wanted) or found.keys() != set(wanted):
        raise ModelRefused(f"onnx2tf changes the {what} from {len(wanted)} to {len(indices)}")
    return [found[name] for name in wanted]


def _append_reshape(tflite: Any, flat: int, own: TensorSpec) -> int:
    """Append the operator that gives a flat output its shape; return the new tensor's index."""
    graph, shape = tflite.subgraphs[0], own.shape
    found = [] if graph.tensors[flat].shape is None else graph.tensors[flat].shape
    # Of two reshapes in a row the runtime compares only the ends.
    if list(found) != [own.size]:
        raise ModelRefused(
            f"onnx2tf changes output {own.name} from {own.size} values to {prod(found)}"
        )
    sizes = np.array(shape, np.int32)
    weights = schema.BufferT()
    weights.data = sizes.view(np.uint8)
    tflite.buffers.append(weights)
    wanted = _append_tensor(graph, f"shape{flat}", schema.TensorType.INT32, [len(shape)])
    graph.tensors[wanted].buffer = len(tflite.buffers) - 1
    made = _append_tensor(graph, f"shaped{flat}", graph.tensors[flat].type, list(shape))
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.RESHAPE
    code.version = 1
    tflite.operatorCodes.append(code)
    options = schema.ReshapeOptionsT()
    options.newShape = sizes
    operator = schema.OperatorT()
    operator.opcodeIndex = len(tflite.operatorCodes) - 1
    operator.inputs, operator.outputs = [flat, wanted], [made]
    operator.builtinOptionsType = schema.BuiltinOptions.ReshapeOptions
    operator.builtinOptions = options
    graph.operators.append(operator)
    return made


def _append_tensor(graph: Any, name: str, kind: int, shape: list[int]) -> int:
    tensor = schema.TensorT()
    # By convention the first buffer is the empty one, of all that is computed.
    tensor.name, tensor.type, tensor.shape, tensor.buffer = name.encode(), kind, shape, 0
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1
