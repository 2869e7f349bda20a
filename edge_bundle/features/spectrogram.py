"""Spectra of short frames, one after another: only frames with new samples are worked out. Pure."""

from typing import Annotated, Final, Literal

import numpy as np
from msgspec import Meta, Struct

from edge_bundle.features.form import Form, Misfit
from edge_bundle.features.fourier import MAX_FFT, Fft, Taper, taper
from edge_bundle.features.runner import Fresh, Result
from edge_bundle.tensor import Float32Array

Length = Annotated[int, Meta(ge=1, le=MAX_FFT)]
AT_ONCE: Final = 1 << 15
"""Samples transformed at once, 64 frames of 512: more take more memory, and save little time."""


class Spectrogram(Struct, frozen=True, tag_field="kind", tag="spectrogram"):
    """A row for each frame, its spectrum in columns, channel after channel.

    The first frame begins with the window; samples after the last whole frame are left out.
    """

    frame: Length
    """Samples."""
    step: Length
    """Samples from the start of one frame to the start of the next."""
    fft: Length | None = None
    """Samples that are transformed, zeros after those of the frame; None for the frame alone."""
    window: Taper = "hann"
    power: Literal[1, 2] = 2
    """1 for magnitudes, 2 for their squares."""

    @property
    def length(self) -> int:
        """Samples of one transform."""
        return self.frame if self.fft is None else self.fft

    def after(self, form: Form) -> Form:
        """Return what the step gives; raises Misfit."""
        form.expect_time("a frame", self.frame)
        if self.length < self.frame:
            raise Misfit(f"{self.fft}, expected {self.frame} or more, the frame", "fft")
        bins = self.length // 2 + 1
        return Form(
            (form.rows - self.frame) // self.step + 1,
            form.columns * bins,
            form.rate_hz / self.step,
            bins,
            form.rate_hz * (bins - 1) / self.length,
            form.rate_hz / 2,
        ).bounded()


class SpectrogramRunner:
    """Transforms frames, many at once, and keeps the spectra of those that are not new."""

    def __init__(self, step: Spectrogram, form: Form) -> None:
        after = step.after(form)
        self.result = Result(after)
        self._frame, self._step, self._frames = step.frame, step.step, after.rows
        self._squares = step.power == 2
        # Parts of the same size: the last one must not be a single frame.
        parts = -(-after.rows * form.columns * step.length // AT_ONCE)
        self._at_once = -(-after.rows // min(parts, after.rows))
        self._fft = Fft((self._at_once, form.columns, step.length))
        # As large as what it is multiplied with: NumPy takes memory where it has to repeat.
        self._taper = np.zeros_like(self._fft.input)
        self._taper[:, :, : step.frame] = taper(step.window, step.frame)
        self._spectra = np.empty((self._at_once, form.columns, after.bins), np.complex64)
        item = self._spectra.real.itemsize
        self._row_bytes = form.columns * item
        self._strides = step.step * self._row_bytes, item, self._row_bytes

    def run(self, values: Float32Array, fresh: Fresh) -> tuple[Float32Array, Fresh]:
        values = np.ascontiguousarray(values, np.float32)  # read as its bytes are
        aligned = fresh is not None and fresh % self._step == 0
        new = fresh // self._step if fresh is not None and aligned else None
        if new is not None and new > self._frames:
            new = None  # a frame between the windows is in neither
        first = 0 if new is None else self._frames - new
        out = self.result.open(self._frames - first)
        values = np.ascontiguousarray(values)
        for start in range(0, len(out), self._at_once):
            part = out[start : start + self._at_once]
            self._transform(values, (first + start) * self._step, part)
        return self.result.values, new

    def _transform(self, values: Float32Array, begin: int, out: Float32Array) -> None:
        count = len(out)
        samples, spectra = self._fft.input[:count], self._spectra[:count]
        shape = count, samples.shape[1], self._frame
        frames = np.ndarray(shape, np.float32, values, begin * self._row_bytes, self._strides)
        # One type in each step: where they are mixed, NumPy takes memory for buffers.
        np.copyto(samples[:, :, : self._frame], frames)
        np.multiply(samples, self._taper[:count], out=samples)
        np.copyto(spectra, self._fft.transform(count), casting="same_kind")
        np.abs(spectra, out=out.reshape(spectra.shape))
        if self._squares:
            np.square(out, out=out)
