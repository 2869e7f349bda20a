"""Runs the audio front end on what of a stream it has not seen. Pure."""

from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from edge_bundle.errors import RuntimeMissing
from edge_bundle.features.form import Form
from edge_bundle.features.micro_frontend import FRAME, SAMPLES_PER_MS, MicroFrontend
from edge_bundle.features.runner import Fresh, Result
from edge_bundle.tensor import Float32Array

Int16Array = npt.NDArray[np.int16]
PACKAGE_STEP_MS: Final = 10
"""The one that pymicro-features has."""
FULL_SCALE: Final = 32768


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

    def push(self, samples: Int16Array, out: Float32Array) -> None:
        step = PACKAGE_STEP_MS * SAMPLES_PER_MS
        data = samples.tobytes()
        size = step * samples.itemsize
        made = [
            self._frontend.process_samples(data[start : start + size]).features
            for start in range(0, len(data), size)
        ]
        frames = [features for features in made if features]
        if len(out):
            np.copyto(out, frames[len(frames) - len(out) :])

    def reset(self) -> None:
        self._frontend.reset()


class MicroFrontendRunner:
    """Gives a stream's front end the samples that it has not seen."""

    def __init__(self, step: MicroFrontend, form: Form) -> None:
        self._step = step.step
        self._result = Result(step.after(form))
        self._frames = len(self._result.values)
        self._used = (self._frames - 1) * self._step + FRAME
        """Samples of a window that its frames cover."""
        self._frontend = _open(step)
        self._factor = np.float32(FULL_SCALE / step.full_scale)
        self._scaled = np.empty(self._used, np.float32)
        self._samples = np.empty(self._used, np.int16)

    def run(self, values: Float32Array, fresh: Fresh) -> tuple[Float32Array, Fresh]:
        follows = fresh is not None and fresh % self._step == 0 and fresh <= self._used
        if fresh is None or not follows:
            self._frontend.reset()
            self._push(values[: self._used], self._result.values)
            return self._result.values, None
        new = fresh // self._step
        self._push(
            values[self._used - fresh : self._used], self._result.open(min(new, self._frames))
        )
        return self._result.values, new if new <= self._frames else None

    def _push(self, values: Float32Array, out: Float32Array) -> None:
        scaled, samples = self._scaled[: len(values)], self._samples[: len(values)]
        np.multiply(values[:, 0], self._factor, out=scaled)
        np.rint(scaled, out=scaled)
        np.clip(scaled, -FULL_SCALE, FULL_SCALE - 1, out=scaled)
        np.copyto(samples, scaled, casting="unsafe")
        self._frontend.push(samples, out)


def _open(step: MicroFrontend) -> _Frontend:
    if step.step_ms == PACKAGE_STEP_MS:
        return PackageFrontend()
    # Its tables take a while, and few ask for them.
    from edge_bundle.features.fixed_point import FixedPointFrontend

    return FixedPointFrontend(step.step)
