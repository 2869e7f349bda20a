"""Values against thresholds and bounds, and how far a window is from what a model gives back."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_bundle.decision.decider import Decider
from edge_bundle.decision.outcome import Decision
from edge_bundle.decision.rules import (
    UNKNOWN,
    Anomaly,
    Quantity,
    Regression,
    Rule,
    Score,
)


def decide(rule: Rule, scores: list[float], taken: list[float] | None = None) -> Decision:
    given_ = None if taken is None else np.array([taken], np.float32)
    return Decider(rule, [(1, len(scores))]).decide(np.array(scores, np.float32), given_)


YES = Score(("no", "yes"), threshold=0.97)


def test_score_is_that_of_yes_whatever_the_answer() -> None:
    assert decide(YES, [0.6]) == Decision("no", 0.6, [("yes", 0.6)])
    assert decide(YES, [0.97]) == Decision("yes", 0.97, [("yes", 0.97)])


def test_of_two_values_the_second_is_yes() -> None:
    assert decide(YES, [0.02, 0.98]).label == "yes"


@pytest.mark.parametrize(
    ("activation", "values", "score"),
    [
        ("none", [-3.0], -3.0),
        ("sigmoid", [2.0], 1 / (1 + np.exp(-2))),
        ("sigmoid", [9.0, 2.0], 1 / (1 + np.exp(-2))),
        ("softmax", [1.0, 2.0], np.exp(2) / (np.exp(1) + np.exp(2))),
    ],
)
def test_activation_is_the_textbook_formula(
    activation: Any, values: list[float], score: float
) -> None:
    rule = Score(("no", "yes"), threshold=0.5, activation=activation)
    assert decide(rule, values).score == pytest.approx(score, abs=1e-6)


@given(
    st.lists(
        st.tuples(st.floats(-100, 100, width=32), st.floats(-100, 100, width=32)),
        min_size=1,
        max_size=50,
    )
)
def test_reconstruction_is_judged_by_its_mean_squared_error(
    pairs: list[tuple[float, float]],
) -> None:
    taken, gave = [t for t, _ in pairs], [g for _, g in pairs]
    error = float(np.mean([(t - g) ** 2 for t, g in pairs]))
    found = decide(Anomaly(threshold=1.0), gave, taken)
    assert found.score == pytest.approx(error, rel=1e-6, abs=1e-30)
    assert found.label == ("anomaly" if found.score >= 1.0 else "normal")
    assert found.top == [("anomaly", found.score)]


def test_an_error_of_any_size_keeps_its_digits() -> None:
    assert decide(Anomaly(threshold=1e-9), [0.0], [3e-5]).score == pytest.approx(9e-10)
    assert decide(Anomaly(threshold=1e-9), [3e38], [-3e38]).label == "anomaly"


def test_direct_anomaly_is_what_the_model_says() -> None:
    rule = Anomaly(threshold=4.0, method="direct")
    assert decide(rule, [4.5]) == Decision("anomaly", 4.5, [("anomaly", 4.5)])
    assert decide(rule, [3.5]).label == "normal"


BOUNDED = Regression(
    (Quantity("water", "°C", low=5.0, high=60.0), Quantity("flow", "l/min", high=8.0))
)


@pytest.mark.parametrize(
    ("values", "label", "score"),
    [
        ([20.0, 3.0], "ok", 20.0),
        ([60.0, 8.0], "ok", 60.0),
        ([4.5, 9.0], "low", 4.5),
        ([20.0, 9.0], "high", 9.0),
        ([61.0, 3.0], "high", 61.0),
    ],
)
def test_the_first_value_out_of_bounds_gives_the_label(
    values: list[float], label: str, score: float
) -> None:
    found = decide(BOUNDED, values)
    assert (found.label, found.score, found.top) == (label, score, [])
    assert found.values == [("water", values[0], "°C"), ("flow", values[1], "l/min")]


@pytest.mark.parametrize(
    ("values", "low", "high"),
    [
        ([20.0, 3.0], -np.inf, -np.inf),
        ([4.5, 9.0], 4.5, 9.0),
        ([61.0, 9.0], -np.inf, 61.0),
    ],
)
def test_level_of_a_side_is_the_first_value_that_is_out_of_bounds_there(
    values: list[float], low: float, high: float
) -> None:
    decider = Decider(BOUNDED, [(1, 2)])
    decider.decide(np.array(values, np.float32))
    assert (decider.level("low"), decider.level("high")) == (low, high)


def test_level_of_one_quantity_is_its_value_wherever_that_is() -> None:
    decider = Decider(Regression((Quantity("water", "°C", low=5.0),)), [(1, 1)])
    decider.decide(np.array([20.0], np.float32))
    assert (decider.level("low"), decider.level("high")) == (20.0, 20.0)


def test_without_bounds_nothing_is_said_of_a_value() -> None:
    found = decide(Regression((Quantity("speed", "m/s"),)), [1.25])
    assert found == Decision(UNKNOWN, 1.25, [], values=[("speed", 1.25, "m/s")])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    ("rule", "count"),
    [
        (YES, 1),
        (YES, 2),
        (BOUNDED, 2),
        (Anomaly(threshold=1.0), 2),
        (Anomaly(threshold=1, method="direct"), 1),
    ],
)
def test_value_that_is_no_number_is_unknown(rule: Rule, count: int, bad: float) -> None:
    scores = [0.5] * (count - 1) + [bad]
    decider = Decider(rule, [(count,)])
    taken = np.zeros(count, np.float32) if decider.needs_input else None
    assert decider.decide(np.array(scores, np.float32), taken) == Decision(UNKNOWN, 0.0, [])
    assert decider.level("yes") == -np.inf
