"""Which window is run next, and on which of two threads. Pure: times are arguments.

A model's window is due one hop after its last sample: then the next one is whole.

| rule | why |
|---|---|
| earliest due first, of equals the one that takes less | the order that misses fewest |
| a model that ran is due again a hop later at the earliest | one that is behind catches up in what
  the others leave |
| on a stream that comes as fast as it is taken it is due again after the longest hop of those that
  wait and could keep up | it has no times to keep, and would leave nothing to one that is behind |
| what would make another model late goes to the second thread, one at a time | a model cannot be
  interrupted, and runtimes release the GIL |
| a stream that comes as fast as it is taken has no say in that | nothing of it is ever late |
| a model that cannot keep up even alone has no say in that | nothing the others do helps it |

So a window whose turn has come (``Job.due_ns``) begins at the latest when what runs has ended, and
every other model has run once more.
"""

from collections.abc import Sequence
from enum import Enum

from msgspec import Struct


class Thread(Enum):
    """Where a window is run."""

    FIRST = 1
    """The worker's own."""
    SECOND = 2
    """For what takes long."""


class Job(Struct, frozen=True, gc=False):
    """One model that is not running, as far as a choice needs it."""

    deadline_ns: int | None
    """When its next window is due, in monotonic time; None where there is none to run."""
    hop_ns: int
    """From one window to the next; 0 where samples come as fast as they are taken."""
    cost_ns: int
    """What one window is expected to take."""
    finished_ns: int
    """When it last ended."""

    @property
    def due_ns(self) -> int:
        """When it is its turn at the latest; where it has a hop."""
        return self.after_ns(self.hop_ns)

    def after_ns(self, rest_ns: int) -> int:
        """Return when it is its turn at the latest if it is to rest after each window."""
        return max(self.deadline_ns or 0, self.finished_ns + rest_ns)


def choose(jobs: Sequence[Job], second_free: bool) -> tuple[int, Thread] | None:
    """Return the number of the job to begin now, and on which thread; None to wait.

    Args:
        jobs: of all models that are not running.
        second_free: whether the second thread has nothing to do.
    """
    waiting = [i for i, job in enumerate(jobs) if job.deadline_ns is not None]
    able = (jobs[i] for i in waiting if jobs[i].hop_ns > jobs[i].cost_ns)
    longest_ns = max((job.hop_ns for job in able), default=0)
    due_ns = [job.after_ns(job.hop_ns or longest_ns) for job in jobs]
    for i in sorted(waiting, key=lambda i: (due_ns[i], jobs[i].cost_ns)):
        if not _delays(i, jobs):
            return i, Thread.FIRST
        if second_free:
            return i, Thread.SECOND
    return None


def count_late(behind_ns: int, hop_ns: int) -> int:
    """Return how many windows are past due when the first of them is by ``behind_ns``."""
    return 0 if behind_ns <= 0 else 1 + (behind_ns - 1) // hop_ns


def _delays(number: int, jobs: Sequence[Job]) -> bool:
    """Tell whether a job would make a window of another late that could be in time."""
    cost_ns = jobs[number].cost_ns
    return any(0 < job.hop_ns - job.cost_ns < cost_ns for i, job in enumerate(jobs) if i != number)
