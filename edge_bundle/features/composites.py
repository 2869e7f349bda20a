"""Names for steps that are often put together: they run as those do, and give the same. Pure."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from edge_bundle.features.form import Form
from edge_bundle.features.fourier import Taper
from edge_bundle.features.mel import Bands, Dct, Formula, Mel
from edge_bundle.features.scaling import Log, Positive
from edge_bundle.features.spectrogram import Length, Spectrogram


class LogMel(Struct, frozen=True, tag_field="kind", tag="log_mel"):
    """Spectrogram, mel, log; keys as theirs."""

    frame: Length
    step: Length
    fft: Length | None = None
    window: Taper = "hann"
    power: Literal[1, 2] = 2
    bands: Bands = 40
    low_hz: Annotated[float, Meta(ge=0)] = 0.0
    high_hz: Annotated[float, Meta(gt=0)] | None = None
    formula: Formula = "htk"
    mel_norm: Literal["none", "slaney"] = "none"
    slopes: Literal["hz", "mel"] = "hz"
    offset: float = 0.0
    floor: Positive = 1e-12
    base: Literal["e", 2, 10] = "e"
    log_factor: float = 1.0

    @property
    def parts(self) -> tuple[Spectrogram | Mel | Log | Dct, ...]:
        """The steps that it stands for."""
        return (
            Spectrogram(self.frame, self.step, self.fft, self.window, self.power),
            Mel(self.bands, self.low_hz, self.high_hz, self.formula, self.mel_norm, self.slopes),
            Log(self.offset, self.floor, self.base, self.log_factor),
        )

    def after(self, form: Form) -> Form:
        """Return what the step gives; raises Misfit."""
        for part in self.parts:
            form = part.after(form)
        return form


class Mfcc(LogMel, frozen=True, tag="mfcc"):
    """Log mel bands, then their cosine transform."""

    count: Bands = 13
    dct_norm: Literal["ortho", "none"] = "ortho"
    dct_factor: float = 1.0

    @property
    def parts(self) -> tuple[Spectrogram | Mel | Log | Dct, ...]:
        """The steps that it stands for."""
        return (*super().parts, Dct(self.count, self.dct_norm, self.dct_factor))
