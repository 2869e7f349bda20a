"""Judges a model file, whoever made it: its answers on every sample, its bytes, its speed."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from benchmarks.conversion.metrics import Array, Outputs, agreement
from benchmarks.conversion.samples import Samples
from edge_bundle.errors import ModelRefused
from edge_bundle.runtimes.loader import load_model
from edge_bundle.runtimes.model import Model, read_output, write_input

ROUNDS = 41
SLICE_S = 0.01
"""Long enough that the clock does not matter, short enough that both see the same machine."""
TIMED_SAMPLES = 16

Metric = Callable[[Outputs, "Array | None", "Outputs | None"], Array]


@dataclass(frozen=True, slots=True)
class File:
    """A model file's bytes."""

    data: bytes = field(repr=False)
    format: str
    """onnx or tflite."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What was found about one file."""

    format: str
    bytes: int
    score: float
    """Mean of the metric, a fraction of 1."""
    agreement: float
    """Fraction of samples with the float model's arg-max."""
    latency_ratio: float
    """To the float file as it was given: below 1 is faster."""
    ms: float
    """Median of one inference with one thread."""
    outputs: Outputs = field(repr=False, default_factory=dict)


@dataclass(frozen=True, slots=True)
class Judge:
    """One model's samples and its float answers, to hold every other file against."""

    original: File
    samples: Samples
    metric: Metric
    reference: Outputs
    """What the float file answers, by output name."""

    @staticmethod
    def of(original: File, samples: Samples, metric: Metric) -> "Judge":
        """Run the float file once over all samples."""
        return Judge(original, samples, metric, answer(original, samples.x))

    def score(self, outputs: Outputs) -> float:
        """Return the metric's mean."""
        return float(np.mean(self.metric(outputs, self.samples.y, self.reference)))

    def judge(self, file: File) -> Judgement:
        """Run a file over all samples and time it against float.

        Raises: ModelRefused: it does not load, does not run, or has other outputs.
        """
        outputs = align(answer(file, self.samples.x), self.reference)
        ratio, ms = compare_speed(self.original, file, self.samples.x)
        return Judgement(
            format=file.format,
            bytes=len(file.data),
            score=self.score(outputs),
            agreement=float(np.mean(agreement(outputs, None, self.reference))),
            latency_ratio=ratio,
            ms=ms,
            outputs=outputs,
        )

    def error(self, file: File) -> float:
        """Return the largest difference from float, as a fraction of the output's range."""
        outputs = align(answer(file, self.samples.x), self.reference)
        worst = 0.0
        for name, found in outputs.items():
            wanted = self.reference[name]
            worst = max(worst, float(np.abs(found - wanted).max() / np.ptp(wanted)))
        return worst


def answer(file: File, x: Array) -> dict[str, Array]:
    """Return every output [samples, ...] by name; codes come as the real values they stand for."""
    model = load_model(file.data, file.format)
    kept: list[list[Array]] = [[] for _ in model.outputs]
    for sample in x:
        _write(model, sample)
        model.invoke()
        for index, values in enumerate(kept):
            values.append(np.array(read_output(model, index)))
    names = [t.name for t in model.outputs]
    kinds = [np.dtype(t.dtype).kind == "f" or t.scale is not None for t in model.outputs]
    model.close()
    return {n: np.stack(v) for n, v, real in zip(names, kept, kinds, strict=True) if real}


def align(outputs: Outputs, reference: Outputs) -> dict[str, Array]:
    """Return outputs under the float model's names and shapes.

    Where the format renames them, those of one size stand in the float model's order.
    Raises: ModelRefused: none fits.
    """
    left, aligned = dict(outputs), {}
    for name, wanted in reference.items():
        named = [name] if name in left else []
        fits = named + [n for n, a in left.items() if a[0].size == wanted[0].size]
        if not fits:
            raise ModelRefused(f"no output of {wanted[0].size} values for {name}")
        aligned[name] = left.pop(fits[0]).reshape(wanted.shape)
    return aligned


def compare_speed(a: File, b: File, x: Array) -> tuple[float, float]:
    """Return b's median time over a's, from alternating runs, and b's median in milliseconds."""
    models = [load_model(file.data, file.format) for file in (a, b)]
    some = x[np.linspace(0, len(x) - 1, TIMED_SAMPLES).astype(int)]
    # The second pass is warm.
    repeats = [max(1, round(SLICE_S / _time(model, some, 2)[-1])) for model in models]
    found: list[list[float]] = [[], []]
    for turn in range(ROUNDS):
        sample = some[turn % len(some), None]
        for model, count, times in zip(models, repeats, found, strict=True):
            times.append(statistics.median(_time(model, sample, count)))
    for model in models:
        model.close()
    before, after = (statistics.median(times) for times in found)
    return after / before, after * 1e3


def _time(model: Model, samples: Array, repeats: int) -> list[float]:
    """Return the seconds of one inference, ``repeats`` times."""
    seconds = []
    for turn in range(repeats):
        _write(model, samples[turn % len(samples)])
        began = time.perf_counter()
        model.invoke()
        seconds.append(time.perf_counter() - began)
    return seconds


def _write(model: Model, sample: Array) -> None:
    """Put a sample into the first input, its channels last where the format has them so."""
    shape = model.inputs[0].shape
    if sample.ndim == 3 and sample.shape != shape[1:]:
        last = sample.transpose(1, 2, 0)
        sample = last if last.shape == shape[1:] else sample
    if sample.size != model.inputs[0].size:
        raise ModelRefused(f"takes {list(shape)}, expected {list(sample.shape)}")
    write_input(model, 0, np.ascontiguousarray(sample).reshape(shape))
