"""How sure an answer is, whatever the kind of rule that gave it."""

from edge_bundle.decision.outcome import Decision
from edge_bundle.decision.rules import NONE, Classification, Detection, Rule, Score


def rate_certainty(rule: Rule | None, decision: Decision) -> float | None:
    """Return how much speaks for what was said, where scores are in [0, 1]; else None.

    Of yes or no, a score near 0 is as sure as one near 1. What is said of quantities, and how
    anomalous a window is, are no such scores.
    """
    match rule:
        case Classification():
            return decision.score
        case Score():
            # Of what is not a number nothing speaks for either.
            return max(decision.score, 1 - decision.score) if decision.top else 0.0
        case Detection():
            return 1 - decision.score if decision.label == NONE else decision.score
        case _:
            return None
