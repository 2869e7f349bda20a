"""What every source is: a shape, and chunks until it ends; and what it may say beside them."""

from collections.abc import Callable, Iterator
from typing import Protocol, runtime_checkable

from edge_agent.fit import StreamShape
from edge_agent.ring import Chunk


class SourceFailed(Exception):
    """What a source reads is not there, stopped, or is not what it should be: try again later."""


class Source(Protocol):
    """Gives chunks until it ends or ``stop`` is called."""

    shape: StreamShape

    def chunks(self, wait: Callable[[float], bool]) -> Iterator[Chunk]:
        """Yield samples as they come.

        What it needs is opened here, not before: where this raises, it is called again later.

        Args:
            wait: sleeps for so many seconds, and is true when it is time to stop.
        """


@runtime_checkable
class Telling(Protocol):
    """A source that can say what was wrong with what came, though it went on."""

    def problems(self) -> str:
        """Return it in words, with counts; empty where nothing was wrong."""
