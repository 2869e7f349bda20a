"""What every compiled step is: preallocated memory, a call, and how much of its input is new."""

from typing import Protocol, TypeAlias

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
