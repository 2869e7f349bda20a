"""How long work says what it does now, and how far it is."""

from typing import Protocol


class Progress(Protocol):
    """Shown on stderr by the command, remembered by tests."""

    def __call__(self, text: str) -> None:
        """Say what begins now."""

    def advance(self, done: int, of: int) -> None:
        """Say how far it is."""
