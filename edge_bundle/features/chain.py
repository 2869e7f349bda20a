"""Steps one after another, compiled for one stream."""

from collections.abc import Sequence
from typing import Final

from edge_bundle.features.runner import Fresh, Runner
from edge_bundle.features.scaling import StandardiseRunner
from edge_bundle.features.steps import Form, Standardise, Step, form_after
from edge_bundle.tensor import Float32Array

RUNNERS: Final = {Standardise: StandardiseRunner}
"""Each is made of a step and the form that comes to it."""


class Chain:
    """The steps of one model, in preallocated memory. Not thread-safe."""

    def __init__(self, runners: Sequence[Runner], form: Form) -> None:
        self._runners = tuple(runners)
        self.form = form
        """What comes out."""

    def run(self, samples: Float32Array, fresh: Fresh = None) -> Float32Array:
        """Return what the steps make of one window.

        Args:
            samples: float32 [window, channels], in the stream's units.
            fresh: how many of the last samples are new since the call before, where the window
                follows the one before without a break; None where it stands alone.
        Returns: float32 [rows, columns] of the last step's form, overwritten by the next call; the
            samples themselves where there are no steps.
        """
        values = samples
        for runner in self._runners:
            values, fresh = runner.run(values, fresh)
        return values


def compile_steps(steps: Sequence[Step], form: Form) -> Chain:
    """Return the steps, ready to run on windows of a form.

    Raises: ValueError: a step does not fit what comes to it; begins ``features[N]: ``.
    """
    form_after(steps, form)
    runners: list[Runner] = []
    for step in steps:
        runners.append(RUNNERS[type(step)](step, form))
        form = step.after(form)
    return Chain(runners, form)
