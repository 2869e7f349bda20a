"""The files of a plan, made again from the model that it was made for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from convert.choice.recipes import FloatModel, Format, emit
from convert.float_models import UNROLL, prepare_models
from convert.given.source import Source
from convert.intake import read_source
from convert.parity import BOUND, FOLDED, Parity
from convert.products import plan as plans
from convert.products.bundling import MODELS, check_folder, move_into_place, staging_folder
from convert.products.plan import Plan, Variant
from convert.progress import Progress
from edge_bundle.disk import replace_file
from edge_bundle.errors import ArtifactRefused, ConfigError, ModelRefused


@dataclass(frozen=True, slots=True)
class Replay(Parity):
    """The steps of a build taken again: proven then, and judged by digests now."""

    left_out: tuple[str, ...]
    tflite_sha256: str
    """Of the float model that the plan's TFLite file was made of; empty where there is none."""

    def check(self, data: bytes, step: str, bound: float = BOUND) -> float:
        """Refuse the steps that were left out; none other."""
        del data, bound
        if step in self.left_out:
            raise ModelRefused("the plan leaves it out")
        return 0.0

    def check_tflite(self, data: bytes, step: str, bound: float = FOLDED) -> float:
        """Refuse what the plan's TFLite file was not made of."""
        del bound
        if step == UNROLL or plans.digest(data) == self.tflite_sha256:
            return 0.0
        raise ModelRefused("it comes out otherwise")


def reproduce(
    plan: Path, model: Path, out: Path, trust: bool, progress: Progress
) -> Sequence[Path]:
    """Write the model file of each variant as ``NAME-VERSION-VARIANT.onnx`` or ``.tflite``.

    Args:
        plan: ``plan.json`` of a build.
        model: the file that the build was given.
        out: where the files go.
        trust: as for the build.
        progress: told what begins.
    Raises: ConfigError: no such file, or the folder cannot be written. ArtifactRefused: another
        model than the plan's, or other bytes came out.
    """
    check_folder(out)
    decided = read_plan(plan)
    source = read_source(model, trust, progress)
    if source.sha256 != decided.source_sha256:
        raise ArtifactRefused(
            f"{model}: sha256 {source.sha256}, the plan is for {decided.source_sha256}"
        )
    floats = _float_models(source, decided, progress)
    made = []
    for variant in decided.variants:
        progress(f"emitting {variant.variant}")
        made.append((variant, _emit(variant, floats[variant.recipe.format], decided)))
    if not made:
        raise ArtifactRefused(f"{plan}: it holds no variant: nothing kept the budget")
    with staging_folder(out) as folder:
        staged = []
        for variant, data in made:
            suffix = Path(MODELS[variant.recipe.format]).suffix
            file = folder / f"{decided.name}-{decided.version}-{variant.variant}{suffix}"
            try:
                replace_file(file, data, mode=0o644)
            except OSError as error:
                raise ConfigError(f"{out}: {error.strerror or error}") from None
            staged.append(file)
        return move_into_place(staged, out)


def read_plan(path: Path) -> Plan:
    """Read ``plan.json``.

    Raises: ConfigError: no such file. ArtifactRefused: not a plan.
    """
    try:
        return plans.decode(path.read_bytes(), str(path))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from None


def _float_models(source: Source, plan: Plan, progress: Progress) -> Mapping[Format, FloatModel]:
    formats = tuple(dict.fromkeys(v.recipe.format for v in plan.variants))
    digests = {v.recipe.format: v.float_sha256 for v in plan.variants}
    found = tuple(np.zeros((1, *shape), np.float32) for shape in plan.shapes)
    replay = Replay(source, plan.outputs, (), found, plan.left_out, digests.get("tflite", ""))
    try:
        return prepare_models(replay, formats, None, progress).by_format
    except ModelRefused as error:
        raise ArtifactRefused(f"{error}{_why(plan)}") from None


def _emit(variant: Variant, model: FloatModel, plan: Plan) -> bytes:
    if plans.digest(model.data) != variant.float_sha256:
        raise ArtifactRefused(f"{variant.variant}: the float model comes out otherwise{_why(plan)}")
    method = variant.recipe.ranges
    ranges = {method: plans.to_ranges(variant.ranges)} if method else {}
    data = emit(replace(model, ranges=ranges), variant.recipe)
    if plans.digest(data) != variant.model_sha256:
        raise ArtifactRefused(f"{variant.variant}: other bytes come out{_why(plan)}")
    return data


def _why(plan: Plan) -> str:
    """Name the emitters whose versions differ."""
    here = plans.emitter_versions()
    names = [n for n in plan.versions if here.get(n) != plan.versions[n]]
    told = [f"{n} {plan.versions[n]}, here {here.get(n, 'none')}" for n in names]
    return f": the plan was made with {'; '.join(told)}" if told else ""
