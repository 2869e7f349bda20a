"""Whether a model is as good as float, judged on the same samples. Pure: marks in, verdicts out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import comb, sqrt
from typing import Final

import numpy as np
import numpy.typing as npt

from convert.findings import Difference, Interval, Score

Z: Final = 1.959963984540054
"""Of a two-sided interval of 95 %."""
FEW_DEGREES: Final = (float("inf"), 12.706204736, 4.302652730, 3.182446305)
BLOCKS: Final = 20
"""Parts that are left out in turn where a metric gives one number for all samples."""
SLACK: Final = 1e-9
"""Of a comparison of sums of fractions."""

Marks_ = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Marks:
    """What a metric says of one model's answers."""

    samples: int
    each: Marks_ | None
    """float64 [samples], one mark for each; None where the metric marks them as a whole."""
    whole: Callable[[Numbers], float] | None
    """The mark of some samples as a whole, where there is none for each."""
    answers: Numbers | None
    """int64 [samples], what was answered, where answers can be the same."""
    binary: bool
    """Every mark is 0 or 1."""

    def on(self, numbers: Numbers) -> float:
        """Return the mark of some samples."""
        if self.each is not None:
            return float(self.each[numbers].mean())
        assert self.whole is not None
        return self.whole(numbers)


def score(marks: Marks, numbers: Numbers) -> Score:
    """Return the mark of some samples with its interval.

    Source: Wilson's score interval for right and wrong answers; Student's for the mean of other
    marks; the delete-a-block jackknife for a mark of the whole.
    """
    value, n = marks.on(numbers), len(numbers)
    if marks.binary:
        centre = (value + Z * Z / (2 * n)) / (1 + Z * Z / n)
        half = Z * sqrt(value * (1 - value) / n + Z * Z / (4 * n * n)) / (1 + Z * Z / n)
        return Score(value, Interval(max(0.0, centre - half), min(1.0, centre + half)), n)
    half = _deviation(marks, None, numbers)
    return Score(value, Interval(value - half, value + half), n)


def compare(marks_float: Marks, marks: Marks, numbers: Numbers, max_drop: float) -> Difference:
    """Judge a model against float, sample by sample.

    Args:
        marks_float: of the float model.
        marks: of the other model, on the same samples.
        numbers: the samples that may judge.
        max_drop: what may be lost, as a fraction of 1.
    Source: McNemar's exact test (binomial, two-sided); for the interval of the difference of two
        paired proportions D. G. Bonett and R. M. Price, Statist. Med. 31 (2012) 1523: each
        discordant cell gets one observation more.
    """
    if marks is marks_float:  # the same answers, whatever the samples
        return Difference(0.0, Interval(0.0, 0.0), 0, 0, 0, None, within=True, proven=True)
    n = len(numbers)
    value = marks.on(numbers) - marks_float.on(numbers)
    worse = better = 0
    p = None
    if marks_float.each is not None and marks.each is not None:
        change = marks.each[numbers] - marks_float.each[numbers]
        worse, better = int((change < 0).sum()), int((change > 0).sum())
    if marks.binary and marks_float.binary:
        p = mcnemar(worse, better)
        low_cell, high_cell = (worse + 1) / (n + 2), (better + 1) / (n + 2)
        half = Z * sqrt((low_cell + high_cell - (high_cell - low_cell) ** 2) / (n + 2))
        middle = high_cell - low_cell
        interval = Interval(max(-1.0, middle - half), min(1.0, middle + half))
    else:
        half = _deviation(marks, marks_float, numbers)
        interval = Interval(value - half, value + half)
    flips = 0
    if marks.answers is not None and marks_float.answers is not None:
        flips = int((marks.answers[numbers] != marks_float.answers[numbers]).sum())
    within, proven = (least >= -max_drop - SLACK for least in (value, interval.low))
    return Difference(value, interval, worse, better, flips, p, within, proven)


def cannot_keep(marks_float: Marks_, marks: Sequence[float] | Marks_, max_drop: float) -> bool:
    """Return whether a budget is lost whatever the samples that have not been seen yet bring.

    Args:
        marks_float: of all samples.
        marks: of the first ones, each at most 1.
    """
    rest = len(marks_float) - len(marks)
    best = (float(np.sum(marks)) + rest) / len(marks_float)
    return bool(best - float(marks_float.mean()) < -max_drop - SLACK)


def mcnemar(worse: int, better: int) -> float:
    """Return the two-sided p of so many changes to one side and to the other, if chance made both.

    Source: Q. McNemar, Psychometrika 12 (1947) 153, in its exact form, the sign test.
    """
    n, fewer = worse + better, min(worse, better)
    return min(1.0, float(2 * sum(comb(n, k) for k in range(fewer + 1)) / 2**n))


def samples_to_prove(difference: Difference, samples: int, max_drop: float) -> int | None:
    """Return how many samples would prove the budget if changes went on as they did.

    None where more samples would rather disprove it.

    Args:
        difference: not proven.
        samples: that it was found on.
        max_drop: what may be lost, as a fraction of 1.
    """
    room = difference.value + max_drop
    if room <= SLACK:
        return None
    half = (difference.interval.high - difference.interval.low) / 2
    # The interval is not centred on the value, so these may come out too few.
    return max(samples + 1, int(np.ceil(samples * (half / room) ** 2)))


def _deviation(marks: Marks, against: Marks | None, numbers: Numbers) -> float:
    """Return half the interval of a mark, or of its difference to another model's."""
    n = len(numbers)
    if marks.each is not None and (against is None or against.each is not None):
        each = marks.each[numbers]
        if against is not None and against.each is not None:
            each = each - against.each[numbers]
        return student(n - 1) * float(each.std(ddof=1)) / sqrt(n) if n > 1 else 1.0
    # Samples of one kind often stand side by side, and would make one block.
    mixed = np.random.default_rng(n).permutation(n)
    parts = np.array_split(mixed, min(BLOCKS, n))
    left = []
    for part in parts:
        rest = np.delete(numbers, part)
        left.append(marks.on(rest) - (against.on(rest) if against else 0.0))
    k = len(parts)
    spread = np.square(np.asarray(left) - np.mean(left)).sum()
    return student(k - 1) * sqrt((k - 1) / k * spread)


def student(degrees: int) -> float:
    """Return the two-sided 95 % quantile of Student's t.

    Source: Abramowitz and Stegun, 26.7.5: an expansion in 1/degrees, within 0.4 % from 4 on; below
    that the quantiles themselves.
    """
    if degrees < len(FEW_DEGREES):
        return FEW_DEGREES[degrees]
    z, v = Z, degrees
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / v + second / v**2 + third / v**3
