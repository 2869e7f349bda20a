"""What the last windows have to say in an answer, and that a gap makes it be forgotten."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_bundle.decision.decider import Decider
from edge_bundle.decision.rules import UNKNOWN, Classification, Rule, Score, Smoothing

LABELS = ("a", "b", "c")


def decider(rule: Rule) -> Decider:
    return Decider(rule, [(1, 3)])


def mean_of(windows: int) -> Rule:
    return Classification(LABELS, smoothing=Smoothing("mean", windows))


rows = st.lists(
    st.lists(st.integers(0, 64).map(lambda n: n / 64), min_size=3, max_size=3),
    min_size=1,
    max_size=30,
)


@given(rows, st.integers(2, 8))
def test_a_mean_of_scores_is_judged_once_there_are_enough(
    scores: list[list[float]], windows: int
) -> None:
    smoothed = decider(mean_of(windows))
    plain = decider(Classification(LABELS))
    for end in range(1, len(scores) + 1):
        found = smoothed.decide(np.array(scores[end - 1], np.float32))
        mean = np.mean(np.array(scores[max(0, end - windows) : end]), axis=0)
        expected = plain.decide(mean.astype(np.float32))
        assert dict(found.top) == pytest.approx(dict(expected.top), abs=2e-6)
        if end < windows:
            assert found.label == UNKNOWN
        else:
            assert dict(expected.top)[found.label] == pytest.approx(expected.score, abs=2e-6)


@given(rows, st.integers(2, 8))
def test_a_majority_is_a_count_of_labels_once_there_are_enough(
    scores: list[list[float]], windows: int
) -> None:
    smoothed = decider(Classification(LABELS, smoothing=Smoothing("majority", windows)))
    plain = decider(Classification(LABELS))
    said = [plain.decide(np.array(s, np.float32)).label for s in scores]
    for end, row in enumerate(scores, 1):
        found = smoothed.decide(np.array(row, np.float32))
        counted = Counter(said[max(0, end - windows) : end])
        if end < windows:
            assert found.label == UNKNOWN
            continue
        most = max(counted.values())
        tied = [label for label in counted if counted[label] == most]
        newest = next(label for label in reversed(said[:end]) if label in tied)
        assert found.label == newest


@pytest.mark.parametrize("method", ["mean", "majority"])
def test_reset_forgets_the_windows_before(method: str) -> None:
    rule = Classification(LABELS, smoothing=Smoothing(method, 2))  # type: ignore[arg-type]
    smoothed = decider(rule)
    for _ in range(5):
        assert smoothed.decide(np.array([1, 0, 0], np.float32)).label in {UNKNOWN, "a"}
    smoothed.reset()
    row = np.array([0, 1, 0], np.float32)
    assert [smoothed.decide(row).label for _ in range(2)] == [UNKNOWN, "b"]


def test_window_that_is_no_number_is_in_no_mean() -> None:
    smoothed = decider(mean_of(2))
    good, bad = np.array([1, 0, 0], np.float32), np.array([1, np.nan, 0], np.float32)
    said = [smoothed.decide(w).label for w in (good, good, bad, good, good)]
    assert said == [UNKNOWN, "a", UNKNOWN, UNKNOWN, "a"]
    assert smoothed.level("a") == 1.0


def test_wake_word_is_heard_where_the_mean_of_five_reaches_the_cutoff() -> None:
    rule = Score(("silence", "hey_jarvis"), threshold=0.97, smoothing=Smoothing("mean", 5))
    heard = Decider(rule, [(1, 1)])
    codes = [0, 255, 255, 255, 250, 240, 255, 255, 100]  # uint8 / 256, as the model gives them
    answers = [heard.decide(np.array([c / 256], np.float32)) for c in codes]
    means = [np.mean(codes[max(0, i - 4) : i + 1]) / 256 for i in range(len(codes))]
    assert [a.score for a in answers] == pytest.approx(means, rel=1e-6)
    assert [a.label == "hey_jarvis" for a in answers] == [
        i >= 4 and m >= 0.97 for i, m in enumerate(means)
    ]
    assert any(a.label == "hey_jarvis" for a in answers)
