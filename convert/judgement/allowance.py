"""How many labelled passes a build may make, and has made."""

from dataclasses import dataclass


@dataclass(slots=True)
class Allowance:
    """Full labelled passes that a build may still make."""

    left: int
    used: int = 0

    def take(self) -> None:
        """Count one."""
        self.left -= 1
        self.used += 1
