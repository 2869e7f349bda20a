"""Windows of one slot that are taken, run and told of together, where nobody waits for one alone.

While a model runs, the processor forgets whatever else it knew: so each step is done for all of
them before the next one. A sensor's windows go one by one, see ``worker``.
"""

from collections.abc import Iterator
from math import prod
from time import monotonic_ns
from typing import Final

import numpy as np

from edge_agent.reader import Taken
from edge_agent.ring import Ring
from edge_agent.slot import Made, Slot, explain
from edge_bundle.errors import ModelRefused
from edge_bundle.manifest import Manifest

WINDOWS: Final = 128
"""At once, at most."""
BYTES: Final = 1 << 20
"""Of memory for them and their scores."""
PATIENCE_NS: Final = 200_000_000
"""A window that was run waits no longer for those after it."""


def count_together(manifest: Manifest, most: int = WINDOWS) -> int:
    """Return how many windows of a model go together, where any do."""
    size = 4 * (prod(manifest.window_shape) + manifest.scores_count)
    return min(most, BYTES // size)


class Batch:
    """Makes the predictions of a slot that is ``patient``; those of another one by one."""

    def __init__(self, slot: Slot, manifest: Manifest, most: int = WINDOWS) -> None:
        """Take a slot, what runs there, and how many windows may go together."""
        self._slot = slot
        count = count_together(manifest, most) if slot.patient else 1
        shape = count, *manifest.window_shape
        self._memory = list(np.empty(shape, np.float32)) if count > 1 else []
        """For each window; none where they go one by one."""
        self._scores = list(np.empty((count, manifest.scores_count), np.float32))
        """Of each window."""
        self._waiting: list[Taken] = []

    def predict(self, ring: Ring) -> Iterator[Made]:
        """Take all whole windows, and yield predictions as soon as there are enough for some.

        Raises: ModelRefused: the model fails; the predictions before that were yielded.
        """
        slot = self._slot
        if self._memory:
            while self._take(ring):
                yield from self.finish()
            return
        while slot.take(ring):
            made = slot.predict()
            if made is not None:
                yield made

    def finish(self) -> Iterator[Made]:
        """Yield the predictions of the windows that were taken.

        Raises: as ``predict``.
        """
        begin, waiting = 0, self._waiting
        self._waiting = []
        while begin < len(waiting):
            count, failure = self._slot.run_all(waiting[begin:], self._scores[begin:], PATIENCE_NS)
            yield from self._tell(waiting[begin : begin + count])
            if failure is not None:
                raise ModelRefused(explain(failure))
            begin += count

    def _take(self, ring: Ring) -> bool:
        """Take windows; tell whether there are as many as there is memory for."""
        slot, reader, waiting = self._slot, self._slot.reader, self._waiting
        for window in self._memory[len(waiting) :]:
            reader.write_to(window)
            if not slot.take(ring):
                return False
            waiting.append(slot.begin())
            reader.settle()
        return True

    def _tell(self, run: list[Taken]) -> Iterator[Made]:
        """Judge windows that were run, and yield their predictions."""
        slot = self._slot
        for window in run:
            try:
                decision = slot.judge(window)
            except Exception as error:  # whatever a decision does
                raise ModelRefused(explain(error)) from None
            yield slot.tell(window, decision, monotonic_ns())
