"""A window at another rate, by a polyphase FIR filter. Pure."""

from typing import TYPE_CHECKING, Annotated, Final

import numpy as np
import numpy.typing as npt
from msgspec import Meta, Struct

from edge_bundle.features.form import Form, Misfit
from edge_bundle.features.runner import Fresh
from edge_bundle.tensor import Float32Array

if TYPE_CHECKING:
    from fractions import Fraction

MAX_TERM: Final = 1000
"""Of the ratio of the rates: the filter is 20 times as long."""
HALF_TAPS: Final = 10
"""Zeros of the filter on each side, in samples of the slower rate."""
KAISER_BETA: Final = 5.0


class Resample(Struct, frozen=True, tag_field="kind", tag="resample"):
    """Each column at another rate; beyond the window it counts as 0."""

    to_hz: Annotated[float, Meta(gt=0)]

    def ratio(self, form: Form) -> "Fraction":
        """Return the rate after by the rate before, of the decimals that they are written with."""
        from fractions import Fraction  # few bundles resample, and it costs two milliseconds

        return Fraction(repr(self.to_hz)) / Fraction(repr(form.rate_hz))

    def after(self, form: Form) -> Form:
        """Return what the step gives; raises Misfit."""
        form.expect_time("another rate")
        ratio = self.ratio(form)
        if max(ratio.numerator, ratio.denominator) > MAX_TERM:
            raise Misfit(
                f"{form.rate_hz:g} to {self.to_hz:g} Hz is {ratio}, of terms to {MAX_TERM} at most",
                "to_hz",
            )
        padded = form.rows + 2 * _reach(ratio.numerator, ratio.denominator)
        Form(padded, form.columns, form.rate_hz).bounded()
        rows = -(-form.rows * ratio.numerator // ratio.denominator)
        return Form(rows, form.columns, self.to_hz).bounded()


def design_filter(up: int, down: int) -> npt.NDArray[np.float64]:
    """Return the taps of a low pass at the lower Nyquist frequency, at the rate times ``up``.

    Returns: float64 [2 * 10 * max(up, down) + 1], of sum ``up``.
    Source: windowed sinc, Kaiser window of beta 5, as scipy.signal.resample_poly by default.
    """
    slower = max(up, down)
    half = HALF_TAPS * slower
    taps: npt.NDArray[np.float64] = np.sinc(np.arange(-half, half + 1) / slower)
    taps *= np.kaiser(2 * half + 1, KAISER_BETA)
    taps *= up / taps.sum()
    return taps


def _reach(up: int, down: int) -> int:
    """Return how many samples on each side of its place a result may need."""
    return HALF_TAPS * max(up, down) // up + 1


class ResampleRunner:
    """One product for each phase of the filter, over views of padded samples."""

    def __init__(self, step: Resample, form: Form) -> None:
        ratio, after = step.ratio(form), step.after(form)
        up, down = ratio.numerator, ratio.denominator
        taps = design_filter(up, down) if up != down else np.ones(1)
        half, columns = len(taps) // 2, form.columns
        reach = _reach(up, down)
        last = ((after.rows - 1) * down + half) // up
        self._padded = np.zeros((columns, reach + max(form.rows, last + 1)))
        self._samples = self._padded[:, reach : reach + form.rows]
        self._sums = np.empty((columns, after.rows))
        self._out = np.empty((after.rows, columns), np.float32)
        self._phases = []
        for phase in range(min(up, after.rows)):
            # Result m is the sum of taps[m * down + half - k * up] * sample[k] over all k.
            newest = (phase * down + half) // up
            kernel = taps[(phase * down + half) - newest * up :: up][::-1]
            oldest = newest - len(kernel) + 1 + reach
            count = len(range(phase, after.rows, up))
            rows, item = self._padded.strides
            view = np.lib.stride_tricks.as_strided(
                self._padded[:, oldest:],
                (columns, count, len(kernel)),
                (rows, down * item, item),
                writeable=False,
            )
            self._phases.append((view, np.ascontiguousarray(kernel), self._sums[:, phase::up]))

    def run(self, values: Float32Array, _fresh: Fresh) -> tuple[Float32Array, Fresh]:
        np.copyto(self._samples, values.T)
        for view, kernel, sums in self._phases:
            np.matmul(view, kernel, out=sums)
        np.copyto(self._out, self._sums.T, casting="same_kind")
        return self._out, None
