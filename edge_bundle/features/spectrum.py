"""What frequencies are in a window, taken as a whole. Pure."""

from itertools import pairwise
from typing import Annotated, Literal

import numpy as np
from msgspec import Meta, Struct

from edge_bundle.features.form import Form, Misfit
from edge_bundle.features.fourier import Taper, WholeFft
from edge_bundle.features.runner import Fresh
from edge_bundle.tensor import Float32Array


class Spectrum(Struct, frozen=True, tag_field="kind", tag="spectrum"):
    """The window's discrete Fourier transform: a row for each frequency, from 0 to half the rate.

    Not scaled: a sine of amplitude a at a bin gives a magnitude of a * rows / 2.
    """

    of: Literal["magnitude", "power"] = "magnitude"
    """The square root of the power, or the power itself."""
    window: Taper = "none"

    def after(self, form: Form) -> Form:
        """Return what the step gives; raises Misfit."""
        form.expect_time("a spectrum", 2)
        return Form(form.rows // 2 + 1, form.columns, 0.0).bounded()


class BandPower(Struct, frozen=True, tag_field="kind", tag="band_power"):
    """The part of the window's mean square that each band of frequencies has, in one row.

    Bands of one column stand together, column after column. Bands from 0 Hz to half the rate sum
    to the mean square, where there is no taper.
    """

    edges_hz: Annotated[
        tuple[Annotated[float, Meta(ge=0)], ...], Meta(min_length=2, max_length=513)
    ]
    """Rising: each band begins where the one before ends. A band holds its lower edge; the last
    holds its upper edge too."""
    window: Taper = "none"

    def after(self, form: Form) -> Form:
        """Return what the step gives; raises Misfit."""
        # Of two rows that taper leaves nothing.
        rows = 3 if self.window == "hann_symmetric" else 2
        form.expect_time("a band of frequencies", rows)
        edges, nyquist_hz = self.edges_hz, form.rate_hz / 2
        if edges[-1] > nyquist_hz:
            raise Misfit(f"{edges[-1]:g} Hz is above half the rate, {nyquist_hz:g} Hz", "edges_hz")
        between_hz = form.rate_hz / form.rows
        for number, (low, high) in enumerate(pairwise(edges)):
            first, end = self.bins(form, number)
            if first >= end:
                raise Misfit(
                    f"no frequency from {low:g} to {high:g} Hz; a window of {form.rows} rows has "
                    f"one each {between_hz:g} Hz",
                    "edges_hz",
                )
        return Form(1, form.columns * (len(edges) - 1), 0.0, len(edges) - 1).bounded()

    def bins(self, form: Form, band: int) -> tuple[int, int]:
        """Return the first bin of a band, and the one after its last."""
        per_hz = form.rows / form.rate_hz
        low, high = self.edges_hz[band] * per_hz, self.edges_hz[band + 1] * per_hz
        is_last = band == len(self.edges_hz) - 2
        # What is a bin but for rounding counts as one.
        first = int(np.ceil(low - 1e-6))
        end = int(np.floor(high + 1e-6)) + 1 if is_last else int(np.ceil(high - 1e-6))
        return first, end


class SpectrumRunner:
    """One transform of each column."""

    def __init__(self, step: Spectrum, form: Form) -> None:
        after = step.after(form)
        self._fft = WholeFft(step.window, form.rows, form.columns)
        self._squares = step.of == "power"
        self._out = np.empty((after.rows, after.columns), np.float32)

    def run(self, values: Float32Array, _fresh: Fresh) -> tuple[Float32Array, Fresh]:
        found = self._fft.run(values)
        if self._squares:
            np.square(found, out=found)
        np.copyto(self._out, found.T, casting="same_kind")
        return self._out, None


class BandPowerRunner:
    """One transform of each column, and one product."""

    def __init__(self, step: BandPower, form: Form) -> None:
        bands = len(step.edges_hz) - 1
        self._fft = WholeFft(step.window, form.rows, form.columns)
        # One-sided: all but 0 Hz and half the rate stand for two frequencies.
        share = np.full(form.rows // 2 + 1, 2.0)
        share[0] = 1.0
        if form.rows % 2 == 0:
            share[-1] = 1.0
        share /= form.rows * np.square(self._fft.taper).sum()
        self._bands = np.zeros((len(share), bands))
        for band in range(bands):
            first, end = step.bins(form, band)
            self._bands[first:end, band] = share[first:end]
        self._sums = np.empty((form.columns, bands))
        self._out = np.empty((1, form.columns * bands), np.float32)

    def run(self, values: Float32Array, _fresh: Fresh) -> tuple[Float32Array, Fresh]:
        found = self._fft.run(values)
        np.square(found, out=found)
        np.matmul(found, self._bands, out=self._sums)
        np.copyto(self._out, self._sums.reshape(1, -1), casting="same_kind")
        return self._out, None
