"""Which order a value's numbers lie in, and what may be said of it without moving any. Pure.

A value's dimensions are made of atoms, the pieces in which they move. To transpose or reshape it is
to regroup its atoms; the tensors that hold its numbers say in which order they have them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import TypeAlias

import numpy as np

from edge_bundle.tensor import Array

Shape: TypeAlias = tuple[int, ...]


@dataclass(slots=True, eq=False)
class Atom:
    """A piece of a dimension that never was taken apart, or its parts where it was."""

    size: int
    """At least 2: dimensions of 1 have no atoms."""
    parts: "tuple[Atom, ...]" = ()


Atoms: TypeAlias = tuple[Atom, ...]


@dataclass(slots=True, eq=False)
class Tensor:
    """A tensor of a TFLite file."""

    name: str
    """Empty for constants, which nobody looks up."""
    shape: Shape
    dtype: np.dtype[np.generic]
    data: Array | None = None
    """Of a constant."""


@dataclass(frozen=True, slots=True, eq=False)
class Form:
    """A tensor that holds a value's numbers in some order."""

    tensor: Tensor
    order: Atoms


@dataclass(frozen=True, slots=True, eq=False)
class Value:
    """A tensor of the ONNX graph."""

    name: str
    axes: tuple[Atoms, ...]
    """What each dimension is made of."""
    dtype: np.dtype[np.generic]
    forms: list[Form] = field(default_factory=list)
    """That hold it, the one that was computed first; shared by all values of the same numbers."""
    constant: Array | None = None

    @property
    def shape(self) -> Shape:
        """As ONNX has it."""
        return tuple(prod(atom.size for atom in axis) for axis in self.axes)


def new_axes(shape: Sequence[int]) -> tuple[Atoms, ...]:
    """Return dimensions of fresh atoms."""
    return tuple((Atom(size),) if size > 1 else () for size in shape)


def leaves(atoms: Iterable[Atom]) -> Atoms:
    """Return the atoms as they are by now, after all that was taken apart."""
    found: list[Atom] = []
    for atom in atoms:
        found += leaves(atom.parts) if atom.parts else (atom,)
    return tuple(found)


def flat(axes: Iterable[Atoms]) -> Atoms:
    """Return the atoms of some dimensions in a row."""
    return leaves(atom for axis in axes for atom in axis)


def regroup(axes: Iterable[Atoms], shape: Sequence[int]) -> tuple[Atoms, ...] | None:
    """Return the same atoms in dimensions of other sizes; None where the sizes cut across."""
    rest = list(flat(axes))
    grouped = []
    for size in shape:
        axis: list[Atom] = []
        while size > 1:
            atom = rest.pop(0)
            if atom.size > size:
                if atom.size % size:
                    return None
                atom, remainder = _split(atom, size)
                rest.insert(0, remainder)
            if size % atom.size:
                return None
            axis.append(atom)
            size //= atom.size  # noqa: PLW2901  # what is still to be filled
        grouped.append(tuple(axis))
    return tuple(grouped)


def pair(first: Value, second: Value) -> dict[Atom, Atom] | None:
    """Return which atom of a value answers to which of another of the same shape.

    None where the sizes cut across.
    """
    pairs = {}
    for one, other in zip(first.axes, second.axes, strict=True):
        left, right = list(leaves(one)), list(leaves(other))
        while left:
            a, b = left[0], right[0]
            if max(a.size, b.size) % min(a.size, b.size):
                return None
            if a.size > b.size:
                left[:1] = _split(a, b.size)
            elif b.size > a.size:
                right[:1] = _split(b, a.size)
            pairs[left.pop(0)] = right.pop(0)
    # An atom that stands in several values may have been split meanwhile.
    return {a: b for a, b in pairs.items() if not a.parts}


def frame(value: Value, form: Form) -> tuple[int | None, ...] | None:
    """Return which dimension of the value each one of the tensor is, None for one of size 1.

    None where the tensor has a dimension in pieces, or several in one.
    """
    order, found, place = leaves(form.order), [], 0
    owners = {atom: axis for axis, atoms in enumerate(value.axes) for atom in leaves(atoms)}
    while place < len(order):
        axis = owners[order[place]]
        atoms = leaves(value.axes[axis])
        if order[place : place + len(atoms)] != atoms:
            return None
        found.append(axis)
        place += len(atoms)
    sizes = [size for size in form.tensor.shape if size > 1]
    if sizes != [value.shape[axis] for axis in found]:
        return None
    rest = iter(found)
    return tuple(next(rest) if size > 1 else None for size in form.tensor.shape)


def permutation(value: Value, form: Form) -> Shape | None:
    """Return the order of the value's dimensions in which a tensor holds it; None as ``frame``.

    Where the tensor has as many dimensions as the value, this is its shape exactly.
    """
    framed = frame(value, form)
    if framed is None:
        return None
    units = iter([axis for axis, atoms in enumerate(value.axes) if not atoms])
    if len(framed) == len(value.axes):
        return tuple(next(units) if axis is None else axis for axis in framed)
    return (*units, *(axis for axis in framed if axis is not None))


def _split(atom: Atom, first: int) -> Atoms:
    atom.parts = (Atom(first), Atom(atom.size // first))
    return atom.parts
