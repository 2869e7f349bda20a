"""What a sensor adds to a whole window, taken out: its offset, its drift. Pure."""

from typing import Literal

import numpy as np
from msgspec import Struct

from edge_bundle.features.form import Form
from edge_bundle.features.runner import Fresh
from edge_bundle.tensor import Float32Array


class Detrend(Struct, frozen=True, tag_field="kind", tag="detrend"):
    """Each column minus its mean, or minus its straight line of least squares."""

    trend: Literal["constant", "linear"] = "linear"

    def after(self, form: Form) -> Form:
        """Return what the step gives; raises Misfit."""
        form.expect_time("a trend", 2)
        return form


class DetrendRunner:
    """Works in float64: the offset of a sensor may be far larger than what it says."""

    def __init__(self, step: Detrend, form: Form) -> None:
        times = np.arange(form.rows) - (form.rows - 1) / 2
        # [2, rows] times [rows, columns] gives each column's mean and slope.
        self._fit = np.stack([np.full(form.rows, 1 / form.rows), times / np.dot(times, times)])
        self._line = np.stack([np.ones(form.rows), times], axis=1)
        if step.trend == "constant":
            self._fit, self._line = self._fit[:1], self._line[:, :1]
        self._work = np.empty((form.rows, form.columns))
        self._trend = np.empty((form.rows, form.columns))
        self._found = np.empty((len(self._fit), form.columns))
        self._out = np.empty((form.rows, form.columns), np.float32)

    def run(self, values: Float32Array, _fresh: Fresh) -> tuple[Float32Array, Fresh]:
        np.copyto(self._work, values)
        np.matmul(self._fit, self._work, out=self._found)
        np.matmul(self._line, self._found, out=self._trend)
        np.subtract(self._work, self._trend, out=self._work)
        np.copyto(self._out, self._work, casting="same_kind")
        return self._out, None
