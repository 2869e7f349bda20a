"""Where a source's thread hands its samples to the worker's: the ring, a lock, and the policy."""

import threading
from collections.abc import Callable
from math import inf
from typing import Final, Literal

from msgspec.structs import replace

from edge_agent.bell import Bell
from edge_agent.ring import Chunk, Ring
from edge_agent.schedule import Job
from edge_agent.sharing import Sharing
from edge_agent.slot import Slot
from edge_wire.messages import StreamFigures

Policy = Literal["block", "drop_oldest"]
UNTAKEN_S: Final = 0.1
"""As fast as it is taken is not as fast as it can be given: what no model takes comes a chunk in so
long, or a recording that begins again and again would keep a core busy for nothing."""


class Feed:
    """One stream between its source and the models on it."""

    def __init__(self, name: str, ring: Ring, policy: Policy, wake: Bell) -> None:
        self.name = name
        self.slots: list[Slot] = []
        self._ring = ring
        self._policy = policy
        self._sharing = Sharing()
        self.held: Callable[[], bool] = lambda: False
        """Whether no window is to be taken now; who changes that rings ``wake``."""
        self._wake = wake
        self._room = threading.Condition()
        self._closed = False

    def add(self, slot: Slot) -> None:
        """Let a model see the stream; before there are samples."""
        slot.live = self._policy != "block"
        slot.sharing = self._sharing
        self.slots.append(slot)

    def put(self, chunk: Chunk) -> None:
        """Take a source's samples; with ``block`` wait until no model needs what they overwrite."""
        rest: Chunk | None = chunk
        while rest is not None:
            with self._room:
                count = len(rest.samples)
                if self._policy == "block":
                    if self._ring.speed == inf:
                        self._room.wait_for(lambda: self._closed or self._wanted(), UNTAKEN_S)
                    self._room.wait_for(lambda: self._closed or self._free() > 0)
                    # Piece by piece, or a chunk larger than the memory would wait for ever.
                    count = count if self._closed else self._free()
                    if self._ring.followers:
                        # Behind each break a stream at another rate begins anew, and gives more
                        # than its share.
                        count = min(count, self._ring.count_alike(rest))
                piece, rest = self._ring.split(rest, count)
                self._ring.append(piece)
            self._wake.ring()

    def take(self, slot: Slot) -> bool:
        """Copy a slot's next window; tell whether there was one."""
        if self.held():
            return False
        with self._room:
            taken = slot.take(self._ring)
            self._room.notify_all()
        return taken

    def job(self, slot: Slot) -> Job:
        """Return a slot's next window as the schedule sees it."""
        with self._room:
            job = slot.job(self._ring)
        return replace(job, deadline_ns=None) if self.held() else job

    def drained(self) -> bool:
        """Tell whether no model on the stream has a whole window left to do."""
        with self._room:
            return all(s.idle(self._ring) for s in self.slots)

    def starved(self) -> list[str]:
        """Return the models for which there never was a whole window."""
        with self._room:
            return [s.model for s in self.slots if s.starved(self._ring)]

    def starving(self) -> dict[str, int]:
        """Return models that have had no whole window for long, and in how many samples."""
        with self._room:
            waited = {s.model: s.starving(self._ring) for s in self.slots}
        return {model: samples for model, samples in waited.items() if samples}

    def figures(self) -> StreamFigures:
        """Return what came since the boot."""
        with self._room:
            return StreamFigures(self._ring.head, self._ring.lost, self._ring.breaks)

    def close(self) -> None:
        """Let nobody wait any more."""
        with self._room:
            self._closed = True
            self._room.notify_all()

    def _wanted(self) -> bool:
        """Tell whether a model takes windows of the stream."""
        return any(s.wants(self._ring) for s in self.slots)

    def _free(self) -> int:
        """Return how many samples there is room for; never none where no window is whole."""
        return min((s.room(self._ring) for s in self.slots), default=self._ring.capacity)
