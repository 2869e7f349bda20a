"""What a configuration says of its sources: a table for each kind. Plain data.

Every kind has ``name``, ``policy``, ``rate_hz`` and ``channels``; the kinds are told apart by
``kind``.
"""

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct

from edge_bundle.manifest import Channel
from edge_wire.topics import IDENTIFIER

Identifier = Annotated[
    str,
    # Python's ``$`` also matches before a line's end.
    Meta(
        pattern=rf"^{IDENTIFIER.pattern}$(?!\n)",
        description="1 to 64 letters, digits, '.', '_' or '-'",
    ),
]
Positive = Annotated[int, Meta(ge=1)]
PositiveFloat = Annotated[float, Meta(gt=0)]
Policy = Literal["block", "drop_oldest"]


class Replay(Struct, frozen=True, kw_only=True, tag_field="kind", tag="replay"):
    """A recording that is replayed."""

    name: Identifier
    path: str
    factor: PositiveFloat = 1.0
    """How many times faster than the true rate."""
    loop: bool = False
    policy: Policy = "block"
    rate_hz: PositiveFloat | None = None
    channels: tuple[Channel, ...] = ()


Source: TypeAlias = Replay
"""Any of them."""
