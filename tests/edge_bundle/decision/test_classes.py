"""From scores to a label, the same by either way of sorting."""

from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_bundle.decision import classes
from edge_bundle.decision.activation import sigmoid, softmax
from edge_bundle.decision.classes import Classifier
from edge_bundle.decision.outcome import Decision
from edge_bundle.decision.rules import UNKNOWN, Classification


def decide(scores: list[float], **rule: object) -> Decision:
    labels = tuple(f"l{i}" for i in range(len(scores)))
    classifier = Classifier(Classification(labels, **rule))  # type: ignore[arg-type]
    return classifier.decide(np.array([scores], np.float32))


def test_best_label_comes_first() -> None:
    assert decide([0.1, 0.7, 0.2], top=2) == Decision("l1", 0.7, [("l1", 0.7), ("l2", 0.2)])


def test_top_lists_no_more_than_there_are_labels() -> None:
    assert [name for name, _ in decide([0.1, 0.9], top=5).top] == ["l1", "l0"]


def test_below_the_threshold_is_unknown_and_at_it_is_not() -> None:
    below = decide([0.51, 0.49], threshold=0.6)
    assert (below.label, below.score, below.top[0]) == (UNKNOWN, 0.51, ("l0", 0.51))
    assert decide([0.25, 0.75], threshold=0.75).label == "l1"


def test_softmax_is_the_textbook_formula_and_does_not_overflow() -> None:
    logits = np.array([1.0, 2.0, 3.0], np.float32)
    np.testing.assert_allclose(softmax(logits), np.exp(logits) / np.exp(logits).sum(), rtol=1e-6)
    np.testing.assert_allclose(softmax(np.array([1e4, 1e4], np.float32)), [0.5, 0.5])
    assert decide([0.0, 100.0], activation="softmax").score == 1.0


def test_each_label_may_have_a_threshold_of_its_own() -> None:
    thresholds = {"l0": 0.8, "l1": 0.3}
    assert decide([0.7, 0.2], threshold=0.5, thresholds=thresholds).label == UNKNOWN
    assert decide([0.2, 0.3], threshold=0.5, thresholds=thresholds).label == "l1"
    assert decide([0.2, 0.1, 0.4], threshold=0.5, thresholds=thresholds).label == UNKNOWN


@given(st.lists(st.floats(-1e9, 1e9, width=32), min_size=1, max_size=10))
def test_sigmoid_is_the_textbook_formula_and_does_not_overflow(logits: list[float]) -> None:
    result = sigmoid(np.array(logits, np.float32))
    assert result.dtype == np.float32
    safe = np.clip(np.array(logits, np.float64), -50, 50)
    np.testing.assert_allclose(result, 1 / (1 + np.exp(-safe)), atol=1e-7)


@given(st.lists(st.sampled_from([0.0, 0.25, 0.5]), min_size=2, max_size=80), st.data())
def test_level_is_the_score_of_any_label_listed_or_not(
    scores: list[float], data: st.DataObject
) -> None:
    labels = tuple(f"l{i}" for i in range(len(scores)))
    classifier = Classifier(Classification(labels, top=1))
    assert classifier.level("l0") == -np.inf
    classifier.decide(np.array(scores, np.float32))
    i = data.draw(st.integers(0, len(scores) - 1))
    assert classifier.level(f"l{i}") == scores[i]
    classifier.decide(np.full(len(scores), np.nan, np.float32))
    assert classifier.level(f"l{i}") == -np.inf


@given(st.lists(st.floats(-1e4, 1e4, width=32), min_size=1, max_size=100))
def test_softmax_gives_probabilities_in_the_order_of_the_logits(logits: list[float]) -> None:
    given_ = np.array(logits, np.float32)
    result = softmax(given_)
    assert result.dtype == np.float32
    assert result.sum() == pytest.approx(1, abs=1e-4)
    assert (np.diff(result[np.argsort(given_)]) >= 0).all()


@given(
    # Few different values, so that there are ties.
    st.lists(st.sampled_from([0.0, 0.125, 0.25, 0.5, 1.0]), min_size=2, max_size=80),
    st.integers(1, 10),
)
def test_both_ways_of_sorting_agree_and_keep_ties_in_label_order(
    scores: list[float], top: int
) -> None:
    with patch.object(classes, "SORT_IN_PYTHON", 1000):
        python = decide(scores, top=top)
    with patch.object(classes, "SORT_IN_PYTHON", 0):
        numpy = decide(scores, top=top)
    order = sorted(range(len(scores)), key=lambda i: (-scores[i], i))[:top]
    assert python == numpy
    assert python.top == [(f"l{i}", scores[i]) for i in order]


@pytest.mark.parametrize("sort_in_python", [0, 1000])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_score_that_is_no_number_never_hides_behind_a_label(
    sort_in_python: int, bad: float, place: int
) -> None:
    scores = [0.2, 0.3, 0.5]
    scores[place] = bad
    with patch.object(classes, "SORT_IN_PYTHON", sort_in_python):
        assert decide(scores) == Decision(UNKNOWN, 0.0, [])
