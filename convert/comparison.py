"""Any two of ONNX, TFLite and bundle on the same samples: how far apart, and which answers change.

The numbers are measured, sample after sample, and judged by nobody here but the reader.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import inf, log10, prod
from pathlib import Path
from typing import Final

import numpy as np
from msgspec import Struct

from convert.given.samples import list_numbers, split_part
from convert.sides import ONLY, Shape, Side, fit, move_axes, open_side, same_order, without_batch
from edge_bundle.errors import ConfigError, ModelRefused, RecordingRefused
from edge_bundle.npz import load_npz
from edge_bundle.tensor import Array, Float32Array, TensorSpec

MOST_SHOWN: Final = 10
"""Samples whose answer differs that are named."""
ROUNDING: Final = 1e-4
"""Of an output's range: more than float runtimes differ by."""


class OutputDifference(Struct, frozen=True):
    """One output of A against one of B."""

    a: str
    """Name of A's output."""
    b: str
    """Name of B's output."""
    shape: tuple[int, ...]
    """Of A's."""
    largest: float
    """Absolute; infinite where one is not finite and the other is something else."""
    relative: float
    """``largest`` as a part of the range of A's output over all samples."""
    mean: float
    """Mean absolute difference."""
    sqnr_db: float | None
    """Power of A's output over that of the difference; None where there is no difference."""
    agreement: float | None
    """Part of the answers, one arg-max for each last axis, that are the same; None where the last
    axis has a single value."""
    differing: int
    """Samples with an answer that differs."""
    first: tuple[int, ...]
    """Numbers of the first of them."""


class Comparison(Struct, frozen=True):
    """Two models on the same samples."""

    a: str
    b: str
    samples: int
    outputs: tuple[OutputDifference, ...]
    largest_relative: float
    """Of all outputs."""
    agreement: float | None
    """The lowest of all outputs; None where no output has answers."""
    notes: tuple[str, ...]
    """What was done to make them comparable."""
    verdict: str
    """One line."""


def compare(a: Path, b: Path, inputs: str) -> Comparison:
    """Run two models on the same samples.

    Args:
        a: ONNX file, TFLite file or bundle.
        b: the same; the one that is judged.
        inputs: ``.npz`` with ``x`` [samples, ...], or an array for each input by its name. A
            bundle with a stream takes raw windows [samples, window, channels] where ``x`` has that
            shape. Numbers are real values; where both models have the same integer input they are
            codes. ``FILE#0-99,120`` names some samples, ``FILE#NAME`` those of an index array.
    Raises:
        ConfigError: no such file. RuntimeMissing: nothing here runs one of them.
        RecordingRefused: the arrays do not fit. ArtifactRefused: a file is damaged or does not run.
    """
    path, part = split_part(inputs)
    arrays = _read_arrays(path)
    if part:
        arrays = _take(inputs, part, arrays)
    sides = open_side(a, "A"), open_side(b, "B")
    given = fit(sides, arrays, path)
    pairs, notes = _pair(*sides)
    count = len(given[0][0])
    for number in range(count):
        found = [
            side.run([values[number] for values in of])
            for side, of in zip(sides, given, strict=True)
        ]
        for pair in pairs:
            pair.add(number, found[0][pair.at[0]], found[1][pair.at[1]])
    for side in sides:
        side.model.close()
    outputs = tuple(pair.result() for pair in pairs)
    agreements = [o.agreement for o in outputs if o.agreement is not None]
    relative = max(o.relative for o in outputs)
    agreement = min(agreements, default=None)
    return Comparison(
        a=str(a),
        b=str(b),
        samples=count,
        outputs=outputs,
        largest_relative=relative,
        agreement=agreement,
        notes=(*sides[0].notes, *sides[1].notes, *notes),
        verdict=_judge(relative, agreement, count),
    )


def describe_comparison(comparison: Comparison) -> str:
    """Return the comparison as lines for a terminal."""
    lines = [f"A  {comparison.a}", f"B  {comparison.b}", f"   {comparison.samples:,} samples"]
    lines += [f"   {note}" for note in comparison.notes]
    for output in comparison.outputs:
        name = output.a if output.a == output.b else f"{output.a} | {output.b}"
        sqnr = "no difference" if output.sqnr_db is None else f"{output.sqnr_db:.1f} dB"
        lines.append(f"{name}  {list(output.shape)}")
        lines.append(
            f"   largest difference {output.largest:.3g}, {output.relative:.3g} of A's range; "
            f"mean {output.mean:.3g}; {sqnr}"
        )
        if output.agreement is not None:
            more = ", ..." if output.differing > len(output.first) else ""
            which = f": {', '.join(map(str, output.first))}{more}" if output.first else ""
            lines.append(
                f"   arg-max agrees in {output.agreement:.2%}, "
                f"{output.differing:,} samples differ{which}"
            )
    return "\n".join([*lines, comparison.verdict])


