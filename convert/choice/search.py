"""Which nodes to leave in float, found with few labelled passes. Pure bookkeeping.

Nodes are sorted by how much harm they do for what they save; the first ``k`` of them stay float.
More float is better, mostly: a bisection finds the least ``k`` that keeps the budget. Where the
order is wrong, some node before the cut is there for nothing; repair gives it back.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from convert.findings import Damage


def order_nodes(damages: Sequence[Damage]) -> list[str]:
    """Return nodes by damage over gain, the one to leave in float first.

    Damage is the share of noise that the node alone brings, gain the bytes that int8 saves on it.
    """

    def price(damage: Damage) -> float:
        if damage.sqnr_db is None:
            return 0.0
        return float(10 ** (-damage.sqnr_db / 10) / max(1, damage.bytes_saved))

    # The name makes equal ones come in the same order on every machine.
    return [d.node for d in sorted(damages, key=lambda d: (-price(d), d.node))]


def choose_cuts(count: int, passes: int) -> list[int]:
    """Return at most 2**passes - 1 numbers of nodes to try in float, from few to many.

    Small numbers lie closer together: mostly few nodes do the harm, and each costs bytes.
    """
    most = count - 1
    room = (1 << max(0, passes)) - 1
    if most <= room or not room:
        return list(range(1, min(most, room) + 1))
    steps = [round(most ** (i / (room - 1))) for i in range(room)] if room > 1 else [most]
    cuts: list[int] = []
    for step in steps:
        cuts.append(max(step, cuts[-1] + 1 if cuts else 1))
    return [c for c in cuts if c <= most]


@dataclass(slots=True)
class Bisection:
    """Asks for one cut after the other until the least good one is found."""

    cuts: Sequence[int]
    low: int = 0
    high: int = -1
    best: int | None = None

    def __post_init__(self) -> None:
        self.high = len(self.cuts) - 1

    def ask(self) -> int | None:
        """Return the cut to try next, or None when it is decided."""
        return self.cuts[(self.low + self.high) // 2] if self.low <= self.high else None

    def tell(self, good: bool) -> None:
        """Take in whether the cut asked for keeps the budget."""
        middle = (self.low + self.high) // 2
        if good:
            self.best, self.high = self.cuts[middle], middle - 1
        else:
            self.low = middle + 1


def repair(
    kept: Sequence[str], quality: Callable[[Sequence[str]], float], allowed_loss: float
) -> list[str]:
    """Return the nodes that have to stay float of those that were left in float.

    Args:
        kept: in the order of their damage.
        quality: of a model with these nodes in float, in decibels, found without labels.
        allowed_loss: how much quality may fall for what is given back, in decibels.
    """
    needed, least = list(kept), quality(kept) - allowed_loss
    for node in reversed(kept):
        without = [n for n in needed if n != node]
        if quality(without) >= least:
            needed = without
    return needed
