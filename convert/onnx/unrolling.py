"""Convolutions along one dimension, written as products with a matrix.

Where ranges are found as a model runs, a convolution's input gets one range for all of its places,
a matrix product's one for each row: a loud moment does not cost the quiet ones their steps.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import onnx
from onnx import helper, numpy_helper, shape_inference

from convert.onnx.canonical import to_bytes
from edge_bundle.tensor import Array

LEAST_CHANNELS: Final = 16
"""With fewer the copies cost more than the product."""


@dataclass(frozen=True, slots=True)
class _Line:
    """A convolution along one dimension, stride 1, one group."""

    node: onnx.NodeProto
    kernel: Array
    """[out, in, taps]."""
    dilation: int
    pads: tuple[int, int]
    shape: tuple[int, ...]
    """Of the output."""
    places: int
    """Of the input."""


def unroll(data: bytes) -> bytes | None:
    """Return a model in which such convolutions are products, or None where there are none.

    Args:
        data: in canonical form.
    """
    model = shape_inference.infer_shapes(onnx.load_model_from_string(data))
    graph = model.graph
    shapes = {
        v.name: tuple(d.dim_value for d in v.type.tensor_type.shape.dim)
        for v in (*graph.input, *graph.value_info, *graph.output)
    }
    weights = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    lines = [line for n in graph.node if (line := _read(n, shapes, weights)) is not None]
    if not lines:
        return None
    nodes = []
    by_name = {line.node.name: line for line in lines}
    for node in graph.node:
        line = by_name.get(node.name) if node.op_type == "Conv" else None
        nodes += [node] if line is None else _product(line, graph)
    del graph.node[:]
    graph.node.extend(nodes)
    used = {name for node in graph.node for name in node.input}
    kept = [onnx.TensorProto.FromString(t.SerializeToString()) for t in graph.initializer]
    del graph.initializer[:], graph.value_info[:]
    graph.initializer.extend(t for t in kept if t.name in used)
    onnx.checker.check_model(model)
    return to_bytes(model)


def _read(
    node: onnx.NodeProto, shapes: dict[str, tuple[int, ...]], weights: dict[str, Array]
) -> _Line | None:
    kernel = weights.get(node.input[1]) if node.op_type == "Conv" else None
    if kernel is None or kernel.ndim not in {3, 4}:
        return None
    given, made = shapes.get(node.input[0], ()), shapes.get(node.output[0], ())
    flat = kernel.ndim == 4 and kernel.shape[3] == 1 and given[3:] == (1,) == made[3:]
    if not (kernel.ndim == 3 or flat) or kernel.shape[1] < LEAST_CHANNELS:
        return None
    values = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    rank = kernel.ndim - 2
    pads = values.get("pads", [0] * 2 * rank)
    plain = (
        values.get("group", 1) == 1
        and set(values.get("strides", [1])) == {1}
        and values.get("auto_pad", b"NOTSET") == b"NOTSET"
        and (rank == 1 or pads[1] == pads[3] == 0)
        and given[:1] == (1,)
        and kernel.shape[2] > 1
    )
    if not plain:
        return None
    return _Line(
        node=node,
        kernel=kernel.reshape(kernel.shape[:3]),
        dilation=values.get("dilations", [1])[0],
        pads=(pads[0], pads[rank]),
        shape=made,
        places=given[2],
    )


def _product(line: _Line, graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    name, taps = line.node.output[0], line.kernel.shape[2]
    channels, places = line.kernel.shape[1], line.places
    nodes: list[onnx.NodeProto] = []

    def constant(word: str, values: Array) -> str:
        graph.initializer.append(numpy_helper.from_array(values, f"{name}/{word}"))
        return f"{name}/{word}"

    def node(operator: str, inputs: list[str], word: str, **attributes: object) -> str:
        output = name if word == "" else f"{name}/{word}"
        nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    shape = constant("rows_shape", np.asarray([1, channels, places], np.int64))
    taken = node("Reshape", [line.node.input[0], shape], "flat")
    rows = node("Transpose", [taken], "rows", perm=[0, 2, 1])
    if any(line.pads):
        pads = np.asarray([0, line.pads[0], 0, 0, line.pads[1], 0], np.int64)
        rows = node("Pad", [rows, constant("pads", pads)], "padded")
    made = line.shape[2]
    axis = constant("axis", np.asarray([1], np.int64))
    slices = []
    for tap in range(taps):
        first = tap * line.dilation
        ends = [np.asarray([n], np.int64) for n in (first, first + made)]
        bounds = [constant(f"{word}{tap}", n) for word, n in zip(("from", "to"), ends, strict=True)]
        slices.append(node("Slice", [rows, *bounds, axis], f"tap{tap}"))
    wide = node("Concat", slices, "taps", axis=2)
    matrix = np.ascontiguousarray(line.kernel.transpose(2, 1, 0).reshape(taps * channels, -1))
    result = node("MatMul", [wide, constant("matrix", matrix)], "product")
    if len(line.node.input) > 2:
        result = node("Add", [result, line.node.input[2]], "biased")
    back = node("Transpose", [result], "columns", perm=[0, 2, 1])
    node("Reshape", [back, constant("shape", np.asarray(line.shape, np.int64))], "")
    return nodes
