"""The choice for one format: candidates are ranked without labels, and the leader is judged.

Kinds of precision come in turns, the smallest first; within static int8 the least noise leads. What
is slower than float is dropped, what loses too much is repaired by leaving nodes in float, and
where nothing keeps the budget the next kind has its turn. Float keeps every budget.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from math import inf, isfinite
from typing import Final

import msgspec

from convert.choice.latency import Pace, Profile, compare_pace, look_up
from convert.choice.recipes import FloatModel, Recipe, emit, static_recipes
from convert.choice.search import Bisection, choose_cuts, order_nodes, repair
from convert.choice.sensitivity import measure_damage, quality
from convert.findings import Candidate, Damage, Precision, Verdict
from convert.judgement.judge import Judge
from convert.judgement.marks import Marks, Numbers, samples_to_prove, within
from convert.parity import Parity, run_model
from convert.progress import Progress
from convert.targets import Target
from edge_bundle.errors import ModelRefused
from edge_bundle.tensor import Array, Float32Array

TIERS: Final[tuple[Precision, ...]] = ("int8", "dynamic", "fp16", "float")
ALLOWED_LOSS_DB: Final = 0.2
"""That repair may cost when it gives a node back to int8."""
GAIN: Final = 0.95
"""Of float16's bytes or of float's time: less than this is worth another kind's noise."""
HOPELESS_DB: Final = 10.0
"""Of signal to noise: with less no labelled pass is spent."""
SAME_SIZE: Final = 1.1
"""Of static int8's bytes: a file that is no larger than this is as small."""
MOST_PROBES: Final = 3


@dataclass(slots=True)
class Tried:
    """One file and what is known of it so far."""

    recipe: Recipe
    data: bytes | None = None
    sqnr_db: float = -inf
    pace: Pace | None = None
    marks: Marks | None = None
    verdict: Verdict = "not tried"
    why: str = ""
    numbers: Numbers | None = None
    """Samples that judge it; all where None."""


@dataclass(slots=True)
class Choice:
    """What was chosen for one format, and all that was tried."""

    chosen: Tried | None
    tried: list[Tried]
    damages: list[Damage] = field(default_factory=list)
    explanations: list[str] = field(default_factory=list)
    searched: bool = False
    """Whether labels chose between models, so that only the holdout may judge."""


