"""Where one model stands in a stream, and the window that it takes there. Pure.

A window never spans a break, never goes back before the one before it, and is copied out of the
ring, so that the ring may go on while the model runs.
"""

import numpy as np

from edge_agent.branch import Branch, follow
from edge_agent.ring import Ring
from edge_agent.schedule import count_late
from edge_bundle.manifest import Stream
from edge_bundle.tensor import Float32Array
from edge_bundle.window import Cursor


class Reader:
    """Takes one window after another. Not thread-safe: ``feed`` guards it, as the ring."""

    def __init__(self) -> None:
        self.window: Float32Array = np.empty((0, 0), np.float32)
        """The window taken last, [window, channels]; overwritten by the next one."""
        self.start = 0
        """Position of its first sample."""
        self.end_ns = 0
        """Monotonic time of its last sample."""
        self.fresh: int | None = None
        """How many of its last samples are new; None where it does not overlap the one before."""
        self.lost = 0
        """Samples lost since ``settle``."""
        self.gap = False
        """Whether something is missing between the window before ``settle`` and this one."""
        self.skipped = 0
        """Windows left out since ``settle`` because they were past due."""
        self._cursor: Cursor | None = None
        self._source: Ring | None = None
        """The stream's own ring, of which this may follow a branch at another rate."""
        self._branch: Branch | None = None
        self._taken = False
        self._covered = 0
        self._covered_before = 0
        self._breaks_seen = 0
        self._lost_seen = 0

    @property
    def stands(self) -> bool:
        """Whether windows are taken at all."""
        return self._cursor is not None

    @property
    def source(self) -> Ring | None:
        """The stream's own ring, once it was seen."""
        return self._source

    def at(self, ring: Ring) -> Ring:
        """Return the ring that the windows come from: the stream's own, or a branch of it."""
        return ring if self._branch is None else self._branch.ring

    def needs(self, ring: Ring) -> int:
        """Return the position of the oldest sample that is still needed, or the ring's head."""
        ring, cursor = self.at(ring), self._cursor
        if cursor is None:
            return ring.head
        # With a hop larger than the window, a break brings the next window forward.
        start = cursor.start if ring.breaks == self._breaks_seen else self._covered
        return min(start, cursor.start, ring.head)

    def room(self, ring: Ring) -> int:
        """Return how many samples the stream may still take before one is lost that is needed."""
        at = self.at(ring)
        free = at.capacity - (at.head - self.needs(ring))
        return free if self._branch is None else self._branch.room(free)

    def idle(self, ring: Ring) -> bool:
        """Tell whether there is no whole window to take."""
        ring, cursor = self.at(ring), self._cursor
        if cursor is None:
            return True
        next_start = cursor.start + (cursor.hop if self._taken else 0)
        return ring.breaks == self._breaks_seen and next_start + cursor.window > ring.head

    def hop_ns(self, ring: Ring) -> int:
        """Return the time from one window to the next; 0 where none are taken."""
        return int(self._cursor.hop * self.at(ring).period_ns) if self._cursor is not None else 0

    def deadline_ns(self, ring: Ring) -> int:
        """Return when the next window is due: one hop after its last sample.

        Where a break or another model moves the window it is due no later than this.
        """
        hop_ns, ring = self.hop_ns(ring), self.at(ring)
        last, cursor = ring.head - 1, self._cursor
        if cursor is not None:
            start = cursor.start + (cursor.hop if self._taken else 0)
            last = min(last, max(start, ring.tail) + cursor.window - 1)
        end_ns = ring.time_ns(last) if last >= 0 else 0
        return end_ns + hop_ns + ring.span_ns

    def look(self, ring: Ring) -> None:
        """Learn of the stream's ring, and be done with the window taken last."""
        if self._taken and self._cursor is not None:
            # Only now: until its prediction is made a window may be needed by another model.
            self._cursor.advance()
            self._taken = False
        self._source = ring

    def take(self, now_ns: int | None) -> bool:
        """Copy the next window out of the ring; tell whether there was one.

        Args:
            now_ns: monotonic time; where given, windows that are past due are left out.
        """
        cursor = self._cursor
        if cursor is None or self._source is None:
            return False
        ring = self._source if self._branch is None else self._branch.ring
        if ring.breaks != self._breaks_seen or cursor.start < ring.head - ring.capacity:
            self._catch_up(ring, cursor)
        start = cursor.start
        if start + cursor.window > ring.head:
            return False
        if now_ns is not None:
            self._skip_late(ring, cursor, now_ns)
            start = cursor.start
        ring.copy(start, self.window)
        self._taken = True
        self.start = start
        self._covered_before, self._covered = self._covered, start + cursor.window
        self.end_ns = ring.time_ns(self._covered - 1)
        new = cursor.hop * (1 + self.skipped)
        self.fresh = new if new <= cursor.window else None
        return True

    def settle(self) -> None:
        """Begin to count anew: a window was decided."""
        self.lost, self.gap, self.skipped = 0, False, 0

    def give_back(self) -> None:
        """Take the same window once more, as if it had not been taken."""
        self._taken, self._covered = False, self._covered_before

    def enter(self, ring: Ring) -> None:
        """Begin with the stream's next sample."""
        self._cursor = Cursor(1, 1)
        self._stand(self._cursor, self.at(ring))

    def leave(self) -> None:
        """Take no more windows."""
        self._cursor, self._taken = None, False

    def change(self, stream: Stream) -> bool:
        """Go on with another model's windows; tell whether that is at another place."""
        moved = False
        if self._cursor is not None and self._source is not None:
            self._cursor.change(stream.window, stream.hop)
            branch = follow(self._source, stream)
            moved = branch is not self._branch
            if moved:
                self._branch = branch
                self._stand(self._cursor, self.at(self._source))
                self._taken = False
        shape = stream.window, len(stream.channels)
        if self.window.shape != shape:
            self.window = np.empty(shape, np.float32)
        return moved

    def _skip_late(self, ring: Ring, cursor: Cursor, now_ns: int) -> None:
        """Go on to the first window that is not past due, or the last whole one before a break."""
        end_ns, hop_ns = ring.time_ns(cursor.start + cursor.window - 1), cursor.hop * ring.period_ns
        late = count_late(now_ns - (end_ns + int(hop_ns) + ring.span_ns), max(1, int(hop_ns)))
        if not late:
            return
        breaks = ring.breaks_since(self._breaks_seen)
        whole = (breaks[0][1] if breaks else ring.head) - cursor.start - cursor.window
        count = min(late, whole // cursor.hop)
        cursor.start += count * cursor.hop
        self.skipped += count

    def _catch_up(self, ring: Ring, cursor: Cursor) -> None:
        """Go on behind what was overwritten, and behind the breaks in the next window."""
        while True:
            self._pass_breaks(ring, cursor)
            if cursor.start >= ring.tail:
                return
            self.lost += max(0, ring.tail - max(cursor.start, self._covered))
            self.gap = True
            self._covered = max(self._covered, ring.tail)
            cursor.start = ring.tail

    def _pass_breaks(self, ring: Ring, cursor: Cursor) -> None:
        for number, position, lost in ring.breaks_since(self._breaks_seen):
            # Where a number is missing, nobody knows any more where that break was.
            known = number == self._breaks_seen + 1
            if known and position >= cursor.start + cursor.window:
                break
            self.lost += lost - self._lost_seen
            self._breaks_seen, self._lost_seen = number, lost
            self.gap = True
            cursor.start = max(position, self._covered)

    def _stand(self, cursor: Cursor, ring: Ring) -> None:
        """Begin with the ring's next sample."""
        # The head last: a break that comes meanwhile is then one not seen yet.
        self._breaks_seen, self._lost_seen = ring.breaks, ring.lost
        cursor.start = self._covered = self._covered_before = ring.head
