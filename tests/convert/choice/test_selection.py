"""The choice for one format, in a simulated world: its judge says what each int8 node costs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest

from convert.choice import ranking, selection
from convert.choice.ranking import Ranking, Yardstick, rank_statically
from convert.choice.recipes import FloatModel, Recipe, emit, static_recipes
from convert.choice.search import choose_cuts, order_nodes
from convert.choice.selection import Selection
from convert.choice.sensitivity import measure_damage
from convert.choice.tried import Choice, Tried, to_candidate
from convert.findings import Damage, Precision
from convert.float_models import prepare_models
from convert.given.samples import Samples
from convert.given.source import read_onnx
from convert.judgement.allowance import Allowance
from convert.judgement.judge import Judge
from convert.judgement.marks import Marks, Numbers, cannot_keep
from convert.judgement.metrics import Accuracy
from convert.parity import Parity, measure_parity
from convert.targets import read_target
from edge_bundle.errors import ModelRefused
from edge_bundle.latency import Profile
from tests.convert.classifier import CLASSES, Told, harm, inputs_of, perceptron, samples_of, say

LAYERS = ("a", "b", "c", "d", "e", "f")
COUNT = 400
RIGHT = np.random.default_rng(1).integers(0, CLASSES, COUNT)
BUDGET = 0.01
GENERIC = read_target("generic")


@dataclass(frozen=True)
class Seen:
    """What a judge sees of a model file."""

    precision: Precision
    int8: frozenset[str]
    """Layers whose weights are int8."""


def look_at(data: bytes) -> Seen:
    graph = onnx.load_model_from_string(data).graph
    if any(node.op_type == "MatMulInteger" for node in graph.node):
        return Seen("dynamic", frozenset(LAYERS))
    givers = {node.output[0]: node.op_type for node in graph.node}
    layers = [givers.get(n.input[1]) for n in graph.node if n.op_type in {"Gemm", "MatMul"}]
    int8 = {name for name, giver in zip(LAYERS, layers, strict=True) if giver == "DequantizeLinear"}
    return Seen("int8" if int8 else "fp16", frozenset(int8))


Loss = Callable[[Seen], float | tuple[float, float]]
"""What a model loses of accuracy: everywhere, or on the search part and on the holdout."""


class ScriptedJudge(Judge):
    """Judges by what a model file is made of; counts, stops and compares as the real one."""

    def __init__(self, samples: Samples, loss: Loss, allowance: Allowance) -> None:
        right = Accuracy(RIGHT, None)
        super().__init__(samples, right, [say(RIGHT)], BUDGET, allowance, Told())
        self._loss = loss
        self.asked: list[tuple[Seen, Numbers | None]] = []

    def mark(self, data: bytes, kind: str, first: Numbers | None = None) -> Marks | None:
        self.allowance.take()
        assert kind == "onnx"
        seen = look_at(data)
        self.asked.append((seen, first))
        lost = self._loss(seen)
        each = np.ones(COUNT)
        shares = lost if isinstance(lost, tuple) else (lost, lost)
        for part, share in zip((self.search, self.holdout), shares, strict=True):
            each[part[: round(share * len(part))]] = 0
        decide = self.everything if first is None else first
        assert self.float_marks.each is not None
        if cannot_keep(self.float_marks.each[decide], each[decide], self.max_drop):
            return None
        answers = np.where(each == 1, RIGHT, (RIGHT + 1) % CLASSES)
        return Marks(COUNT, each, None, answers, binary=True)


class World:
    """A calibrated model, its judge, and a board's profile."""

    def __init__(self, model: FloatModel, parity: Parity, loss: Loss, passes: int = 7) -> None:
        self.model = model
        self.parity = parity
        self.allowance = Allowance(passes)
        self.judge = ScriptedJudge(samples_of(say(RIGHT), RIGHT), loss, self.allowance)
        self.profile = Profile("a board", {})
        self.told = Told()

    def times(self, ratios: dict[Recipe, float]) -> None:
        """Let the board have measured some files."""

        def digest(recipe: Recipe) -> str:
            return sha256(emit(self.model, recipe)).hexdigest()

        known = {digest(recipe): 100 * ratio for recipe, ratio in ratios.items()}
        self.profile = Profile("a board", known | {digest(FLOAT): 100.0})

    def choose(
        self,
        precision: Precision | None = None,
        float_nodes: Sequence[str] = (),
        reserve: int = 0,
        target: str = "generic",
    ) -> Choice:
        selection = self.select(precision, target)
        selection.reserve = reserve
        beside = Tried(Recipe("tflite", "int8", float_nodes=tuple(float_nodes)))
        return selection.finish(next(selection.keepers(beside if float_nodes else None), None))

    def select(self, precision: Precision | None = None, target: str = "generic") -> Selection:
        ranking = Ranking(
            self.model,
            read_target(target),
            Yardstick(self.parity.inputs, self.parity.found),
            self.profile,
            self.told,
            forced=precision is not None,
        )
        return Selection(ranking, self.judge, self.told, precision)

    @property
    def order(self) -> list[str]:
        """The layers by damage over bytes."""
        recipe = statics(self.model)[0]
        damages = measure_damage(self.model, recipe, self.parity.inputs, self.parity.found, Told())
        return order_nodes(damages)


