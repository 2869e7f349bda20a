"""A finished model file made a bundle as it is: golden vectors, limits, proof; no byte changed."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
from msgspec.structs import replace

from convert.findings import Precision
from convert.given.samples import LEAST, Labels, Samples, read_labels, read_samples
from convert.given.source import Source, check_input, choose_outputs, read_bounded
from convert.given.spec import EMPTY, SpecFile, place_finding, read_spec
from convert.inspection.anatomy import Anatomy
from convert.inspection.survey import read_anatomy
from convert.inspection.trial import require_safe
from convert.inspection.wiring import Wiring, join
from convert.judgement.metrics import answers
from convert.products.bundling import (
    GOLDEN,
    MODELS,
    check_folder,
    draft_manifest,
    move_into_place,
    stage_bundle,
    staging_folder,
)
from convert.products.evidence import (
    GOLDEN_WINDOWS,
    TOLERANCES,
    count_golden,
    golden_tolerance,
    seed_windows,
)
from convert.products.identity import Identity, check_version, choose_name
from convert.products.stretch import Chosen, choose_windows
from convert.progress import Progress
from edge_bundle.decision.fit import check_rule
from edge_bundle.decision.rules import class_labels
from edge_bundle.document import check_feedback
from edge_bundle.errors import ConfigError, ModelRefused
from edge_bundle.golden import pack_golden, run_golden
from edge_bundle.inference import Inference
from edge_bundle.manifest import PREPARED, Golden, Manifest, Provenance
from edge_bundle.runtimes.loader import guess_format, load_model
from edge_bundle.tensor import Array, TensorSpec

RECIPE: Final = "as it is"
SEEDED: Final = "seeded golden windows"
METRIC: Final = "accuracy"
FEW: Final = f"enough for a proof, but {GOLDEN_WINDOWS} of all classes would prove more"
WEAK: Final = "they prove little; give windows that tell more with --golden"


@dataclass(frozen=True, slots=True)
class PackOrder:
    """What to pack, with what."""

    model: Path
    """ONNX or TFLite."""
    spec: Path | None = None
    """None: the model takes prepared tensors."""
    golden: str | None = None
    """A recording, or a ``.npz`` with ``x``; None: windows of the evaluation, else seeded ones."""
    evaluation: str | None = None
    """Labelled samples to measure on."""
    name: str | None = None
    """None: after the model file."""
    version: str = "0.1.0"
    out: Path = Path("dist")


@dataclass(frozen=True, slots=True)
class Packed:
    """A bundle that has passed its own golden vectors."""

    name: str
    version: str
    variant: str
    bundle: Path
    sha256: str
    model_bytes: int
    bundle_bytes: int
    stateful: bool
    """Whether the model remembers what it saw; its golden windows are one piece of stream."""
    golden_windows: int
    golden_source: str
    """Where they are from, or ``seeded golden windows``."""
    tolerance: float
    """Of a golden score, absolute."""
    accuracy: float | None
    """Fraction of 1; None where there was no evaluation."""
    evaluation_samples: int


def pack(order: PackOrder, progress: Progress) -> Packed:
    """Make a bundle of a finished model; it appears in ``order.out`` when it is whole and proven.

    Args:
        order: what to pack.
        progress: called with what begins now.
    Raises: ConfigError, ArtifactRefused.
    """
    name, version = choose_name(order.name, order.model), check_version(order.version)
    check_folder(order.out)
    file = read_spec(order.spec) if order.spec else EMPTY
    data = read_bounded(order.model)
    form = guess_format(data)
    anatomy = read_anatomy(data, form, order.model)
    wiring = _check_anatomy(order.model, anatomy, file)
    precision = judge_precision(anatomy)
    progress(f"loading {order.model.name} in a process of its own")
    require_safe(data, form, str(order.model), wiring)
    draft = draft_manifest(
        Identity(name, version, f"{form}-{precision}"),
        file.spec,
        data,
        form,
        Provenance(source_sha256=hashlib.sha256(data).hexdigest(), recipe=RECIPE),
        TOLERANCES[precision],
        wiring.shapes,
    )
    check_feedback(draft)
    taken = _check_tensors(order.model, data, draft, file)
    golden = _read_golden(order, file, draft, taken, progress)
    evaluation = _read_evaluation(order, file, draft, taken)
    inference = Inference(draft, load_model(data, form, shapes=draft.shapes))
    accuracy = None
    if evaluation is not None:
        progress(f"measuring on {len(evaluation[0])} evaluation samples")
        accuracy = _measure(inference, *evaluation)
    real = golden or (evaluation[0] if evaluation else None)
    chosen = _golden_windows(order.model, inference, real)
    progress(f"writing the bundle and running its {len(chosen.windows)} golden windows")
    scores = _run(order.model, inference, chosen, seeded=real is None)
    if scores.size > 1 and not np.ptp(scores):
        progress(f"every golden score is {scores.flat[0]:g}: {WEAK}")
    provenance = draft.provenance
    if real is None:
        provenance = msgspec.structs.replace(provenance, recipe=f"{RECIPE}, {SEEDED}")
    if evaluation is not None:
        provenance = msgspec.structs.replace(
            provenance,
            evaluation_sha256=evaluation[0].sha256,
            evaluation_windows=len(evaluation[0]),
            final_accuracy=accuracy,
            metric=METRIC,
        )
    manifest = msgspec.structs.replace(
        draft,
        golden=Golden(GOLDEN, golden_tolerance(precision, scores)),
        provenance=provenance,
    )
    files = {MODELS[form]: data, GOLDEN: pack_golden(inference, chosen.windows, chosen.fresh)}
    inference.close()
    with staging_folder(order.out) as folder:
        bundle = stage_bundle(folder, manifest, files)
        (path,) = move_into_place([bundle.path], order.out)
    return Packed(
        name=name,
        version=version,
        variant=manifest.variant,
        bundle=path,
        sha256=bundle.sha256,
        model_bytes=len(data),
        bundle_bytes=bundle.length,
        stateful=manifest.stateful,
        golden_windows=len(chosen.windows),
        golden_source=real.source if real else SEEDED,
        tolerance=manifest.golden.tolerance,
        accuracy=accuracy,
        evaluation_samples=len(evaluation[0]) if evaluation else 0,
    )


def judge_precision(anatomy: Anatomy) -> Precision:
    """Return what the operators with weights compute with, the coarsest of them."""
    kinds = set(anatomy.arithmetic)
    if kinds - {"float32", "float16", "float64", "int8 weights", "dynamic int8"}:
        return "int8"
    if kinds & {"int8 weights", "dynamic int8"}:
        return "dynamic"
    return "fp16" if "float16" in kinds else "float"


def _check_anatomy(path: Path, anatomy: Anatomy, file: SpecFile) -> Wiring:
    if anatomy.external:
        raise ModelRefused(
            f"{path}: its weights are in another file ({anatomy.external[0]}); save the model as "
            "one file"
        )
    return join(path, anatomy, file)


def _check_tensors(path: Path, data: bytes, draft: Manifest, file: SpecFile) -> TensorSpec:
    """Refuse what the bundle's path cannot feed; return what samples have to be for it."""
    window = draft.tensors.inputs[draft.window_input]
    taken = TensorSpec(window.name, window.shape, window.dtype, window.scale, window.zero_point)
    given = [draft.tensors.outputs[i] for i in draft.given_outputs]
    outputs = tuple(t.name for t in given)
    sha256 = draft.provenance.source_sha256
    source = Source(path, draft.format, data, sha256, len(data), taken, outputs)
    check_input(source, file.spec)
    choose_outputs(source, file)
    decision = file.spec.decision
    if decision:
        try:
            check_rule(decision, taken.size, {t.name: t.shape for t in given})
        except ValueError as error:
            raise place_finding(file, error) from None
    if draft.stream:
        # Windows hold real values, and become codes on the bundle's own path.
        return replace(taken, dtype=draft.window_dtype)
    if taken.dtype not in PREPARED:
        raise ModelRefused(
            f"{path}: input {taken.name}: {taken.dtype}, expected one of "
            f"{', '.join(sorted(PREPARED))}"
        )
    return taken


