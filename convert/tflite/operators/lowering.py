"""What a function that emits one ONNX operator takes and gives."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

from convert.tflite.assembly import Assembly, Unable
from convert.tflite.layout import Value
from convert.tflite.onnx_graph import Node

Operands: TypeAlias = Sequence[Value | None]
"""A node's inputs, None where an optional one is left out."""
Lowering: TypeAlias = Callable[[Assembly, Node, Operands], Sequence[Value]]
"""Returns the node's outputs. Raises: Unable: TFLite cannot express it."""


def present(operands: Operands) -> list[Value]:
    """Return operands none of which may be left out."""
    return [value for value in operands if value is not None]


def optional(operands: Operands, place: int) -> Value | None:
    """Return an operand that may be left out."""
    return operands[place] if place < len(operands) else None


def first(operands: Operands) -> Value:
    """Return the operand that every node of the operator has.

    Raises: Unable: it is left out.
    """
    if not operands or operands[0] is None:
        raise Unable("its input is left out")
    return operands[0]


def axis_of(value: Value, axis: int) -> int:
    """Return an axis counted from the front."""
    return axis % len(value.axes)
