"""Answers are marked as a device would give them, or as the user says."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convert.judgement.marks import Marks
from convert.judgement.metrics import (
    UNKNOWN,
    Accuracy,
    Agreement,
    Closeness,
    Custom,
    answers,
    is_classifier,
    load_function,
)
from edge_bundle.decision.classes import Classifier
from edge_bundle.decision.rules import Classification, Score
from edge_bundle.errors import ConfigError
from edge_bundle.tensor import Float32Array
from tests.convert.classifier import say

LABELS = ("a", "b", "c")
SURE = Classification(LABELS, threshold=0.6)
SCORES = np.asarray([[0.7, 0.2, 0.1], [0.4, 0.5, 0.1], [0.1, 0.1, 0.8]], np.float32)


def each(marks: Marks) -> list[float]:
    assert marks.each is not None
    return [float(mark) for mark in marks.each]


def said(marks: Marks) -> list[int]:
    assert marks.answers is not None
    return [int(answer) for answer in marks.answers]


# Accuracy and agreement


def test_right_answers_count_one() -> None:
    marks = Accuracy(np.asarray([0, 0, 2]), None).mark([SCORES])
    assert (each(marks), said(marks), marks.binary) == ([1, 0, 1], [0, 1, 2], True)


def test_unknown_is_no_right_answer() -> None:
    marks = Accuracy(np.asarray([0, 1, 2]), SURE).mark([SCORES])
    assert (each(marks), said(marks)) == ([1, 0, 1], [0, UNKNOWN, 2])


def test_some_samples_are_marked_as_they_are_among_all() -> None:
    right = np.asarray([0, 1, 2, 3, 0, 1])
    metric, some = Accuracy(right, None), np.asarray([4, 1, 5])
    assert each(metric.mark([say([0, 1, 3])], some)) == [1, 1, 0]


def test_agreement_is_with_what_float_answers() -> None:
    metric = Agreement(say([0, 1, 2, 3]), None)
    assert each(metric.mark([say([0, 1, 2, 3])])) == [1, 1, 1, 1]
    assert each(metric.mark([say([3, 1])], np.asarray([3, 2]))) == [1, 0]


def test_both_not_knowing_is_agreement() -> None:
    metric = Agreement(SCORES, SURE)
    assert each(metric.mark([SCORES])) == [1, 1, 1]


scores = st.lists(
    st.lists(st.floats(-30, 30, width=32) | st.just(float("nan")), min_size=3, max_size=3),
    min_size=1,
    max_size=5,
)


@given(
    scores,
    st.sampled_from(["none", "softmax", "sigmoid"]),
    st.sampled_from([0.0, 0.5, 0.9]),
    st.dictionaries(st.sampled_from(LABELS), st.sampled_from([0.3, 0.7])),
)
def test_answers_are_those_of_a_device(
    rows: list[list[float]], activation: Any, threshold: float, thresholds: dict[str, float]
) -> None:
    rule = Classification(LABELS, activation=activation, threshold=threshold, thresholds=thresholds)
    found = answers(np.asarray(rows, np.float32), rule)
    device = Classifier(rule)
    with np.errstate(invalid="ignore"):
        expected = [device.decide(np.asarray(row, np.float32)).label for row in rows]
    assert [LABELS[i] if i != UNKNOWN else "unknown" for i in found.tolist()] == expected


@pytest.mark.parametrize("activation", ["none", "sigmoid"])
def test_yes_and_no_are_the_answers_to_one_value(activation: Any) -> None:
    rule = Score(("no", "yes"), threshold=0.5, activation=activation)
    rows = np.asarray([[-2.0], [0.2], [0.5], [7.0], [np.nan]], np.float32)
    yes = [0, 0, 1, 1] if activation == "none" else [0, 1, 1, 1]
    assert answers(rows, rule).tolist() == [*yes, UNKNOWN]


def test_a_score_that_rounds_to_the_threshold_reaches_it() -> None:
    row = np.asarray([[0.6 - 4e-7, 0.1, 0.1]], np.float32)
    assert answers(row, SURE).tolist() == [0]


def test_scores_that_are_not_finite_are_no_answer() -> None:
    rows = SCORES.copy()
    rows[0, 1] = np.nan
    rows[2, 0] = np.inf
    assert answers(rows, None).tolist() == [UNKNOWN, 1, UNKNOWN]


@pytest.mark.parametrize(
    ("shapes", "found"),
    [
        ([(1, 7)], True),
        ([(7,)], True),
        ([(1, 1, 1, 12)], True),
        ([(1, 1)], False),
        ([(1, 7), (1, 7)], False),
        ([(1, 20, 88)], False),
        ([()], False),
        ([], False),
    ],
)
def test_scores_of_classes_are_one_vector(shapes: list[tuple[int, ...]], found: bool) -> None:
    assert is_classifier(shapes) is found


# Closeness


def values(seed: int, *shape: int) -> Float32Array:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def test_equal_values_are_as_close_as_can_be() -> None:
    expected = [values(1, 20, 3), values(2, 20, 5, 4)]
    marks = Closeness(expected).mark(expected)
    assert each(marks) == [1.0] * 20
    assert (marks.binary, marks.answers) == (False, None)


def test_closeness_is_the_share_of_the_variance_that_is_right() -> None:
    expected = values(1, 500, 4)
    noisy = expected + 0.1 * expected.std() * values(2, 500, 4)
    assert np.mean(each(Closeness([expected]).mark([noisy]))) == pytest.approx(0.99, abs=2e-3)


def test_the_worst_output_is_what_counts() -> None:
    good, bad = values(1, 20, 4), values(2, 20, 4)
    found = each(Closeness([good, bad]).mark([good, values(3, 20, 4)]))
    assert found == each(Closeness([bad]).mark([values(3, 20, 4)]))
    assert max(found) < 1


def test_closeness_of_some_samples_is_theirs_among_all() -> None:
    expected, found, some = values(1, 20, 4), values(2, 20, 4), np.asarray([7, 3, 11])
    whole = each(Closeness([expected]).mark([found]))
    assert each(Closeness([expected]).mark([found[some]], some)) == [whole[i] for i in some]


def test_of_values_that_are_not_finite_nothing_is_close() -> None:
    expected = values(1, 4, 3)
    found = expected.copy()
    found[0, 0], found[1, 1], found[2, 2] = np.nan, np.inf, 3e38
    near = each(Closeness([expected]).mark([found]))
    assert near[:2] == [0, 0]
    assert near[2] < -1e70
    assert near[3] == 1


def test_constant_values_can_be_close() -> None:
    expected = np.ones((4, 3), np.float32)
    assert each(Closeness([expected]).mark([expected])) == [1] * 4
    assert max(each(Closeness([expected]).mark([expected + 1]))) < 0


# A function of the user's


Write = Callable[[str], str]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Write a metric of the user's into the present folder; return its name."""
    monkeypatch.chdir(tmp_path)

    def write_here(body: str) -> str:
        monkeypatch.delitem(sys.modules, "own_metric", raising=False)
        (tmp_path / "own_metric.py").write_text(
            f"import numpy as np\ndef judge(outputs, y, reference):\n    {body}\n"
        )
        return "own_metric:judge"

    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield write_here
    sys.modules.pop("own_metric", None)


