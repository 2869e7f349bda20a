"""What a model's answers are worth: accuracy, agreement with float, closeness, or a user's own."""

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np

from convert.given.samples import Labels
from convert.given.source import first_line
from convert.judgement.marks import Marks, Numbers
from edge_bundle.decision.activation import sigmoid, softmax
from edge_bundle.decision.rules import Classification, Rule, Score
from edge_bundle.decision.values import Scorer
from edge_bundle.errors import ConfigError
from edge_bundle.tensor import Array, Float32Array

UNKNOWN: Final = -1
"""Answer below the decision's threshold, and of scores that are not finite."""

Outputs = Sequence[Float32Array]
"""float32 [samples, ...] of each output that the model keeps."""


class Metric(Protocol):
    """Marks answers; higher is better, and 1 is as good as can be."""

    name: str
    sample_by_sample: bool
    """Some samples can be marked before the others have been run."""

    def mark(self, outputs: Outputs, numbers: Numbers | None = None) -> Marks:
        """Mark a model's answers.

        Args:
            outputs: for some samples.
            numbers: which samples they are; None for all in their order.
        """


class Accuracy:
    """Right answers, in the way in which a device decides."""

    name = "accuracy"
    sample_by_sample = True

    def __init__(self, labels: Labels, rule: Rule | None) -> None:
        """Take int64 [samples], the right classes, and the decision's threshold, if any."""
        self.right = labels
        self._rule = rule

    def mark(self, outputs: Outputs, numbers: Numbers | None = None) -> Marks:
        found = answers(outputs[0], self._rule)
        right = self.right if numbers is None else self.right[numbers]
        return Marks(len(found), (found == right).astype(np.float64), None, found, binary=True)


class Agreement:
    """The same answers as float's, where nobody said what is right."""

    name = "agreement with float"
    sample_by_sample = True

    def __init__(self, expected: Float32Array, rule: Rule | None) -> None:
        """Take float32 [samples, classes], what the float model gives."""
        self._rule = rule
        self.right = answers(expected, rule)

    def mark(self, outputs: Outputs, numbers: Numbers | None = None) -> Marks:
        found = answers(outputs[0], self._rule)
        right = self.right if numbers is None else self.right[numbers]
        return Marks(len(found), (found == right).astype(np.float64), None, found, binary=True)


class Closeness:
    """How much of the float outputs is kept, where they are values and nobody gave a metric.

    1 less the share of an output's variance that is wrong; the least of all outputs.
    """

    name = "closeness to float"
    sample_by_sample = True

    def __init__(self, expected: Outputs) -> None:
        """Take what the float model gives."""
        self._expected = expected
        self._spread = [max(float(e.var()), float(np.finfo(np.float32).tiny)) for e in expected]

    def mark(self, outputs: Outputs, numbers: Numbers | None = None) -> Marks:
        each = []
        for values, expected, spread in zip(outputs, self._expected, self._spread, strict=True):
            part = expected if numbers is None else expected[numbers]
            wrong = np.square(values.astype(np.float64) - part).reshape(len(values), -1)
            kept = 1 - wrong.mean(axis=1) / spread
            # Of what is not finite nothing is kept.
            each.append(np.where(np.isfinite(kept), kept, 0.0))
        marks = np.min(each, axis=0).astype(np.float64)
        return Marks(len(marks), marks, None, None, binary=False)


