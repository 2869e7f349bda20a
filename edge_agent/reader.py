"""Where one model stands in a stream, and the window that it takes there. Pure.

A window never spans a break, never goes back before the one before it, and is copied out of the
ring, so that the ring may go on while the model runs.
"""

from typing import Final

import numpy as np
from msgspec import Struct

from edge_agent.branch import Branch, follow
from edge_agent.ring import Ring
from edge_agent.schedule import count_late
from edge_bundle.manifest import Stream
from edge_bundle.tensor import Float32Array

NONE: Final = np.empty(0, np.float32)


class Taken(Struct, gc=False):
    """A window on its way from the ring to what is told of it."""

    window: Float32Array
    """float32 [window, channels]: the memory that it was copied to."""
    start: int
    """Position of the first sample."""
    end_ns: int
    """Monotonic time of the last one."""
    at_ns: int
    """The same in the stream's own time, which a replay at another speed does not keep."""
    breaks: int
    """How many breaks of the stream are behind it."""
    lost: int
    """Samples lost between the window told last and this one."""
    gap: bool
    """Whether anything is missing there."""
    skipped: int
    """Windows left out there: past due, or overwritten before they were run."""
    broken: bool
    """Whether what is remembered of the windows before ends here."""
    began_ns: int = 0
    """When the model's part began, in monotonic time."""
    pre_ns: int = 0
    """Time that its features took."""
    infer_ns: int = 0
    """Time that the model took."""
    scores: Float32Array = NONE
    """What the model gave: memory that the next window overwrites."""