class Selection:
    """Chooses for one format."""

    def __init__(
        self,
        model: FloatModel,
        target: Target,
        judge: Judge,
        inputs: Sequence[Array],
        expected: Sequence[Float32Array],
        profile: Profile | None,
        progress: Progress,
    ) -> None:
        """Take what a choice depends on.

        Args:
            model: in the format, calibrated where int8 is wanted.
            target: what it is for.
            judge: of labelled samples.
            inputs: some calibration samples, to rank by without labels.
            expected: what float gives for them.
            profile: a board's latencies; None: they are measured here.
            progress: told what begins.
        """
        self._model = model
        self._target = target
        self._judge = judge
        self._inputs = inputs
        self._expected = expected
        self._profile = profile
        self._progress = progress
        self._float = emit(model, Recipe(model.format, "float"))
        self._choice = Choice(None, [])
        self._ranked: dict[Precision, list[Tried]] = {}
        self._forced = False

    def choose(
        self, precision: Precision | None, float_nodes: Sequence[str], reserve: int
    ) -> Choice:
        """Return the choice.

        Args:
            precision: the one that is asked for; None: whichever is best.
            float_nodes: that another format's search has left in float.
            reserve: labelled passes to leave for other formats.
        """
        choice, form = self._choice, self._model.format
        self._forced = precision is not None
        for tier in self._tiers(precision):
            candidates = self._rank(tier, float_nodes)
            if not candidates:
                continue
            if self._judge_tier(candidates, reserve):
                break
            if tier == "int8" and self._repair_leader(candidates[0], reserve):
                break
        for tried in choice.tried:
            if not tried.why and choice.chosen is not None:
                tried.why = f"{choice.chosen.recipe.words()} kept the budget before its turn came."
        if choice.chosen is None and precision is None:
            raise ModelRefused(f"{form}: not even float runs")  # pragma: no cover - it just ran
        return choice

    def _judge_tier(self, candidates: Sequence[Tried], reserve: int) -> bool:
        """Judge the first of one kind; return whether it is chosen.

        Args:
            candidates: the best first.
            reserve: labelled passes to leave for other formats.
        """
        leader = candidates[0]
        for other in candidates[1:]:
            other.verdict, other.why = "behind", self._behind(other, leader)
        return self._judge_leader(leader, reserve)

    def _repair_leader(self, leader: Tried, reserve: int) -> bool:
        """Try what can be done about static int8 that loses too much.

        Args:
            leader: that lost.
            reserve: labelled passes to leave for other formats.
        """
        # Ranges found at run time cost no bytes; nodes in float do.
        if not self._forced and (dynamic := self._rank("dynamic", ())):
            assert leader.data is not None
            assert dynamic[0].data is not None
            small = len(dynamic[0].data) <= SAME_SIZE * len(leader.data)
            if small and self._judge_tier(dynamic, reserve):
                return True
        return self._search(leader, reserve + self._kept_for_fp16("int8"))

    def _kept_for_fp16(self, tier: Precision) -> int:
        """Return how many labelled passes must be left when one of a kind is judged."""
        return int(not self._forced and tier in {"int8", "dynamic"})

    def _tiers(self, precision: Precision | None) -> Sequence[Precision]:
        if precision is not None:
            return (precision,)
        if self._target.precision == "fp16":
            self._choice.explanations.append(
                f"{self._target.name}: fp16 comes first: {self._target.why}."
            )
            return ("fp16", "float")
        return TIERS

    def _rank(self, tier: Precision, float_nodes: Sequence[str]) -> list[Tried]:
        """Return the candidates of one kind that may lead, the best first; none judged before."""
        if tier not in self._ranked:
            self._ranked[tier] = self._emit_all(tier, float_nodes)
        return [tried for tried in self._ranked[tier] if tried.verdict == "not tried"]

    def _emit_all(self, tier: Precision, float_nodes: Sequence[str]) -> list[Tried]:
        form = self._model.format
        recipes = [Recipe(form, tier)]
        if tier == "dynamic" and self._model.by_rows:
            recipes.append(Recipe(form, tier, by_rows=True))
        if tier == "int8":
            recipes = [
                msgspec.structs.replace(r, float_nodes=tuple(float_nodes))
                for r in static_recipes(self._model, self._target)
            ]
            self._progress(f"trying {len(recipes)} ways of static int8 in {form}")
        if not recipes:
            self._choice.explanations.append(
                f"{form}: static int8 was not tried: it needs --calibration."
            )
            return []
        tried = [self._emit(recipe) for recipe in recipes]
        running = sorted(
            (t for t in tried if t.data is not None), key=lambda t: -_rank_key(t.sqnr_db)
        )
        if tier in {"fp16", "float"}:
            for one in running:
                one.pace = self._time(one)
            return running
        return self._drop_slow(running)

    def _emit(self, recipe: Recipe) -> Tried:
        tried = Tried(recipe)
        self._choice.tried.append(tried)
        try:
            tried.data = emit(self._model, recipe)
            found = run_model(tried.data, recipe.format, self._inputs)
            tried.sqnr_db = quality(found, self._expected)
        except ModelRefused as error:
            tried.data, tried.verdict, tried.why = None, "failed", f"{error}."
        return tried

    def _drop_slow(self, running: Sequence[Tried]) -> list[Tried]:
        """Time one of each shape of graph; the same graph with other ranges takes as long."""
        paces: dict[object, Pace | None] = {}
        kept = []
        for one in running:
            shape = one.recipe.scope, one.recipe.by_rows
            if shape not in paces:
                paces[shape] = self._time(one)
            one.pace = pace = paces[shape]
            if one.sqnr_db < HOPELESS_DB and not self._forced:
                one.verdict = "missed"
                one.why = f"{_decibels(one.sqnr_db)}: its outputs are mostly noise."
            elif pace is not None and pace.slower and not self._forced:
                one.verdict = "slower"
                one.why = f"It takes {pace.ratio:.2f} of float's time."
            else:
                kept.append(one)
        return kept

    def _time(self, tried: Tried) -> Pace | None:
        assert tried.data is not None
        form = self._model.format
        if self._profile is not None:
            reference = sha256(self._float).hexdigest()
            return look_up(self._profile, reference, sha256(tried.data).hexdigest())
        data = tried.data
        if form == "onnx" and self._needs_stand_in(tried.recipe):
            # int8 activations are right on the target, and slow on the machine that measures.
            data = emit(self._model, msgspec.structs.replace(tried.recipe, activations="uint8"))
        return compare_pace((self._float, form), (data, form), self._inputs)

    def _needs_stand_in(self, recipe: Recipe) -> bool:
        from convert.targets import HOST, read_target

        return recipe.activations == "int8" and read_target(HOST).activations == "uint8"

    def _judge_leader(self, leader: Tried, reserve: int) -> bool:
        """Mark the leader; return whether it is chosen."""
        judge = self._judge
        if leader.recipe.precision == "float":
            leader.marks = judge.float_marks
            return self._take(leader, "kept", "It is the model that was given.")
        if not self._is_worth_it(leader):
            return False
        if judge.allowance.left <= reserve + self._kept_for_fp16(leader.recipe.precision):
            leader.why = f"No labelled pass was left for it after {judge.allowance.used}."
            return False
        self._progress(
            f"judging {leader.recipe.variant} ({leader.recipe.words()}) "
            f"on {len(judge.samples)} samples"
        )
        assert leader.data is not None
        if leader.recipe.float_nodes:
            # Labels chose these nodes, for another format.
            leader.numbers = judge.holdout
        leader.marks = judge.mark(leader.data, self._model.format, leader.numbers)
        if leader.marks is None:
            leader.verdict = "missed"
            leader.why = (
                f"It loses more than {judge.max_drop:.2%}, whatever the samples that were "
                "not run any more would bring."
            )
            return False
        if within(judge.compare(leader.marks, leader.numbers), judge.max_drop):
            return self._take(leader, "chosen", self._praise(leader))
        leader.verdict, leader.why = "missed", self._lost(leader)
        return False

    def _is_worth_it(self, tried: Tried) -> bool:
        """Ask of dynamic int8 alone: it may be little smaller than float16, and no faster."""
        if tried.recipe.precision != "dynamic" or tried.data is None:
            return True
        half = emit(self._model, Recipe(self._model.format, "fp16"))
        ratio = tried.pace.ratio if tried.pace else 1.0
        if len(tried.data) <= GAIN * len(half) or ratio <= GAIN:
            return True
        tried.verdict = "behind"
        tried.why = (
            f"float16 weights take {len(half):,} bytes, which it does not beat by 5 %, "
            f"and it takes {ratio:.2f} of float's time."
        )
        return False

    def _search(self, leader: Tried, reserve: int) -> bool:
        """Leave the fewest nodes in float that keep the budget; return whether some do."""
        judge, choice = self._judge, self._choice
        passes = min(MOST_PROBES, judge.allowance.left - reserve)
        choice.damages = self.measure_damage(leader.recipe)
        order = order_nodes(choice.damages)
        if passes < 1 or len(order) < 2:
            return False
        choice.searched = True
        choice.explanations.append(
            f"{self._model.format}: int8 alone misses the budget, so nodes are left in float by "
            f"damage over bytes; {len(judge.search)} evaluation samples choose how many, "
            f"{len(judge.holdout)} others judge."
        )
        best: Tried | None = None
        # One pass is for repair.
        bisection = Bisection(choose_cuts(len(order), max(1, passes - (passes > 2))))
        while (cut := bisection.ask()) is not None and judge.allowance.left > reserve:
            probe = self._probe(leader.recipe, order[:cut])
            good = probe is not None and self._keeps(probe)
            if good:
                best = probe
            bisection.tell(good)
        if best is None:
            return False
        best = self._repair(leader.recipe, best, reserve)
        best.numbers = judge.holdout
        assert best.marks is not None
        if within(judge.compare(best.marks, judge.holdout), judge.max_drop):
            return self._take(best, "chosen", self._praise(best))
        best.verdict = "missed"
        best.why = "It kept the budget on the samples that chose it, and not on the others."
        return False

    def _probe(self, recipe: Recipe, nodes: Sequence[str]) -> Tried | None:
        made = self._emit(msgspec.structs.replace(recipe, float_nodes=tuple(sorted(nodes))))
        if made.data is None:
            return None
        made.pace = self._time(made)
        if made.pace is not None and made.pace.slower and not self._forced:
            made.verdict = "slower"
            made.why = f"It takes {made.pace.ratio:.2f} of float's time."
            return None
        self._progress(f"judging int8 with {len(nodes)} nodes in float")
        made.marks = self._judge.mark(made.data, self._model.format, self._judge.search)
        return made

    def _keeps(self, probe: Tried) -> bool:
        judge = self._judge
        kept = probe.marks is not None and within(
            judge.compare(probe.marks, judge.search), judge.max_drop
        )
        probe.verdict = "behind" if kept else "missed"
        probe.why = (
            "It keeps the budget, with more in float than is needed."
            if kept
            else "It misses the budget on the samples that choose."
        )
        return kept

    def _repair(self, recipe: Recipe, best: Tried, reserve: int) -> Tried:
        """Give nodes back to int8 that were left in float for nothing."""
        kept = best.recipe.float_nodes
        if len(kept) < 2 or self._judge.allowance.left <= reserve:
            return best

        def measure(nodes: Sequence[str]) -> float:
            made = emit(
                self._model, msgspec.structs.replace(recipe, float_nodes=tuple(sorted(nodes)))
            )
            return quality(run_model(made, self._model.format, self._inputs), self._expected)

        ranked = [n for n in order_nodes(self._choice.damages) if n in kept]
        needed = repair(ranked, measure, ALLOWED_LOSS_DB)
        if len(needed) == len(kept):
            return best
        probe = self._probe(recipe, needed)
        return probe if probe is not None and self._keeps(probe) else best

    def measure_damage(self, recipe: Recipe) -> list[Damage]:
        """Return what int8 does node by node."""
        self._progress("measuring which nodes int8 hurts")
        return measure_damage(self._model, recipe, self._inputs, self._expected, self._progress)

    def _take(self, tried: Tried, verdict: Verdict, why: str) -> bool:
        tried.verdict, tried.why = verdict, why
        self._choice.chosen = tried
        return True

    def _behind(self, other: Tried, leader: Tried) -> str:
        return (
            f"{_decibels(other.sqnr_db)} of signal to noise, the leader has "
            f"{_decibels(leader.sqnr_db)}."
        )

    def _praise(self, tried: Tried) -> str:
        assert tried.marks is not None
        judge = self._judge
        numbers = judge.everything if tried.numbers is None else tried.numbers
        difference = judge.compare(tried.marks, numbers)
        words = f"It keeps the budget of {judge.max_drop:.2%}: {difference.value:+.2%}"
        if difference.proven:
            return f"{words}, proven by the interval."
        needed = samples_to_prove(difference, len(numbers), judge.max_drop)
        if needed is None:
            return f"{words}, just so; no number of samples like these would prove it."
        return (
            f"{words}; about {needed:,} samples like these would prove it, "
            f"there are {len(numbers):,}."
        )

    def _lost(self, tried: Tried) -> str:
        assert tried.marks is not None
        difference = self._judge.compare(tried.marks, tried.numbers)
        return f"It loses {-difference.value:.2%}, at most {self._judge.max_drop:.2%} may be lost."


