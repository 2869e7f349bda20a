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
        ).bounded()


class SpectrogramRunner:
    """Transforms frames, several at once, out of samples of its own."""

    def __init__(self, step: Spectrogram, form: Form) -> None:
        after = step.after(form)
        self.result = Result(after)
        self._frame, self._step, self._frames = step.frame, step.step, after.rows
        self._squares = step.power == 2
        self._taper = taper(step.window, step.frame).astype(np.float32)
        # Parts of the same size: the last one must not be a single frame.
        parts = -(-after.rows * form.columns * step.length // AT_ONCE)
        at_once = -(-after.rows // min(parts, after.rows))
        self._fft = Fft((at_once, form.columns, step.length))
        self._to_transform = self._fft.input[:, :, : step.frame]
        self._framed = np.empty((at_once, form.columns, step.frame), np.float32)
        self._spectra = np.empty((at_once, form.columns, after.bins), np.complex64)
        used = (at_once - 1) * step.step + step.frame
        self._samples = np.empty((form.columns, used), np.float32)
        row, item = self._samples.strides
        self._view = np.lib.stride_tricks.as_strided(
            self._samples,
            (at_once, form.columns, step.frame),
            (step.step * item, row, item),
            writeable=False,
        )

    def run(self, values: Float32Array, fresh: Fresh) -> tuple[Float32Array, Fresh]:
        aligned = fresh is not None and fresh % self._step == 0
        new = fresh // self._step if fresh is not None and aligned else None
        if new is not None and new > self._frames:
            new = None  # a frame between the windows is in neither
        first = 0 if new is None else self._frames - new
        out = self.result.open(self._frames - first)
        at_once = len(self._view)
        for start in range(0, len(out), at_once):
            part = out[start : start + at_once]
            self._transform(values, (first + start) * self._step, part)
        return self.result.values, new

    def _transform(self, values: Float32Array, begin: int, out: Float32Array) -> None:
        count = len(out)
        used = (count - 1) * self._step + self._frame
        np.copyto(self._samples[:, :used], values[begin : begin + used].T)
        framed, spectra = self._framed[:count], self._spectra[:count]
        # One type in each step: where they are mixed, NumPy takes memory for buffers.
        np.multiply(self._view[:count], self._taper, out=framed)
        np.copyto(self._to_transform[:count], framed)
        np.copyto(spectra, self._fft.transform(count), casting="same_kind")
        np.abs(spectra, out=out.reshape(spectra.shape))
        if self._squares:
            np.square(out, out=out)
