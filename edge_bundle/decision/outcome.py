"""What is said of one window."""

from msgspec import UNSET, Struct, UnsetType


class Decision(Struct, frozen=True, gc=False):
    """The answer to one window."""

    label: str
    score: float
    """Of the best label, in [0, 1] where the model gives probabilities; else the value judged."""
    top: list[tuple[str, float]]
    """Best labels first."""
    values: list[tuple[str, float, str]] | UnsetType = UNSET
    """Of a regression: name, value, unit."""
    boxes: list[tuple[str, float, float, float, float, float]] | UnsetType = UNSET
    """Of a detection, the best first: label, score, left, top, right, bottom, in fractions of the
    picture."""
