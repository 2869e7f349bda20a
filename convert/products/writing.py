"""What a build leaves behind: bundles, plan and report, all of them or none."""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from convert import findings as reports
from convert.choice.recipes import Format
from convert.choice.tried import Choice, Tried, to_candidate
from convert.findings import Candidate, Dataset, Findings, Product
from convert.float_models import FloatModels
from convert.given.samples import Samples
from convert.given.source import Source
from convert.given.spec import Spec
from convert.judgement import judge as measurement
from convert.judgement.judge import Judge
from convert.onnx import calibration as calibrations
from convert.products import plan as plans
from convert.products.bundling import (
    GOLDEN,
    MODELS,
    REFERENCE,
    draft_manifest,
    move_into_place,
    stage_bundle,
    staging_folder,
)
from convert.products.evidence import (
    TOLERANCES,
    golden_tolerance,
    pack_reference,
)
from convert.products.identity import Identity
from convert.products.plan import Plan, Variant
from convert.products.stretch import choose_windows
from convert.progress import Progress
from convert.report.page import render_page
from convert.targets import Target
from edge_bundle.archive import Bundle
from edge_bundle.decision.rules import class_labels
from edge_bundle.disk import replace_file
from edge_bundle.errors import ConfigError
from edge_bundle.golden import pack_golden, run_golden
from edge_bundle.inference import Inference
from edge_bundle.latency import Profile
from edge_bundle.manifest import Golden, Provenance
from edge_bundle.runtimes.loader import load_model, runtime_version

