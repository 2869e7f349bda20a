"""What a bundle may ask of its features: a step each, with its parameters. Plain data.

A step takes float32 [rows, columns], at first the window's samples and channels, and gives the
same kind. Rows are in the order of time.
"""

from typing import Annotated, TypeAlias

from msgspec import Meta, Struct

Positive = Annotated[float, Meta(gt=0)]


class Standardise(Struct, frozen=True, tag_field="kind", tag="standardise"):
    """Each column minus its mean, divided by its standard deviation."""

    mean: Annotated[tuple[float, ...], Meta(min_length=1)]
    """One for each column, in its unit."""
    std: Annotated[tuple[Positive, ...], Meta(min_length=1)]
    """One for each column, in its unit."""


Step: TypeAlias = Standardise
"""Any of them; the manifest tells them apart by ``kind``."""
