"""What every source is: a shape, and chunks until it ends."""

from collections.abc import Callable, Iterator
from typing import Protocol

from edge_agent.fit import StreamShape
from edge_agent.ring import Chunk


class Source(Protocol):
    """Gives chunks until it ends or ``stop`` is called."""

    shape: StreamShape

    def chunks(self, wait: Callable[[float], bool]) -> Iterator[Chunk]:
        """Yield samples as they come.

        Args:
            wait: sleeps for so many seconds, and is true when it is time to stop.
        """
