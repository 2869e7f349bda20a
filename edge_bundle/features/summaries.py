"""A window in a few numbers of each column. Pure."""

from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from msgspec import Meta, Struct

from edge_bundle.features.form import Form, Misfit
from edge_bundle.features.fourier import Float64Array
from edge_bundle.features.runner import Fresh
from edge_bundle.tensor import Float32Array

BoolArray = npt.NDArray[np.bool_]
Statistic = Literal["mean", "std", "rms", "peak_to_peak", "min", "max", "median", "zero_crossings"]


class Statistics(Struct, frozen=True, tag_field="kind", tag="statistics"):
    """One row: those of the first column in the order written, those of the second, and so on."""

    of: tuple[Statistic, ...] = ()
    """``std`` divides by the number of rows; ``zero_crossings`` counts how often a value below 0
    follows one that is not, or the reverse."""
    percentiles: Annotated[
        tuple[Annotated[float, Meta(ge=0, le=100)], ...], Meta(max_length=101)
    ] = ()
    """After the others, straight between the two nearest values."""

    def after(self, form: Form) -> Form:
        """Return what the step gives; raises Misfit."""
        form.expect_time("a statistic")
        count = len(self.of) + len(self.percentiles)
        if not count:
            raise Misfit("none, and no percentiles", "of")
        if len(set(self.of)) < len(self.of):
            raise Misfit("one of them stands there twice", "of")
        return Form(1, form.columns * count, 0.0, count).bounded()


class StatisticsRunner:
    """Works in float64, each column in memory that lies together."""

    def __init__(self, step: Statistics, form: Form) -> None:
        count = len(step.of) + len(step.percentiles)
        self._of = step.of
        self._values = np.empty((form.columns, form.rows))
        self._sorted = np.empty((form.columns, form.rows))
        self._below = np.empty((form.columns, form.rows), np.bool_)
        self._crosses = np.empty((form.columns, form.rows - 1), np.bool_)
        self._apart = np.empty((form.columns, form.rows))
        self._lowest = np.empty(form.columns)
        self._found = np.empty((form.columns, count))
        self._out = np.empty((1, form.columns * count), np.float32)
        self._ranks = [_place(p, form.rows) for p in step.percentiles]
        self._middle = _place(50.0, form.rows)
        ranks = [*self._ranks, *([self._middle] if "median" in step.of else [])]
        needed = {i for low, part in ranks for i in (low, low + (part > 0))}
        # The last value too: NaN is sorted there.
        self._partition = sorted(needed | {form.rows - 1}) if ranks else []

    def run(self, values: Float32Array, _fresh: Fresh) -> tuple[Float32Array, Fresh]:
        np.copyto(self._values, values.T)
        if self._partition:
            np.copyto(self._sorted, self._values)
            self._sorted.partition(self._partition, axis=1)
        for number, statistic in enumerate(self._of):
            self._write(statistic, self._found[:, number])
        for number, rank in enumerate(self._ranks, len(self._of)):
            self._write_rank(rank, self._found[:, number])
        np.copyto(self._out, self._found.reshape(1, -1), casting="same_kind")
        return self._out, None

    def _write_rank(self, rank: tuple[int, float], out: Float64Array) -> None:
        low, part = rank
        np.copyto(out, self._sorted[:, low])
        if part:
            np.add(out, part * (self._sorted[:, low + 1] - out), out=out)
        np.copyto(out, np.nan, where=np.isnan(self._sorted[:, -1]))

    def _write(self, statistic: Statistic, out: Float64Array) -> None:
        values = self._values
        match statistic:
            case "mean":
                values.mean(axis=1, out=out)
            case "std":
                values.mean(axis=1, out=out)
                # Column by column: NumPy takes memory where it has to repeat.
                for column, mean, apart in zip(values, out, self._apart, strict=True):
                    np.subtract(column, mean, out=apart)
                _write_rms(self._apart, out)
            case "rms":
                _write_rms(values, out)
            case "peak_to_peak":
                values.min(axis=1, out=self._lowest)
                values.max(axis=1, out=out)
                np.subtract(out, self._lowest, out=out)
            case "min":
                values.min(axis=1, out=out)
            case "max":
                values.max(axis=1, out=out)
            case "median":
                self._write_rank(self._middle, out)
            case "zero_crossings":
                np.less(values, 0, out=self._below)
                _count_changes(self._below, self._crosses, out)


def _write_rms(values: Float64Array, out: Float64Array) -> None:
    np.einsum("ij,ij->i", values, values, out=out)
    np.sqrt(np.divide(out, values.shape[1], out=out), out=out)


def _count_changes(values: BoolArray, differs: BoolArray, out: Float64Array) -> None:
    for column in range(len(values)):
        np.not_equal(values[column, 1:], values[column, :-1], out=differs[column])
        out[column] = np.count_nonzero(differs[column])


def _place(percentile: float, rows: int) -> tuple[int, float]:
    """Return the rank below a percentile, and how far it is from there to the next."""
    rank = percentile / 100 * (rows - 1)
    return int(rank), rank - int(rank)
