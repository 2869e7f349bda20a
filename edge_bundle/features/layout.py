"""Where values stand, not what they are. Pure."""

import numpy as np
from msgspec import Struct

from edge_bundle.features.form import Form
from edge_bundle.features.runner import Fresh
from edge_bundle.tensor import Float32Array


class Transpose(Struct, frozen=True, tag_field="kind", tag="transpose"):
    """Rows become columns, columns rows."""

    def after(self, form: Form) -> Form:
        """Return what the step gives."""
        return Form(form.columns, form.rows, 0.0)


class TransposeRunner:
    """Copies: what comes after reads rows that lie together."""

    def __init__(self, _step: Transpose, form: Form) -> None:
        self._out = np.empty((form.columns, form.rows), np.float32)

    def run(self, values: Float32Array, _fresh: Fresh) -> tuple[Float32Array, Fresh]:
        np.copyto(self._out, values.T)
        return self._out, None
