"""What the time stamps of samples say: their rate, and where samples are missing. Pure.

A stamp that was written when a sample arrived is late or right, never early. A step too long is
therefore a loss only where the samples behind it do not make up for it: four samples that came at
once after 40 ms at 100 Hz were late, and all of them are there.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt
from msgspec import Struct

GAP_STEPS: Final = (1.75, 3.0)
"""A step of fewer usual ones is no place to look for lost samples: where the clock is even, and
where its steps differ."""
EVEN: Final = 0.15
"""Of the usual step: an even clock's median step is off by less."""
LOOK: Final = 24
"""So many samples on each side of a long step tell what was on time, and twice as many more as
would have come in it."""
MOST_LATE: Final = 128
"""More samples than this do not come in one burst."""
ON_TIME: Final = 0.2
"""That part of them is at least on time; the least of them may be a stamp written twice."""
PASSES: Final = 8
"""So often, at most, what is lost in one place is judged anew by what is lost in the others."""
NEAR: Final = 3
"""So many usual steps are counted right by a rough guess of one."""
BURSTS: Final = 0.01
"""Where more of the steps are shorter than half the usual one, samples came late, in bursts."""
SPAN: Final = 64
"""Over so many samples, batches that bear one time even out."""


class Break(Struct, frozen=True):
    """A place that no window may span."""

    position: int
    """Of the first sample after it."""
    lost: int
    """Samples that are missing there; 0 where nobody can know."""
    seconds: float
    """From the sample before to the one after; 0 where the clock jumped back."""


class Timing(Struct, frozen=True):
    """What time stamps say of their samples."""

    rate_hz: float | None
    """None where no two samples have different times."""
    breaks: tuple[Break, ...] = ()
    duplicates: int = 0
    """Samples with the stamp of the one before: kept, in their order."""
    jumps: int = 0
    """How many of the breaks are a clock that was set back."""
    late: int = 0
    """Long steps that the samples behind them made up for: nothing is missing there."""

    @property
    def lost(self) -> int:
        """Samples that are missing in all."""
        return sum(b.lost for b in self.breaks)


UNTIMED: Final = Timing(None)
"""Of samples without time stamps."""


def read_times(times_s: npt.NDArray[np.float64]) -> Timing:
    """Return what time stamps say.

    Args:
        times_s: float64 [samples], finite, in the order in which the samples were written.
    Raises: ValueError: more steps go back than forward. A clock that is set back does so once; a
        table sorted newest first would run backwards.
    """
    steps = np.diff(times_s)
    back, forward = int(np.count_nonzero(steps < 0)), int(np.count_nonzero(steps > 0))
    if back > forward:
        raise ValueError(
            f"the time goes back at {back} of {len(steps)} steps: sort the rows by it, oldest first"
        )
    duplicates = int(np.count_nonzero(steps == 0))
    usual_s, rough = _usual(times_s, steps)
    if usual_s is None:
        return Timing(None, duplicates=duplicates)
    breaks = _find_breaks(times_s, steps, usual_s)
    mean_s = _mean(times_s, breaks) or usual_s
    if rough:
        breaks = _find_breaks(times_s, steps, mean_s)
        mean_s = _mean(times_s, breaks) or mean_s
    late = steps > GAP_STEPS[1] * usual_s
    late[[b.position - 1 for b in breaks]] = False
    return Timing(1 / mean_s, breaks, duplicates, back, int(np.count_nonzero(late)))


def runs(samples: int, breaks: Sequence[Break]) -> list[tuple[int, int]]:
    """Return start and stop of each run of samples without a break in it."""
    edges = [0, *(b.position for b in breaks), samples]
    return [(a, b) for a, b in pairwise(edges) if a < b]


