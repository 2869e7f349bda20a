"""The judge counts its passes, stops when all is lost, and lets nobody judge what they chose."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from convert.judgement.allowance import Allowance
from convert.judgement.judge import BLOCK, Judge, check_outputs, choose_metric
from convert.judgement.marks import Numbers
from convert.judgement.metrics import Accuracy, Agreement, Closeness, Custom, Metric
from edge_bundle.decision.rules import (
    Anomaly,
    Classification,
    Quantity,
    Regression,
    Rule,
    Score,
)
from edge_bundle.errors import ModelRefused, RecordingRefused
from edge_bundle.tensor import Float32Array
from tests.convert.classifier import CLASSES, Told, echo, samples_of, say

COUNT = 400
RIGHT = np.random.default_rng(11).integers(0, CLASSES, COUNT)
LABELS = ("a", "b", "c", "d")


class World:
    """A judge of a model that is always right, and all that is seen from outside."""

    def __init__(self, metric: Metric | None = None, max_drop: float = 0.01) -> None:
        self.progress = Told()
        self.allowance = Allowance(7)
        self.judge = Judge(
            samples_of(say(RIGHT), RIGHT),
            metric or Accuracy(RIGHT, None),
            [say(RIGHT)],
            max_drop,
            self.allowance,
            self.progress,
        )

    @property
    def samples_run(self) -> int:
        """In the last pass."""
        return self.progress.advances[-1][0]


def number_of(wrong: int) -> int:
    return int(np.count_nonzero(wrong == RIGHT))


def test_float_is_the_first_pass() -> None:
    world = World()
    assert (world.allowance.used, world.allowance.left) == (1, 6)
    assert world.judge.score(world.judge.float_marks).value == 1
    assert world.judge.classes == CLASSES


def test_every_marked_model_is_one_pass_whether_it_ends_early_or_not() -> None:
    world = World()
    world.judge.mark(echo(), "onnx")
    world.judge.mark(echo([1, 2, 3]), "onnx")
    assert (world.allowance.used, world.allowance.left) == (3, 4)


def test_marks_come_in_the_order_of_the_samples() -> None:
    judge = World(max_drop=0.9).judge
    for first in (None, judge.search, judge.holdout):
        marks = judge.mark(echo([2]), "onnx", first)
        assert marks is not None
        assert marks.each is not None
        assert marks.answers is not None
        np.testing.assert_array_equal(marks.each, RIGHT != 2)
        np.testing.assert_array_equal(marks.answers, np.where(RIGHT == 2, 0, RIGHT))


def test_a_pass_ends_when_the_budget_is_lost_whatever_comes() -> None:
    world = World(max_drop=0.05)
    assert world.judge.mark(echo([1, 2, 3]), "onnx") is None
    assert world.samples_run == BLOCK  # of the first ones alone more are wrong than 5 % of all


def test_a_pass_goes_on_while_the_budget_can_be_kept() -> None:
    world = World(max_drop=number_of(2) / COUNT)
    marks = world.judge.mark(echo([2]), "onnx")
    assert world.samples_run == COUNT
    assert marks is not None
    assert world.judge.compare(marks).worse == number_of(2)


def test_a_pass_ends_in_the_first_block_in_which_the_budget_is_lost() -> None:
    lost = np.flatnonzero(RIGHT == 2)
    world = World(max_drop=(len(lost) - 1) / COUNT)
    assert world.judge.mark(echo([2]), "onnx") is None
    assert world.samples_run == min(COUNT, -(-(lost[-1] + 1) // BLOCK) * BLOCK)


def test_of_a_probe_only_the_samples_that_choose_can_lose_it() -> None:
    # The others are all wrong, and nobody may know before the end.
    world = World(max_drop=0.1)
    judge = world.judge
    y = RIGHT.copy()
    y[judge.holdout] = (y[judge.holdout] + 1) % CLASSES
    judge = Judge(
        samples_of(say(y), RIGHT),
        Accuracy(RIGHT, None),
        [say(RIGHT)],
        0.1,
        world.allowance,
        world.progress,
    )
    marks = judge.mark(echo(), "onnx", judge.search)
    assert marks is not None
    assert judge.compare(marks, judge.search).value == 0
    assert judge.compare(marks, judge.holdout).value == -1
    assert judge.mark(echo(), "onnx", judge.holdout) is None


def test_search_and_holdout_share_nothing_and_leave_nothing_out() -> None:
    judge = World().judge
    both = np.concatenate([judge.search, judge.holdout])
    np.testing.assert_array_equal(np.sort(both), np.arange(COUNT))
    assert abs(len(judge.search) - len(judge.holdout)) <= 1
    assert all(a < b for part in (judge.search, judge.holdout) for a, b in pairwise(part))


def test_the_split_is_the_same_every_time_and_mixed() -> None:
    one, other = World().judge, World().judge
    np.testing.assert_array_equal(one.search, other.search)
    assert COUNT // 8 < (one.search < COUNT // 2).sum() < 3 * COUNT // 8


def test_a_metric_of_the_whole_is_never_ended_early() -> None:
    class Whole(Accuracy):
        sample_by_sample = False

    world = World(Whole(RIGHT, None))
    assert world.judge.mark(echo([1, 2, 3]), "onnx") is not None
    assert world.samples_run == COUNT


def test_progress_tells_how_far_a_pass_is() -> None:
    world = World()
    world.judge.mark(echo(), "onnx")
    done = [d for d, _ in world.progress.advances]
    assert done == sorted(done)
    assert {of for _, of in world.progress.advances} == {COUNT}


def test_model_that_does_not_run_is_refused() -> None:
    with pytest.raises(ModelRefused):
        World().judge.mark(b"no model", "onnx")


def test_outputs_that_would_fill_the_memory_are_refused_by_their_shapes() -> None:
    path = Path("m.onnx")
    check_outputs(path, [(1 << 20,), ()], 255)
    check_outputs(path, [(1 << 10, 1 << 10)], 256)
    with pytest.raises(ModelRefused) as refused:
        check_outputs(path, [(1 << 20,), (1,)], 256)
    assert str(refused.value) == (
        "m.onnx: its outputs on 256 evaluation samples need 1025 MiB, at most 1024; give fewer "
        "samples"
    )


# Confusion


def test_confusion_counts_right_classes_against_answers() -> None:
    judge = World(max_drop=0.9).judge
    marks = judge.mark(echo([2]), "onnx")
    assert marks is not None
    found = judge.confuse(marks, judge.holdout, LABELS)
    assert found is not None
    right = RIGHT[judge.holdout]
    counts = [int((right == i).sum()) for i in range(CLASSES)]
    assert found.labels == LABELS
    assert found.float == tuple(
        tuple(counts[i] if i == j else 0 for j in range(CLASSES)) for i in range(CLASSES)
    )
    assert found.final[2] == (counts[2], 0, 0, 0)
    assert sum(map(sum, found.final)) == len(judge.holdout)


def confused_unsure(metric: Metric, scores: Float32Array) -> list[list[int]]:
    judge = Judge(samples_of(scores), metric, [scores], 0.9, Allowance(7), Told())
    marks = judge.mark(echo(), "onnx")
    assert marks is not None
    found = judge.confuse(marks, judge.everything, LABELS)
    assert found is not None
    return [list(row) for row in found.float]


def test_what_nobody_knows_is_in_no_row_of_the_confusion() -> None:
    scores = say([0, 1, 2, 3, 0, 1, 2, 3])
    scores[1] *= 0.5
    rule = Classification(LABELS, threshold=0.6)
    expected = np.diag([2, 1, 2, 2]).tolist()
    right = np.asarray([0, 1, 2, 3, 0, 1, 2, 3])
    assert confused_unsure(Accuracy(right, rule), scores) == expected
    assert confused_unsure(Agreement(scores, rule), scores) == expected


def test_an_answer_where_float_knew_none_is_in_no_row_of_the_confusion() -> None:
    scores = say([0, 1, 2, 3, 0, 1, 2, 3])
    unsure = scores.copy()
    unsure[1] *= 0.5
    metric = Agreement(unsure, Classification(LABELS, threshold=0.6))
    judge = Judge(samples_of(scores), metric, [unsure], 0.9, Allowance(7), Told())
    marks = judge.mark(echo(), "onnx")
    assert marks is not None
    found = judge.confuse(marks, judge.everything, LABELS)
    assert found is not None
    assert found.final == ((2, 0, 0, 0), (0, 1, 0, 0), (0, 0, 2, 0), (0, 0, 0, 2))


def test_values_have_no_confusion() -> None:
    world = World(Closeness([say(RIGHT)]))
    marks = world.judge.float_marks
    assert world.judge.confuse(marks, world.judge.everything, LABELS) is None


# The metric


def chosen(
    expected: Sequence[Float32Array],
    y: Numbers | None,
    name: str | None = None,
    rule: Rule | None = None,
) -> Metric:
    names = [f"out{i}" for i in range(len(expected))]
    given = samples_of(np.zeros((8, TAKEN), np.float32), y)
    return choose_metric(name, given, names, [e.shape[1:] for e in expected], rule)(expected)


TAKEN = 6
"""Values of a sample."""


def test_labels_of_classes_are_judged_by_accuracy() -> None:
    metric = chosen([say([0] * 8)], np.arange(8) % 4)
    assert isinstance(metric, Accuracy)


def test_without_labels_classes_are_judged_by_agreement() -> None:
    assert isinstance(chosen([say([0] * 8)], None), Agreement)


def test_what_gives_as_many_values_as_it_takes_has_classes_only_where_labels_say_so() -> None:
    values = np.zeros((8, TAKEN), np.float32)
    assert isinstance(chosen([values], None), Closeness)
    assert isinstance(chosen([values], np.arange(8) % TAKEN), Accuracy)


def test_values_are_judged_by_closeness_and_by_no_labels() -> None:
    frames, labels = np.zeros((8, 20, 88), np.float32), np.zeros(8, np.int64)
    assert isinstance(chosen([frames], None), Closeness)
    assert isinstance(chosen([say([0] * 8), say([1] * 8)], None), Closeness)
    with pytest.raises(RecordingRefused, match="say --metric module:function, or leave y out"):
        chosen([frames], labels)


@pytest.mark.parametrize(
    ("rule", "kind"),
    [
        (Score(("no", "yes"), 0.5), Agreement),
        (Regression((Quantity("t", "K"),)), Closeness),
        (Anomaly(1.0, method="direct"), Closeness),
    ],
)
def test_classes_alone_are_judged_by_agreement(rule: Rule, kind: type[Metric]) -> None:
    given = [say([0] * 8)[:, :1]]
    assert isinstance(chosen(given, None, rule=rule), kind)
    labels = np.arange(8) % 2
    if kind is Agreement:
        assert isinstance(chosen(given, labels, rule=rule), Accuracy)
        return
    with pytest.raises(RecordingRefused, match="leave y out"):
        chosen(given, labels, rule=rule)


def test_a_decision_makes_one_score_a_class() -> None:
    rule = Classification(("off", "on"))
    grid = np.zeros((8, 1, 2, 1), np.float32)
    assert isinstance(chosen([grid], None, rule=rule), Agreement)


def test_a_function_of_the_users_comes_first() -> None:
    metric = chosen([say([0] * 8)], np.arange(8) % 4, name="statistics:mean")
    assert isinstance(metric, Custom)
    assert metric.name == "statistics:mean"


def test_labels_that_the_model_cannot_say_are_refused() -> None:
    with pytest.raises(RecordingRefused, match="class 7, the model has 4 classes"):
        chosen([say([0] * 8)], np.arange(8))


@pytest.mark.parametrize("y", [None, np.zeros(8, np.int64)])
def test_float_model_that_gives_no_numbers_is_refused(y: Numbers | None) -> None:
    scores = say([0] * 8)
    scores[5, 2] = np.nan
    with pytest.raises(ModelRefused, match=r"eval\.npz: output out0 is not finite on sample 5$"):
        chosen([scores], y)
