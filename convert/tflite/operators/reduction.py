"""Reductions along dimensions, and norms, which are made of them."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from convert.tflite.assembly import Assembly, Unable, fixed
from convert.tflite.layout import Value
from convert.tflite.onnx_graph import Node
from convert.tflite.operators.elementwise import apply, combine, scalar, vector
from convert.tflite.operators.lowering import Lowering, Operands, axis_of, first, optional

KINDS: Final = {
    "ReduceMax": "REDUCE_MAX",
    "ReduceMean": "MEAN",
    "ReduceMin": "REDUCE_MIN",
    "ReduceProd": "REDUCE_PROD",
    "ReduceSum": "SUM",
    "GlobalAveragePool": "MEAN",
    "GlobalMaxPool": "REDUCE_MAX",
}

INT64: Final = 4
"""Code of the schema's ``TensorType``."""


def reduce(
    job: Assembly, kind: str, value: Value, name: str, axes: Sequence[int], keep: bool = True
) -> Value:
    """Emit a reduction along some dimensions, which stay with size 1 or go."""
    order = job.natural([value])
    taken = job.lay(value, order)
    places = sorted(order.index(axis) for axis in axes)
    left = [axis for axis in order if keep or axis not in axes]
    sizes = [1 if axis in axes else value.shape[axis] for axis in range(len(order))]
    made = job.tensor(name, [sizes[axis] for axis in left], value.dtype)
    job.operate(kind, [taken, job.constant(places, np.int32)], [made], keepDims=keep)
    if keep:
        return job.give(name, sizes, made, left)
    stay = [axis for axis in range(len(order)) if axis not in axes]
    return job.give(name, [sizes[axis] for axis in stay], made, [stay.index(axis) for axis in left])


def _reduce(job: Assembly, node: Node, operands: Operands) -> list[Value]:
    value, name = first(operands), node.outputs[0]
    axes, keep = _axes(node, operands), bool(node.attributes.get("keepdims", 1))
    if not axes:
        return [job.transposed(value, name, range(len(value.axes)))]
    return [reduce(job, KINDS[node.operator], value, name, axes, keep)]


def _sum_of_squares(job: Assembly, node: Node, operands: Operands) -> list[Value]:
    value, name = first(operands), node.outputs[0]
    axes, keep = _axes(node, operands), bool(node.attributes.get("keepdims", 1))
    root = node.operator == "ReduceL2"
    squares = combine(job, "MUL", [value, value], f"{name}#squares")
    total = reduce(job, "SUM", squares, f"{name}#sum" if root else name, axes, keep)
    return [apply(job, "SQRT", total, name) if root else total]


def _global(job: Assembly, node: Node, operands: Operands) -> list[Value]:
    value = first(operands)
    axes = range(2, len(value.axes))
    return [reduce(job, KINDS[node.operator], value, node.outputs[0], axes)]


def _arg_max(job: Assembly, node: Node, operands: Operands) -> list[Value]:
    value, name = first(operands), node.outputs[0]
    if node.attributes.get("select_last_index"):
        raise Unable("the last of equal values")
    axis = axis_of(value, node.attributes.get("axis", 0))
    order = job.natural([value])
    left = [n for n in order if n != axis]
    made = job.tensor(name, [value.shape[n] for n in left], np.dtype(np.int64))
    place = job.constant(order.index(axis), np.int32)
    job.operate("ARG_MAX", [job.lay(value, order), place], [made], outputType=INT64)
    shape = node.given[0].shape
    if len(shape) < len(order):
        left = [n - (n > axis) for n in left]
    return [job.give(name, shape, made, left)]


def _batch_norm(job: Assembly, node: Node, operands: Operands) -> list[Value]:
    """Emit x * a + b; one that follows a convolution is in its weights by now."""
    value, name = first(operands), node.outputs[0]
    if len([output for output in node.outputs if output]) > 1:
        raise Unable("it is in training mode")
    gain, shift, mean, variance = (
        fixed(operand, "its parameters").astype(np.float64) for operand in operands[1:5]
    )
    factor = gain / np.sqrt(variance + node.attributes.get("epsilon", 1e-5))
    shape = (-1, *[1] * (len(value.axes) - 2))
    scaled = combine(job, "MUL", [value, vector(factor.reshape(shape))], f"{name}#scaled")
    return [combine(job, "ADD", [scaled, vector((shift - mean * factor).reshape(shape))], name)]


def _layer_norm(job: Assembly, node: Node, operands: Operands) -> list[Value]:
    value = first(operands)
    if len([output for output in node.outputs if output]) > 1:
        raise Unable("its mean is used")
    axes = range(axis_of(value, node.attributes.get("axis", -1)), len(value.axes))
    gain, shift = optional(operands, 1), optional(operands, 2)
    return [_normalise(job, node, value, axes, gain, shift)]


def _instance_norm(job: Assembly, node: Node, operands: Operands) -> list[Value]:
    value = first(operands)
    shape = (-1, *[1] * (len(value.axes) - 2))
    gain, shift = (vector(fixed(v, "its parameters").reshape(shape)) for v in operands[1:3])
    return [_normalise(job, node, value, range(2, len(value.axes)), gain, shift)]


def _normalise(
    job: Assembly,
    node: Node,
    value: Value,
    axes: Sequence[int],
    gain: Value | None,
    shift: Value | None,
) -> Value:
    """Emit (x - mean) / sqrt(variance + epsilon) * gain + shift."""
    name = node.outputs[0]
    mean = reduce(job, "MEAN", value, f"{name}#mean", axes)
    squares = combine(job, "SQUARED_DIFFERENCE", [value, mean], f"{name}#squares")
    variance = reduce(job, "MEAN", squares, f"{name}#variance", axes)
    epsilon = scalar(node.attributes.get("epsilon", 1e-5))
    raised = combine(job, "ADD", [variance, epsilon], f"{name}#raised")
    inverse = apply(job, "RSQRT", raised, f"{name}#inverse")
    centred = combine(job, "SUB", [value, mean], f"{name}#centred")
    steps = [("MUL", inverse), ("MUL", gain), ("ADD", shift)]
    used = [(kind, operand) for kind, operand in steps if operand is not None]
    made = centred
    for number, (kind, operand) in enumerate(used):
        given = name if number == len(used) - 1 else f"{name}#{number}"
        made = combine(job, kind, [made, operand], given)
    return made


def _axes(node: Node, operands: Operands) -> list[int]:
    value, given = first(operands), optional(operands, 1)
    listed: Any = node.attributes.get("axes", [])
    if given is not None:
        listed = fixed(given, "axes").reshape(-1).tolist()
    if not listed and not node.attributes.get("noop_with_empty_axes"):
        return list(range(len(value.axes)))
    return sorted({axis_of(value, axis) for axis in listed})


TABLE: Final[dict[str, Lowering]] = {
    "ArgMax": _arg_max,
    "BatchNormalization": _batch_norm,
    "GlobalAveragePool": _global,
    "GlobalMaxPool": _global,
    "InstanceNormalization": _instance_norm,
    "LayerNormalization": _layer_norm,
    "ReduceL2": _sum_of_squares,
    "ReduceMax": _reduce,
    "ReduceMean": _reduce,
    "ReduceMin": _reduce,
    "ReduceProd": _reduce,
    "ReduceSum": _reduce,
    "ReduceSumSquare": _sum_of_squares,
}
