"""Rows times a table: what mixes the columns of each row, and the step that says how. Pure."""

from typing import Annotated, Final

import numpy as np
import numpy.typing as npt
from msgspec import Meta, Struct

from edge_bundle.features.form import Form, Misfit
from edge_bundle.features.runner import RowRunner
from edge_bundle.tensor import Float32Array

Float64Array = npt.NDArray[np.float64]
ONE_THREAD: Final = 1 << 18
"""Multiplications up to which OpenBLAS wakes no other thread: to wake them takes longer than they
save, four times as long where the cores have other work (measured)."""

PerColumn = Annotated[tuple[float, ...], Meta(min_length=1)]


class Mix(Struct, frozen=True, tag_field="kind", tag="mix"):
    """Each new column is a weighted sum of the channels: another order of colours, grey, axes."""

    weights: Annotated[tuple[PerColumn, ...], Meta(min_length=1, max_length=64)]
    """For each new column, one number for each channel that comes."""

    def after(self, form: Form) -> Form:
        """Return what the step gives; raises Misfit."""
        if form.bins:
            raise Misfit("a column for each channel is expected; put it before what made others")
        for given in self.weights:
            if len(given) != form.columns:
                raise Misfit(f"{len(given)} numbers for {form.columns} channels", "weights")
        return Form(form.rows, len(self.weights), form.rate_hz)


def mix(step: Mix, form: Form) -> RowRunner:
    """Compile the step."""
    return multiply(np.asarray(step.weights, np.float64).T, step.after(form))


def multiply(weights: Float64Array, after: Form, read: slice = slice(None)) -> RowRunner:
    """Return the product of each channel's part of a row with the same weights.

    Args:
        weights: float64 [taken, given]; a row has one part of ``taken`` values, or several.
        after: what comes of it.
        read: which of the ``taken`` values have weights at all.
    """
    taken, given = weights.shape
    table = weights[read].astype(np.float32)
    at_once = max(1, ONE_THREAD // table.size)

    def work(values: Float32Array, out: Float32Array) -> None:
        rows, results = values.reshape(-1, taken)[:, read], out.reshape(-1, given)
        for start in range(0, len(rows), at_once):
            end = start + at_once
            np.matmul(rows[start:end], table, out=results[start:end])

    return RowRunner(after, work)
