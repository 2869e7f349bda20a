"""Steps take no memory for a window once they ran: what they need is theirs from the beginning."""

import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest

from edge_bundle.features.chain import compile_steps
from edge_bundle.features.steps import Form
from edge_bundle.tensor import Float32Array
from tests.edge_bundle.features.every_step import CHAINS

MOST_BYTES = 4096
"""For small things of Python's and NumPy's own; a buffer of NumPy's alone takes more."""
LARGER = 10
"""Windows so many times as long: whatever depends on their length shows."""
NUMPY: tuple[int, ...] = tuple(int(part) for part in np.__version__.split(".")[:2])
TAKE_MEMORY = {"micro_frontend_20"}
"""With a step of 20 ms the front end is arithmetic of integers in NumPy."""


def peak(work: Callable[[], object]) -> int:
    """Return the most bytes that are taken at once in a call, of Python's and of NumPy's."""
    for _ in range(3):
        work()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        work()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def stream(form: Form) -> Float32Array:
    noise = np.random.default_rng(1).normal(size=(form.rows, form.columns))
    return np.asarray(noise * 0.1, np.float32)


@pytest.mark.skipif(NUMPY < (2, 3), reason="NumPy before 2.3 takes more buffers of its own")
@pytest.mark.parametrize("fresh", [None, 160], ids=["alone", "overlapping"])
@pytest.mark.parametrize("name", sorted(CHAINS.keys() - TAKE_MEMORY))
def test_window_takes_no_memory(name: str, fresh: int | None) -> None:
    form, steps = CHAINS[name]
    if form.rate_hz > 10:  # an image stays as large as it is
        form = Form(form.rows * LARGER, form.columns, form.rate_hz)
    chain, samples = compile_steps(steps, form), stream(form)
    chain.run(samples)
    assert peak(lambda: chain.run(samples, fresh)) < MOST_BYTES
