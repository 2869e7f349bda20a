"""Candidates of one format, emitted, run and timed: the best first, and no label looked at."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import Final

import msgspec

from convert.choice.latency import Pace, compare_pace, look_up
from convert.choice.recipes import FloatModel, Recipe, emit, static_recipes
from convert.choice.sensitivity import measure_damage, quality
from convert.choice.tried import Tried, say_decibels
from convert.findings import Damage, Precision
from convert.parity import Parity, run_model
from convert.progress import Progress
from convert.targets import HOST, Target, read_target
from edge_bundle.errors import ModelRefused
from edge_bundle.latency import Profile
from edge_bundle.tensor import Array, Float32Array

HOPELESS_DB: Final = 10.0
"""Of signal to noise: with less no labelled pass is spent."""
TIE_DB: Final = 3.0
"""Less than this between two candidates says little on few samples: more are run."""


@dataclass(frozen=True, slots=True)
class Yardstick:
    """Calibration samples that candidates are held against."""

    inputs: Sequence[Array]
    """Some, to rank by."""
    expected: Sequence[Float32Array]
    """What float gives for them, float32 [samples, ...] of each output."""
    more: Sequence[Array] = ()
    """That settle a tie."""


class Ranking:
    """Makes and ranks the candidates of one format."""

    def __init__(
        self,
        model: FloatModel,
        target: Target,
        yardstick: Yardstick,
        profile: Profile | None,
        progress: Progress,
        *,
        forced: bool,
    ) -> None:
        """Take what a rank depends on.

        Args:
            model: in the format, calibrated where int8 is wanted.
            target: what it is for.
            yardstick: samples to run.
            profile: a board's latencies; None: they are measured here.
            progress: told what begins.
            forced: the kind was asked for: nothing is dropped for its speed or its noise.
        """
        self.model = model
        self.target = target
        self.forced = forced
        self.tried: list[Tried] = []
        self.explanations: list[str] = []
        self._yardstick = yardstick
        self._profile = profile
        self._progress = progress
        self._float = emit(model, Recipe(model.format, "float"))
        self._ranked: dict[Precision, list[Tried]] = {}

    def rank(self, tier: Precision, float_nodes: Sequence[str]) -> list[Tried]:
        """Return the candidates of one kind that may lead, the best first; none judged before."""
        if tier not in self._ranked:
            self._ranked[tier] = self._rank(tier, float_nodes)
        return [tried for tried in self._ranked[tier] if tried.verdict == "not tried"]

    def emit(self, recipe: Recipe) -> Tried:
        """Make a candidate and run it; it has no data where there is no file that runs."""
        tried = Tried(recipe)
        self.tried.append(tried)
        try:
            tried.data = emit(self.model, recipe)
            tried.sqnr_db = self.measure(tried.data)
        except ModelRefused as error:
            tried.data, tried.verdict, tried.why = None, "failed", f"{error}."
        return tried

    def measure(self, data: bytes) -> float:
        """Return the SQNR of a file's outputs in decibels."""
        return quality(
            run_model(data, self.model.format, self._yardstick.inputs), self._yardstick.expected
        )

    def measure_damage(self, recipe: Recipe) -> list[Damage]:
        """Return what int8 does node by node."""
        self._progress("measuring which nodes int8 hurts")
        stick = self._yardstick
        return measure_damage(self.model, recipe, stick.inputs, stick.expected, self._progress)

    def time(self, tried: Tried) -> Pace | None:
        """Time a candidate in turns with float; None where a board has not run it."""
        assert tried.data is not None
        form = self.model.format
        if self._profile is not None:
            reference = sha256(self._float).hexdigest()
            return look_up(self._profile, reference, sha256(tried.data).hexdigest())
        data = tried.data
        if form == "onnx" and _needs_stand_in(tried.recipe):
            # int8 activations are right on the target, and slow on the machine that measures.
            data = emit(self.model, msgspec.structs.replace(tried.recipe, activations="uint8"))
        return compare_pace((self._float, form), (data, form), self._yardstick.inputs)

    def drop_if_slow(self, tried: Tried) -> bool:
        """Say so where a candidate that was not asked for takes longer than float."""
        if tried.pace is None or not tried.pace.slower or self.forced:
            return False
        tried.verdict = "slower"
        tried.why = f"It takes {tried.pace.ratio:.2f} of float's time."
        return True

    def _rank(self, tier: Precision, float_nodes: Sequence[str]) -> list[Tried]:
        form = self.model.format
        recipes = [Recipe(form, tier)]
        if tier == "dynamic" and self.model.by_rows:
            recipes.append(Recipe(form, tier, by_rows=True))
        if tier == "int8":
            recipes = [
                msgspec.structs.replace(r, float_nodes=tuple(float_nodes))
                for r in static_recipes(self.model, self.target)
            ]
            self._progress(f"trying {len(recipes)} ways of static int8 in {form}")
        if not recipes:
            self.explanations.append(f"{form}: static int8 was not tried: it needs --calibration.")
            return []
        tried = [self.emit(recipe) for recipe in recipes]
        running = sorted((t for t in tried if t.data is not None), key=_noise)
        if tier in {"fp16", "float"}:
            for one in running:
                one.pace = self.time(one)
            return [one for one in running if tier == "float" or not self.drop_if_slow(one)]
        return self._settle_ties(self._drop_unfit(running))

    def _drop_unfit(self, running: Sequence[Tried]) -> list[Tried]:
        """Time one of each shape of graph; the same graph with other ranges takes as long."""
        paces: dict[object, Pace | None] = {}
        kept = []
        for one in running:
            # A board has timed each file by itself.
            shape = one.recipe if self._profile else (one.recipe.scope, one.recipe.by_rows)
            if shape not in paces:
                paces[shape] = self.time(one)
            one.pace = paces[shape]
            if one.sqnr_db < HOPELESS_DB and not self.forced:
                one.verdict = "missed"
                one.why = f"{say_decibels(one.sqnr_db)}: its outputs are mostly noise."
            elif not self.drop_if_slow(one):
                kept.append(one)
        return kept

    def _settle_ties(self, ranked: Sequence[Tried]) -> list[Tried]:
        """Run what is close to the leader on more samples, and rank it by those."""
        more = self._yardstick.more
        close = [t for t in ranked if ranked[0].sqnr_db - t.sqnr_db < TIE_DB]
        if len(close) < 2 or len(more) <= len(self._yardstick.inputs):
            return list(ranked)
        self._progress(f"ranking the {len(close)} best again, on {len(more)} samples")
        for one in close:
            assert one.data is not None
            found = run_model(one.data, self.model.format, more)
            one.sqnr_db = quality(found, self._more_expected)
        return [*sorted(close, key=_noise), *ranked[len(close) :]]

    @cached_property
    def _more_expected(self) -> Sequence[Float32Array]:
        return run_model(self._float, self.model.format, self._yardstick.more)


def rank_statically(model: FloatModel, recipes: Sequence[Recipe], parity: Parity) -> Recipe:
    """Return the recipe with the least noise in the outputs, without labels.

    Raises: ModelRefused: where none gives a file that runs.
    """
    found, refusals = [], []
    for recipe in recipes:
        try:
            outputs = run_model(emit(model, recipe), model.format, parity.inputs)
            found.append((quality(outputs, parity.found), recipe))
        except ModelRefused as error:
            refusals.append(str(error))
    if not found:
        raise ModelRefused(f"{parity.source.path}: {refusals[0]}")
    return max(found, key=lambda pair: pair[0])[1]


def _noise(tried: Tried) -> float:
    """Return what sorts the least noise first."""
    return -tried.sqnr_db


def _needs_stand_in(recipe: Recipe) -> bool:
    return recipe.activations == "int8" and read_target(HOST).activations == "uint8"
