"""Runs the audio front end on what of a stream it has not seen. Pure."""

from math import isfinite
from struct import Struct
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from edge_bundle.errors import RuntimeMissing
from edge_bundle.features.form import Form
from edge_bundle.features.micro_frontend import CHANNELS, FRAME, SAMPLES_PER_MS, MicroFrontend
from edge_bundle.features.runner import Fresh, Result
from edge_bundle.tensor import Float32Array

Int16Array = npt.NDArray[np.int16]
PACKAGE_STEP_MS: Final = 10
"""The one that pymicro-features has."""
PUSHED: Final = PACKAGE_STEP_MS * SAMPLES_PER_MS
FRAME_BYTES: Final = 4 * CHANNELS
WRITE_FRAME: Final = Struct(f"={CHANNELS}f").pack_into
"""Writes a frame's numbers into memory of float32: for a short list far faster than NumPy."""
FULL_SCALE: Final = 32768
LEAST, MOST = (np.asarray(value, np.float32) for value in (-FULL_SCALE, FULL_SCALE - 1))
"""Arrays of one number: NumPy takes them faster than numbers."""
SURELY_WITHIN: Final = 0.9 * FULL_SCALE**2
"""Of a sum of squares, with room for its rounding."""


class _Frontend(Protocol):
    """A stream's front end."""

    def push(self, samples: Int16Array, out: Float32Array) -> None:
        """Take samples that follow those before, and write the last frames of those they end."""

    def reset(self) -> None:
        """Forget the stream."""


class PackageFrontend:
    """That of PyPI's pymicro-features: the original C code, which takes 10 ms at a time."""

    def __init__(self) -> None:
        """Load it.

        Raises: RuntimeMissing.
        """
        try:
            from pymicro_features import MicroFrontend as Original
        except ImportError:
            raise RuntimeMissing(
                "features: micro_frontend with step_ms = 10 needs pymicro-features: "
                "pip install 'edgeward[audio]'"
            ) from None
        self._frontend: Any = Original()
        self._process: Any = self._frontend.process_samples

    def push(self, samples: Int16Array, out: Float32Array) -> None:
        process, at = self._process, (len(out) - len(samples) // PUSHED) * FRAME_BYTES
        # Each 10 ms end a frame; the first ones none, or one that nobody asks for.
        for start in range(0, len(samples), PUSHED):
            features = process(samples[start : start + PUSHED].tobytes()).features
            if at >= 0:
                WRITE_FRAME(out.data, at, *features)
            at += FRAME_BYTES

    def reset(self) -> None:
        self._frontend.reset()


class MicroFrontendRunner:
    """Gives a stream's front end the samples that it has not seen."""

    def __init__(self, step: MicroFrontend, form: Form) -> None:
        self._step = step.step
        self._rows = form.rows
        self._result = Result(step.after(form))
        self._frames = len(self._result.values)
        self._used = (self._frames - 1) * self._step + FRAME
        """Samples of a window that its frames cover."""
        self._frontend = _open(step)
        self._factor = np.asarray(FULL_SCALE / step.full_scale, np.float32)
        self._scaled = np.empty(form.rows, np.float32)
        # Before a window's samples stand those that no frame of the one before covered.
        self._ahead = form.rows - self._used
        self._samples = np.zeros(self._ahead + form.rows, np.int16)

    def run(self, values: Float32Array, fresh: Fresh) -> tuple[Float32Array, Fresh]:
        if fresh is None or fresh > self._rows or fresh % self._step:
            fresh, new = None, self._frames
            self._frontend.reset()
        else:
            new = min(self._frames, fresh // self._step)
        seen = 0 if fresh is None else self._used - fresh
        self._convert(values, max(0, seen))
        if seen < 0:  # the first of those ahead stand before the window, the others are in it
            self._samples[self._ahead + seen : self._ahead] = self._samples[:-seen]
        end = self._ahead + self._used
        self._frontend.push(self._samples[self._ahead + seen : end], self._result.open(new))
        if self._ahead:
            self._samples[: self._ahead] = self._samples[end:]
        return self._result.values, new if fresh == new * self._step else None

    def _convert(self, values: Float32Array, first: int) -> None:
        scaled = self._scaled[first:]
        np.multiply(values[first:, 0], self._factor, out=scaled)
        # Squares that sum to little are of numbers, and of none beyond the ends.
        energy = scaled.dot(scaled)
        if not energy < SURELY_WITHIN:
            if not isfinite(energy):
                # Whole numbers have no NaN: what is none is silence.
                np.copyto(scaled, 0, where=np.isnan(scaled))
            np.maximum(scaled, LEAST, out=scaled)
            np.minimum(scaled, MOST, out=scaled)
        np.rint(scaled, out=scaled)
        self._samples[self._ahead + first :] = scaled


def _open(step: MicroFrontend) -> _Frontend:
    if step.step_ms == PACKAGE_STEP_MS:
        return PackageFrontend()
    # Its tables take a while, and few ask for them.
    from edge_bundle.features.fixed_point import FixedPointFrontend

    return FixedPointFrontend(step.step)
