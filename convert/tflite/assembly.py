"""The TFLite graph as it grows: operators in order, and values in the order that each one needs.

A value is moved or reshaped only when an operator asks for it in an order that no tensor has yet.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any, Final, TypeAlias

import numpy as np

from convert.tflite.kinds import KINDS
from convert.tflite.layout import (
    Atoms,
    Form,
    Shape,
    Tensor,
    Value,
    flat,
    leaves,
    new_axes,
    permutation,
    regroup,
)
from edge_bundle.tensor import Array

COPY: Final = re.compile(r"@\d+\Z")
DTYPES: Final = frozenset({"float32", "int8", "int16", "int32", "int64", "uint8", "bool"})
Dtype: TypeAlias = np.dtype[np.generic]


class Unable(Exception):
    """TFLite cannot express a node; the message says why."""


@dataclass(slots=True, eq=False)
class Operation:
    """One operator of the file."""

    kind: str
    inputs: list[Tensor]
    outputs: list[Tensor]
    options: dict[str, Any] = field(default_factory=dict)


def origin(name: str) -> str:
    """Return the ONNX tensor whose values a TFLite tensor holds, moved, reshaped or padded by 0.

    Look a name up as it is before: an ONNX tensor may itself end in ``@1``.
    """
    return COPY.sub("", name)


class Assembly:
    """A graph in the making.

    Args:
        reserved: names that only the graph's outputs may have.
    """

    def __init__(self, reserved: Iterable[str] = ()) -> None:
        self.operations: list[Operation] = []
        self._names = set(reserved)
        self._constants: dict[tuple[bytes, Shape, str], Tensor] = {}

    def operate(
        self, kind: str, inputs: Sequence[Tensor], outputs: Sequence[Tensor], **options: Any
    ) -> Tensor:
        """Append an operator and return its first output.

        Raises: Unable: where the runtime does not take so many dimensions.
        """
        rank = max(len(tensor.shape) for tensor in (*inputs, *outputs))
        if rank > KINDS[kind].most:
            raise Unable(f"{kind} of {rank} dimensions, at most {KINDS[kind].most}")
        self.operations.append(Operation(kind, list(inputs), list(outputs), options))
        return outputs[0]

    def tensor(self, name: str, shape: Sequence[int], dtype: Dtype) -> Tensor:
        """Return a new tensor, named as given or, where that is taken, with ``@1`` and so on.

        Raises: Unable: a type that TFLite's operators do not take.
        """
        if dtype.name not in DTYPES:
            raise Unable(f"{dtype.name} values")
        unique, number = name, 0
        while unique in self._names:
            number += 1
            unique = f"{name}@{number}"
        self._names.add(unique)
        return Tensor(unique, tuple(shape), dtype)

    def constant(self, values: Any, dtype: type[np.generic] | Dtype | None = None) -> Tensor:
        """Return a tensor of fixed values, the same one for the same values."""
        array = np.asarray(values, dtype, order="C")
        key = (array.tobytes(), array.shape, array.dtype.name)
        if key not in self._constants:
            self._constants[key] = own_constant(array)
        return self._constants[key]

    def give(self, name: str, shape: Sequence[int], tensor: Tensor, order: Sequence[int]) -> Value:
        """Return the value that a tensor holds.

        Args:
            name: of the ONNX tensor.
            shape: as ONNX has it.
            tensor: of the same number of elements.
            order: of ONNX's dimensions in the tensor; where those of size 1 stand does not matter.
        """
        axes = new_axes(shape)
        held = Form(tensor, flat(axes[axis] for axis in order))
        return Value(name, axes, tensor.dtype, [held])

    def lay(self, value: Value, order: Sequence[int], shape: Sequence[int] | None = None) -> Tensor:
        """Return a tensor that has the value's dimensions in the given order.

        Args:
            value: activation or constant.
            order: a permutation of its dimensions.
            shape: of the tensor, where it differs in dimensions of size 1.
        """
        sizes = value.shape
        wanted = tuple(sizes[axis] for axis in order) if shape is None else tuple(shape)
        return self.arrange(value, flat(value.axes[axis] for axis in order), wanted)

    def arrange(self, value: Value, order: Atoms, shape: Shape) -> Tensor:
        """Return a tensor of the given shape that has the value's atoms in the given order."""
        order = leaves(order)
        if value.constant is not None:
            atoms = flat(value.axes)
            spread = value.constant.reshape([atom.size for atom in atoms])
            moved = spread.transpose([atoms.index(atom) for atom in order])
            return self.constant(moved.reshape(shape))
        same = [form.tensor for form in value.forms if leaves(form.order) == order]
        exact = next((tensor for tensor in same if tensor.shape == shape), None)
        if exact is not None:
            return exact
        if same:
            made = self._reshape(value.name, same[0], shape)
        else:
            made = self._transpose(value, order, shape)
        value.forms.append(Form(made, order))
        return made

    def plain(self, value: Value) -> Tensor:
        """Return a tensor that has the value as ONNX does."""
        return self.lay(value, range(len(value.axes)))

    def natural(self, values: Sequence[Value]) -> Shape:
        """Return the order of dimensions in which some values of one rank are at least cost."""
        rank = len(values[0].axes)
        orders = [[permutation(value, form) for form in value.forms] for value in values]
        candidates = {order: 0 for found in orders for order in found if order is not None}
        plain = tuple(range(rank))
        candidates.setdefault(plain, 0)
        for value, found in zip(values, orders, strict=True):
            for order in candidates:
                if value.forms and order not in found:
                    candidates[order] += prod(value.shape)
        # Among equals not ONNX's own: what made another order likely goes on in it.
        return min(candidates, key=lambda order: (candidates[order], order == plain))

    def transposed(self, value: Value, name: str, order: Sequence[int]) -> Value:
        """Return a value with its dimensions in another order; nothing moves yet."""
        axes = tuple(value.axes[axis] for axis in order)
        constant = None if value.constant is None else value.constant.transpose(order)
        return Value(name, axes, value.dtype, value.forms, constant)

    def reshaped(self, value: Value, name: str, shape: Sequence[int]) -> Value:
        """Return a value with its elements in other dimensions; nothing moves unless it must."""
        if value.constant is not None:
            return fixed_value(name, value.constant.reshape(shape))
        axes = regroup(value.axes, shape)
        if axes is None:
            return self.give(name, shape, self.plain(value), range(len(shape)))
        return Value(name, axes, value.dtype, value.forms)

    def _reshape(self, name: str, tensor: Tensor, shape: Shape) -> Tensor:
        made = self.tensor(name, shape, tensor.dtype)
        sizes = self.constant(shape, np.int32)
        return self.operate("RESHAPE", [tensor, sizes], [made], newShape=list(shape))

    def _transpose(self, value: Value, order: Atoms, shape: Shape) -> Tensor:
        form = value.forms[0]
        source, groups = form.tensor, _groups(form, order)
        if groups is None:
            groups = [(atom,) for atom in leaves(form.order)]
            source = self._reshape(value.name, source, tuple(g[0].size for g in groups))
        placed = sorted(range(len(groups)), key=lambda n: order.index(groups[n][0]))
        sizes = [prod(atom.size for atom in groups[n]) for n in placed]
        wide = [place for place, size in enumerate(source.shape) if size > 1]
        units = [place for place, size in enumerate(source.shape) if size == 1]
        direct = len(shape) == len(source.shape) and sizes == [size for size in shape if size > 1]
        moves, ones = iter(placed), iter(units)
        if direct:
            moved = [wide[next(moves)] if size > 1 else next(ones) for size in shape]
        else:
            moved = [*ones, *(wide[n] for n in moves)]
        made = self.tensor(value.name, [source.shape[n] for n in moved], source.dtype)
        self.operate("TRANSPOSE", [source, self.constant(moved, np.int32)], [made])
        return made if made.shape == shape else self._reshape(value.name, made, shape)


def own_constant(values: Array) -> Tensor:
    """Return a tensor of fixed values that no other operator takes.

    Biases need it: as int32 each has the scale of its own operator.
    """
    return Tensor(
        "", values.shape, values.dtype, np.ascontiguousarray(values).reshape(values.shape)
    )


def fixed_value(name: str, array: Array) -> Value:
    """Return a constant of the ONNX graph."""
    return Value(name, new_axes(array.shape), array.dtype, constant=array)


def fixed(value: Value | None, what: str) -> Array:
    """Return a constant's values.

    Raises: Unable: where it is computed.
    """
    if value is None or value.constant is None:
        raise Unable(f"{what} that the model computes")
    return value.constant


def _groups(form: Form, order: Atoms) -> list[Atoms] | None:
    """Return the atoms of each dimension > 1 of a tensor; None where the order parts one."""
    rest, groups = list(leaves(form.order)), []
    for size in form.tensor.shape:
        group: Atoms = ()
        while prod(atom.size for atom in group) < size:
            group += (rest.pop(0),)
        if prod(atom.size for atom in group) != size:
            return None
        if group:
            start = order.index(group[0])
            if order[start : start + len(group)] != group:
                return None
            groups.append(group)
    return groups
