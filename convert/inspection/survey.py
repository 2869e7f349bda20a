"""What a model file or a bundle holds, what each target can run of it, and what a build could make.

Nothing is loaded into this process: a file is read as bytes, and tried in a process of its own.
"""

import hashlib
from pathlib import Path

from msgspec import Struct

from convert.given.source import read_bounded, read_onnx
from convert.inspection.anatomy import Anatomy, Format
from convert.inspection.fitness import Buildable, Fitness, judge_build, judge_target
from convert.inspection.prospects import direct_tflite_refusal, floats_left
from convert.inspection.trial import Trial, try_model
from convert.inspection.wiring import NOTHING, Wiring
from convert.targets import read_target, target_names
from edge_bundle.archive import BUNDLE_MARK, read_bundle
from edge_bundle.decision.rules import said_labels
from edge_bundle.errors import ModelRefused, RuntimeMissing
from edge_bundle.manifest import Limits, Manifest, Requires
from edge_bundle.runtimes.loader import guess_format


class BundleFacts(Struct, frozen=True):
    """What a bundle's manifest says beside its model file."""

    name: str
    version: str
    variant: str
    takes: str
    """A stream's windows or prepared tensors, in words."""
    labels: tuple[str, ...]
    recipe: str
    float_accuracy: float | None
    """Fraction of 1."""
    final_accuracy: float | None
    """Fraction of 1."""
    evaluation_windows: int
    tolerance: float
    """Of the golden scores, absolute."""
    requires: Requires
    limits: Limits


class Inspection(Struct, frozen=True):
    """All that can be said of a file without data."""

    path: str
    sha256: str
    """Of the whole file."""
    model_bytes: int
    """Of the model file, which may be in a bundle."""
    anatomy: Anatomy
    trial: Trial
    targets: tuple[Fitness, ...]
    builds: tuple[Buildable, ...]
    """Empty for a bundle, which is built already."""
    bundle: BundleFacts | None = None


def inspect_model(path: Path) -> Inspection:
    """Inspect an ONNX file, a TFLite file or a bundle.

    Raises:
        ConfigError: no such file. RuntimeMissing: ai-edge-litert, which reads TFLite files, is not
            installed. ArtifactRefused: damaged, too large, or none of the three.
    """
    data = read_bounded(path)
    if data.startswith(BUNDLE_MARK):
        bundle = read_bundle(path)
        model, form = bundle.model(), bundle.manifest.format
        anatomy = read_anatomy(model, form, path)
        wiring = Wiring(bundle.manifest.shapes, bundle.manifest.constants)
        trial, targets = _judge(model, anatomy, wiring)
        facts = _facts(bundle.manifest)
        return Inspection(str(path), bundle.sha256, len(model), anatomy, trial, targets, (), facts)
    anatomy = read_anatomy(data, guess_format(data), path)
    trial, targets = _judge(data, anatomy, NOTHING)
    builds = judge_build(
        anatomy,
        lambda: _refusal(path, anatomy.format),
        lambda: direct_tflite_refusal(data),
        lambda form: floats_left(data, anatomy, form),
    )
    sha256 = hashlib.sha256(data).hexdigest()
    return Inspection(str(path), sha256, len(data), anatomy, trial, targets, builds)


def _refusal(path: Path, form: Format) -> str:
    """Return why a build does not read an ONNX file; empty where it does."""
    if form != "onnx":
        return ""
    try:
        read_onnx(path)
    except ModelRefused as error:
        return str(error).removeprefix(f"{path}: ")
    return ""


def read_anatomy(data: bytes, form: Format, path: Path) -> Anatomy:
    """Take a model file apart.

    Raises: ModelRefused: damaged, naming the file. RuntimeMissing: as ``inspect_model``.
    """
    try:
        if form == "onnx":
            from convert.inspection import onnx_anatomy

            return onnx_anatomy.read_onnx(data)
        try:
            from convert.inspection.tflite_anatomy import read_tflite
        except ImportError:
            raise RuntimeMissing(
                "ai-edge-litert is not installed: pip install 'edgeward[tflite]'"
            ) from None
        return read_tflite(data)
    except ModelRefused as error:
        raise ModelRefused(f"{path}: {error}") from None


def _judge(data: bytes, anatomy: Anatomy, wiring: Wiring) -> tuple[Trial, tuple[Fitness, ...]]:
    trial = try_model(data, anatomy.format, wiring)
    fitness = (judge_target(anatomy, trial, read_target(name)) for name in target_names())
    return trial, tuple(fitness)


def _facts(manifest: Manifest) -> BundleFacts:
    stream, decision, origin = manifest.stream, manifest.decision, manifest.provenance
    takes = "prepared tensors"
    if stream:
        channels = ", ".join(f"{c.name} ({c.unit})" for c in stream.channels)
        takes = f"windows of {stream.window} samples at {stream.rate_hz:g} Hz: {channels}"
    return BundleFacts(
        name=manifest.name,
        version=manifest.version,
        variant=manifest.variant,
        takes=takes,
        labels=said_labels(decision) if decision else (),
        recipe=origin.recipe,
        float_accuracy=origin.float_accuracy,
        final_accuracy=origin.final_accuracy,
        evaluation_windows=origin.evaluation_windows,
        tolerance=manifest.golden.tolerance,
        requires=manifest.requires,
        limits=manifest.limits,
    )
