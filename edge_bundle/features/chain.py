"""Steps one after another, compiled for one stream."""

from collections.abc import Sequence
from typing import Final

from edge_bundle.features.runner import Form, Fresh, Runner
from edge_bundle.features.scaling import StandardiseRunner
from edge_bundle.features.steps import Standardise, Step
from edge_bundle.tensor import Float32Array

RUNNERS: Final = {Standardise: StandardiseRunner}
"""Each is made of a step and the form that comes to it, and raises ValueError where they do not
fit."""


class Chain:
    """The steps of one model, in preallocated memory. Not thread-safe."""

    def __init__(self, runners: Sequence[Runner], form: Form) -> None:
        self.form = form
        """What the last step gives; the window's own where there are no steps."""
        self._runners = tuple(runners)

    def run(self, samples: Float32Array, fresh: Fresh = None) -> Float32Array:
        """Return what the steps make of one window.

        Args:
            samples: float32 [window, channels], in the stream's units.
            fresh: how many of the last samples are new since the call before, where the window
                follows the one before without a break; None where it stands alone.
        Returns: float32 [rows, columns] of ``form``, overwritten by the next call; the samples
            themselves where there are no steps.
        """
        values = samples
        for runner in self._runners:
            values, fresh = runner.run(values, fresh)
        return values


def compile_steps(steps: Sequence[Step], window: int, channels: int, rate_hz: float) -> Chain:
    """Return the steps, ready to run.

    Args:
        steps: in their order.
        window: samples.
        channels: of the stream.
        rate_hz: samples in a second.
    Raises: ValueError: a step does not fit what comes to it; begins ``features[N]: ``.
    """
    form = Form(window, channels, rate_hz)
    runners: list[Runner] = []
    for number, step in enumerate(steps):
        try:
            runner = RUNNERS[type(step)](step, form)
        except ValueError as error:
            raise ValueError(f"features[{number}]: {error}") from None
        runners.append(runner)
        form = runner.form
    return Chain(runners, form)


def shape_after(
    steps: Sequence[Step], window: int, channels: int, rate_hz: float
) -> tuple[int, int]:
    """Return the shape [rows, columns] that a window has after the steps.

    Raises: ValueError: as ``compile_steps``.
    """
    form = compile_steps(steps, window, channels, rate_hz).form
    return form.rows, form.columns
