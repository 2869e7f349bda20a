"""How much of each stream memory holds: what its source says, and room for what runs at the start.

A version that comes later has no say, as memory is bounded: one with a longer window is refused.
"""

from collections.abc import Iterable
from math import ceil
from typing import Final

import numpy as np

from edge_agent.fit import StreamShape, count_samples
from edge_agent.source_tables import Camera, Source
from edge_bundle.manifest import Stream

KEEP_S: Final = 30.0
"""How many seconds of a stream are kept where its source does not say."""
KEEP_SAMPLES: Final = 4096
"""At least so many then, so that slow streams have room for a window too."""
BLOCKS_BYTES: Final = 16 << 20
"""At most so much then of a stream of blocks, such as frames, but one."""


def count_kept(table: Source, shape: StreamShape, wanted: Iterable[Stream] = ()) -> int:
    """Return how many samples are kept of a stream: whole blocks.

    Args:
        table: the stream's source.
        wanted: what the models that may run on it want to see; their rates fit.
    """
    kept = _count_configured(table, shape)
    # A window is needed until it is due, one hop after its last sample. Of the latest frames none
    # is there for who is late but those that were asked for.
    most_spare = 0 if _only_latest(table) else kept
    spans = (
        count_samples(w, shape, w.window) + min(most_spare, count_samples(w, shape, w.hop))
        for w in wanted
    )
    return ceil(max(kept, *spans, 1) / shape.block) * shape.block


def _count_configured(table: Source, shape: StreamShape) -> int:
    if isinstance(table, Camera) and _only_latest(table):
        return max(table.keep * shape.block, int((table.keep_s or 0.0) * shape.rate_hz))
    if table.keep_s is not None:
        return ceil(table.keep_s * shape.rate_hz)
    samples = max(KEEP_SAMPLES, int(KEEP_S * shape.rate_hz))
    if shape.block == 1:
        return samples
    block_bytes = shape.block * len(shape.channels) * np.dtype(np.float32).itemsize
    return max(1, min(samples // shape.block, BLOCKS_BYTES // block_bytes)) * shape.block


def _only_latest(table: Source) -> bool:
    return isinstance(table, Camera) and table.policy == "latest"
