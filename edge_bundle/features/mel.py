"""Spectra as an ear hears them: mel bands, and the cosines of their logarithms. Pure."""

from typing import Annotated, Final, Literal

import numpy as np
from msgspec import Meta, Struct

from edge_bundle.features.form import MAX_VALUES, Form, Misfit
from edge_bundle.features.fourier import Float64Array
from edge_bundle.features.mixing import multiply
from edge_bundle.features.runner import RowRunner

Bands = Annotated[int, Meta(ge=1, le=512)]
Formula = Literal["htk", "slaney"]
SLANEY_LINEAR_HZ: Final = 1000.0
"""Below it slaney's scale is linear: 15 mel are 1,000 Hz."""
SLANEY_STEP: Final = np.log(6.4) / 27


class Mel(Struct, frozen=True, tag_field="kind", tag="mel"):
    """Triangular bands, equally wide in mel, each half over its neighbours; over each spectrum."""

    bands: Bands
    low_hz: Annotated[float, Meta(ge=0)] = 0.0
    high_hz: Annotated[float, Meta(gt=0)] | None = None
    """None for half the sample rate."""
    formula: Formula = "htk"
    norm: Literal["none", "slaney"] = "none"
    """slaney: each divided by half of its width in Hz, so that all have the same area."""
    slopes: Literal["hz", "mel"] = "hz"
    """What a triangle's sides are straight in: hz as in librosa and torchaudio, mel as in
    TensorFlow."""

    def after(self, form: Form) -> Form:
        """Return what the step gives; raises Misfit."""
        if form.top_hz <= 0:
            raise Misfit("mel bands need spectra: a spectrogram before them")
        high_hz = form.half_hz if self.high_hz is None else self.high_hz
        if high_hz > form.half_hz:
            raise Misfit(f"{high_hz:g}, the spectrum ends at {form.half_hz:g} Hz", "high_hz")
        if self.low_hz >= high_hz:
            raise Misfit(f"{self.low_hz:g}, expected less than {high_hz:g}, high_hz", "low_hz")
        if self.bands * form.bins > MAX_VALUES:
            raise Misfit(f"{self.bands} of {form.bins} bins each", "bands")
        channels = form.columns // form.bins
        return Form(form.rows, channels * self.bands, form.rate_hz, self.bands).bounded()


class Dct(Struct, frozen=True, tag_field="kind", tag="dct"):
    """The first coefficients of the cosine transform (type II) of each row, or channel's bands."""

    count: Bands
    norm: Literal["ortho", "none"] = "ortho"
    """As in scipy.fft.dct; none is twice the sum."""
    factor: float = 1.0
    """What each is multiplied by."""

    def after(self, form: Form) -> Form:
        """Return what the step gives; raises Misfit."""
        bins = form.bins or form.columns
        if self.count > bins:
            raise Misfit(f"{self.count}, at most {bins} come of {bins} values", "count")
        if self.count * bins > MAX_VALUES:
            raise Misfit(f"{self.count} of {bins} values", "count")
        columns = form.columns // bins * self.count
        return Form(form.rows, columns, form.rate_hz, self.count).bounded()


def to_mel(hz: Float64Array, formula: Formula) -> Float64Array:
    """Return frequencies in mel.

    Source: htk: 2595 log10(1 + f / 700), HTK Book, section 5.4; slaney: Auditory Toolbox, linear to
    1 kHz, then logarithmic, 27 steps for each factor of 6.4.
    """
    if formula == "htk":
        return np.asarray(2595 * np.log10(1 + hz / 700))
    above = np.log(np.maximum(hz, SLANEY_LINEAR_HZ) / SLANEY_LINEAR_HZ) / SLANEY_STEP
    return np.asarray(15 * np.minimum(hz, SLANEY_LINEAR_HZ) / SLANEY_LINEAR_HZ + above)


def to_hz(mel: Float64Array, formula: Formula) -> Float64Array:
    """Return what ``to_mel`` was given."""
    if formula == "htk":
        return np.asarray(700 * (10 ** (mel / 2595) - 1))
    above = SLANEY_LINEAR_HZ * np.exp(SLANEY_STEP * np.maximum(mel - 15, 0))
    return np.where(mel < 15, mel * SLANEY_LINEAR_HZ / 15, above)


def mel_weights(step: Mel, form: Form) -> Float64Array:
    """Return how much of each bin is in each band, float64 [bins, bands]."""
    high_hz = form.half_hz if step.high_hz is None else step.high_hz
    low, high = to_mel(np.array([step.low_hz, high_hz]), step.formula)
    edges = np.linspace(low, high, step.bands + 2)
    edges_hz = to_hz(edges, step.formula)
    bins = np.linspace(0, form.top_hz, form.bins)
    if step.slopes == "mel":
        bins = to_mel(bins, step.formula)
    else:
        edges = edges_hz
    rising = (bins[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins[:, None]) / (edges[2:] - edges[1:-1])
    weights = np.maximum(0, np.minimum(rising, falling))
    if step.norm == "slaney":
        weights *= 2 / (edges_hz[2:] - edges_hz[:-2])
    return np.asarray(weights)


def dct_weights(step: Dct, bins: int) -> Float64Array:
    """Return what each coefficient takes of each value, float64 [bins, count]."""
    angles = np.pi * np.outer(2 * np.arange(bins) + 1, np.arange(step.count)) / (2 * bins)
    weights = 2 * step.factor * np.cos(angles)
    if step.norm == "ortho":
        weights /= np.sqrt(2 * bins)
        weights[:, 0] /= np.sqrt(2)
    return np.asarray(weights)


def mel(step: Mel, form: Form) -> RowRunner:
    """Compile the step."""
    weights = mel_weights(step, form)
    heard = np.flatnonzero(weights.any(axis=1))
    # Where there are no bands the spectrum is not read.
    bins = slice(heard[0], heard[-1] + 1) if len(heard) else slice(None)
    return multiply(weights, step.after(form), bins)


def dct(step: Dct, form: Form) -> RowRunner:
    """Compile the step."""
    return multiply(dct_weights(step, form.bins or form.columns), step.after(form))
