"""What a bundle may ask of its features: every kind of step, and what a window becomes by them.

A step takes float32 [rows, columns], at first the window's samples and channels, and gives the
same kind. What a step gives is known without a sample. Plain data.
"""

from collections.abc import Sequence
from typing import Final, TypeAlias

from edge_bundle.features.composites import LogMel, Mfcc
from edge_bundle.features.detrending import Detrend
from edge_bundle.features.form import MAX_VALUES, Form, Misfit
from edge_bundle.features.images import Resize
from edge_bundle.features.layout import Transpose
from edge_bundle.features.mel import Dct, Mel
from edge_bundle.features.micro_frontend import MicroFrontend
from edge_bundle.features.mixing import Mix
from edge_bundle.features.resampling import Resample
from edge_bundle.features.scaling import Log, Peak, Scale, Standardise
from edge_bundle.features.spectrogram import Spectrogram
from edge_bundle.features.spectrum import BandPower, Spectrum
from edge_bundle.features.summaries import Statistics

__all__ = [
    "BandPower",
    "Composite",
    "Dct",
    "Detrend",
    "Form",
    "Log",
    "LogMel",
    "Mel",
    "Mfcc",
    "MicroFrontend",
    "Misplaced",
    "Mix",
    "Peak",
    "Resample",
    "Resize",
    "Scale",
    "Single",
    "Spectrogram",
    "Spectrum",
    "Standardise",
    "Statistics",
    "Step",
    "Transpose",
    "form_after",
]

MAX_STEPS: Final = 32
MAX_VALUES_IN_ALL: Final = 4 * MAX_VALUES
"""Of all steps' results together."""

Single: TypeAlias = (
    Standardise
    | Scale
    | Peak
    | Detrend
    | Resample
    | Statistics
    | Spectrum
    | BandPower
    | Spectrogram
    | Mel
    | Log
    | Dct
    | MicroFrontend
    | Resize
    | Transpose
    | Mix
)
"""Those that run by themselves."""
Composite: TypeAlias = LogMel | Mfcc
"""Those that stand for several others."""
Step: TypeAlias = Single | Composite
"""Any of them; the manifest tells them apart by ``kind``."""


class Misplaced(ValueError):
    """A step does not fit where it stands."""

    def __init__(self, number: int, misfit: Misfit) -> None:
        """Say which step, and what it says."""
        key = f".{misfit.key}" if misfit.key else ""
        super().__init__(f"features[{number}]{key}: {misfit.why}")
        self.path: tuple[str | int, ...] = ("features", number)
        if misfit.key:
            self.path += (misfit.key,)
        self.why = misfit.why


def form_after(steps: Sequence[Step], form: Form) -> Form:
    """Return what a window has become after the steps.

    Raises: Misplaced: a step does not fit what comes to it; begins ``features[N]`` and its key.
    """
    values = 0
    for number, step in enumerate(steps):
        try:
            if number == MAX_STEPS:
                raise Misfit(f"{len(steps)} steps, at most {MAX_STEPS}")
            form = step.after(form.bounded())
            values += form.size
            if values > MAX_VALUES_IN_ALL:
                raise Misfit(f"{values} values with it, at most {MAX_VALUES_IN_ALL} in all steps")
        except Misfit as misfit:
            raise Misplaced(number, misfit) from None
    return form
