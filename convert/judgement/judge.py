"""The judge: labelled passes over the evaluation samples, counted, and stopped when decided."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Final

import numpy as np

from convert.findings import Confusion, Difference, Score
from convert.given.samples import Samples, read_labels
from convert.judgement.allowance import Allowance
from convert.judgement.marks import Marks, Numbers, cannot_keep, compare, score
from convert.judgement.metrics import (
    Accuracy,
    Agreement,
    Closeness,
    Custom,
    Metric,
    Outputs,
    answers,
    is_classifier,
    load_function,
)
from convert.parity import run_model
from convert.progress import Progress
from edge_bundle.decision.rules import Rule, class_labels
from edge_bundle.errors import ModelRefused, RecordingRefused
from edge_bundle.tensor import Float32Array

BLOCK: Final = 64
"""Samples between two looks at whether it is decided."""
MAX_OUTPUT_BYTES: Final = 1 << 30
"""Of all outputs that a metric of the whole needs at once."""
SEED: Final = 20120612
"""Of the split into search and holdout."""


class Judge:
    """Knows the right answers; everybody else gets marks."""

    def __init__(
        self,
        samples: Samples,
        metric: Metric,
        expected: Sequence[Float32Array],
        max_drop: float,
        allowance: Allowance,
        progress: Progress,
    ) -> None:
        """Mark the float model, which is the first labelled pass.

        Args:
            samples: of the evaluation.
            metric: that marks them.
            expected: what the float model gives, float32 [samples, ...] of each output.
            max_drop: of the mark.
            allowance: of passes.
            progress: told how far a pass is.
        """
        self.samples = samples
        self.metric = metric
        self.max_drop = max_drop
        self.allowance = allowance
        self._progress = progress
        self.classes = int(np.prod(expected[0].shape[1:]))
        """Scores that the first output gives."""
        allowance.take()
        self.float_marks = self._answered(metric.mark(expected), expected)
        self.everything: Numbers = np.arange(len(samples), dtype=np.int64)
        mixed = np.random.default_rng(SEED).permutation(self.everything)
        half = len(mixed) // 2
        self.search: Numbers = np.sort(mixed[:half])
        self.holdout: Numbers = np.sort(mixed[half:])
        self.rejected = False
        """Whether labels have turned a model down, and so chosen what comes after it: then
        ``search`` accepts, and ``holdout`` judges."""

    def mark(self, data: bytes, kind: str, first: Numbers | None = None) -> Marks | None:
        """Run a model over the samples and mark its answers; counts as a pass.

        Args:
            data: the model file.
            kind: its format.
            first: samples that decide; all where None.
        Returns: marks of all samples, or None where the budget was lost on the samples that
            decide, whatever the rest would bring.
        Raises: ModelRefused: where the model does not run.
        """
        self.allowance.take()
        decide = self.everything if first is None else first
        rest = np.setdiff1d(self.everything, decide)
        order = np.concatenate([decide, rest])
        rows: list[list[Float32Array]] = []
        done = 0
        for block in _blocks(decide, rest):
            rows.append(run_model(data, kind, [self.samples.inputs[i] for i in block]))
            done += len(block)
            self._progress.advance(done, len(order))
            if done <= len(decide) and self._is_lost(rows, order[:done], decide):
                return None
        back = np.argsort(order)
        outputs = [np.concatenate(parts)[back] for parts in zip(*rows, strict=True)]
        return self._answered(self.metric.mark(outputs), outputs)

    def _answered(self, marks: Marks, outputs: Sequence[Float32Array]) -> Marks:
        """Add what was answered, where the metric does not say it and there are classes."""
        if marks.answers is not None or not is_classifier([o.shape[1:] for o in outputs]):
            return marks
        return replace(marks, answers=answers(outputs[0], None))

    def score(self, marks: Marks, numbers: Numbers | None = None) -> Score:
        """Return a mark with its interval, of all samples or of some."""
        return score(marks, self.everything if numbers is None else numbers)

    def compare(self, marks: Marks, numbers: Numbers | None = None) -> Difference:
        """Judge against float, on all samples or on some."""
        chosen = self.everything if numbers is None else numbers
        return compare(self.float_marks, marks, chosen, self.max_drop)

    def confuse(self, marks: Marks, numbers: Numbers, labels: Sequence[str]) -> Confusion | None:
        """Return right classes against answers, where there are both."""
        right = self.metric.right if isinstance(self.metric, Accuracy | Agreement) else None
        if right is None or marks.answers is None or self.float_marks.answers is None:
            return None
        before, after = (
            _count(right[numbers], answers[numbers], len(labels))
            for answers in (self.float_marks.answers, marks.answers)
        )
        return Confusion(tuple(labels), before, after)

    def _is_lost(self, rows: list[list[Float32Array]], seen: Numbers, decide: Numbers) -> bool:
        if not self.metric.sample_by_sample or self.float_marks.each is None:
            return False
        outputs = [np.concatenate(parts) for parts in zip(*rows, strict=True)]
        marks = self.metric.mark(outputs, seen)
        assert marks.each is not None
        return cannot_keep(self.float_marks.each[decide], marks.each, self.max_drop)


def check_outputs(path: Path, shapes: Sequence[tuple[int, ...]], samples: int) -> None:
    """Refuse a model whose outputs on all evaluation samples do not fit into memory.

    Args:
        path: of the model.
        shapes: of its outputs, for one sample.
        samples: of the evaluation.
    Raises: ModelRefused.
    """
    needed = sum(map(prod, shapes)) * np.dtype(np.float32).itemsize * samples
    if needed > MAX_OUTPUT_BYTES:
        raise ModelRefused(
            f"{path}: its outputs on {samples} evaluation samples need "
            f"{-(-needed >> 20)} MiB, at most {MAX_OUTPUT_BYTES >> 20}; give fewer samples"
        )


def choose_metric(
    name: str | None,
    samples: Samples,
    names: Sequence[str],
    shapes: Sequence[tuple[int, ...]],
    rule: Rule | None,
) -> Callable[[Outputs], Metric]:
    """Return what makes the metric that fits the evaluation samples, of the float model's outputs.

    That raises ModelRefused where float gives something that is not finite.

    Args:
        name: ``module:function``, or None.
        samples: of the evaluation.
        names: of the model's outputs.
        shapes: of these, for one sample.
        rule: the decision, if there is one.
    Raises: RecordingRefused: labels that the model cannot say. ConfigError: no such function.
    """
    choose = _choose_of_outputs(name, samples, names, shapes, rule)

    def make(expected: Outputs) -> Metric:
        for output, values in zip(names, expected, strict=True):
            if not (finite := np.isfinite(values).reshape(len(values), -1).all(axis=1)).all():
                raise ModelRefused(
                    f"{samples.source}: output {output} is not finite on sample {finite.argmin()}"
                )
        return choose(expected)

    return make


def _choose_of_outputs(
    name: str | None,
    samples: Samples,
    names: Sequence[str],
    shapes: Sequence[tuple[int, ...]],
    rule: Rule | None,
) -> Callable[[Outputs], Metric]:
    if name is not None:
        load_function(name)
        return lambda expected: Custom(name, names, samples.y, expected)
    labels = class_labels(rule)
    classifier = bool(labels) or (rule is None and is_classifier(shapes))
    if samples.y is not None and classifier:
        accuracy = Accuracy(read_labels(samples, labels or prod(shapes[0])), rule)
        return lambda _expected: accuracy
    if samples.y is not None:
        raise RecordingRefused(
            f"{samples.source}: y is there, and the outputs are not the scores of classes: say "
            "--metric module:function, or leave y out"
        )
    # What gives as many values as it takes is an autoencoder, and has no classes.
    if labels or (classifier and prod(shapes[0]) != samples.inputs[0].size):
        return lambda expected: Agreement(expected[0], rule)
    return Closeness


def _blocks(*groups: Numbers) -> list[Numbers]:
    """Return samples in blocks, none across two groups."""
    return [
        group[start : start + BLOCK] for group in groups for start in range(0, len(group), BLOCK)
    ]


def _count(right: Numbers, found: Numbers, classes: int) -> tuple[tuple[int, ...], ...]:
    table = np.zeros((classes, classes), np.int64)
    said = (found >= 0) & (right >= 0)  # what was below the threshold is no class
    np.add.at(table, (right[said], found[said]), 1)
    return tuple(tuple(row) for row in table.tolist())
