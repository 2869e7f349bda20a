"""When a source that failed is tried again. Pure: time and chance are arguments."""

from typing import Final

FIRST_S: Final = 1.0
LONGEST_S: Final = 60.0
FACTOR: Final = 2.0
JITTER: Final = 0.5
"""At most this part of a delay is left out by chance, so that many do not try at once."""


class Retry:
    """The delays of one source: each twice the one before, up to the longest.

    Who ran for as long as it would now have to wait begins with the first one again: a sensor whose
    reading fails now and then is away for a moment each time, and not for ever longer.
    """

    def __init__(self) -> None:
        self._delay_s = FIRST_S

    def failed(self, ran_s: float, chance: float) -> float:
        """Return how long to wait before the next try, in seconds.

        Args:
            ran_s: how long it gave samples since the last failure.
            chance: in [0, 1).
        """
        if ran_s >= self._delay_s:
            self._delay_s = FIRST_S
        delay_s = self._delay_s * (1 - JITTER * chance)
        self._delay_s = min(self._delay_s * FACTOR, LONGEST_S)
        return delay_s
