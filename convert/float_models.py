"""The float model in each format that is wanted, proven equal, with its ranges."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import onnx

from convert.choice.recipes import FloatModel, Format
from convert.extras import require_tflite
from convert.given.samples import Samples
from convert.onnx.calibration import observe_onnx
from convert.onnx.canonical import canonicalise
from convert.onnx.unrolling import unroll
from convert.parity import FOLDED, Parity
from convert.progress import Progress
from convert.ranges import METHODS, Method, Range, Seen, choose_ranges
from edge_bundle.errors import ConfigError, ModelRefused

UNROLL: Final = "unroll"
"""The step that makes products of convolutions."""
HOPS: Final = 4
"""Nodes that an emitter may have fused behind one with weights."""


@dataclass(frozen=True, slots=True)
class FloatModels:
    """One model in the formats that were wanted."""

    by_format: Mapping[Format, FloatModel]
    explanations: tuple[str, ...]
    left_out: tuple[str, ...] = ()
    """Steps to the plain form that this model does not bear."""


def prepare_models(
    parity: Parity,
    formats: Sequence[Format],
    calibration: Samples | None,
    progress: Progress,
) -> FloatModels:
    """Bring a source to its plain form in each format, and calibrate it once.

    Args:
        parity: of the source.
        formats: wanted.
        calibration: samples that set ranges; None: none are needed.
        progress: told what begins.
    Raises: ModelRefused: where a format cannot be had, or does not give the same values.
    """
    source = parity.source
    told: list[str] = []
    if "tflite" in formats:
        require_tflite()
    if source.format == "tflite":
        progress("calibrating the TFLite model" if calibration else "reading the TFLite model")
        from convert.tflite.canonical import canonicalise as canonicalise_tflite

        data = canonicalise_tflite(source.data, parity.outputs)
        parity.check_tflite(data, "canonicalise")
        model = _with_ranges("tflite", data, _observe_tflite(data, calibration, {}))
        return FloatModels({"tflite": model}, ())
    progress(f"canonicalising, proving each step on {len(parity.inputs)} samples")
    canonical = canonicalise(parity)
    told += canonical.notes
    seen: Mapping[str, Seen] = {}
    if calibration is not None:
        progress(f"calibrating with {len(calibration)} samples")
        seen = observe_onnx(canonical.data, calibration.inputs, progress.advance)
    models: dict[Format, FloatModel] = {}
    for form in formats:
        if form == "onnx":
            models["onnx"] = _with_ranges("onnx", canonical.data, seen)
            continue
        data, how = to_tflite(canonical.data, parity, progress)
        told.append(how)
        known = _observe_tflite(data, calibration, seen) if calibration else {}
        model = _with_ranges("tflite", data, known, _stand_ins(canonical.data, data))
        models["tflite"] = replace(model, by_rows=_unroll(canonical.data, parity))
    return FloatModels(models, tuple(told), canonical.left_out)


def to_tflite(canonical: bytes, parity: Parity, progress: Progress) -> tuple[bytes, str]:
    """Return a TFLite file that gives the same values, and a sentence of how it was made.

    Raises: ModelRefused: neither our own emitter nor onnx2tf can make one. ConfigError: onnx2tf is
        needed and not set up.
    """
    from convert.onnx2tf.conversion import convert_onnx
    from convert.tflite.emission import emit_tflite

    path = parity.source.path
    progress("converting to TFLite")
    try:
        data = emit_tflite(canonical)
        error = parity.check_tflite(data, "emit-tflite", FOLDED)
        return data, f"The TFLite file was emitted directly, equal within {error:.1e} of the range."
    except ModelRefused as refusal:
        why = str(refusal).removeprefix(f"{path}: ")
    progress(f"{why}; trying onnx2tf")
    try:
        data = convert_onnx(canonical)
    except ConfigError as error:
        raise ConfigError(f"{path}: {why}; {error}") from None
    except ModelRefused as error:
        raise ModelRefused(f"{path}: {why}; onnx2tf: {error}") from None
    error_ = parity.check_tflite(data, "onnx2tf", FOLDED)
    return data, f"onnx2tf made the TFLite file ({why}), equal within {error_:.1e} of the range."


def _unroll(canonical: bytes, parity: Parity) -> bytes | None:
    """Return the TFLite file with such convolutions as products, if there are any."""
    from convert.tflite.emission import emit_tflite

    try:
        unrolled = unroll(canonical)
        if unrolled is None:
            return None
        data = emit_tflite(unrolled)
        parity.check_tflite(data, UNROLL, FOLDED)
        return data
    except ModelRefused:  # it goes without
        return None


def _with_ranges(
    form: Format, data: bytes, seen: Mapping[str, Seen], tensors: Mapping[str, str] | None = None
) -> FloatModel:
    ranges: dict[Method, Mapping[str, Range]] = {}
    if seen:
        ranges = {method: choose_ranges(seen, method) for method in METHODS}
    return FloatModel(form, data, ranges, tensors or {})


def _observe_tflite(
    data: bytes, calibration: Samples | None, known: Mapping[str, Seen]
) -> Mapping[str, Seen]:
    from convert.tflite.calibration import observe

    return observe(data, calibration.inputs, known) if calibration else {}


def _stand_ins(canonical: bytes, tflite: bytes) -> dict[str, str]:
    """Return the TFLite operator's output tensor for each ONNX node with weights.

    What follows a node may have been fused into it, so the first tensor is taken that the TFLite
    file has as well.
    """
    from convert.tflite.source import operators

    given = {operator.output for operator in operators(tflite)}
    graph = onnx.load_model_from_string(canonical).graph
    # An input or an output that is left out has no name.
    takers = {name: node for node in reversed(graph.node) for name in node.input if name}
    found = {}
    for node in graph.node:
        tensor = next(filter(None, node.output))
        for _ in range(HOPS):
            if tensor in given:
                found[node.name] = tensor
                break
            if tensor not in takers:
                break
            tensor = next(filter(None, takers[tensor].output))
    return found
