"""What a bundle may ask of its features: a step each, with its parameters. Plain data.

A step takes float32 [rows, columns], at first the window's samples and channels, and gives the
same kind. Rows are in the order of time. What a step gives is known without a sample.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, TypeAlias

from msgspec import Meta, Struct

Positive = Annotated[float, Meta(gt=0)]


@dataclass(frozen=True, slots=True)
class Form:
    """What goes from one step to the next."""

    rows: int
    columns: int
    rate_hz: float
    """Rows in a second."""


class Standardise(Struct, frozen=True, tag_field="kind", tag="standardise"):
    """Each column minus its mean, divided by its standard deviation."""

    mean: Annotated[tuple[float, ...], Meta(min_length=1)]
    """One for each column, in its unit."""
    std: Annotated[tuple[Positive, ...], Meta(min_length=1)]
    """One for each column, in its unit."""

    def after(self, form: Form) -> Form:
        """Return what the step gives.

        Raises: ValueError: it does not fit what comes to it.
        """
        if not len(self.mean) == len(self.std) == form.columns:
            raise ValueError(
                f"{len(self.mean)} means and {len(self.std)} deviations for {form.columns} channels"
            )
        return form


Step: TypeAlias = Standardise
"""Any of them; the manifest tells them apart by ``kind``."""


def form_after(steps: Sequence[Step], form: Form) -> Form:
    """Return what a window has become after the steps.

    Raises: ValueError: a step does not fit what comes to it; begins ``features[N]: ``.
    """
    for number, step in enumerate(steps):
        try:
            form = step.after(form)
        except ValueError as error:
            raise ValueError(f"features[{number}]: {error}") from None
    return form
