"""The choice for one format: what keeps the budget, the best first, judged when it is asked for.

Kinds of precision come in turns, the smallest first; within static int8 the least noise leads. What
is slower than float is dropped, what loses too much is repaired by leaving nodes in float, and
where nothing keeps the budget the next kind has its turn. Float keeps every budget.
"""

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from convert.choice.ranking import Ranking
from convert.choice.recipes import Recipe, emit
from convert.choice.search import Bisection, choose_cuts, order_nodes, repair
from convert.choice.sensitivity import find_nodes
from convert.choice.tried import Choice, Tried, say_decibels
from convert.findings import Precision
from convert.judgement.judge import Judge
from convert.judgement.marks import samples_to_prove
from convert.progress import Progress
from convert.report.wording import say_budget, say_points

TIERS: Final[tuple[Precision, ...]] = ("int8", "dynamic", "fp16", "float")
ALLOWED_LOSS_DB: Final = 0.2
"""That repair may cost when it gives a node back to int8."""
GAIN: Final = 0.95
"""Of float16's bytes or of float's time: less than this is worth another kind's noise."""
OTHERS: Final[dict[Precision, str]] = {"fp16": "float16 weights", "float": "float32 weights"}
SAME_SIZE: Final = 1.1
"""Of static int8's bytes: a file that is no larger than this is as small."""
MOST_PROBES: Final = 3
MOST_SHOWN: Final = 64
"""Nodes that are measured for the report alone."""


