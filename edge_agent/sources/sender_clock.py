"""When samples that a message brought were taken, in this device's monotonic time. Pure.

A sender's clock is another clock: only its steps are believed, and only where they agree with the
time that passed here. A set clock is a break, never a step back. A sender's rate is its own too:
what is steady is its rate, what is sudden a loss.
"""

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

GAP_STEPS: Final = 1.75
"""A longer step between two samples is a gap, in steps of the sender's rate."""
MISSED_STEPS: Final = 1.25
"""Where a message in between could not be read, a step may be no longer to tell that it had no
samples."""
SILENCE_S: Final = 1.0
"""Where messages bear no time, so much more than their samples last is a gap."""
SET_S: Final = 5.0
"""A step forward that is so much longer than the time that passed here is a clock that was set."""
DRIFT: Final = 2e-4
"""How much slower than ours a sender's clock may run, and stay in step with it."""
OFF: Final = 0.2
"""Of its length, so much a first message may be too long, and any too short, by its rate alone."""
STEADY: Final = 0.5
"""What is off by at most so much, of the stream's period, in most messages is the sender's rate."""
MESSAGES: Final = 9
"""So many messages tell it: what is longer than most of them lost samples."""
SETTLED: Final = 3
"""With fewer nobody knows whether a message is longer by its rate or by a loss."""
UNEVEN: Final = 5.0
"""Where messages differ in length, one that is so many times further off than half of them is odd;
of normal noise it is one in a thousand."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Samples of a message without a gap in them."""

    start: int
    stop: int
    end_ns: int
    """Monotonic time of the last one."""
    lost: int
    restart: bool


class Pace:
    """The time from a sender's sample to its next, by what its last messages had."""

    def __init__(self, period_s: float) -> None:
        self._nominal_s = period_s
        self._recent_s: deque[float] = deque(maxlen=MESSAGES)
        self.period_s = period_s

    def add(self, step_s: float) -> None:
        """Take the mean step of a message's samples, lost ones or not."""
        if abs(step_s / self._nominal_s - 1) <= STEADY:
            self._recent_s.append(step_s)
            self.period_s = _middle(self._recent_s)

    def room(self, count: int, least: float) -> float:
        """Return how many samples a message of `count` may be too long before some are lost.

        Args:
            least: so many in any case.
        """
        most = OFF * count
        if len(self._recent_s) >= SETTLED:
            off_s = _middle([abs(step_s - self.period_s) for step_s in self._recent_s])
            most = min(most, UNEVEN * off_s / self.period_s * count)
        return max(least, most)


class SenderClock:
    """Follows one sender, message by message."""

    def __init__(self, rate_hz: float) -> None:
        self._period_s = 1 / rate_hz
        self._pace = Pace(1 / rate_hz)
        self._arrived_ns: int | None = None
        self._sent_s: float | None = None
        self._offset_ns = 0.0
        self.jumps = 0
        """How often the sender's clock was set."""
        self.duplicates = 0
        """Samples with the time of the one before."""

    def arrived(self, count: int, now_ns: int, missed: int = 0) -> list[Piece]:
        """Place samples that bear no time: the last of them is now.

        Args:
            missed: messages directly before that could not be read: of each at least one sample
                is lost, and of all as many as the time had room for.
        """
        lost = missed
        if self._arrived_ns is not None:
            more_s = (now_ns - self._arrived_ns) / 1e9 - count * self._period_s
            if missed or more_s > max(SILENCE_S, GAP_STEPS * self._period_s):
                lost = max(missed, round(more_s / self._period_s))
        self._arrived_ns = now_ns
        return [Piece(0, count, now_ns, lost, lost > 0)]

    def sent(
        self, count: int, times_s: npt.NDArray[np.float64], now_ns: int, missed: int = 0
    ) -> list[Piece]:
        """Place samples by their sender's clock.

        Args:
            times_s: float64 [count] of each, or [1] of the last.
            missed: messages directly before that could not be read. The times say what is lost
                with them; where they cannot, it is a sample of each.
        """
        period_s, last_s = self._pace.period_s, float(times_s[-1])
        whole = len(times_s) == 1  # what is missing in it cannot be told from its rate
        if whole:
            step_s = self._step(count, last_s, missed)
            times_s = times_s - np.arange(count - 1, -1, -1) * step_s
        steps = np.diff(times_s, prepend=times_s[0] if self._sent_s is None else self._sent_s)
        self.duplicates += int(np.count_nonzero(steps[self._sent_s is None :] == 0))
        passed_s = 0.0 if self._arrived_ns is None else (now_ns - self._arrived_ns) / 1e9
        odd = (steps < 0) | (steps > GAP_STEPS * period_s)
        odd[0] |= missed > 0 and steps[0] > MISSED_STEPS * period_s
        if self._sent_s is not None and not missed and (whole or not odd.any()):
            self._pace.add((last_s - self._sent_s) / count)
        begins = [0, *(i for i in np.flatnonzero(odd).tolist() if i > 0)]
        pieces = []
        for begin, stop in zip(begins, [*begins[1:], count], strict=True):
            lost, restart = 0, False
            untold = missed if begin == 0 else 0
            if begin == 0 and self._sent_s is None:
                lost, restart = untold, untold > 0
            elif odd[begin]:
                restart, step_s = True, float(steps[begin])
                believed_s = passed_s + count * period_s + SET_S
                if step_s < 0 or step_s > believed_s:
                    self.jumps += 1
                    self._arrived_ns = None  # the offset begins anew
                    room_s = passed_s - (count - 1) * period_s  # beside the message's own samples
                    step_s = 0.0 if step_s < 0 else min(step_s, max(0.0, room_s))
                    lost = untold
                lost = max(lost, min(untold, 1), round(step_s / period_s) - 1)
            end_ns = self._place(float(times_s[stop - 1]), now_ns)
            pieces.append(Piece(begin, stop, end_ns, lost, restart))
        self._sent_s = last_s
        return pieces

    def _step(self, count: int, last_s: float, missed: int) -> float:
        """Return the step of samples with one time: no gap is in front of them unless one is."""
        period_s = self._pace.period_s
        if self._sent_s is None:
            return period_s
        passed_s = last_s - self._sent_s
        more = passed_s / period_s - count
        room = MISSED_STEPS - 1 if missed else self._pace.room(count, GAP_STEPS - 1)
        return passed_s / count if -max(1.0, OFF * count) <= more <= room else period_s

    def _place(self, sent_s: float, now_ns: int) -> int:
        offset_ns = now_ns - sent_s * 1e9
        if self._arrived_ns is not None:
            # The fastest delivery is the nearest to the truth; no sample is from the future.
            followed_ns = self._offset_ns + DRIFT * (now_ns - self._arrived_ns)
            offset_ns = min(offset_ns, followed_ns)
        self._offset_ns, self._arrived_ns = offset_ns, now_ns
        return min(now_ns, round(sent_s * 1e9 + offset_ns))


def _middle(values: Collection[float]) -> float:
    return sorted(values)[(len(values) - 1) // 2]
