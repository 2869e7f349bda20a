"""Operators that work value by value, in whatever order the values lie."""

from collections.abc import Sequence
from math import prod
from typing import Any, Final

import numpy as np

from convert.tflite.assembly import Assembly, Dtype, Unable, fixed_value
from convert.tflite.layout import Form, Value, frame, leaves, pair
from convert.tflite.onnx_graph import Node
from convert.tflite.operators.lowering import Lowering, Operands, first, present
from edge_bundle.tensor import Array

UNARY: Final = {
    "Abs": "ABS",
    "Ceil": "CEIL",
    "Cos": "COS",
    "Exp": "EXP",
    "Floor": "FLOOR",
    "HardSwish": "HARD_SWISH",
    "Log": "LOG",
    "Neg": "NEG",
    "Not": "LOGICAL_NOT",
    "Relu": "RELU",
    "Round": "ROUND",
    "Sigmoid": "LOGISTIC",
    "Sign": "SIGN",
    "Sin": "SIN",
    "Sqrt": "SQRT",
    "Tanh": "TANH",
}
BINARY: Final = {
    "Add": "ADD",
    "And": "LOGICAL_AND",
    "Div": "DIV",
    "Equal": "EQUAL",
    "Greater": "GREATER",
    "GreaterOrEqual": "GREATER_EQUAL",
    "Less": "LESS",
    "LessOrEqual": "LESS_EQUAL",
    "Mul": "MUL",
    "Or": "LOGICAL_OR",
    "Sub": "SUB",
}
EXTREME: Final = {"Max": "MAXIMUM", "Min": "MINIMUM"}
COMMUTATIVE: Final = ("ADD", "MUL")
COMPARISONS: Final = ("EQUAL", "GREATER", "GREATER_EQUAL", "LESS", "LESS_EQUAL")
FLOAT_ONLY: Final = ("CEIL", "COS", "EXP", "FLOOR", "LOG", "LOGISTIC", "RELU", "ROUND", "SIN")


def apply(job: Assembly, kind: str, value: Value, name: str, **options: Any) -> Value:
    """Emit an operator of one operand.

    Raises: Unable: for integers, where it is one of real values.
    """
    if kind in FLOAT_ONLY and value.dtype != np.float32:
        raise Unable(f"{value.dtype.name} values")
    form = value.forms[0]
    made = job.tensor(name, form.tensor.shape, value.dtype)
    job.operate(kind, [form.tensor], [made], **options)
    return Value(name, value.axes, value.dtype, [Form(made, form.order)])


def combine(
    job: Assembly,
    kind: str,
    operands: Sequence[Value],
    name: str,
    dtype: Dtype | None = None,
    **options: Any,
) -> Value:
    """Emit an operator of several operands that are broadcast as NumPy does.

    Args:
        dtype: of the result, where it is not the last operand's.
    """
    dtype = operands[-1].dtype if dtype is None else dtype
    if kind in COMMUTATIVE and operands[0].constant is not None:
        operands = operands[::-1]  # where a bias is looked for
    shape = np.broadcast_shapes(*(value.shape for value in operands))
    values = [_widen(value, len(shape)) for value in operands]
    whole = [value for value in values if value.forms and value.shape == shape]
    if whole and all(value.shape == shape or prod(value.shape) == 1 for value in values):
        made = _in_place(job, kind, values, whole, name, dtype, options)
        if made is not None:
            return made
    return _broadcast(job, kind, values, whole, name, dtype, options)


def scalar(value: float) -> Value:
    """Return a float32 constant without dimensions."""
    return fixed_value("", np.asarray(value, np.float32))


def vector(values: Array) -> Value:
    """Return a float32 constant."""
    return fixed_value("", values.astype(np.float32))


def _widen(value: Value, rank: int) -> Value:
    """Give a value leading dimensions of size 1."""
    axes = ((),) * (rank - len(value.axes)) + value.axes
    return Value(value.name, axes, value.dtype, value.forms, value.constant)


def _in_place(
    job: Assembly,
    kind: str,
    values: list[Value],
    whole: list[Value],
    name: str,
    dtype: Dtype,
    options: dict[str, Any],
) -> Value | None:
    """Emit for operands of one shape, or of one element; None where their atoms do not match."""
    chosen: tuple[float, Value, Form] | None = None
    for lead in whole:
        pairs = [pair(lead, value) for value in whole]
        for form in lead.forms:
            cost = _moves(whole, pairs, form)
            if chosen is None or cost < chosen[0]:
                chosen = (cost, lead, form)
    if chosen is None:
        return None
    _, lead, form = chosen
    tensors = []
    for value in values:
        if value.shape != lead.shape or not lead.shape:
            units = () if value.constant is not None else (1,) * len(form.tensor.shape)
            tensors.append(job.arrange(value, (), units))
            continue
        pairs_of = pair(lead, value)
        if pairs_of is None:
            return None
        order = tuple(pairs_of[atom] for atom in leaves(form.order))
        tensors.append(job.arrange(value, order, form.tensor.shape))
    made = job.tensor(name, form.tensor.shape, dtype)
    job.operate(kind, tensors, [made], **options)
    return Value(name, lead.axes, dtype, [Form(made, form.order)])


