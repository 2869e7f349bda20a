"""What ends a command of the operator's side, beside what the other rooms define."""

from typing import Any


class RolloutStopped(Exception):
    """It did not come through: look at what the message names, then call again or roll back."""


class DevicesFailed(RolloutStopped):
    """Some devices failed, or did not answer in time; the others went on."""

    def __init__(self, message: str, result: Any) -> None:
        super().__init__(message)
        self.result = result
        """What the command would have returned."""


class NothingBefore(Exception):
    """A group has no version of a model to go back to."""
