"""What goes from one step to the next, and how a step refuses it. Plain data."""

from typing import Final

from msgspec import Struct

MAX_VALUES: Final = 1 << 22
"""Of one step's result or table, 16 MiB as float32: a bundle cannot ask a device for more."""


class Misfit(ValueError):
    """A step does not fit what comes to it."""

    def __init__(self, why: str, key: str | None = None) -> None:
        """Say why, and by which of the step's keys where it is one."""
        super().__init__(f"{key}: {why}" if key else why)
        self.why = why
        self.key = key


class Form(Struct, frozen=True):
    """The shape of values, and what their rows and columns are."""

    rows: int
    columns: int
    rate_hz: float
    """Rows in a second; 0 where they are not in the order of time."""
    bins: int = 0
    """Columns of one channel's spectrum, bands or coefficients, the channels side by side; 0 where
    a column is a channel."""
    top_hz: float = 0.0
    """Frequency of a spectrum's last bin, where the first is 0 Hz; 0 where there is no spectrum."""
    half_hz: float = 0.0
    """Half the rate of what a spectrum is of, a little above the last bin of an odd length; 0 where
    there is no spectrum."""

    @property
    def size(self) -> int:
        """Number of values."""
        return self.rows * self.columns

    def bounded(self) -> "Form":
        """Return itself.

        Raises: Misfit: it has more values than a device holds for one step.
        """
        if self.size > MAX_VALUES:
            raise Misfit(
                f"{self.rows} x {self.columns} values come of it, at most {MAX_VALUES} may"
            )
        return self

    def expect_time(self, what: str, rows: int = 1) -> None:
        """Refuse values that are not samples in the order of time, a column a channel.

        Args:
            what: of whom is spoken, such as ``a spectrum``.
            rows: the fewest.
        Raises: Misfit.
        """
        if self.rate_hz <= 0 or self.bins:
            raise Misfit(f"{what} needs samples in the order of time; put it before what took them")
        if self.rows < rows:
            raise Misfit(f"{what} needs {rows} rows or more, {self.rows} come to it")
