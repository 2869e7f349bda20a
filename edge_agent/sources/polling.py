"""How a source that nobody wakes asks for its values: at the stream's rate, and no later."""

import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from edge_agent.fit import StreamShape
from edge_agent.ring import Chunk


def poll(
    shape: StreamShape, read: Callable[[], Sequence[float]], wait: Callable[[float], bool]
) -> Iterator[Chunk]:
    """Yield a sample each period, the first after one.

    Samples that it is too late for, because reading or this thread was slow, count as lost.

    Args:
        read: returns a value for each channel.
    """
    period_ns = 1e9 / shape.rate_hz
    due_ns = time.monotonic_ns() + period_ns
    while not wait(max(0.0, (due_ns - time.monotonic_ns()) / 1e9)):
        sample = np.array([read()], np.float32)
        now_ns = time.monotonic_ns()
        late = max(0, int((now_ns - due_ns) / period_ns))
        due_ns += (late + 1) * period_ns
        yield Chunk(sample, now_ns, late)