FLOAT, FP16, DYNAMIC = (Recipe("onnx", kind) for kind in ("float", "fp16", "dynamic"))
Open = Callable[..., World]


def statics(model: FloatModel) -> list[Recipe]:
    return static_recipes(model, GENERIC)


def calibrate(folder: Path, noisy: str = "") -> tuple[FloatModel, Parity]:
    """Return a model of which one layer may bring nearly all the noise as int8."""
    file = perceptron(folder / "m.onnx", LAYERS)
    if noisy:
        harm(file, noisy, 30)
    x = inputs_of(40)
    parity = measure_parity(read_onnx(file), ("scores",), [row[None] for row in x[:16]])
    model = prepare_models(parity, ("onnx",), samples_of(x), Told()).by_format["onnx"]
    return replace(model, ranges={"min-max": model.ranges["min-max"]}), parity


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every kind be worth it: of these small models int8 is hardly smaller than float16."""
    monkeypatch.setattr(selection, "GAIN", 10.0)


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory: pytest.TempPathFactory) -> tuple[FloatModel, Parity]:
    return calibrate(tmp_path_factory.mktemp("model"))


@pytest.fixture
def world(calibrated: tuple[FloatModel, Parity]) -> Open:
    """Open a world in which models lose what a function says."""
    return partial(World, *calibrated)


def nothing(_: Seen) -> float:
    return 0.0


def everything(_: Seen) -> float:
    return 0.5


def when(precision: Precision) -> Loss:
    return lambda seen: 0.1 * (seen.precision == precision)


def needs(*layers: str, dynamic: float = 0.1) -> Loss:
    """Static int8 loses where one of these layers is int8; dynamic loses as said."""

    def loss(seen: Seen) -> float:
        if seen.precision == "int8":
            return 0.1 * len(seen.int8 & set(layers))
        return dynamic if seen.precision == "dynamic" else 0.0

    return loss


def chosen(choice: Choice) -> Tried:
    assert choice.chosen is not None
    return choice.chosen


def tried(choice: Choice, precision: Precision) -> list[Tried]:
    return [t for t in choice.tried if t.recipe.precision == precision]


def verdicts(choice: Choice) -> dict[Precision, list[str]]:
    kinds: tuple[Precision, ...] = ("int8", "dynamic", "fp16", "float")
    return {kind: [t.verdict for t in tried(choice, kind)] for kind in kinds}


# The leader


def test_leader_that_keeps_the_budget_is_chosen_with_one_pass(world: Open) -> None:
    here = world(nothing)
    choice = here.choose()
    assert chosen(choice).recipe.precision == "int8"
    assert here.allowance.used == 2
    assert verdicts(choice) == {
        "int8": ["chosen", "behind"],
        "dynamic": [],
        "fp16": [],
        "float": [],
    }
    assert "0.00 points keep the budget of 1.0 points" in chosen(choice).why


def test_leader_has_the_least_noise(world: Open) -> None:
    choice = world(nothing).choose()
    assert chosen(choice).sqnr_db == max(t.sqnr_db for t in choice.tried)
    (other,) = [t for t in choice.tried if t.verdict == "behind"]
    assert other.why.endswith(f"the leader has {chosen(choice).sqnr_db:.1f} dB.")


def test_every_candidate_says_why(world: Open) -> None:
    for loss in (nothing, everything, when("int8"), needs("c"), needs("c", dynamic=0.0)):
        here = world(loss)
        for one in here.choose().tried:
            candidate = to_candidate(one, here.judge)
            assert candidate.why.endswith(".")
            assert "\n" not in candidate.why


def test_model_that_was_not_calibrated_gets_ranges_as_it_runs(
    calibrated: tuple[FloatModel, Parity],
) -> None:
    model, parity = calibrated
    choice = World(replace(model, ranges={}), parity, nothing).choose()
    assert chosen(choice).recipe.precision == "dynamic"
    assert choice.explanations == ["onnx: static int8 was not tried: it needs --calibration."]


def test_outputs_that_are_mostly_noise_cost_no_pass(
    world: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranking, "HOPELESS_DB", 1000.0)
    here = world(nothing)
    choice = here.choose()
    assert verdicts(choice)["int8"] == ["missed", "missed"]
    assert chosen(choice).recipe.precision == "fp16"
    assert here.allowance.used == 2


def test_report_shows_which_nodes_int8_hurts_though_nothing_depended_on_it(
    world: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = world(nothing)
    one = here.select()
    choice = one.finish(next(one.keepers()))
    one.show_damage()
    assert [damage.node for damage in choice.damages] == list(LAYERS)
    assert here.allowance.used == 2
    monkeypatch.setattr(selection, "MOST_SHOWN", len(LAYERS) - 1)
    other = here.select()
    choice = other.finish(next(other.keepers()))
    other.show_damage()
    assert not choice.damages
    assert "its 6 nodes int8 hurts was not measured" in choice.explanations[-1]


# When the leader loses too much


def test_ranges_found_as_it_runs_are_tried_next_where_that_costs_no_bytes(world: Open) -> None:
    here = world(when("int8"))
    choice = here.choose()
    assert chosen(choice).recipe.precision == "dynamic"
    assert not choice.damages
    assert here.allowance.used == 3
    assert verdicts(choice)["int8"] == ["missed", "behind"]


def test_larger_dynamic_int8_has_its_turn_after_the_search(
    world: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selection, "SAME_SIZE", 0.1)
    here = world(when("int8"))
    choice = here.choose()
    assert choice.damages
    assert chosen(choice).recipe.precision == "dynamic"
    assert len(tried(choice, "dynamic")) == 1
    assert here.allowance.used <= 7


def test_larger_dynamic_int8_says_that_its_turn_did_not_come(
    world: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selection, "SAME_SIZE", 0.1)
    choice = world(needs("c")).choose()
    assert chosen(choice).recipe.float_nodes
    (dynamic,) = tried(choice, "dynamic")
    assert dynamic.verdict == "not tried"
    assert dynamic.why.endswith("kept the budget before its turn came.")


@pytest.mark.parametrize("place", range(len(LAYERS)))
def test_search_leaves_the_fewest_layers_in_float(world: Open, place: int) -> None:
    order = world(nothing).order
    here = world(needs(order[place]))
    choice = here.choose()
    if place + 1 == len(LAYERS):  # all of them would have to be float
        assert chosen(choice).recipe.precision == "fp16"
        return
    assert choice.damages
    kept = chosen(choice).recipe.float_nodes
    assert order[place] in kept
    cuts = choose_cuts(len(LAYERS), 2)
    least = next(cut for cut in cuts if cut > place)
    assert set(kept) <= set(order[:least])
    assert here.allowance.used <= 7
    # All that kept the budget with more in float are told, and not chosen.
    kept_too = [t for t in tried(choice, "int8") if t.verdict == "behind" and t.recipe.float_nodes]
    assert all(len(t.recipe.float_nodes) >= len(kept) for t in kept_too)


def test_what_chose_the_layers_does_not_judge_them(world: Open) -> None:
    here = world(needs(world(nothing).order[0]))
    choice = here.choose()
    judge, final = here.judge, chosen(choice)
    probes = [first for seen, first in judge.asked if seen.precision == "int8"][1:]
    assert probes
    assert all(first is judge.search for first in probes)
    assert final.numbers is judge.holdout
    candidate = to_candidate(final, judge)
    assert candidate.score is not None
    assert candidate.score.samples == len(judge.holdout)
    assert any("others judge" in line for line in choice.explanations)


def test_choice_that_fails_on_the_holdout_makes_way_for_the_next_kind(world: Open) -> None:
    def loss(seen: Seen) -> float | tuple[float, float]:
        if seen.precision == "int8":
            return 0.1 if len(seen.int8) == len(LAYERS) else (0.0, 0.1)
        return 0.1 * (seen.precision == "dynamic")

    here = world(loss)
    choice = here.choose()
    assert chosen(choice).recipe.precision == "fp16"
    failed = [t for t in tried(choice, "int8") if "not on the others" in t.why]
    assert [t.verdict for t in failed] == ["missed"]
    assert failed[0].numbers is here.judge.holdout


def scripted(order: Sequence[str]) -> Callable[..., list[Damage]]:
    """Return damages that put the layers into an order."""
    return lambda *_: [
        Damage(name, "Gemm", 10.0 + number, 100, kept_float=False)
        for number, name in enumerate(order)
    ]


def test_repair_gives_back_the_layers_that_were_left_in_float_for_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The order is wrong: before the layer that needs it stand two that do not.
    monkeypatch.setattr(ranking, "measure_damage", scripted(LAYERS))
    monkeypatch.setattr(selection, "ALLOWED_LOSS_DB", 12.0)
    here = World(*calibrate(tmp_path, "c"), needs("c"))
    choice = here.choose()
    assert chosen(choice).recipe.float_nodes == ("c",)
    assert chosen(choice).verdict == "chosen"
    (wider,) = [t for t in tried(choice, "int8") if t.verdict == "behind" and t.marks]
    assert wider.why == "It keeps the budget, with more in float than is needed."
    assert here.allowance.used <= 7


def test_repair_that_goes_too_far_is_taken_back(
    world: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranking, "measure_damage", scripted(LAYERS))
    monkeypatch.setattr(selection, "ALLOWED_LOSS_DB", 1000.0)  # all are given back
    here = world(needs("b"))
    choice = here.choose()
    kept = chosen(choice).recipe.float_nodes
    assert "b" in kept
    assert len(kept) >= 2
    assert here.allowance.used <= 7


def test_when_nothing_small_is_good_enough_float_keeps_every_budget(world: Open) -> None:
    here = world(everything)
    choice = here.choose()
    assert chosen(choice).recipe.precision == "float"
    assert chosen(choice).verdict == "kept"
    assert chosen(choice).marks is here.judge.float_marks
    assert verdicts(choice)["fp16"] == ["missed"]
    assert here.allowance.used <= 7


# Time


def test_what_is_slower_than_float_is_dropped(world: Open) -> None:
    here = world(nothing)
    here.times(dict.fromkeys(statics(here.model), 1.5) | {DYNAMIC: 2.0})
    choice = here.choose()
    assert verdicts(choice)["int8"] == ["slower", "slower"]
    assert verdicts(choice)["dynamic"] == ["slower"]
    assert chosen(choice).recipe.precision == "fp16"
    assert tried(choice, "int8")[0].why == "It takes 1.50 of float's time."
    assert here.allowance.used == 2


def test_what_is_slower_is_kept_where_it_is_asked_for(world: Open) -> None:
    here = world(nothing)
    here.times(dict.fromkeys(statics(here.model), 1.5))
    choice = here.choose("int8")
    assert chosen(choice).recipe.precision == "int8"
    pace = chosen(choice).pace
    assert pace is not None
    assert pace.ratio == 1.5


def test_the_slower_shape_of_graph_alone_is_dropped(world: Open) -> None:
    here = world(nothing)
    slow = [r for r in statics(here.model) if r.scope == "all operators"]
    here.times({r: 1.5 if r in slow else 0.5 for r in statics(here.model)})
    choice = here.choose()
    assert chosen(choice).recipe.scope == "weighted operators"
    assert verdicts(choice)["int8"].count("slower") == 1


def test_files_that_a_board_has_not_run_are_not_called_slow(world: Open) -> None:
    choice = world(nothing).choose()
    assert all(t.pace is None for t in choice.tried)
    assert to_candidate(chosen(choice), world(nothing).judge).latency_ratio is None


def test_dynamic_int8_that_gains_nothing_over_float16_costs_no_pass(
    world: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selection, "GAIN", 0.62)
    here = world(when("int8"))
    choice = here.choose()
    (dynamic,) = tried(choice, "dynamic")
    assert dynamic.verdict == "behind"
    assert "float16 weights take" in dynamic.why
    assert chosen(choice).recipe.precision == "fp16"


# Forced kinds


@pytest.mark.parametrize("precision", ["int8", "dynamic", "fp16", "float"])
def test_the_kind_that_is_asked_for_is_the_only_one(world: Open, precision: Precision) -> None:
    choice = world(nothing).choose(precision)
    assert chosen(choice).recipe.precision == precision
    assert {t.recipe.precision for t in choice.tried} == {precision}


@pytest.mark.parametrize("precision", ["int8", "dynamic", "fp16"])
def test_the_kind_that_is_asked_for_may_miss(world: Open, precision: Precision) -> None:
    here = world(everything)
    choice = here.choose(precision)
    assert choice.chosen is None
    assert {t.recipe.precision for t in choice.tried} == {precision}
    assert "missed" in {t.verdict for t in choice.tried}
    assert here.allowance.used <= 7


def test_int8_that_is_asked_for_is_searched_even_where_it_is_slow(world: Open) -> None:
    here = world(needs("c"))
    order = here.order
    recipes = [
        msgspec.structs.replace(recipe, float_nodes=tuple(sorted(order[:cut])))
        for recipe in statics(here.model)
        for cut in range(len(LAYERS))
    ]
    here.times(dict.fromkeys(recipes, 1.5))
    choice = here.choose("int8")
    assert "c" in chosen(choice).recipe.float_nodes


def test_boards_that_gain_from_float16_get_it_first(world: Open) -> None:
    choice = world(nothing).choose(target="jetson-orin")
    assert chosen(choice).recipe.precision == "fp16"
    assert len(choice.tried) == 1
    assert choice.explanations[0].startswith("jetson-orin: fp16 comes first: published TensorRT")


# Passes


LOSSES: dict[str, Loss] = {
    "nothing loses": nothing,
    "all lose": everything,
    "static loses": when("int8"),
    "one layer loses": needs("c"),
    "many layers lose": needs(*LAYERS[:5]),
    "the holdout loses": lambda seen: (0.1 * (len(seen.int8) == 6), 0.1),
}


@pytest.mark.parametrize("same_size", [0.1, 10.0])
@pytest.mark.parametrize("name", LOSSES)
def test_two_formats_take_seven_passes_at_most(
    calibrated: tuple[FloatModel, Parity],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    same_size: float,
) -> None:
    monkeypatch.setattr(selection, "SAME_SIZE", same_size)
    monkeypatch.setattr(ranking, "measure_damage", scripted(LAYERS))
    first = World(*calibrated, LOSSES[name])
    one = first.choose(reserve=2)
    assert first.allowance.left >= 2
    # The second format finds the same judge, with what is left.
    other = World(*calibrated, LOSSES[name])
    other.judge = first.judge
    two = other.choose(float_nodes=chosen(one).recipe.float_nodes)
    assert first.allowance.used <= 7
    assert first.allowance.left >= 0
    assert chosen(two).marks is not None


@pytest.mark.parametrize("same_size", [0.1, 10.0])
def test_a_pass_is_left_for_float16_in_both_formats(
    calibrated: tuple[FloatModel, Parity], monkeypatch: pytest.MonkeyPatch, same_size: float
) -> None:
    monkeypatch.setattr(selection, "SAME_SIZE", same_size)
    monkeypatch.setattr(ranking, "measure_damage", scripted(LAYERS))
    first, other = (World(*calibrated, needs(*LAYERS)) for _ in range(2))
    assert chosen(first.choose(reserve=2)).recipe.precision == "fp16"
    other.judge = first.judge
    assert chosen(other.choose()).recipe.precision == "fp16"
    assert first.allowance.used == 7


def test_a_kind_for_which_no_pass_is_left_says_so(world: Open) -> None:
    here = world(nothing, passes=1)
    choice = here.choose()
    assert chosen(choice).recipe.precision == "float"
    assert here.allowance.used == 1
    (half,) = tried(choice, "fp16")
    assert (half.verdict, half.why) == ("not tried", "No labelled pass was left for it after 1.")


def test_layers_that_another_format_left_in_float_are_judged_by_the_holdout(world: Open) -> None:
    here = world(needs("c"))
    choice = here.choose(float_nodes=("c", "d"))
    assert chosen(choice).recipe.float_nodes == ("c", "d")
    assert here.judge.asked[0][1] is here.judge.search
    assert chosen(choice).numbers is here.judge.holdout
    assert here.allowance.used == 2


# Emitters that fail


def test_recipe_that_gives_no_file_is_told(world: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(model: FloatModel, recipe: Recipe) -> bytes:
        if recipe.precision == "int8":
            raise ModelRefused("onnxruntime cannot quantize it: no")
        return emit(model, recipe)

    monkeypatch.setattr(ranking, "emit", fail)
    choice = world(nothing).choose()
    assert verdicts(choice)["int8"] == ["failed", "failed"]
    failed = tried(choice, "int8")[0]
    assert (failed.data, failed.why) == (None, "onnxruntime cannot quantize it: no.")
    assert to_candidate(failed, world(nothing).judge).bytes is None
    assert chosen(choice).recipe.precision == "dynamic"


def test_ranking_without_labels_takes_the_least_noise(
    calibrated: tuple[FloatModel, Parity], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, parity = calibrated
    best = rank_statically(model, statics(model), parity)
    assert best == chosen(World(model, parity, nothing).choose()).recipe

    def fail(*_: Any) -> bytes:
        raise ModelRefused("no")

    monkeypatch.setattr(ranking, "emit", fail)
    with pytest.raises(ModelRefused, match=r"m\.onnx: no$"):
        rank_statically(model, statics(model), parity)