def _usual(
    times_s: npt.NDArray[np.float64], steps: npt.NDArray[np.float64]
) -> tuple[float | None, bool]:
    """Return the usual time from one sample to the next, and whether that is a rough guess.

    Not the mean: samples that came in batches of one time have no first step.
    """
    forward = steps[steps > 0]
    if not forward.size:
        return None, True
    step_s = float(np.median(forward))
    span = min(SPAN, max(1, len(steps) // 4))
    spans = (times_s[span:] - times_s[:-span]) / span
    spans = spans[spans > 0]
    span_s = float(np.median(spans)) if spans.size else step_s
    # Where most steps are alike one of them is a guess that no gap can bend.
    rough = float(np.mean(np.abs(steps - step_s) < EVEN * step_s)) > 0.5
    if not rough:
        return span_s, False
    counts = np.rint(forward / step_s)
    if np.mean(counts == 0) > BURSTS:
        return step_s, True
    # Where nothing came late, steps over a lost sample or two say as much as the others.
    near = (counts > 0) & (counts <= NEAR)
    return float(forward[near].sum() / counts[near].sum()), True


def _find_breaks(
    times_s: npt.NDArray[np.float64], steps: npt.NDArray[np.float64], usual_s: float
) -> tuple[Break, ...]:
    even = np.median(np.abs(steps - usual_s)) < EVEN * usual_s
    least = GAP_STEPS[0] if even else GAP_STEPS[1]
    found = np.flatnonzero((steps < 0) | (steps > least * usual_s)).tolist()
    # As far as the clock goes on: what follows a very long step says nothing of one before it.
    alone = np.flatnonzero((steps < 0) | (steps > LOOK * usual_s))
    ends = np.append(alone + 1, len(times_s))[np.searchsorted(alone, found, "right")].tolist()
    most = 0 if even else 1  # one alone is within an uneven clock's own steps
    lost, thought = [1] * len(found), None  # each is thought a break, until the first pass
    for _ in range(PASSES):
        if lost == thought:
            break
        thought, lost = lost, _count_lost(times_s, steps, usual_s, found, ends, most, lost)
    return tuple(
        Break(i + 1, 0, 0.0) if steps[i] < 0 else Break(i + 1, n, float(steps[i]))
        for i, n in zip(found, lost, strict=True)
        if n or steps[i] < 0
    )


def _count_lost(
    times_s: npt.NDArray[np.float64],
    steps: npt.NDArray[np.float64],
    usual_s: float,
    found: list[int],
    ends: list[int],
    most: int,
    thought: list[int],
) -> list[int]:
    """Return how many samples are missing at each step found, if the breaks are as was thought.

    Args:
        found: steps that may be a loss, in order.
        ends: for each, where what follows says no more of it.
        most: so many are not told.
        thought: how many are missing at each; where some are, a run begins.
    """
    late_s = times_s - np.arange(len(times_s)) * usual_s
    begins = [0]
    for i, n in zip(found, thought, strict=True):
        begins.append(i + 1 if n or steps[i] < 0 else begins[-1])
    told = [0] * len(found)
    # The last one first: all before it is moved by what it lost, as if nothing were missing there.
    # So no loss makes late what a step before it looks at, and none is counted twice.
    later_s, stop = 0.0, len(times_s)
    for at in range(len(found) - 1, -1, -1):
        i = found[at]
        late_s[i + 1 : stop] += later_s
        stop = i + 1
        if steps[i] < 0:
            later_s = 0.0
            continue
        reach = LOOK + 2 * min(MOST_LATE, int(steps[i] / usual_s))
        before_s = _on_time(late_s[max(begins[at], i + 1 - reach) : i + 1]) + later_s
        after_s = _on_time(late_s[i + 1 : min(ends[at], i + 1 + reach)])
        n = round((after_s - before_s) / usual_s)
        if n > most:
            told[at] = n
            later_s += n * usual_s
    return told


def _on_time(late_s: npt.NDArray[np.float64]) -> float:
    rank = int(ON_TIME * len(late_s))
    return float(np.partition(late_s, rank)[rank])  # a tenth of the time of np.quantile


def _mean(times_s: npt.NDArray[np.float64], breaks: Sequence[Break]) -> float | None:
    """Return the mean step within the runs: a clock that ticks in milliseconds rounds each."""
    spans = runs(len(times_s), breaks)
    count = sum(b - a - 1 for a, b in spans)
    total_s = sum(float(times_s[b - 1] - times_s[a]) for a, b in spans)
    return total_s / count if count and total_s > 0 else None