class Selection:
    """Chooses for one format."""

    def __init__(
        self, ranking: Ranking, judge: Judge, progress: Progress, precision: Precision | None = None
    ) -> None:
        """Take what a choice depends on.

        Args:
            ranking: of the format's candidates.
            judge: of labelled samples.
            progress: told what begins.
            precision: the one that is asked for; None: whichever is best.
        """
        self._ranking = ranking
        self._model = ranking.model
        self._judge = judge
        self._progress = progress
        self._precision = precision
        self._choice = Choice(None, ranking.tried, explanations=ranking.explanations)
        self._kept: list[Tried] = []
        self._rest = self._find()
        self._beside: Tried | None = None
        self._float_nodes: Sequence[str] = ()
        self.reserve = 0
        """Labelled passes to leave for other formats."""

    def keepers(self, beside: Tried | None = None) -> Iterator[Tried]:
        """Give what keeps the budget, the best first. Asked again, nothing is judged twice.

        Args:
            beside: what was chosen for another format: the nodes that its search has left in float
                stay so here, and its recipe is tried where the leader does not stand beside it.
        """
        self._beside = beside
        if beside is not None:
            self._float_nodes = beside.recipe.float_nodes
        yield from tuple(self._kept)
        for tried in self._rest:
            self._kept.append(tried)
            yield tried

    def finish(self, chosen: Tried | None) -> Choice:
        """Return the choice, with a verdict and a reason for all that was tried."""
        choice = self._choice
        choice.chosen = chosen
        if chosen is not None:
            is_float = chosen.recipe.precision == "float"
            chosen.verdict = "kept" if is_float else "chosen"
            chosen.why = (
                "It is the model that was given, in its plain form."
                if is_float
                else self._praise(chosen)
            )
        for tried in choice.tried:
            if not tried.why:
                tried.why = (
                    f"{chosen.recipe.words()} kept the budget before its turn came."
                    if chosen is not None
                    else "Its turn did not come."
                )
        return choice

    def show_damage(self) -> None:
        """Measure for the report which nodes int8 hurts, where a search has not needed to know."""
        chosen = self._choice.chosen
        if chosen is None or chosen.recipe.precision != "int8" or self._choice.damages:
            return
        if len(nodes := find_nodes(self._model)) > MOST_SHOWN:
            self._choice.explanations.append(
                f"{self._model.format}: which of its {len(nodes)} nodes int8 hurts was not "
                "measured, as nothing depended on it: edge-convert sensitivity does."
            )
            return
        self._choice.damages = self._ranking.measure_damage(chosen.recipe)

    def _find(self) -> Iterator[Tried]:
        for tier in self._tiers():
            candidates = self._ranking.rank(tier, self._float_nodes)
            if not candidates:
                continue
            leader, *others = candidates
            for other in others:
                other.verdict = "behind"
                other.why = (
                    "It is the leader's file, byte for byte."
                    if other.data == leader.data
                    else f"{say_decibels(other.sqnr_db)} of signal to noise, the leader has "
                    f"{say_decibels(leader.sqnr_db)}."
                )
            keeps = self._judge_leader(leader)
            if keeps:
                yield leader
            if tier == "int8":
                if (twin := self._find_twin(others)) is not None and self._judge_leader(twin):
                    yield twin
                elif not keeps:
                    yield from self._repair_leader(leader)

    def _find_twin(self, others: Sequence[Tried]) -> Tried | None:
        """Return the recipe that another format was given, with which both answer alike."""
        if self._beside is None:
            return None
        recipe = self._beside.recipe
        return next(
            (
                t
                for t in others
                if (t.recipe.ranges, t.recipe.scope) == (recipe.ranges, recipe.scope)
            ),
            None,
        )

    def _repair_leader(self, leader: Tried) -> Iterator[Tried]:
        """Try what can be done about static int8 that loses too much."""
        # Ranges found at run time cost no bytes; nodes in float do.
        if not self._ranking.forced and (dynamic := self._ranking.rank("dynamic", ())):
            assert leader.data is not None
            assert dynamic[0].data is not None
            small = len(dynamic[0].data) <= SAME_SIZE * len(leader.data)
            if small and self._judge_leader(dynamic[0]):
                yield dynamic[0]
                return
        if (found := self._search(leader)) is not None:
            yield found

    def _tiers(self) -> Sequence[Precision]:
        if self._precision is not None:
            return (self._precision,)
        if self._ranking.target.precision == "fp16":
            self._choice.explanations.append(
                f"{self._ranking.target.name}: fp16 comes first: {self._ranking.target.why}."
            )
            return ("fp16", "float")
        return TIERS

    def _left(self, tier: Precision) -> int:
        """Return the labelled passes that one of a kind may take: float16 keeps one, others too."""
        kept = int(not self._ranking.forced and tier in {"int8", "dynamic"})
        return self._judge.allowance.left - self.reserve - kept

    def _judge_leader(self, leader: Tried) -> bool:
        """Mark the leader; return whether it keeps the budget."""
        judge = self._judge
        # Where labels have chosen what comes up now (or its nodes, for another format), one half
        # of the samples accepts it and the other one judges it.
        chosen_by_labels = judge.rejected or bool(leader.recipe.float_nodes)
        parts = (judge.search, judge.holdout) if chosen_by_labels else (judge.everything,)
        leader.numbers = parts[-1] if chosen_by_labels else None
        if leader.recipe.precision == "float":
            leader.marks = judge.float_marks
            return True
        if not self._is_worth_it(leader):
            return False
        if self._left(leader.recipe.precision) < 1:
            leader.verdict = "not tried"
            leader.why = f"No labelled pass was left for it after {judge.allowance.used}."
            return False
        self._progress(
            f"judging {leader.recipe.variant} ({leader.recipe.words()}) "
            f"on {len(judge.samples)} samples"
        )
        assert leader.data is not None
        leader.marks = judge.mark(leader.data, self._model.format, parts[0])
        budget = say_budget(judge.max_drop)
        if leader.marks is None:
            leader.why = (
                f"It loses more than {budget}, whatever the samples that were not run any more "
                "would bring."
            )
        else:
            for part in parts:
                difference = judge.compare(leader.marks, part)
                if not difference.within:
                    lost = say_points(-difference.value).lstrip("+")
                    leader.numbers = part
                    leader.why = f"It loses {lost} points; at most {budget} may be lost."
                    break
            else:
                return True
        leader.verdict, judge.rejected = "missed", True
        return False

    def _is_worth_it(self, tried: Tried) -> bool:
        """Ask of what nobody asked for: it must be smaller or faster than what loses less."""
        tier = tried.recipe.precision
        if self._ranking.forced or tried.data is None:
            return True
        other: Precision = "float" if tier == "fp16" else "fp16"
        data = emit(self._model, Recipe(self._model.format, other))
        ratio = tried.pace.ratio if tried.pace else 1.0
        if len(tried.data) <= GAIN * len(data) or ratio <= GAIN:
            return True
        tried.verdict = "behind"
        tried.why = (
            f"{OTHERS[other]} take {len(data):,} bytes, which its {len(tried.data):,} do not beat "
            f"by 5 %, and it takes {ratio:.2f} of float's time."
        )
        return False

    def _search(self, leader: Tried) -> Tried | None:
        """Leave the fewest nodes in float that keep the budget; None where none do."""
        judge, choice = self._judge, self._choice
        passes = min(MOST_PROBES, self._left("int8"))
        choice.damages = self._ranking.measure_damage(leader.recipe)
        order = order_nodes(choice.damages)
        if passes < 1 or len(order) < 2:
            return None
        judge.rejected = True
        choice.explanations.append(
            f"{self._model.format}: int8 alone misses the budget, so nodes are left in float by "
            f"damage over bytes; {len(judge.search)} evaluation samples choose how many, "
            f"{len(judge.holdout)} others judge."
        )
        best: Tried | None = None
        # One pass is for repair.
        bisection = Bisection(choose_cuts(len(order), max(1, passes - (passes > 2))))
        while (cut := bisection.ask()) is not None and self._left("int8") > 0:
            probe = self._probe(leader.recipe, order[:cut])
            good = probe is not None and self._keeps(probe)
            if good:
                best = probe
            bisection.tell(good)
        if best is None:
            return None
        best = self._repair(leader.recipe, best)
        best.numbers = judge.holdout
        assert best.marks is not None
        if judge.compare(best.marks, judge.holdout).within:
            return best
        best.verdict = "missed"
        best.why = "It kept the budget on the samples that chose it, and not on the others."
        return None

    def _probe(self, recipe: Recipe, nodes: Sequence[str]) -> Tried | None:
        ranking = self._ranking
        made = ranking.emit(msgspec.structs.replace(recipe, float_nodes=tuple(sorted(nodes))))
        if made.data is None:
            return None
        made.pace = ranking.time(made)
        if ranking.drop_if_slow(made):
            return None
        self._progress(f"judging int8 with {len(nodes)} nodes in float")
        made.numbers = self._judge.search
        made.marks = self._judge.mark(made.data, self._model.format, made.numbers)
        return made

    def _keeps(self, probe: Tried) -> bool:
        judge = self._judge
        kept = probe.marks is not None and judge.compare(probe.marks, judge.search).within
        probe.verdict = "behind" if kept else "missed"
        probe.why = (
            "It keeps the budget, with more in float than is needed."
            if kept
            else "It misses the budget on the samples that choose."
        )
        return kept

    def _repair(self, recipe: Recipe, best: Tried) -> Tried:
        """Give nodes back to int8 that were left in float for nothing."""
        kept = best.recipe.float_nodes
        if len(kept) < 2 or self._left("int8") < 1:
            return best

        def measure(nodes: Sequence[str]) -> float:
            wanted = msgspec.structs.replace(recipe, float_nodes=tuple(sorted(nodes)))
            return self._ranking.measure(emit(self._model, wanted))

        ranked = [n for n in order_nodes(self._choice.damages) if n in kept]
        needed = repair(ranked, measure, ALLOWED_LOSS_DB)
        if len(needed) == len(kept):
            return best
        probe = self._probe(recipe, needed)
        return probe if probe is not None and self._keeps(probe) else best

    def _praise(self, tried: Tried) -> str:
        assert tried.marks is not None
        judge = self._judge
        numbers = judge.everything if tried.numbers is None else tried.numbers
        difference = judge.compare(tried.marks, numbers)
        words = (
            f"{say_points(difference.value)} points keep the budget of {say_budget(judge.max_drop)}"
        )
        if difference.proven:
            return f"{words}, proven by the interval."
        needed = samples_to_prove(difference, len(numbers), judge.max_drop)
        if needed is None:
            return f"{words}, just so; no number of samples like these would prove it."
        return (
            f"{words}; about {needed:,} samples like these would prove it, "
            f"there are {len(numbers):,}."
        )
