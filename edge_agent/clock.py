"""Wall time for what goes on the wire, and whether it can be believed.

Durations never come from here: they are differences of monotonic time.
"""

import ctypes
import time
from collections.abc import Callable
from typing import Final

from edge_wire.messages import Clock

REFRESH_NS = 1_000_000_000
TIME_ERROR = 5
"""adjtimex(2): the clock is not synchronised."""
TIMEX_BYTES = 512
"""More than struct timex has on any Linux; modes 0 only reads, so its layout does not matter."""

NS_PER_S: Final = 1_000_000_000
NS_PER_MS: Final = 1_000_000
MILLISECONDS: Final = tuple(f".{ms:03d}Z" for ms in range(1000))
"""What ends a time; to write it anew takes as long as all the rest of ``stamp``."""


def kernel_synchronised() -> bool:
    """Tell whether the kernel says that a time service disciplines the clock."""
    try:
        # The process itself: ctypes.util.find_library would start a program, every second.
        state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(TIMEX_BYTES))
    except (OSError, AttributeError):
        return False
    return 0 <= int(state) < TIME_ERROR


class WallClock:
    """Turns monotonic time into UTC, and says how far that is to be believed."""

    def __init__(
        self,
        synchronised: Callable[[], bool] = kernel_synchronised,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._synchronised = synchronised
        self._monotonic_ns = monotonic_ns
        self._wall_ns = wall_ns
        self._was_synced = False
        self._next_ns = 0
        self._offset_ns = 0
        self._state: Clock = "unsynced"
        self._second = 0, "1970-01-01T00:00:00", 0
        """When the last one that was asked for began, how it is written, and by which offset."""

    def utc(self, at_ns: int) -> str:
        """Return the UTC time, RFC 3339 with milliseconds, of a monotonic time."""
        return self.stamp(at_ns)[0]

    def state(self) -> Clock:
        """Return ``synced``, ``holdover`` (was, since this process began) or ``unsynced``."""
        return self.stamp(0)[1]

    def stamp(self, at_ns: int) -> tuple[str, Clock]:
        """Return what ``utc`` and ``state`` do, at the price of one."""
        now_ns = self._monotonic_ns()
        if now_ns >= self._next_ns:
            self._refresh(now_ns)
        # Once: another thread may replace them.
        offset_ns, (begin_ns, text, known_ns) = self._offset_ns, self._second
        within_ns = at_ns - begin_ns
        if known_ns != offset_ns or not 0 <= within_ns < NS_PER_S:
            second, within_ns = divmod(at_ns + offset_ns, NS_PER_S)
            text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._second = at_ns - within_ns, text, offset_ns
        return text + MILLISECONDS[within_ns // NS_PER_MS], self._state

    def now(self) -> str:
        """Return the present time as ``utc`` does."""
        return self.utc(self._monotonic_ns())

    def _refresh(self, now_ns: int) -> None:
        self._offset_ns = self._wall_ns() - now_ns
        if self._synchronised():
            self._was_synced, self._state = True, "synced"
        else:
            self._state = "holdover" if self._was_synced else "unsynced"
        self._next_ns = now_ns + REFRESH_NS  # last, for other threads read the rest by it