class Custom:
    """A function of the user's: ``function(outputs, y, reference)``.

    It gets the outputs by name, float32 [samples, ...], ``y`` of the evaluation file or None, and
    the float model's outputs by name; it gives one number, or one for each sample.
    """

    sample_by_sample = False

    def __init__(
        self, name: str, names: Sequence[str], y: Array | None, reference: Outputs
    ) -> None:
        """Load ``module:function``.

        Raises: ConfigError: no such module or function.
        """
        self.name = name
        self._function = load_function(name)
        self._names = names
        self._y = y
        self._reference = reference

    def mark(self, outputs: Outputs, numbers: Numbers | None = None) -> Marks:
        assert numbers is None, "it marks all samples together"
        count = len(outputs[0])
        found = self._call(outputs, np.arange(count))
        if np.ndim(found) == 0:
            self._refuse_high(found)

            def whole(some: Numbers) -> float:
                return float(self._call(outputs, some))

            return Marks(count, None, whole, None, binary=False)
        each = np.asarray(found, np.float64)
        if each.shape != (count,):
            raise ConfigError(
                f"--metric {self.name}: gives {list(each.shape)}, expected one number or "
                f"[{count}], one for each sample"
            )
        self._refuse_high(each)
        return Marks(count, each, None, None, binary=bool(np.isin(each, (0.0, 1.0)).all()))

    def _refuse_high(self, marks: Array) -> None:
        if marks.max() > 1:
            raise ConfigError(
                f"--metric {self.name}: gives {marks.max():g}, expected at most 1, which is as "
                "good as can be: a share, not per cent, and no loss"
            )

    def _call(self, outputs: Outputs, numbers: Numbers) -> Any:
        y = None if self._y is None else self._y[numbers]
        try:
            # What it prints must not stand before the one JSON object.
            with redirect_stdout(sys.stderr):
                found = self._function(
                    self._by_name(outputs, numbers), y, self._reference_at(numbers)
                )
            if np.iscomplexobj(found):
                raise TypeError("complex numbers are in no order")
            value = np.asarray(found, np.float64)
        except (Exception, SystemExit) as error:  # it is the user's
            raise ConfigError(
                f"--metric {self.name}: raised {type(error).__name__}: {first_line(error)}"
            ) from None
        if not (finite := np.isfinite(value)).all():
            shown = value[~finite][0] if value.ndim else found
            raise ConfigError(f"--metric {self.name}: gives {shown}, expected finite numbers")
        return value

    def _reference_at(self, numbers: Numbers) -> Mapping[str, Float32Array]:
        return self._by_name(self._reference, numbers)

    def _by_name(self, outputs: Outputs, numbers: Numbers) -> dict[str, Float32Array]:
        return {n: values[numbers] for n, values in zip(self._names, outputs, strict=True)}


def answers(scores: Float32Array, rule: Rule | None) -> Numbers:
    """Return the class that a device would say of each sample, ``UNKNOWN`` below the threshold.

    Args:
        scores: float32 [samples, ...], as many as classes in each.
    """
    flat = scores.reshape(len(scores), -1)
    # A device says nothing of scores that are not finite.
    sure = np.isfinite(flat).all(axis=1)
    best: Numbers
    if isinstance(rule, Score):
        scorer = Scorer(rule)
        best = np.asarray(
            [rule.labels[1] == scorer.judge(scorer.read(row)).label for row in flat[sure]], np.int64
        )
        said = np.full(len(flat), UNKNOWN, np.int64)
        said[sure] = best
        return said
    least: Any = -np.inf
    if isinstance(rule, Classification):
        with np.errstate(invalid="ignore"):  # where scores are not finite
            if rule.activation == "softmax":
                flat = np.stack([softmax(row) for row in flat])
            elif rule.activation == "sigmoid":
                flat = sigmoid(flat)
        of_each = [rule.thresholds.get(label, rule.threshold) for label in rule.labels]
        least = np.asarray(of_each)[flat.argmax(axis=1)]
    best = flat.argmax(axis=1).astype(np.int64)
    # Rounded as a prediction is before it is compared.
    sure &= ~(np.round(flat.max(axis=1).astype(np.float64), 6) < least)
    best[~sure] = UNKNOWN
    return best


def load_function(name: str) -> Callable[..., Any]:
    """Return the function ``module:function``; the present folder is looked in as well.

    Raises: ConfigError: no such module or function.
    """
    module, colon, function = name.partition(":")
    if not (module and colon and function):
        raise ConfigError(f"--metric {name}: expected module:function")
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        found = getattr(importlib.import_module(module), function, None)
    except Exception as error:  # it runs the user's module
        raise ConfigError(
            f"--metric {name}: cannot import {module}: {type(error).__name__}: {first_line(error)}"
        ) from None
    finally:
        sys.path.remove(here)
    if not callable(found):
        raise ConfigError(f"--metric {name}: {module} has no function {function!r}")
    return found  # type: ignore[no-any-return]


def is_classifier(shapes: Sequence[tuple[int, ...]]) -> bool:
    """Return whether outputs look like the scores of classes: one vector of two or more."""
    sizes = [n for shape in shapes for n in shape if n != 1]
    return len(shapes) == 1 and len(sizes) == 1