@dataclass(slots=True)
class _Pair:
    """One output of each model, and what has been seen of them."""

    specs: tuple[TensorSpec, TensorSpec]
    at: tuple[int, int]
    """Their places among the models' outputs."""
    axes: tuple[int, ...]
    """Turns B's layout, without the batch, into A's; empty where it is A's."""
    largest: float = 0.0
    low: float = inf
    high: float = -inf
    total: float = 0.0
    signal: float = 0.0
    noise: float = 0.0
    count: int = 0
    answers: int = 0
    same: int = 0
    differing: list[int] = field(default_factory=list)

    def add(self, number: int, a: Float32Array, b: Float32Array) -> None:
        shape = without_batch(self.specs[0].shape)
        one = a.reshape(shape).astype(np.float64)
        other = b.reshape(without_batch(self.specs[1].shape)).astype(np.float64)
        other = other.transpose(self.axes) if self.axes else other.reshape(shape)
        # What is not finite in both alike is no difference; NaN is in no order with anything.
        equal = (one == other) | (np.isnan(one) & np.isnan(other))
        with np.errstate(invalid="ignore"):
            difference = np.where(equal, 0.0, np.abs(one - other))
        difference[np.isnan(difference)] = inf
        finite = one[np.isfinite(one)]
        self.low = min(self.low, float(finite.min(initial=inf)))
        self.high = max(self.high, float(finite.max(initial=-inf)))
        self.largest = max(self.largest, float(difference.max()))
        self.total += float(difference.sum())
        self.signal += float(np.square(finite).sum())
        self.noise += float(np.square(difference).sum())
        self.count += difference.size
        if shape and shape[-1] > 1:
            agrees = one.argmax(axis=-1) == other.argmax(axis=-1)
            self.answers += agrees.size
            self.same += int(agrees.sum())
            if not agrees.all():
                self.differing.append(number)

    def result(self) -> OutputDifference:
        spread = self.high - self.low
        # An output that never changes is measured by its own size.
        spread = spread if spread > 0 else abs(self.high)
        relative = 0.0
        if self.largest:
            relative = self.largest / spread if 0 < spread < inf else inf
        sqnr = None
        if self.noise:
            part = self.signal / self.noise
            sqnr = 10 * log10(part) if part > 0 else -inf
        return OutputDifference(
            a=self.specs[0].name,
            b=self.specs[1].name,
            shape=self.specs[0].shape,
            largest=self.largest,
            relative=relative,
            mean=self.total / self.count,
            sqnr_db=sqnr,
            agreement=self.same / self.answers if self.answers else None,
            differing=len(self.differing),
            first=tuple(self.differing[:MOST_SHOWN]),
        )


def _read_arrays(inputs: Path) -> dict[str, Array]:
    if not os.path.isfile(inputs):  # Path's own raises for a name that is too long
        raise ConfigError(f"{inputs}: no such file")
    try:
        return load_npz(inputs)
    except ValueError as error:
        raise RecordingRefused(f"{inputs}: {error}") from None


def _take(inputs: str, part: str, arrays: dict[str, Array]) -> dict[str, Array]:
    """Return some samples of each array that has as many as the first one."""
    counts = {name: len(values) for name, values in arrays.items() if values.ndim and name != part}
    count = counts.get(ONLY, next(iter(counts.values()), 0))
    numbers = list_numbers(inputs, part, arrays, count)
    return {name: arrays[name][numbers] for name, of in counts.items() if of == count}


def _pair(a: Side, b: Side) -> tuple[list[_Pair], list[str]]:
    """Return which outputs belong together: those of one name, then by order and shape.

    Raises: ModelRefused: none do.
    """
    ours, theirs = dict(enumerate(a.model.outputs)), dict(enumerate(b.model.outputs))
    pairs: list[_Pair] = []
    notes: list[str] = []
    for by_name in (True, False):
        for i, spec in list(ours.items()):
            for j, other in theirs.items():
                layout = _layout(spec.shape, other.shape)
                if layout is None or (by_name and spec.name != other.name):
                    continue
                axes, words = layout
                pairs.append(_Pair((spec, other), (i, j), axes))
                notes += [f"B's output {other.name} is turned from {words}"] if words else []
                del ours[i], theirs[j]
                break
    if not pairs:
        raise ModelRefused(
            f"no outputs to compare: A gives {_show(ours.values())}, B gives "
            f"{_show(theirs.values())}"
        )
    for label, left in (("A", ours), ("B", theirs)):
        notes += [f"{label}'s output {t.name} {list(t.shape)} has no match" for t in left.values()]
    return sorted(pairs, key=lambda pair: pair.at), notes


def _layout(ours: Shape, theirs: Shape) -> tuple[tuple[int, ...], str] | None:
    """Return how B's layout becomes A's: axes, and words for them; empty where it is A's."""
    if same_order(ours, theirs):
        return (), ""
    if prod(ours) != prod(theirs):
        return None
    return move_axes(without_batch(theirs), without_batch(ours))


def _show(specs: Iterable[TensorSpec]) -> str:
    return ", ".join(f"{t.name} {list(t.shape)}" for t in specs)


def _judge(relative: float, agreement: float | None, samples: int) -> str:
    answers = "" if agreement is None else f", arg-max agrees in {agreement:.2%}"
    if not relative:
        return f"identical on {samples:,} samples"
    kind = "the same within float rounding" if relative <= ROUNDING else "different"
    return f"{kind}: largest difference {relative:.3g} of A's range{answers}"
