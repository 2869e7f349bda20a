"""Features that several models on one stream need are worked out once.

The group's steps see every window of the stream once, in order, whichever model comes first, so
that what they remember is what they would remember for one model alone. A model whose window is
neither held nor the next goes alone, with steps of its own, until it is in step with the group.
"""

import threading
from collections.abc import Callable, Hashable
from functools import partial
from typing import Final

import msgspec
import numpy as np

from edge_bundle.features.chain import Chain, compile_steps
from edge_bundle.features.runner import Fresh
from edge_bundle.inference import Inference
from edge_bundle.tensor import Float32Array

HELD_BYTES: Final = 1 << 18
"""Of features kept for those that are late: of what remembers the stream nobody can make them
again. Of a wake word 15 s."""
LEAST_HELD, MOST_HELD = 4, 512
Key = tuple[bytes, int, int, float, Hashable]
"""Features, window, hop, the rate that they are made for, and at which the stream is taken."""


class Steps:
    """A chain, and where in the stream it is."""

    def __init__(self, chain: Chain, window: int) -> None:
        self.chain = chain
        self.start: int | None = None
        """Position of the window that it saw last; None where it saw none."""
        self.breaks = 0
        """Of the stream, before that window."""
        self._window = window
        self._run = chain.run

    def run(self, samples: Float32Array, start: int, breaks: int) -> Float32Array:
        """Return what the chain makes of the window at a position, as ``Chain.run`` does."""
        last = self.start
        fresh = start - last if last is not None and breaks == self.breaks else 0
        self.start = None  # where it fails halfway, it begins anew
        values = self._run(samples, fresh if 0 < fresh <= self._window else None)
        self.start, self.breaks = start, breaks
        return values


class Group:
    """Models with the same features on the same windows of one stream.

    Everything here is done under its lock.
    """

    def __init__(self, steps: Steps, hop: int) -> None:
        self.lock = threading.Lock()
        self.steps = steps
        self.shares: list[Share] = []
        self.members = 0
        self.inside = 0
        """Members that do not go alone."""
        self.lent: Share | None = None
        """Who may be reading the memory of ``steps``: until it comes again they must rest."""
        self._hop = hop
        self._places: dict[int, int] = {}
        """Where the features of the window at a position are held."""
        self._held: Float32Array | None = None
        self._starts: list[int] = []
        self._next = 0

    def chains(self) -> list[Chain]:
        """Return those that are this group's or one of its members': nobody else may run them."""
        own = [share.own.chain for share in self.shares if share.own is not None]
        return [self.steps.chain, *own]

    def find(self, start: int) -> Float32Array | None:
        """Return what was made of the window at a position, until the next ``keep``."""
        place = self._places.get(start)
        return None if place is None or self._held is None else self._held[place]

    def passed(self, start: int) -> bool:
        """Tell whether the steps went on beyond a window whose features are held."""
        last = self.steps.start
        return last is not None and start <= last and start in self._places

    def follows(self, start: int, breaks: int) -> bool:
        """Tell whether a window is the one after the last, or begins what follows a break."""
        last = self.steps.start
        if last is None:
            return True
        # Whoever left windows out may not lead: somebody else may still need them.
        return start > last if breaks != self.steps.breaks else start == last + self._hop

    def keep(self, start: int, values: Float32Array) -> None:
        """Hold what was made of the window at a position, over the oldest."""
        if self._held is None:
            # Only now: most models have no company.
            count = min(max(LEAST_HELD, HELD_BYTES // values.nbytes), MOST_HELD)
            self._held = np.empty((count, *values.shape), np.float32)
            self._starts = [-1] * count
        place = self._next
        self._places.pop(self._starts[place], None)
        self._places[start], self._starts[place] = place, start
        np.copyto(self._held[place], values)
        self._next = (place + 1) % len(self._starts)


class Share:
    """One model's part in a group."""

    def __init__(
        self, group: Group, own: Steps | None, make: Callable[[], Chain], window: int
    ) -> None:
        """Take part.

        Args:
            own: steps to go alone with; None to make them when they are needed.
            make: makes these.
            window: samples.
        """
        self.group = group
        self.start = 0
        """Position of the window to come."""
        self.breaks = 0
        """Of the stream, before that window."""
        self.inside = True
        """Whether it does not go alone."""
        self.own = own
        """Steps to go alone with, once there are any."""
        self._make = make
        self._window = window
        form = group.steps.chain.form
        self._out = np.empty((form.rows, form.columns), np.float32)

    def run(self, samples: Float32Array, _fresh: Fresh) -> Float32Array:
        """Return what the steps make of a window, as ``Chain.run`` does.

        What is new in it follows from its position: the group may have seen other windows than
        this model.
        """
        group = self.group
        with group.lock:
            if group.members == 1 and self.inside and not group.passed(self.start):
                group.lent = self
                return group.steps.run(samples, self.start, self.breaks)
            if group.lent is self:
                group.lent = None
            values = group.find(self.start)
            if values is None and group.lent is None:
                values = self._lead(samples)
            if values is not None:
                np.copyto(self._out, values)
            group.inside += (values is not None) - self.inside
            self.inside = values is not None
        return self._out if self.inside else self._go_alone(samples)

    def _lead(self, samples: Float32Array) -> Float32Array | None:
        """Run the group's steps, where that is this window's turn."""
        group = self.group
        needed = group.inside > self.inside  # by others
        if not needed and not self.inside and self.own is not None:
            # All others left or went alone: what was made here meanwhile goes on as the group's.
            group.steps, self.own = self.own, group.steps
        if needed and not group.follows(self.start, self.breaks):
            return None
        values = group.steps.run(samples, self.start, self.breaks)
        group.keep(self.start, values)
        return values

    def _go_alone(self, samples: Float32Array) -> Float32Array:
        if self.own is None:
            self.own = Steps(self._make(), self._window)
        return self.own.run(samples, self.start, self.breaks)


class Sharing:
    """The groups of one stream. Thread-safe: models change on either of the worker's threads."""

    def __init__(self) -> None:
        self._groups: dict[Key, Group] = {}
        self._lock = threading.Lock()

    def join(self, inference: Inference, rate: Hashable = None) -> Share | None:
        """Let a model share its features from now on; None where it has none.

        Args:
            inference: of the model.
            rate: what tells the stream at another rate from the stream as it is.
        """
        manifest, chain = inference.manifest, inference.chain
        stream = manifest.stream
        if stream is None or chain is None or not manifest.features:
            return None
        features = msgspec.json.encode(manifest.features)
        key = features, stream.window, stream.hop, stream.rate_hz, rate
        make = partial(compile_steps, manifest.features, stream.form)
        with self._lock:
            group = self._groups.get(key)
            if group is None:
                group = self._groups[key] = Group(Steps(chain, stream.window), stream.hop)
            with group.lock:
                free = all(chain is not taken for taken in group.chains())
                own = Steps(chain, stream.window) if free else None
                share = Share(group, own, make, stream.window)
                group.shares.append(share)
                group.members += 1
                group.inside += 1
        inference.prepare = share.run
        return share

    def leave(self, share: Share) -> None:
        """Let a model that no longer runs keep nobody from going on."""
        group = share.group
        with self._lock, group.lock:
            group.shares.remove(share)
            group.members -= 1
            group.inside -= share.inside
            if group.lent is share:
                group.lent = None
            if not group.members:
                (key,) = (key for key, other in self._groups.items() if other is group)
                del self._groups[key]
