"""The proof that a step of a conversion changed nothing: the input model's scores, run again."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import onnxruntime

from convert.source import Source, first_line
from edge_bundle.errors import ModelRefused
from edge_bundle.tensor import Array, Float32Array

BOUND: Final = 1e-5
"""Largest difference of a score, relative to the range of all scores."""
SILENT: Final = 4


@dataclass(frozen=True, slots=True)
class Parity:
    """What the input model says of some real windows."""

    source: Source
    output: str
    inputs: Sequence[Float32Array]
    """Prepared windows, each of the model's input shape."""
    scores: Float32Array
    """float32 [windows, scores]."""
    shape: tuple[int, ...]
    """Of the output for one window."""

    def check(self, data: bytes, step: str) -> float:
        """Compare a changed model with the input model.

        Args:
            data: the changed model's bytes, with the same input and output names.
            step: what changed it, for the message.
        Returns: largest difference of a score, absolute.
        Raises: ModelRefused: where it is not below the bound, or the changed model does not run.
        """
        found = _run(self.source, data, self.output, self.inputs)
        if found.shape != (len(self.inputs), *self.shape):
            raise ModelRefused(
                f"{self.source.path}: step {step} changes the shape of {self.output} from "
                f"{list(self.shape)} to {list(found.shape[1:])}"
            )
        largest = float(np.abs(found.reshape(self.scores.shape) - self.scores).max())
        allowed = BOUND * max(float(np.ptp(self.scores)), float(np.finfo(np.float32).tiny))
        # NaN compares false with everything, and must not pass.
        if not largest <= allowed:
            raise ModelRefused(
                f"{self.source.path}: step {step} changes scores by {largest:.3g}, "
                f"at most {allowed:.3g}"
            )
        return largest


def measure_parity(
    source: Source, output: str, labels: int, inputs: Sequence[Float32Array]
) -> Parity:
    """Run the input model as it is.

    Args:
        source: the model.
        output: that holds the scores.
        labels: how many scores there must be.
        inputs: prepared windows, each of the model's input shape; at least one.
    Raises: ModelRefused: where it does not run, or gives something else than ``labels`` floats.
    """
    found = _run(source, source.data, output, inputs)
    shape = tuple(found.shape[1:])
    if found.dtype != np.float32:
        raise ModelRefused(f"{source.path}: output {output}: {found.dtype}, expected float32")
    if found[0].size != labels:
        raise ModelRefused(
            f"{source.path}: output {output} gives {found[0].size} scores {list(shape)}, "
            f"decision.labels has {labels} labels"
        )
    if not np.isfinite(found).all():
        raise ModelRefused(f"{source.path}: output {output} is not finite on real windows")
    return Parity(source, output, inputs, found.reshape(len(inputs), -1), shape)


def _run(source: Source, data: bytes, output: str, inputs: Sequence[Float32Array]) -> Array:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = SILENT
    try:
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        results = [session.run([output], {source.input_name: x})[0] for x in inputs]
        # A sequence of maps, as some exporters give it, is no array of scores.
        return np.stack(
            [r if isinstance(r, np.ndarray) else np.asarray(r, object) for r in results]
        )
    except Exception as error:  # onnxruntime's own classes share no base
        raise ModelRefused(f"{source.path}: onnxruntime: {first_line(error)}") from None
