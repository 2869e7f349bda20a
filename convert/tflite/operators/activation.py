"""Activation functions, by an operator of their own or composed of others."""

from typing import Final

import numpy as np

from convert.tflite.assembly import Assembly, Unable, fixed
from convert.tflite.layout import Value
from convert.tflite.onnx_graph import Node
from convert.tflite.operators.elementwise import apply, combine, scalar
from convert.tflite.operators.lowering import Lowering, Operands, axis_of, first, optional, present

CLIPS: Final = {(0.0, 6.0): "RELU6", (-1.0, 1.0): "RELU_N1_TO_1", (0.0, np.inf): "RELU"}


def _clip(job: Assembly, node: Node, operands: Operands) -> list[Value]:
    value, name = first(operands), node.outputs[0]
    ends = []
    for place, end in ((1, -np.inf), (2, np.inf)):
        given = optional(operands, place)
        ends.append(end if given is None else float(fixed(given, "bounds").reshape(-1)[0]))
    low, high = ends
    integer = value.dtype != np.float32
    if (low, high) in CLIPS and not integer:
        return [apply(job, CLIPS[low, high], value, name)]
    bounds = [("MAXIMUM", optional(operands, 1), low), ("MINIMUM", optional(operands, 2), high)]
    used = [(kind, bound) for kind, bound, end in bounds if bound is not None and np.isfinite(end)]
    for number, (kind, bound) in enumerate(used):
        step = name if number == len(used) - 1 else f"{name}#low"
        value = combine(job, kind, [value, bound], step)
    return [value if used else job.transposed(value, name, range(len(value.axes)))]


def _leaky_relu(job: Assembly, node: Node, operands: Operands) -> list[Value]:
    alpha = float(node.attributes.get("alpha", 0.01))
    return [apply(job, "LEAKY_RELU", first(operands), node.outputs[0], alpha=alpha)]


def _prelu(job: Assembly, node: Node, operands: Operands) -> list[Value]:
    value, slope = present(operands)
    fixed(slope, "a slope")
    return [combine(job, "PRELU", [value, slope], node.outputs[0])]


def _elu(job: Assembly, node: Node, operands: Operands) -> list[Value]:
    alpha = float(node.attributes.get("alpha", 1.0))
    if alpha != 1:
        raise Unable(f"alpha {alpha:g}, expected 1")
    return [apply(job, "ELU", first(operands), node.outputs[0])]


def _gelu(job: Assembly, node: Node, operands: Operands) -> list[Value]:
    tanh = node.attributes.get("approximate", "none") == "tanh"
    return [apply(job, "GELU", first(operands), node.outputs[0], approximate=tanh)]


def _hard_sigmoid(job: Assembly, node: Node, operands: Operands) -> list[Value]:
    """Emit relu6(6 a x + 6 b) / 6: operators that have an int8 form, and the first applies it."""
    alpha = float(node.attributes.get("alpha", 0.2))
    beta = float(node.attributes.get("beta", 0.5))
    value, name = first(operands), node.outputs[0]
    if not np.isclose(6 * alpha, 1, rtol=1e-6):
        value = combine(job, "MUL", [value, scalar(6 * alpha)], f"{name}#scaled")
    shifted = combine(job, "ADD", [value, scalar(6 * beta)], f"{name}#shifted")
    clipped = apply(job, "RELU6", shifted, f"{name}#clipped")
    return [combine(job, "MUL", [clipped, scalar(1 / 6)], name)]


def _softmax(job: Assembly, node: Node, operands: Operands) -> list[Value]:
    value, name = first(operands), node.outputs[0]
    axis = axis_of(value, node.attributes.get("axis", -1))
    order = (*(n for n in job.natural([value]) if n != axis), axis)
    taken = job.lay(value, order)
    made = job.tensor(name, taken.shape, value.dtype)
    if node.operator == "Softmax":
        job.operate("SOFTMAX", [taken], [made], beta=1.0)
    else:
        job.operate("LOG_SOFTMAX", [taken], [made])
    return [job.give(name, value.shape, made, order)]


TABLE: Final[dict[str, Lowering]] = {
    "Clip": _clip,
    "Elu": _elu,
    "Gelu": _gelu,
    "HardSigmoid": _hard_sigmoid,
    "LeakyRelu": _leaky_relu,
    "LogSoftmax": _softmax,
    "PRelu": _prelu,
    "Softmax": _softmax,
}
