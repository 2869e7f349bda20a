"""How sure an answer is does not depend on which of two labels it is."""

from math import nan

import numpy as np
import pytest

from edge_bundle.decision.certainty import rate_certainty
from edge_bundle.decision.decider import Decider
from edge_bundle.decision.outcome import Decision
from edge_bundle.decision.rules import (
    NONE,
    Anomaly,
    Classification,
    Detection,
    Quantity,
    Regression,
    Rule,
    Score,
)

WAKE = Score(("other", "jarvis"), 0.9)
FACES = Detection(("face",), "boxes", "scores")
CLASSES = Classification(("a", "b"))


@pytest.mark.parametrize(
    ("rule", "decision", "certainty"),
    [
        (CLASSES, Decision("a", 0.4, []), 0.4),
        (WAKE, Decision("jarvis", 0.98, [("jarvis", 0.98)]), 0.98),
        (WAKE, Decision("other", 0.25, [("jarvis", 0.25)]), 0.75),
        (WAKE, Decision("other", 0.6, [("jarvis", 0.6)]), 0.6),
        (FACES, Decision("face", 0.7, []), 0.7),
        (FACES, Decision(NONE, 0.25, []), 0.75),
        (Anomaly(0.5), Decision("normal", 0.1, []), None),
        (Regression((Quantity("t", "degC"),)), Decision("ok", 20.0, []), None),
        (None, Decision("a", 0.4, []), None),
    ],
)
def test_certainty_is_of_what_was_said(
    rule: Rule | None, decision: Decision, certainty: float | None
) -> None:
    assert rate_certainty(rule, decision) == certainty


@pytest.mark.parametrize("rule", [WAKE, FACES, CLASSES])
def test_nothing_is_certain_where_a_score_is_not_a_number(rule: Rule) -> None:
    decider = Decider(rule, [(1, 4), (1, 1)])
    decision = decider.decide(np.full(5 if rule is FACES else 2, nan, np.float32))
    assert rate_certainty(rule, decision) == 0