def rank_statically(model: FloatModel, recipes: Sequence[Recipe], parity: Parity) -> Recipe:
    """Return the recipe with the least noise in the outputs, without labels.

    Raises: ModelRefused: where none gives a file that runs.
    """
    found, refusals = [], []
    for recipe in recipes:
        try:
            outputs = run_model(emit(model, recipe), model.format, parity.inputs)
            found.append((_rank_key(quality(outputs, parity.found)), recipe))
        except ModelRefused as error:
            refusals.append(str(error))
    if not found:
        raise ModelRefused(f"{parity.source.path}: {refusals[0]}")
    return max(found, key=lambda pair: pair[0])[1]


def to_candidate(tried: Tried, judge: Judge) -> Candidate:
    """Return a tried file as a report shows it."""
    pace, marks = tried.pace, tried.marks
    data = tried.data
    numbers = judge.everything if tried.numbers is None else tried.numbers
    return Candidate(
        format=tried.recipe.format,
        precision=tried.recipe.precision,
        recipe=tried.recipe.words(),
        verdict=tried.verdict,
        why=tried.why,
        bytes=None if data is None else len(data),
        sha256=None if data is None else sha256(data).hexdigest(),
        latency_us=None if pace is None else round(pace.latency_us, 2),
        latency_ratio=None if pace is None else round(pace.ratio, 4),
        sqnr_db=round(tried.sqnr_db, 2) if isfinite(tried.sqnr_db) else None,
        score=None if marks is None else judge.score(marks, numbers),
        difference=None if marks is None else judge.compare(marks, numbers),
        float_nodes=tried.recipe.float_nodes,
    )


def _rank_key(sqnr_db: float) -> float:
    return sqnr_db if isfinite(sqnr_db) or sqnr_db < 0 else 1e9


def _decibels(value: float) -> str:
    return f"{value:.1f} dB" if isfinite(value) else "no noise" if value > 0 else "no signal"
