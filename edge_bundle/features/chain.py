"""Steps one after another, compiled for one stream."""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any, Final

from edge_bundle.features.detrending import DetrendRunner
from edge_bundle.features.images import ResizeRunner
from edge_bundle.features.layout import TransposeRunner
from edge_bundle.features.mel import dct, mel
from edge_bundle.features.micro_runner import MicroFrontendRunner
from edge_bundle.features.mixing import mix
from edge_bundle.features.resampling import ResampleRunner
from edge_bundle.features.runner import Fresh, RowRunner, Runner
from edge_bundle.features.scaling import PeakRunner, log, scale, standardise
from edge_bundle.features.spectrogram import SpectrogramRunner
from edge_bundle.features.spectrum import BandPowerRunner, SpectrumRunner
from edge_bundle.features.steps import (
    BandPower,
    Composite,
    Dct,
    Detrend,
    Form,
    Log,
    Mel,
    MicroFrontend,
    Mix,
    Peak,
    Resample,
    Resize,
    Scale,
    Single,
    Spectrogram,
    Spectrum,
    Standardise,
    Statistics,
    Step,
    Transpose,
    form_after,
)
from edge_bundle.features.summaries import StatisticsRunner
from edge_bundle.tensor import Float32Array

RUNNERS: Final[dict[type[Single], Callable[[Any, Form], Runner]]] = {
    Standardise: standardise,
    Scale: scale,
    Peak: PeakRunner,
    Detrend: DetrendRunner,
    Resample: ResampleRunner,
    Statistics: StatisticsRunner,
    Spectrum: SpectrumRunner,
    BandPower: BandPowerRunner,
    Spectrogram: SpectrogramRunner,
    Mel: mel,
    Log: log,
    Dct: dct,
    MicroFrontend: MicroFrontendRunner,
    Resize: ResizeRunner,
    Transpose: TransposeRunner,
    Mix: mix,
}
"""Each is made of a step and the form that comes to it."""


class Chain:
    """The steps of one model, in preallocated memory. Not thread-safe."""

    def __init__(self, runners: Sequence[Runner], form: Form) -> None:
        self._runners = tuple(runners)
        self.form = form
        """What comes out."""
        for runner, following in pairwise(self._runners):
            # Of the old rows between two such steps nobody reads any.
            if isinstance(following, RowRunner) and isinstance(
                runner, RowRunner | SpectrogramRunner
            ):
                runner.result.keeps = False

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

    Raises:
        Misplaced: a step does not fit what comes to it; begins ``features[N]`` and its key.
        RuntimeMissing: a step needs a package that is not installed.
    """
    form_after(steps, form)
    runners: list[Runner] = []
    for step in _singles(steps):
        runners.append(RUNNERS[type(step)](step, form))
        form = step.after(form)
    return Chain(runners, form)


def _singles(steps: Sequence[Step]) -> Iterator[Single]:
    for step in steps:
        if isinstance(step, Composite):
            yield from step.parts
        else:
            yield step
