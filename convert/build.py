"""A build from beginning to end: read, canonicalise, quantize, measure, pack, prove."""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from convert import quantization
from convert.canonical import canonicalise
from convert.evidence import choose_golden, pack_reference
from convert.measurement import measure
from convert.pack import GOLDEN, MODEL, REFERENCE, Precision, draft_manifest, place_bundle
from convert.parity import measure_parity
from convert.source import check_input, read_source, scores_output
from convert.spec import read_spec
from convert.windows import (
    prepare,
    read_calibration,
    read_evaluation,
    refuse_overlap,
    spread,
)
from edge_bundle.errors import ConfigError, ModelRefused
from edge_bundle.golden import pack_golden
from edge_bundle.inference import Inference
from edge_bundle.manifest import Name, Version
from edge_bundle.runtimes.loader import load_model

Progress = Callable[[str], None]
PARITY_WINDOWS: Final = 32


@dataclass(frozen=True, slots=True)
class Order:
    """What to build, from what."""

    model: Path
    spec: Path
    calibration: str
    """A recording, ``FILE`` or ``FILE#0-2,5``."""
    evaluation: str
    """A labelled one, without a window of the calibration."""
    precision: Precision = "int8"
    name: str | None = None
    """None: after the model file."""
    version: str = "0.1.0"
    out: Path = Path("dist")


@dataclass(frozen=True, slots=True)
class Built:
    """A bundle that has passed its own golden vectors, and what was measured."""

    name: str
    version: str
    variant: str
    bundle: Path
    sha256: str
    float_bytes: int
    """Of the model file that was given."""
    final_bytes: int
    """Of the model file in the bundle."""
    float_accuracy: float
    """Fraction of 1."""
    final_accuracy: float
    """Fraction of 1."""
    evaluation_windows: int
    calibration_windows: int


def build(order: Order, progress: Progress) -> Built:
    """Build a bundle; it appears in ``order.out`` when it is whole and proven.

    Args:
        order: what to build.
        progress: called with what begins now, once all that was given is found good.
    Raises: ConfigError, ArtifactRefused.
    """
    name, version = _name(order), _checked("--version", order.version, Version)
    _check_folder(order.out)
    file = read_spec(order.spec)
    spec = file.spec
    source = read_source(order.model)
    check_input(source, file)
    output = scores_output(source, file)
    calibration = read_calibration(order.calibration, spec)
    evaluation = read_evaluation(order.evaluation, spec)
    refuse_overlap(calibration, evaluation)
    count = len(calibration.samples)
    inputs = prepare(calibration.samples, spec, source.input_shape)
    some = [inputs[i] for i in spread(count, PARITY_WINDOWS)]
    parity = measure_parity(source, output, len(spec.decision.labels), some)

    progress(f"proving the conversion on {len(some)} of {count} calibration windows")
    model = canonicalise(parity)
    identity = name, version, order.precision
    unmeasured = draft_manifest(identity, spec, model, source, calibration, evaluation)
    progress(f"measuring the float model on {len(evaluation.samples)} evaluation windows")
    with_float = Inference(unmeasured, load_model(model, "onnx"))
    float_accuracy = measure(with_float, evaluation.samples, evaluation.labels)
    final_accuracy = float_accuracy
    inference = with_float
    if order.precision == "int8":
        progress(f"quantizing to int8 with {count} calibration windows")
        try:
            model = quantization.quantize(model, inputs)
        except ModelRefused as error:
            raise ModelRefused(f"{order.model}: {error}") from None
        progress(f"measuring the int8 model on {len(evaluation.samples)} evaluation windows")
        inference = Inference(unmeasured, load_model(model, "onnx"))
        final_accuracy = measure(inference, evaluation.samples, evaluation.labels)

    progress("writing the bundle and running its golden vectors")
    chosen = choose_golden(evaluation.labels)
    files = {
        MODEL: model,
        GOLDEN: pack_golden(inference, np.stack([evaluation.samples[i] for i in chosen])),
        REFERENCE: pack_reference(calibration.samples),
    }
    measured = msgspec.structs.replace(
        unmeasured.provenance,
        float_accuracy=float_accuracy.mean,
        final_accuracy=final_accuracy.mean,
    )
    manifest = msgspec.structs.replace(unmeasured, provenance=measured)
    path, bundle = place_bundle(order.out, manifest, files)
    return Built(
        name=name,
        version=version,
        variant=manifest.variant,
        bundle=path,
        sha256=bundle.sha256,
        float_bytes=len(source.data),
        final_bytes=len(model),
        float_accuracy=float_accuracy.mean,
        final_accuracy=final_accuracy.mean,
        evaluation_windows=final_accuracy.windows,
        calibration_windows=count,
    )


def _check_folder(folder: Path) -> None:
    """Find out before the work, and without making anything, whether a folder can be written."""
    there = next((f for f in (folder, *folder.absolute().parents) if f.exists()), folder)
    if not there.is_dir():
        raise ConfigError(f"--out: {there}: not a folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise ConfigError(f"--out: {there}: not writable")


def _name(order: Order) -> str:
    if order.name is not None:
        return _checked("--name", order.name, Name)
    cleaned = re.sub(r"[^a-z0-9._-]+", "-", order.model.stem.lower()).lstrip("._-")[:64]
    if not cleaned:
        raise ConfigError(f"{order.model}: gives no name for the bundle: say --name")
    return cleaned


def _checked(option: str, text: str, kind: object) -> str:
    try:
        return str(msgspec.convert(text, kind))
    except msgspec.ValidationError:
        expected = {"--name": "such as watch-1", "--version": "a SemVer such as 1.0.0"}[option]
        raise ConfigError(f"{option}: {text!r}, expected {expected}") from None
