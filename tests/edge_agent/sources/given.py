"""A source from a table as a user writes it, and time to wait in for what it gives."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edge_agent.config import load_config
from edge_agent.ring import Chunk
from edge_agent.sources.opening import open_source
from edge_agent.sources.source import Source

PATIENCE_S = 10.0


def open_table(folder: Path, table: str) -> Source:
    """Open the one source of a configuration; ``name`` is there already."""
    config = folder / "edge.toml"
    head = '[device]\nid = "d1"\n[store]\npath = "s"\n[[source]]\nname = "a"\n'
    config.write_text(head + table)
    return open_source(load_config(config), 0)


class Stop:
    """A capture that is stopped when something is so, or after too long."""

    def __init__(self, when: Callable[[], bool]) -> None:
        self._when = when
        self._end = time.monotonic() + PATIENCE_S

    def __call__(self, seconds: float) -> bool:
        if self._when():
            return True
        assert time.monotonic() < self._end
        time.sleep(seconds)
        return False


@contextmanager
def running(
    source: Source, opened: Callable[[], object] = lambda: None
) -> Iterator[Iterator[Chunk]]:
    """Give a source's chunks, and let it clean up at the end as a capture does.

    ``opened`` is called once, when the source has opened its device and waits for the first time.
    """
    waited: list[float] = []
    never = Stop(lambda: False)

    def wait(seconds: float) -> bool:
        if not waited:
            opened()
        waited.append(seconds)
        return never(seconds)

    chunks: Any = source.chunks(wait)
    try:
        yield chunks
    finally:
        chunks.close()


def take(chunks: Iterator[Chunk], samples: int) -> list[Chunk]:
    """Return chunks until so many samples came."""
    got: list[Chunk] = []
    while sum(len(c.samples) for c in got) < samples:
        got.append(next(chunks))
    return got