def custom(name: str, count: int = 6) -> Custom:
    return Custom(name, ["scores"], np.arange(count) % 4, [say(np.arange(count) % 4)])


def test_function_gets_outputs_by_name_labels_and_what_float_gives(write: Write) -> None:
    metric = custom(
        write("return float((outputs['scores'] == reference['scores']).mean() + y[1] - 4)")
    )
    marks = metric.mark([say(np.arange(6) % 4)])
    assert (marks.each, metric.name) == (None, "own_metric:judge")
    assert marks.on(np.arange(6)) == -2
    # Of each number the function sees only the samples that are asked about.
    assert marks.on(np.asarray([0, 3, 5])) == 0


def test_function_may_mark_each_sample(write: Write) -> None:
    metric = custom(write("return outputs['scores'].argmax(axis=1) == y"))
    marks = metric.mark([say([0, 1, 2, 0, 0, 0])])
    assert (each(marks), marks.binary) == ([1, 1, 1, 0, 1, 0], True)
    assert marks.on(np.asarray([2, 3])) == 0.5


def test_marks_between_are_not_right_or_wrong(write: Write) -> None:
    marks = custom(write("return y / 4")).mark([say([0] * 6)])
    assert (each(marks), marks.binary) == ([0, 0.25, 0.5, 0.75, 0, 0.25], False)


def test_function_of_unlabelled_samples_gets_none(write: Write) -> None:
    metric = Custom(write("return float(y is None)"), ["scores"], None, [say([0, 1])])
    assert metric.mark([say([0, 1])]).on(np.asarray([0])) == 1


@pytest.mark.parametrize(
    ("body", "said_"),
    [
        ("return outputs['logits']", "raised KeyError: 'logits'"),
        ("raise ValueError('bad\\nvery')", "raised ValueError: bad"),
        ("return 'good'", "raised ValueError: could not convert string"),
        ("return {}", "raised TypeError"),
        ("return np.nan", "gives nan, expected finite numbers"),
        ("return None", "gives None, expected finite numbers"),
        ("return np.full((40, 40), np.nan)", "gives nan, expected finite numbers"),
        ("return [1, 2, 3]", "gives [3], expected one number or [6], one for each sample"),
        ("return outputs['scores']", "gives [6, 4], expected one number or [6]"),
    ],
)
def test_function_that_goes_wrong_is_one_line(write: Write, body: str, said_: str) -> None:
    metric = custom(write(body))
    with pytest.raises(ConfigError) as stop:
        metric.mark([say([0] * 6)])
    assert str(stop.value).startswith("--metric own_metric:judge: ")
    assert said_ in str(stop.value)
    assert "\n" not in str(stop.value)


def test_function_that_fails_on_a_part_alone_is_one_line(write: Write) -> None:
    marks = custom(write("return 1.0 if len(y) == 6 else 1 / 0")).mark([say([0] * 6)])
    with pytest.raises(ConfigError, match="raised ZeroDivisionError: "):
        marks.on(np.asarray([0, 1]))


@pytest.mark.parametrize(
    ("name", "said_"),
    [
        ("judge", "expected module:function"),
        ("own_metric:", "expected module:function"),
        (":judge", "expected module:function"),
        ("no_such_module_at_all:judge", "cannot import no_such_module_at_all: ModuleNotFoundError"),
        ("own_metric:jugde", "own_metric has no function 'jugde'"),
        ("own_metric:np", "own_metric has no function 'np'"),
    ],
)
def test_function_that_is_not_there_is_one_line(write: Write, name: str, said_: str) -> None:
    write("return 1.0")
    before = list(sys.path)
    with pytest.raises(ConfigError) as stop:
        load_function(name)
    assert str(stop.value).startswith(f"--metric {name}: ")
    assert said_ in str(stop.value)
    assert sys.path == before


def test_module_that_does_not_run_is_one_line(write: Write, tmp_path: Path) -> None:
    name = write("return 1.0")
    (tmp_path / "own_metric.py").write_text("import numpy as np\nnp.nothing()\n")
    with pytest.raises(ConfigError, match="cannot import own_metric: AttributeError: "):
        load_function(name)
