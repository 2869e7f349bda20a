"""Which samples make which window: arithmetic on positions, the same for converter and device.

Pure: no array, no clock. A position counts the samples of a stream that were received, from 0.
"""

from msgspec import Struct


def window_starts(samples: int, window: int, hop: int) -> range:
    """Return the first position of every whole window in a contiguous run of samples."""
    return range(0, samples - window + 1, hop)


class Cursor(Struct):
    """Where one model stands in a stream."""

    window: int
    hop: int
    start: int = 0
    """Position of the first sample of the next window."""

    def ready(self, head: int) -> bool:
        """Tell whether the next window is whole when ``head`` samples were received."""
        return self.start + self.window <= head

    def advance(self) -> None:
        """Go on to the window one hop later."""
        self.start += self.hop

    def restart(self, position: int) -> bool:
        """Let no window span the break before ``position``; tell whether that moved the cursor."""
        if self.start >= position:
            return False
        self.start = position
        return True

    def change(self, window: int, hop: int) -> None:
        """Go on with another model's window and hop, from the window boundary where this stands."""
        self.window, self.hop = window, hop
