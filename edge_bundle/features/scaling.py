"""Steps that change each value by itself, or all of a window alike. Pure."""

from typing import Annotated, Final, Literal

import numpy as np
from msgspec import Meta, Struct

from edge_bundle.features.form import Form, Misfit
from edge_bundle.features.runner import Fresh, RowRunner
from edge_bundle.tensor import Float32Array

Positive = Annotated[float, Meta(gt=0)]
PerColumn = Annotated[tuple[float, ...], Meta(min_length=1)]
"""One for each column."""
LEAST: Final = 1.2e-38
"""What is smaller may be 0 as a float32, or its inverse infinite."""


class Standardise(Struct, frozen=True, tag_field="kind", tag="standardise"):
    """Each column minus its mean, divided by its standard deviation."""

    mean: PerColumn
    """In the column's unit."""
    std: Annotated[tuple[Positive, ...], Meta(min_length=1)]
    """One for each column, in its unit."""

    def after(self, form: Form) -> Form:
        """Return what the step gives; raises Misfit."""
        if not len(self.mean) == len(self.std) == form.columns:
            raise Misfit(
                f"{len(self.mean)} means and {len(self.std)} deviations for {form.columns} channels"
            )
        _expect_float32("std", *self.std)
        return form


class Scale(Struct, frozen=True, tag_field="kind", tag="scale"):
    """Each value times a factor, plus an offset."""

    factor: float | PerColumn = 1.0
    """One for all columns, or one for each."""
    offset: float | PerColumn = 0.0
    """One for all columns, or one for each; in the unit of the result."""

    def after(self, form: Form) -> Form:
        """Return what the step gives; raises Misfit."""
        for key, given in (("factor", self.factor), ("offset", self.offset)):
            if isinstance(given, tuple) and len(given) != form.columns:
                raise Misfit(f"{len(given)} numbers for {form.columns} columns", key)
        return form


class Peak(Struct, frozen=True, tag_field="kind", tag="peak"):
    """The window divided by its largest value; left as it is where that is not above 0."""

    of: Literal["magnitude", "value"] = "magnitude"
    """The largest without its sign, or the largest as it is."""

    def after(self, form: Form) -> Form:
        """Return what the step gives."""
        return form


class Log(Struct, frozen=True, tag_field="kind", tag="log"):
    """factor * log(max(value + offset, floor))."""

    offset: float = 0.0
    floor: Positive = 1e-12
    """Least that a logarithm is taken of."""
    base: Literal["e", 2, 10] = "e"
    factor: float = 1.0
    """10 with base 10 gives decibels of a power, 20 those of a magnitude."""

    def after(self, form: Form) -> Form:
        """Return what the step gives; raises Misfit."""
        _expect_float32("floor", self.floor)
        return form


def _expect_float32(key: str, *numbers: float) -> None:
    for number in numbers:
        if number < LEAST:
            raise Misfit(f"{number:g}, expected {LEAST:g} or more", key)


LOGARITHMS = {"e": np.log, 2: np.log2, 10: np.log10}


AT_ONCE: Final = 4096
"""Values that columns' numbers are repeated for: NumPy is slow where it begins anew each row."""


def standardise(step: Standardise, form: Form) -> RowRunner:
    """Compile the step."""
    factor = np.float32(1) / np.asarray(step.std, np.float32)
    return _in_two(form, (np.subtract, step.mean), (np.multiply, factor))


def scale(step: Scale, form: Form) -> RowRunner:
    """Compile the step."""
    return _in_two(form, (np.multiply, step.factor), (np.add, step.offset))


def _in_two(
    form: Form,
    first: tuple[np.ufunc, float | PerColumn],
    second: tuple[np.ufunc, float | PerColumn | Float32Array],
) -> RowRunner:
    """Return what does two things to each value, with a number for all columns or one for each."""
    (begin, one), (end, other) = first, second
    numbers = np.asarray(one, np.float32), np.asarray(other, np.float32)
    alike = all(given.size == 1 for given in numbers)
    at_once = form.rows if alike else min(form.rows, max(1, AT_ONCE // form.columns))
    ones, others = (
        given.reshape(1) if alike else np.broadcast_to(given, (at_once, form.columns)).copy()
        for given in numbers
    )

    def work(values: Float32Array, out: Float32Array) -> None:
        for start in range(0, len(out), at_once):
            part = out[start : start + at_once]
            begin(values[start : start + at_once], ones[: len(part)], out=part)
            end(part, others[: len(part)], out=part)

    return RowRunner(form, work)


def log(step: Log, form: Form) -> RowRunner:
    """Compile the step."""
    # Arrays of one number: NumPy takes them faster than numbers.
    offset, floor, factor = (
        np.asarray(number, np.float32) for number in (step.offset, step.floor, step.factor)
    )
    logarithm, shifts, scales = LOGARITHMS[step.base], step.offset != 0, step.factor != 1

    def work(values: Float32Array, out: Float32Array) -> None:
        if shifts:
            values = np.add(values, offset, out=out)
        np.maximum(values, floor, out=out)
        logarithm(out, out=out)
        if scales:
            np.multiply(out, factor, out=out)

    return RowRunner(form, work)


class PeakRunner:
    """Divides by what is known only when the whole window is there: all of it is new."""

    def __init__(self, step: Peak, form: Form) -> None:
        self._signless = step.of == "magnitude"
        self._out = np.empty((form.rows, form.columns), np.float32)

    def run(self, values: Float32Array, _fresh: Fresh) -> tuple[Float32Array, Fresh]:
        largest = values.max()
        if self._signless:
            largest = max(largest, -values.min())
        if largest > 0:
            np.divide(values, largest, out=self._out)
        else:
            np.copyto(self._out, values)
        return self._out, None