PLAN: Final = "plan.json"
REPORT_PAGE: Final = "report.html"
REPORT: Final = "report.json"
OVER_BUDGET: Final = "over-budget"
"""Folder beside the bundles where the best goes that does not keep the budget."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """All that a build was given and found out."""

    name: str
    version: str
    spec: Spec
    target: Target
    profile: Profile | None
    source: Source
    outputs: tuple[str, ...]
    """That are kept."""
    shapes: tuple[tuple[int, ...], ...]
    """Of each, for one sample."""
    calibration: Samples | None
    evaluation: Samples
    models: FloatModels
    judge: Judge
    choices: Mapping[Format, Choice]


@dataclass(frozen=True, slots=True)
class Built:
    """Bundles that have passed their own golden vectors, and what was found out."""

    findings: Findings
    paths: tuple[Path, ...]
    """Of the bundles, the preferred one first."""
    plan: Path
    report: Path
    missed: tuple[str, ...]
    """What did not keep the budget, and where the best of it is; empty where all did."""


def write_products(outcome: Outcome, out: Path, progress: Progress) -> Built:
    """Write what a build gives; files appear when all are whole and proven.

    Raises: ConfigError: the folder cannot be written. ArtifactRefused: a bundle does not prove
        itself.
    """
    kept = sorted((c.chosen for c in outcome.choices.values() if c.chosen), key=_by_latency)
    judge = outcome.judge
    missed = [
        m for c in outcome.choices.values() if not c.chosen and (m := _find_nearest(c, judge))
    ]
    plan = _make_plan(outcome, kept)
    digest = plans.identify(plan)
    progress("writing the bundles and running their golden vectors")
    with staging_folder(out) as folder:
        bundles = [_stage(outcome, folder, tried, digest) for tried in kept]
        findings = _make_findings(outcome, kept, bundles)
        variants = tuple(
            msgspec.structs.replace(variant, bundle_sha256=bundle.sha256)
            for variant, bundle in zip(plan.variants, bundles, strict=True)
        )
        plan = msgspec.structs.replace(plan, variants=variants, findings=findings)
        files = {
            PLAN: plans.encode(plan),
            REPORT: reports.encode(findings),
            REPORT_PAGE: render_page(findings).encode(),
        }
        for name, data in files.items():
            _write(folder / name, data)
        # All are staged before the first is moved.
        nearest = [_stage(outcome, folder / OVER_BUDGET, tried, digest).path for tried in missed]
        aside = move_into_place(nearest, out / OVER_BUDGET) if nearest else []
        stale = _find_stale(out, outcome)
        paths = move_into_place([*(b.path for b in bundles), *(folder / n for n in files)], out)
        for path in set(stale) - {*paths, *aside}:
            path.unlink(missing_ok=True)
    return Built(
        findings=findings,
        paths=tuple(paths[: len(bundles)]),
        plan=out / PLAN,
        report=out / REPORT_PAGE,
        missed=tuple(
            f"{tried.recipe.variant}: {tried.why} The best found is kept at {path}"
            for tried, path in zip(missed, aside, strict=True)
        ),
    )


def _find_stale(out: Path, outcome: Outcome) -> list[Path]:
    """Return what an earlier build of this very version has left: not to be released with ours."""
    pattern = f"{outcome.name}-{outcome.version}-*.bundle"
    kinds = {f"{form}-{precision}" for form in MODELS for precision in TOLERANCES}
    begin = len(pattern) - len("*.bundle")
    return [
        path
        for folder in (out, out / OVER_BUDGET)
        for path in folder.glob(pattern)
        if path.name[begin : -len(".bundle")] in kinds
    ]


def _write(file: Path, data: bytes) -> None:
    try:
        replace_file(file, data, mode=0o644)
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror or error}") from None


def _by_latency(tried: Tried) -> float:
    return tried.pace.latency_us if tried.pace else inf


def _find_nearest(choice: Choice, judge: Judge) -> Tried | None:
    """Return what lost least of what runs, by labels where they judged it, else by noise."""
    running = [t for t in choice.tried if t.data is not None]

    def order(tried: Tried) -> tuple[bool, float, float]:
        if tried.marks is None:
            return False, 0.0, tried.sqnr_db
        return True, judge.compare(tried.marks, tried.numbers).value, tried.sqnr_db

    return max(running, key=order, default=None)


def _make_plan(outcome: Outcome, kept: Sequence[Tried]) -> Plan:
    variants = []
    for tried in kept:
        model = outcome.models.by_format[tried.recipe.format]
        method = tried.recipe.ranges
        variants.append(
            Variant(
                variant=tried.recipe.variant,
                recipe=tried.recipe,
                float_sha256=plans.digest(model.data),
                model_sha256=plans.digest(tried.data or b""),
                bundle_sha256="",
                ranges=plans.to_ends(model.ranges[method]) if method else {},
            )
        )
    calibration = outcome.calibration
    return Plan(
        name=outcome.name,
        version=outcome.version,
        source_sha256=outcome.source.sha256,
        calibration_sha256=calibration.sha256 if calibration else None,
        evaluation_sha256=outcome.evaluation.sha256,
        target=outcome.target.name,
        outputs=outcome.outputs,
        shapes=outcome.shapes,
        left_out=outcome.models.left_out,
        seeds={"split": measurement.SEED, "reservoir": calibrations.SEED},
        versions=plans.emitter_versions(),
        variants=tuple(variants),
    )


def _stage(outcome: Outcome, folder: Path, tried: Tried, plan_sha256: str) -> Bundle:
    assert tried.data is not None
    recipe, judge, source = tried.recipe, outcome.judge, outcome.source
    numbers = judge.everything if tried.numbers is None else tried.numbers
    evaluation, calibration = outcome.evaluation, outcome.calibration
    fractions = [
        value if marks is not None and 0 <= (value := marks.on(numbers)) <= 1 else None
        for marks in (judge.float_marks, tried.marks)
    ]
    provenance = Provenance(
        source_sha256=source.sha256,
        recipe=recipe.words(),
        calibration_sha256=calibration.sha256 if calibration else None,
        evaluation_sha256=evaluation.sha256,
        evaluation_windows=len(evaluation),
        float_accuracy=fractions[0],
        final_accuracy=fractions[1],
        metric=judge.metric.name,
        holdout_windows=None if tried.numbers is None else len(tried.numbers),
        plan_sha256=plan_sha256,
    )
    draft = draft_manifest(
        Identity(outcome.name, outcome.version, recipe.variant),
        outcome.spec,
        tried.data,
        recipe.format,
        provenance,
        TOLERANCES[recipe.precision],
    )
    inference = Inference(draft, load_model(tried.data, recipe.format))
    answers = judge.float_marks.answers
    classes = answers.tolist() if answers is not None else [0] * len(evaluation)
    chosen = choose_windows(inference, evaluation.raw, classes)
    scores = run_golden(inference, chosen.windows, chosen.fresh)
    tolerance = golden_tolerance(recipe.precision, scores)
    golden = pack_golden(inference, chosen.windows, chosen.fresh)
    files = {MODELS[recipe.format]: tried.data, GOLDEN: golden}
    if outcome.spec.stream is not None and calibration is not None:
        files[REFERENCE] = pack_reference(calibration.raw)
    inference.close()
    manifest = msgspec.structs.replace(draft, golden=Golden(GOLDEN, tolerance))
    folder.mkdir(exist_ok=True)
    return stage_bundle(folder, manifest, files)


def _make_findings(outcome: Outcome, kept: Sequence[Tried], bundles: Sequence[Bundle]) -> Findings:
    judge, source = outcome.judge, outcome.source
    final = kept[0] if kept else None
    numbers = judge.everything if final is None or final.numbers is None else final.numbers
    searched = final is not None and final.numbers is not None
    choices = list(outcome.choices.values())
    damages = next((c.damages for c in choices if c.damages), [])
    left = set(final.recipe.float_nodes) if final else set()
    explanations = [*source.notes, *outcome.models.explanations]
    for choice in choices:
        explanations += choice.explanations
        if choice.chosen is not None:
            recipe = choice.chosen.recipe
            explanations.append(f"{recipe.variant}: {recipe.words()}. {choice.chosen.why}")
    explanations += _tell_agreement(kept)
    confusion = None
    if final is not None and final.marks is not None:
        confusion = judge.confuse(final.marks, numbers, _class_names(outcome))
    calibration = outcome.calibration
    return Findings(
        name=outcome.name,
        version=outcome.version,
        source=source.path.name,
        source_sha256=source.sha256,
        float_bytes=source.file_bytes,
        target=outcome.target.name,
        measured_on=_describe_machine(outcome),
        metric=judge.metric.name,
        calibration=_describe(calibration) if calibration else None,
        evaluation=_describe(outcome.evaluation),
        search_samples=len(judge.search) if searched else 0,
        holdout_samples=len(numbers),
        max_drop=judge.max_drop,
        float_score=judge.score(judge.float_marks, numbers),
        evaluations=judge.allowance.used,
        chosen=final.recipe.variant if final else None,
        candidates=_list_candidates(outcome),
        explanations=tuple(explanations),
        products=tuple(
            Product(b.path.name, b.manifest.variant, b.sha256, len(t.data or b""), b.length)
            for b, t in zip(bundles, kept, strict=True)
        ),
        sensitivity=tuple(msgspec.structs.replace(d, kept_float=d.node in left) for d in damages),
        confusion=confusion,
    )


def _list_candidates(outcome: Outcome) -> tuple[Candidate, ...]:
    return tuple(
        to_candidate(tried, outcome.judge)
        for choice in outcome.choices.values()
        for tried in choice.tried
    )


def _describe(samples: Samples) -> Dataset:
    return Dataset(samples.source, samples.sha256, len(samples))


def _describe_machine(outcome: Outcome) -> str:
    if outcome.profile is not None:
        return outcome.profile.machine
    runtimes = [runtime_version(form) for form in outcome.choices]
    return f"{platform.machine()}, {', '.join(runtimes)}, one thread"


def _class_names(outcome: Outcome) -> list[str]:
    if labels := class_labels(outcome.spec.decision):
        return list(labels)
    answers = outcome.judge.float_marks.answers
    right = getattr(outcome.judge.metric, "right", None)
    most = max((int(a.max()) for a in (answers, right) if a is not None), default=0)
    return [str(i) for i in range(max(most + 1, outcome.judge.classes))]


def _tell_agreement(kept: Sequence[Tried]) -> list[str]:
    """Say how often the formats give the same answer."""
    found = [
        (t.recipe.variant, t.marks.answers) for t in kept if t.marks and t.marks.answers is not None
    ]
    if len(found) < 2:
        return []
    (one, first), (other, second) = found[:2]
    share = float(np.mean(first == second))
    return [
        f"{one} and {other} give the same answer on {100 * share:.2f} % of the evaluation samples."
    ]