def _moves(whole: list[Value], pairs: list[Any], form: Form) -> float:
    """Return how many elements must be moved where all take one's order."""
    cost = 0.0
    order = leaves(form.order)
    for value, pairs_of in zip(whole, pairs, strict=True):
        if pairs_of is None:
            return np.inf
        wanted = tuple(pairs_of[atom] for atom in order)
        if all(leaves(held.order) != wanted for held in value.forms):
            cost += prod(value.shape)
    return cost


def _broadcast(
    job: Assembly,
    kind: str,
    values: list[Value],
    whole: list[Value],
    name: str,
    dtype: Dtype,
    options: dict[str, Any],
) -> Value:
    shape = np.broadcast_shapes(*(value.shape for value in values))
    place: tuple[int | None, ...] = tuple(range(len(shape)))
    if whole:
        order = job.natural(whole)
        place = order
        for form in whole[0].forms:
            framed = frame(whole[0], form)
            # Dimensions of 1 may stand where the tensor already has them.
            if framed is not None and [a for a in framed if a is not None] == [
                a for a in order if shape[a] > 1
            ]:
                place = framed
                break
    tensors = [_placed(job, value, place) for value in values]
    sizes = [1 if axis is None else shape[axis] for axis in place]
    made = job.tensor(name, sizes, dtype)
    job.operate(kind, tensors, [made], **options)
    return job.give(name, shape, made, [axis for axis in place if axis is not None])


def _placed(job: Assembly, value: Value, place: Sequence[int | None]) -> Any:
    sizes = value.shape
    wanted = [1 if axis is None else sizes[axis] for axis in place]
    if value.constant is not None:
        # A shorter shape is broadcast alike, and a vector is what can become a bias.
        while wanted and wanted[0] == 1:
            wanted.pop(0)
    return job.lay(value, [axis for axis in place if axis is not None and sizes[axis] > 1], wanted)


def _unary(job: Assembly, node: Node, operands: Operands) -> list[Value]:
    return [apply(job, UNARY[node.operator], first(operands), node.outputs[0])]


def _binary(job: Assembly, node: Node, operands: Operands) -> list[Value]:
    kind = BINARY[node.operator]
    dtype = np.dtype(np.bool_) if kind in COMPARISONS else None
    return [combine(job, kind, present(operands), node.outputs[0], dtype)]


def _extreme(job: Assembly, node: Node, operands: Operands) -> list[Value]:
    value, *others = present(operands)
    for number, other in enumerate(others):
        last = number == len(others) - 1
        name = node.outputs[0] if last else f"{node.outputs[0]}#{number}"
        value = combine(job, EXTREME[node.operator], [value, other], name)
    return [value]


def _where(job: Assembly, node: Node, operands: Operands) -> list[Value]:
    return [combine(job, "SELECT_V2", present(operands), node.outputs[0])]


def _cast(job: Assembly, node: Node, operands: Operands) -> list[Value]:
    value, dtype = first(operands), node.given[0].dtype
    if value.dtype == dtype:
        return [job.transposed(value, node.outputs[0], range(len(value.axes)))]
    form = value.forms[0]
    made = job.tensor(node.outputs[0], form.tensor.shape, dtype)
    job.operate("CAST", [form.tensor], [made])
    return [Value(node.outputs[0], value.axes, dtype, [Form(made, form.order)])]


def _pow(job: Assembly, node: Node, operands: Operands) -> list[Value]:
    base, exponent = present(operands)
    name = node.outputs[0]
    power = exponent.constant
    if power is None or power.size != 1 or base.dtype != np.float32 or base.constant is not None:
        raise Unable("an exponent that is no single constant")
    value = float(power.reshape(-1)[0])
    if value == 1:
        return [job.transposed(base, name, range(len(base.axes)))]
    if value in {2.0, 3.0}:
        square = combine(job, "MUL", [base, base], name if value == 2 else f"{name}#square")
        return [square if value == 2 else combine(job, "MUL", [square, base], name)]
    if value == -1:
        return [combine(job, "DIV", [scalar(1), base], name)]
    if abs(value) == 0.5:
        return [apply(job, "SQRT" if value > 0 else "RSQRT", base, name)]
    return [combine(job, "POW", [base, scalar(value)], name)]


def _reciprocal(job: Assembly, node: Node, operands: Operands) -> list[Value]:
    return [combine(job, "DIV", [scalar(1), first(operands)], node.outputs[0])]


def _identity(job: Assembly, node: Node, operands: Operands) -> list[Value]:
    value = first(operands)
    if len([name for name in node.outputs if name]) > 1:
        raise Unable("its mask is used")
    return [job.transposed(value, node.outputs[0], range(len(value.axes)))]


TABLE: Final[dict[str, Lowering]] = {
    **dict.fromkeys(UNARY, _unary),
    **dict.fromkeys(BINARY, _binary),
    **dict.fromkeys(EXTREME, _extreme),
    "Cast": _cast,
    "Dropout": _identity,
    "Identity": _identity,
    "Pow": _pow,
    "Reciprocal": _reciprocal,
    "Where": _where,
}
