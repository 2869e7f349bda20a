"""Steps that change each value by itself. Pure."""

import numpy as np

from edge_bundle.features.runner import Fresh
from edge_bundle.features.steps import Form, Standardise
from edge_bundle.tensor import Float32Array


class StandardiseRunner:
    """Subtracts and multiplies into memory of its own."""

    def __init__(self, step: Standardise, form: Form) -> None:
        self._mean = np.asarray(step.mean, np.float32)
        self._scale = np.float32(1) / np.asarray(step.std, np.float32)
        self._out = np.empty((form.rows, form.columns), np.float32)

    def run(self, values: Float32Array, fresh: Fresh) -> tuple[Float32Array, Fresh]:
        # All rows: to move the old ones up costs as much as to work them out again.
        np.subtract(values, self._mean, out=self._out)
        np.multiply(self._out, self._scale, out=self._out)
        return self._out, fresh