class Reader:
    """Takes one window after another. Not thread-safe: ``feed`` guards it, as the ring."""

    def __init__(self) -> None:
        self.window: Float32Array = np.empty((0, 0), np.float32)
        """The window taken last, [window, channels]; overwritten by the next one."""
        self._bytes = memoryview(bytearray())
        """The same memory, to be written."""
        self.start = 0
        """Position of its first sample."""
        self.end_ns = 0
        """Monotonic time of its last sample."""
        self.at_ns = 0
        """The same in the stream's own time, which a replay at another speed does not keep."""
        self.lost = 0
        """Samples lost not told of yet."""
        self.gap = False
        """Whether something is missing between the last window told of and this one."""
        self.skipped = 0
        """Windows left out not told of yet: past due, or overwritten before they were run."""
        self.stands = False
        """Whether windows are taken at all."""
        self.source: Ring | None = None
        """The stream's own ring, once it was seen."""
        self._branch: Branch | None = None
        """At the model's own rate, where this is not the stream's."""
        self._next = 0
        """Position of the first sample of the next window; while one is taken, of that one."""
        self._size, self._hop = 1, 1
        self._taken = False
        self._covered = 0
        self._covered_before = 0
        self._breaks_seen = 0
        self._lost_seen = 0

    def at(self, ring: Ring) -> Ring:
        """Return the ring that the windows come from: the stream's own, or a branch of it."""
        return ring if self._branch is None else self._branch.ring

    def room(self, ring: Ring) -> int:
        """Return how many samples the stream may still take before one is lost that is needed."""
        at = self.at(ring)
        needed = at.head
        if self.stands:
            # With a hop larger than the window, a break brings the next window forward.
            start = self._next if at.breaks == self._breaks_seen else self._covered
            needed = min(start, self._next, at.head)
        free = at.capacity - (at.head - needed)
        return free if self._branch is None else self._branch.room(free)

    def idle(self, ring: Ring) -> bool:
        """Tell whether there is no whole window to take."""
        if not self.stands:
            return True
        ring = self.at(ring)
        start = self._next + (self._hop if self._taken else 0)
        return ring.breaks == self._breaks_seen and start + self._size > ring.head

    def waited(self, ring: Ring) -> int:
        """Return how many samples came since the end of the last window that was whole.

        0 where there is one to take, or none is wanted.
        """
        if not self.stands:
            return 0
        ring = self.at(ring)
        start = self._next + (self._hop if self._taken else 0)
        for end in (*(b[1] for b in ring.breaks_since(self._breaks_seen)), ring.head):
            if start + self._size <= end:
                return 0
            start = max(start, end)
        return ring.head - self._covered

    def hop_ns(self, ring: Ring) -> int:
        """Return the time from one window to the next; 0 where none are taken."""
        return int(self._hop * self.at(ring).period_ns) if self.stands else 0

    def deadline_ns(self, ring: Ring) -> int:
        """Return when the next window is due: one hop after its last sample.

        Where a break or another model moves the window it is due no later than this. Where it was
        overwritten, the one in its place is due when it was: else a memory of the newest alone
        would put it off for ever.
        """
        hop_ns, ring = self.hop_ns(ring), self.at(ring)
        last, before = ring.head - 1, 0
        if self.stands:
            start = self._next + (self._hop if self._taken else 0)
            before = max(0, ring.tail - start)
            last = min(last, start + before + self._size - 1)
        end_ns = ring.time_ns(last) - int(before * ring.period_ns) if last >= 0 else 0
        return end_ns + hop_ns + ring.span_ns

    def take(self, ring: Ring, now_ns: int | None) -> bool:
        """Copy the next window out of the stream's ring; tell whether there was one.

        Args:
            now_ns: monotonic time; where given, windows that are past due are left out.
        """
        if not self.stands:
            return False
        if self._taken:  # as ``move_on``
            self._next += self._hop
            self._taken = False
        self.source, speed = ring, ring.speed
        if self._branch is not None:
            ring = self._branch.ring
        start, head = self._next, ring.head
        if ring.breaks != self._breaks_seen or start < head - ring.capacity:
            start = self._catch_up(ring)
        end = start + self._size
        if end > head:
            return False
        if now_ns is not None:
            start = self._skip_late(ring, now_ns)
            end = start + self._size
        self.end_ns = self.at_ns = ring.read(start, self._size, self._bytes)
        if speed != 1:
            self.at_ns = int((end + self._lost_seen) * ring.step_ns)
        self._taken = True
        self.start = start
        self._covered_before, self._covered = self._covered, end
        return True

    def move_on(self) -> None:
        """Be done with the window taken last.

        Only when the next one is asked for: until its prediction is made, another model may need
        it.
        """
        if self._taken:
            self._next += self._hop
            self._taken = False

    def describe(self, broken: bool) -> Taken:
        """Return what there is to say of the window taken last; ``settle`` is to follow."""
        return Taken(
            self.window,
            self.start,
            self.end_ns,
            self.at_ns,
            self._breaks_seen,
            self.lost,
            self.gap,
            self.skipped,
            broken,
        )

    def settle(self) -> None:
        """Begin to count anew: the window is told of, or sure to be."""
        if self.gap or self.lost or self.skipped:
            self.lost, self.gap, self.skipped = 0, False, 0

    def give_back(self) -> None:
        """Take the same window once more, as if it had not been taken."""
        self._taken, self._covered = False, self._covered_before

    def enter(self, ring: Ring) -> None:
        """Begin with the stream's next sample."""
        self.stands, self.source = True, ring
        self.settle()
        self._size = self._hop = 1
        self._stand(self.at(ring))

    def leave(self) -> None:
        """Take no more windows."""
        self.stands = self._taken = False

    def change(self, stream: Stream, window: Float32Array | None = None) -> bool:
        """Go on with another model's windows; tell whether that is at another place.

        Args:
            window: memory that they are written to.
        """
        moved = False
        if self.stands and self.source is not None:
            self._size, self._hop = stream.window, stream.hop
            branch = follow(self.source, stream)
            moved = branch is not self._branch
            if moved:
                self._branch = branch
                self._stand(self.at(self.source))
                self._taken = False
        if window is None:
            window = np.empty((stream.window, len(stream.channels)), np.float32)
        if self._taken and window.shape == self.window.shape:
            window[...] = self.window  # for a model to fall back to, the same once more
        self.write_to(window)
        return moved

    def write_to(self, window: Float32Array) -> None:
        """Copy the windows to other memory of the same shape from now on."""
        self.window, self._bytes = window, window.data.cast("B")

    def _skip_late(self, ring: Ring, now_ns: int) -> int:
        """Go on to the first window that is not past due, or the last whole one before a break."""
        end_ns, hop_ns = ring.time_ns(self._next + self._size - 1), self._hop * ring.period_ns
        late = count_late(now_ns - (end_ns + int(hop_ns) + ring.span_ns), max(1, int(hop_ns)))
        if late:
            breaks = ring.breaks_since(self._breaks_seen)
            whole = (breaks[0][1] if breaks else ring.head) - self._next - self._size
            count = min(late, whole // self._hop)
            self._next += count * self._hop
            self.skipped += count
        return self._next

    def _catch_up(self, ring: Ring) -> int:
        """Go on behind what was overwritten, and behind the breaks in the next window."""
        while True:
            self._pass_breaks(ring)
            if self._next >= ring.tail:
                return self._next
            breaks = ring.breaks_since(self._breaks_seen)
            end = breaks[0][1] if breaks else ring.head
            to = min(ring.tail, end)
            # Those that began here, and were whole before the break.
            last = min(to - 1, end - self._size)
            self.skipped += max(0, (last - self._next) // self._hop + 1)
            self.lost += max(0, to - max(self._next, self._covered))
            self.gap = True
            self._covered = max(self._covered, to)
            self._next = to

    def _pass_breaks(self, ring: Ring) -> None:
        for number, position, lost in ring.breaks_since(self._breaks_seen):
            # Where a number is missing, nobody knows any more where that break was.
            known = number == self._breaks_seen + 1
            if known and position >= self._next + self._size:
                break
            self.lost += lost - self._lost_seen
            self._breaks_seen, self._lost_seen = number, lost
            self.gap = True
            self._next = max(position, self._covered)

    def _stand(self, ring: Ring) -> None:
        """Begin with the ring's next sample."""
        # The head last: a break that comes meanwhile is then one not seen yet.
        self._breaks_seen, self._lost_seen = ring.breaks, ring.lost
        self._next = self._covered = self._covered_before = ring.head
