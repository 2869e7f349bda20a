"""The proof that a step of a conversion changed nothing: the input model's outputs, run again."""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Final

import numpy as np
import onnxruntime

from convert.given.source import Source, first_line
from edge_bundle.errors import ModelRefused
from edge_bundle.runtimes.loader import load_model
from edge_bundle.runtimes.model import read_output
from edge_bundle.tensor import Array, Float32Array

BOUND: Final = 1e-5
"""Largest difference of a value, relative to the range of its output, where arithmetic stays."""
FOLDED: Final = 1e-4
"""The same where operators are folded into others, or run by another runtime."""
TINY: Final = float(np.finfo(np.float32).tiny)
SILENT: Final = 4


@dataclass(frozen=True, slots=True)
class Parity:
    """What the input model says of some real samples."""

    source: Source
    outputs: tuple[str, ...]
    inputs: Sequence[Array]
    """As the model takes them."""
    found: tuple[Float32Array, ...]
    """float32 [samples, ...] of each output."""

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Of each output, for one sample."""
        return tuple(values.shape[1:] for values in self.found)

    def check(self, data: bytes, step: str, bound: float = BOUND) -> float:
        """Compare a changed ONNX model with the input model.

        Args:
            data: the changed model's bytes, with the same input and output names.
            step: what changed it, for the message.
            bound: largest difference that may be, relative to the output's range.
        Returns: largest difference of a value, relative to its output's range.
        Raises: ModelRefused: where it is not below the bound, or the changed model does not run.
        """
        return self._compare(_run(self.source, data, self.outputs, self.inputs), step, bound)

    def check_tflite(self, data: bytes, step: str, bound: float = FOLDED) -> float:
        """Compare a TFLite model, whose outputs come in the same order, likewise.

        Raises: ModelRefused: as ``check``.
        """
        return self._compare(run_model(data, "tflite", self.inputs), step, bound)

    def _compare(self, found: Sequence[Array], step: str, bound: float) -> float:
        path, worst = self.source.path, 0.0
        if len(found) != len(self.found):
            raise ModelRefused(
                f"{path}: step {step} gives {len(found)} outputs, expected {len(self.found)}"
            )
        for name, values, expected in zip(self.outputs, found, self.found, strict=True):
            if values.shape != expected.shape:
                raise ModelRefused(
                    f"{path}: step {step} changes the shape of {name} from "
                    f"{list(expected.shape[1:])} to {list(values.shape[1:])}"
                )
            largest = float(np.abs(values - expected).max())
            # One sample of one value has no range; what it is then counts.
            extent = float(np.ptp(expected)) or float(np.abs(expected).max()) or TINY
            # NaN compares false with everything, and must not pass.
            if not largest <= bound * extent:
                raise ModelRefused(
                    f"{path}: step {step} changes {name} by {largest:.3g}, "
                    f"at most {bound * extent:.3g}"
                )
            worst = max(worst, largest / extent)
        return worst


def measure_parity(source: Source, outputs: tuple[str, ...], inputs: Sequence[Array]) -> Parity:
    """Run the input model as it is.

    Args:
        source: the model.
        outputs: to look at.
        inputs: as the model takes them; at least one.
    Raises: ModelRefused: where it does not run, or gives something else than finite floats.
    """
    if source.format == "tflite":
        by_name = dict(zip(source.outputs, run_model(source.data, "tflite", inputs), strict=True))
        found: Sequence[Array] = [by_name[name] for name in outputs]
    else:
        found = _run(source, source.data, outputs, inputs)
    for name, values in zip(outputs, found, strict=True):
        if values.dtype != np.float32:
            raise ModelRefused(f"{source.path}: output {name}: {values.dtype}, expected float32")
        if not values.size:
            raise ModelRefused(f"{source.path}: output {name} is empty: {list(values.shape[1:])}")
        if not np.isfinite(values).all():
            raise ModelRefused(f"{source.path}: output {name} is not finite on real samples")
    return Parity(source, outputs, inputs, tuple(found))


def run_model(
    data: bytes,
    kind: str,
    inputs: Sequence[Array],
    report: Callable[[int, int], None] = lambda _done, _of: None,
) -> list[Float32Array]:
    """Run a model as a device does and return each output's real values, float32 [samples, ...].

    Raises: ModelRefused: where the runtime fails.
    """
    with closing(load_model(data, kind)) as model:
        out = [np.empty((len(inputs), *t.shape), np.float32) for t in model.outputs]
        for i, values in enumerate(inputs):
            model.input(0)[...] = values.reshape(model.inputs[0].shape)
            model.invoke()
            for index, rows in enumerate(out):
                rows[i] = read_output(model, index)
            report(i + 1, len(inputs))
    return out


def _run(
    source: Source, data: bytes, outputs: Sequence[str], inputs: Sequence[Array]
) -> list[Array]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = SILENT
    try:
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        rows = [session.run(list(outputs), {source.input.name: x}) for x in inputs]
        # A sequence of maps, as some exporters give it, is no array of scores.
        return [
            np.stack([r if isinstance(r, np.ndarray) else np.asarray(r, object) for r in values])
            for values in zip(*rows, strict=True)
        ]
    except Exception as error:  # onnxruntime's own classes share no base
        raise ModelRefused(f"{source.path}: onnxruntime: {first_line(error)}") from None
