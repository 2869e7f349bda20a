"""The choice for all formats together: what they answer must be the same, nearly always.

Devices of one fleet run one version in different formats, and should not be told apart by it.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from convert.choice.selection import Selection
from convert.choice.tried import Choice, Tried

AGREEMENT: Final = 0.995
"""Of the answers on the evaluation samples that the formats of one plan share, at least."""
PASSES_OF_A_FORMAT: Final = 2
"""That a later format needs at least: for its leader, and for what stands in when that fails."""


def choose(selections: Sequence[Selection]) -> list[Choice]:
    """Choose for one format, or for two that give the same answers.

    Where nothing of the second agrees with the first's best, the first has to step back. Float
    agrees with float; but where another kind was asked for, the second may stay without a choice.
    """
    if len(selections) == 1:
        (only,) = selections
        return [only.finish(next(only.keepers(), None))]
    first, second = selections
    best: Tried | None = None
    first.reserve = PASSES_OF_A_FORMAT
    for one in first.keepers():
        best = best or one
        parted: list[Tried] = []
        for other in second.keepers(beside=one):
            if (share := share_answers(one, other)) >= AGREEMENT:
                return [first.finish(one), second.finish(other)]
            _part(other, one, share)
            parted.append(other)
        if not parted:  # nothing keeps the budget, whatever stands beside it
            break
        _part(one, parted[-1], share_answers(one, parted[-1]))
        first.reserve = 0
    if best is None:
        return [first.finish(None), second.finish(next(second.keepers(), None))]
    return [first.finish(best), second.finish(None)]


def share_answers(one: Tried, other: Tried) -> float:
    """Return the share of the evaluation samples that get the same answer; 1 without answers."""
    if one.marks is None or other.marks is None:
        return 1.0
    if one.marks.answers is None or other.marks.answers is None:
        return 1.0
    return float(np.mean(one.marks.answers == other.marks.answers))


def _part(tried: Tried, beside: Tried, share: float) -> None:
    tried.verdict = "missed"
    tried.why = (
        f"It keeps the budget, and answers otherwise than {beside.recipe.variant} on "
        f"{100 * (1 - share):.2f} % of the samples; formats of one version may differ on "
        f"{100 * (1 - AGREEMENT):.1f} %."
    )
