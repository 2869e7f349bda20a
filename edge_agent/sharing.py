"""Features that several models on one stream need are worked out once.

Each model keeps steps of its own, so that one that falls behind, or runs on the other thread, never
disturbs what the others remember; a window that another has done already is copied from there.
"""

import threading
from collections.abc import Hashable
from typing import Final

import msgspec
import numpy as np

from edge_bundle.features.chain import Chain
from edge_bundle.features.runner import Fresh
from edge_bundle.inference import Inference
from edge_bundle.tensor import Float32Array

HELD: Final = 4
"""Windows whose features are kept: models on one stream are rarely further apart."""
Key = tuple[bytes, int, int, Hashable]
"""Features, window, hop, and at which rate the stream is taken."""


class Group:
    """Models with the same features on the same windows of one stream."""

    def __init__(self, rows: int, columns: int) -> None:
        self.lock = threading.Lock()
        self.members = 0
        self._starts = [-1] * HELD
        self._held = np.empty((HELD, rows, columns), np.float32)
        self._next = 0

    def find(self, start: int, out: Float32Array) -> bool:
        """Copy what was made of the window at a position; tell whether there was anything."""
        with self.lock:
            if start not in self._starts:
                return False
            np.copyto(out, self._held[self._starts.index(start)])
        return True

    def keep(self, start: int, values: Float32Array) -> None:
        """Keep what was made of the window at a position, over the oldest."""
        with self.lock:
            np.copyto(self._held[self._next], values)
            self._starts[self._next] = start
            self._next = (self._next + 1) % HELD


class Share:
    """One model's part in a group: its steps, and what it last did with them."""

    def __init__(self, group: Group, chain: Chain, window: int) -> None:
        self.group = group
        self.start = 0
        """Position of the window to come."""
        self._chain = chain
        self._window = window
        self._out = np.empty((chain.form.rows, chain.form.columns), np.float32)
        self._last: int | None = None
        """Position of the window that the steps saw last, where none was broken since."""

    def run(self, samples: Float32Array, fresh: Fresh) -> Float32Array:
        """Return what the steps make of a window, as ``Chain.run`` does."""
        if fresh is None:
            self._last = None
        if self.group.members == 1:
            return self._compute(samples)
        if not self.group.find(self.start, self._out):
            np.copyto(self._out, self._compute(samples))
            self.group.keep(self.start, self._out)
        return self._out

    def _compute(self, samples: Float32Array) -> Float32Array:
        fresh = None if self._last is None else self.start - self._last
        self._last = self.start
        follows = fresh is not None and 0 < fresh <= self._window
        return self._chain.run(samples, fresh if follows else None)


class Sharing:
    """The groups of one stream. Called by the worker alone."""

    def __init__(self) -> None:
        self._groups: dict[Key, Group] = {}

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
        key = (msgspec.json.encode(manifest.features), stream.window, stream.hop, rate)
        group = self._groups.setdefault(key, Group(chain.form.rows, chain.form.columns))
        group.members += 1
        share = Share(group, chain, stream.window)
        inference.prepare = share.run
        return share

    def leave(self, share: Share) -> None:
        """Let a model that no longer runs keep nobody from going alone."""
        share.group.members -= 1
        self._groups = {key: group for key, group in self._groups.items() if group.members}
