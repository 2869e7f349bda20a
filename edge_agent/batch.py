"""Windows of one slot that are taken, run and told of together, where nobody waits for one alone.

While a model runs, the processor forgets whatever else it knew: so each step is done for all of
them before the next one. A sensor's windows go one by one, see ``worker``.
"""

from collections.abc import Iterator
from time import monotonic_ns
from typing import Final

import numpy as np
from msgspec import Struct

from edge_agent.reader import Taken
from edge_agent.ring import Ring
from edge_agent.slot import Made, Slot, explain
from edge_bundle.errors import ModelRefused
from edge_bundle.manifest import Stream
from edge_bundle.tensor import Float32Array

WINDOWS: Final = 128
"""At once, at most."""
BYTES: Final = 1 << 20
"""Of memory for them."""
PATIENCE_NS: Final = 200_000_000
"""A window that was run waits no longer for those after it."""
NONE: Final = np.empty(0, np.float32)


class Waiting(Struct, gc=False):
    """A window that was taken, and is to be run."""

    window: Float32Array
    """float32 [window, channels]."""
    taken: Taken
    fresh: int | None
    """As the reader's."""
    broken: bool
    """Whether what is remembered of the windows before ends here."""
    scores: Float32Array = NONE
    """What the model gave, once it was run."""


class Batch:
    """Makes the predictions of a slot that is ``patient``; those of another one by one."""

    def __init__(self, slot: Slot, stream: Stream, most: int = WINDOWS) -> None:
        """Take a slot in which a model runs, what that wants to see, and how many go together."""
        self._slot = slot
        shape = stream.window, len(stream.channels)
        most = min(most, BYTES // (4 * shape[0] * shape[1])) if slot.patient else 1
        self._memory = list(np.empty((most, *shape), np.float32)) if most > 1 else []
        """For each window; none where they go one by one."""
        self._waiting: list[Waiting] = []

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
        while begin < len(waiting):
            end, failure = self._run(begin)
            yield from self._tell(waiting[begin:end])
            if failure is not None:
                raise failure
            begin = end
        waiting.clear()

    def _take(self, ring: Ring) -> bool:
        """Take windows; tell whether there are as many as there is memory for."""
        slot, reader, waiting = self._slot, self._slot.reader, self._waiting
        for window in self._memory[len(waiting) :]:
            reader.write_to(window)
            if not slot.take(ring):
                return False
            taken, broken = slot.pass_on()
            waiting.append(Waiting(window, taken, None if broken else reader.fresh, broken))
        return True

    def _run(self, begin: int) -> tuple[int, ModelRefused | None]:
        """Run windows until the first has waited long enough; return where, and what failed."""
        inference = self._slot.inference
        until_ns = monotonic_ns() + PATIENCE_NS
        for number in range(begin, len(self._waiting)):
            window = self._waiting[number]
            try:
                if window.broken:
                    inference.reset_model()
                scores = inference.scores(window.window, window.fresh)
            except Exception as error:  # whatever a model does
                return number, ModelRefused(explain(error))
            window.scores = scores.copy()  # the next window overwrites them
            taken = window.taken
            taken.pre_ns, taken.infer_ns = inference.pre_ns, inference.infer_ns
            taken.began_ns = inference.began_ns
            if taken.began_ns > until_ns:
                break
        return number + 1, None

    def _tell(self, run: list[Waiting]) -> Iterator[Made]:
        """Judge windows that were run, and yield their predictions."""
        slot, inference = self._slot, self._slot.inference
        for window in run:
            try:
                if window.broken:
                    inference.reset_decision()
                decision = inference.judge(window.scores)
            except Exception as error:  # whatever a decision does
                raise ModelRefused(explain(error)) from None
            yield slot.tell(window.taken, decision, monotonic_ns())
