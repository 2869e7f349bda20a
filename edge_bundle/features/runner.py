"""What every compiled step is: preallocated memory, a call, and how much of its input is new."""

from collections.abc import Callable
from typing import Protocol, TypeAlias

import numpy as np

from edge_bundle.features.form import Form
from edge_bundle.tensor import Float32Array

Fresh: TypeAlias = int | None
"""How many of the last rows are new where a window overlaps the one before: the others are those
of the call before, moved up. None: the window stands alone, and nothing before it counts."""


class Runner(Protocol):
    """One step, compiled for the form that comes to it."""

    def run(self, values: Float32Array, fresh: Fresh) -> tuple[Float32Array, Fresh]:
        """Work on one window.

        Args:
            values: float32 [rows, columns] of what comes to it; not kept, not changed.
            fresh: how many of the last rows are new.
        Returns: float32 [rows, columns] of the form that the step gives, overwritten by the next
            call, and how many of its last rows are new.
        """


class Result:
    """A step's result, whose old rows move up instead of being worked out again."""

    def __init__(self, form: Form) -> None:
        self.values: Float32Array = np.zeros((form.rows, form.columns), np.float32)
        self.keeps = True
        """Whether the rows that are not new are asked for by anybody."""
        self._flat = self.values.reshape(-1)

    def open(self, new: int) -> Float32Array:
        """Move the old rows up and return the last ``new`` ones, to be written.

        Args:
            new: from 0 to the number of rows.
        """
        rows, columns = self.values.shape
        if self.keeps and 0 < new < rows:
            # In one dimension NumPy moves memory that overlaps without a copy of it.
            self._flat[: (rows - new) * columns] = self._flat[new * columns :]
        return self.values[rows - new :]


class RowRunner:
    """A step that makes each row of the row at its place, so that only new ones are worked on."""

    def __init__(self, form: Form, work: Callable[[Float32Array, Float32Array], None]) -> None:
        """Prepare the memory.

        Args:
            form: that the step gives.
            work: writes into its second argument what it makes of the rows of its first; float32
                [n, columns] each, for any n up to the form's rows.
        """
        self.result = Result(form)
        self._rows = form.rows
        self._work = work

    def run(self, values: Float32Array, fresh: Fresh) -> tuple[Float32Array, Fresh]:
        if fresh is None or fresh >= self._rows:
            self._work(values, self.result.values)
        elif fresh:
            self._work(values[self._rows - fresh :], self.result.open(fresh))
        return self.result.values, fresh
