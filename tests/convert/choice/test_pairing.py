"""Formats of one version answer alike, or the smaller gain is given up. A scripted judge."""

from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from convert.choice import selection
from convert.choice.pairing import AGREEMENT, choose, share_answers
from convert.choice.recipes import FloatModel, Recipe, emit
from convert.choice.tried import Choice, Tried
from convert.findings import Precision
from convert.judgement.marks import Marks, Numbers
from convert.parity import Parity
from tests.convert.choice.test_selection import (
    BUDGET,
    COUNT,
    DYNAMIC,
    FP16,
    RIGHT,
    ScriptedJudge,
    World,
    calibrate,
    nothing,
    statics,
)
from tests.convert.classifier import CLASSES

FEW = range(3)
"""Samples: within the budget, and more than formats of one version may differ on."""
OTHERS = range(10, 13)
Wrong = Mapping[Recipe, Sequence[int]]
"""Samples that a recipe's file answers wrong; none where it is not named."""


class AnsweringJudge(ScriptedJudge):
    """Lets each recipe's file give wrong answers to some samples."""

    model: FloatModel
    wrong: Wrong

    def mark(self, data: bytes, kind: str, first: Numbers | None = None) -> Marks | None:
        marks = super().mark(data, kind, first)
        assert marks is not None
        assert marks.each is not None
        files = {emit(self.model, r): r for r in (*statics(self.model), DYNAMIC, FP16)}
        each, missed = (
            marks.each.copy(),
            list(self.wrong[files[data]] if files.get(data) in self.wrong else ()),
        )
        each[missed] = 0
        answers = np.where(each == 1, RIGHT, (RIGHT + 1) % CLASSES)
        return Marks(COUNT, each, None, answers, binary=True)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every kind be worth it: of this small model int8 is hardly smaller than float16."""
    monkeypatch.setattr(selection, "GAIN", 10.0)


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory: pytest.TempPathFactory) -> tuple[FloatModel, Parity]:
    return calibrate(tmp_path_factory.mktemp("model"))


class Pair:
    """Two formats of one model, and what each answers wrong."""

    def __init__(self, model: FloatModel, parity: Parity, one: Wrong, other: Wrong) -> None:
        self.worlds = [World(model, parity, nothing) for _ in range(2)]
        for world, wrong in zip(self.worlds, (one, other), strict=True):
            # The first judge counts for both.
            judge = AnsweringJudge(world.judge.samples, nothing, self.worlds[0].allowance)
            judge.model, judge.wrong = model, wrong
            world.judge = judge
        self.allowance = self.worlds[0].allowance
        self.allowance.left, self.allowance.used = 6, 1

    def choose(self, precision: Precision | None = None) -> tuple[Choice, Choice]:
        first, second = choose([world.select(precision) for world in self.worlds])
        return first, second


def leader_of(model: FloatModel, parity: Parity) -> tuple[Recipe, Recipe]:
    """Return the recipe with the least noise, and the other one."""
    best = World(model, parity, nothing).choose().chosen
    assert best is not None
    (other,) = [r for r in statics(model) if r != best.recipe]
    return best.recipe, other


def chosen(choice: Choice) -> Tried:
    assert choice.chosen is not None
    return choice.chosen


def test_formats_that_agree_are_taken_at_once(calibrated: tuple[FloatModel, Parity]) -> None:
    leader, _ = leader_of(*calibrated)
    pair = Pair(*calibrated, {leader: FEW}, {leader: FEW})
    one, two = pair.choose()
    assert chosen(one).recipe == chosen(two).recipe == leader
    assert pair.allowance.used == 3


def test_recipe_of_the_other_format_has_its_turn_where_the_leader_answers_otherwise(
    calibrated: tuple[FloatModel, Parity],
) -> None:
    leader, twin = leader_of(*calibrated)
    pair = Pair(*calibrated, {}, {leader: FEW})
    slow = pair.worlds[0]
    slow.times(dict.fromkeys([leader], 1.5))  # so the first format takes the other recipe
    one, two = pair.choose()
    assert chosen(one).recipe == chosen(two).recipe == twin
    (parted,) = [t for t in two.tried if t.recipe == leader]
    assert parted.verdict == "missed"
    assert parted.why == (
        "It keeps the budget, and answers otherwise than onnx-int8 on 0.75 % of the samples; "
        "formats of one version may differ on 0.5 %."
    )


def test_next_kind_has_its_turn_where_no_recipe_agrees(
    calibrated: tuple[FloatModel, Parity],
) -> None:
    leader, twin = leader_of(*calibrated)
    pair = Pair(*calibrated, {}, {leader: FEW, twin: FEW})
    one, two = pair.choose()
    assert chosen(one).recipe == leader
    assert chosen(two).recipe.precision == "dynamic"


def test_first_format_steps_back_where_nothing_stands_beside_it(
    calibrated: tuple[FloatModel, Parity],
) -> None:
    leader, twin = leader_of(*calibrated)
    pair = Pair(*calibrated, {leader: FEW}, {leader: OTHERS, twin: OTHERS})
    one, two = pair.choose()
    assert chosen(one).recipe.precision == chosen(two).recipe.precision == "dynamic"
    (parted,) = [t for t in one.tried if t.recipe == leader]
    assert parted.verdict == "missed"
    assert "answers otherwise than onnx-float on 0.75 %" in parted.why
    assert pair.allowance.left >= 0


def test_kind_that_is_asked_for_keeps_the_first_format_and_misses_the_second(
    calibrated: tuple[FloatModel, Parity],
) -> None:
    leader, twin = leader_of(*calibrated)
    pair = Pair(*calibrated, {leader: FEW, twin: FEW}, {leader: OTHERS, twin: OTHERS})
    one, two = pair.choose("int8")
    assert (chosen(one).recipe, chosen(one).verdict) == (leader, "chosen")
    assert two.chosen is None
    assert all("answers otherwise" in t.why for t in two.tried if t.marks)


@pytest.mark.parametrize("seed", range(12))
def test_whatever_is_answered_the_formats_agree_within_seven_passes(
    calibrated: tuple[FloatModel, Parity], seed: int
) -> None:
    random = np.random.default_rng(seed)
    most = round(BUDGET * COUNT) + 2  # some miss the budget
    recipes = [*statics(calibrated[0]), DYNAMIC, FP16]
    wrongs: list[Wrong] = [
        {r: random.permutation(COUNT)[: random.integers(0, most)].tolist() for r in recipes}
        for _ in range(2)
    ]
    pair = Pair(*calibrated, *wrongs)
    one, two = pair.choose()
    assert share_answers(chosen(one), chosen(two)) >= AGREEMENT
    assert pair.allowance.used <= 7
    assert pair.allowance.left >= 0
    for choice in (one, two):
        assert [t for t in choice.tried if t.verdict in {"chosen", "kept"}] == [choice.chosen]
        assert all(t.why for t in choice.tried)


def test_models_without_answers_are_not_compared() -> None:
    values = Marks(3, np.ones(3), None, None, binary=False)
    one, other = (Tried(Recipe(f, "int8"), marks=values) for f in ("onnx", "tflite"))
    assert share_answers(one, other) == 1.0