def _read_golden(
    order: PackOrder, file: SpecFile, draft: Manifest, taken: TensorSpec, progress: Progress
) -> Samples | None:
    if order.golden is None:
        return None
    # One is enough to tell whether a device gives the same scores; of the model it shows little.
    golden = read_samples(order.golden, file.spec, taken, to_judge=False, least=1)
    if len(golden) < min(LEAST, count_golden(draft)):
        progress(f"{golden.source}: {len(golden)} golden window{'s' * (len(golden) != 1)}: {FEW}")
    return golden


def _read_evaluation(
    order: PackOrder, file: SpecFile, draft: Manifest, taken: TensorSpec
) -> tuple[Samples, Labels] | None:
    if order.evaluation is None:
        return None
    if draft.stateful:
        raise ConfigError(
            f"--evaluation: {order.model} is stateful: its answer to one sample depends on those "
            "before, and labels of single samples do not judge it; leave it out"
        )
    decision = file.spec.decision
    if decision is None and len(draft.given_outputs) > 1:
        raise file.error(("decision",), "must say which output holds the scores, to be evaluated")
    samples = read_samples(order.evaluation, file.spec, taken, to_judge=True)
    classes = class_labels(decision) if decision else draft.scores_count
    if not classes:
        raise ConfigError(
            "--evaluation: labels of samples judge the kinds 'classification' and 'score'; leave "
            "it out"
        )
    return samples, read_labels(samples, classes)


def _measure(inference: Inference, samples: Samples, labels: Labels) -> float:
    scores = np.stack([inference.scores(window).copy() for window in samples.raw])
    return float((answers(scores, inference.manifest.decision) == labels).mean())


def _golden_windows(path: Path, inference: Inference, samples: Samples | None) -> Chosen:
    if samples is None:
        most = min(GOLDEN_WINDOWS, count_golden(inference.manifest))
        return Chosen(seed_windows(inference.manifest, most), [])
    y = samples.y
    known = y is not None and y.ndim == 1
    labels = y.tolist() if y is not None and known else [None] * len(samples)
    try:
        return choose_windows(inference, samples.raw, labels)
    except ModelRefused as error:
        raise ModelRefused(f"{path}: golden windows: {error}") from None


def _run(path: Path, inference: Inference, chosen: Chosen, *, seeded: bool) -> Array:
    advice = "; give real windows with --golden" if seeded else ""
    try:
        scores = run_golden(inference, chosen.windows, chosen.fresh)
    except ModelRefused as error:
        raise ModelRefused(f"{path}: golden windows: {error}{advice}") from None
    if not np.isfinite(scores).all():
        number = int(np.argwhere(~np.isfinite(scores))[0][0])
        raise ModelRefused(
            f"{path}: golden window {number} gives a score that is not a finite number{advice}"
        )
    return scores
