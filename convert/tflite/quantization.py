"""TFLite files with int8 or float16 weights, with ranges that real inputs gave.

ai-edge-quantizer writes the codes; which ranges they span, and which operators get them, is decided
here and before.
"""

import re
from collections.abc import Collection, Mapping
from typing import Any, Final

import numpy as np

from convert.given.source import first_line
from convert.ranges import Ranges
from convert.tflite import schema
from convert.tflite.flatbuffer import (
    activations,
    is_constant,
    operator_name,
    pack,
    tensor_names,
    unpack,
)
from convert.tflite.quantizer import Rule, emit
from convert.tflite.signature import sign
from convert.tflite.source import float_model
from edge_bundle.errors import ConfigError, ModelRefused
from edge_bundle.runtimes.loader import load_model
from edge_bundle.runtimes.model import Model

FLOAT_OPERATORS: Final = ("DIV", "SQRT", "RSQRT", "RELU")
"""As int8 the first fails while it runs, on a divisor whose code is that of 0, and roots have a
like check in the runtime; the last, where no other operator applies it, made a whole network four
times slower than float32."""
FLOAT_OUTPUTS: Final = ("SOFTMAX",)
"""Scores that leave the model stay float32: codes have steps of 1/256, and gain nothing."""
SLOW_DYNAMIC: Final = "DEPTHWISE_CONV_2D"
"""Has no fast form for ranges found at run time, which made a small network three times slower."""
CODES: Final = {"num_bits": 8, "dtype": "INT"}
ACTIVATIONS: Final = {**CODES, "symmetric": False, "granularity": "TENSORWISE"}
WEIGHTS: Final = {**CODES, "symmetric": True, "granularity": "CHANNELWISE"}
HALVES: Final = {"num_bits": 16, "dtype": "FLOAT", "symmetric": True, "granularity": "TENSORWISE"}
INTEGERS: Final = {"compute_precision": "INTEGER", "explicit_dequantize": False}
FLOATS: Final = {"compute_precision": "FLOAT", "explicit_dequantize": True}
"""What operators compute with."""
SMALL: Final = (schema.TensorType.INT8, schema.TensorType.FLOAT16)
MISSING_RANGE: Final = re.compile(r"for tensor: (\d+)\.")


def quantize_static(data: bytes, ranges: Ranges, keep_float: Collection[str] = ()) -> bytes:
    """Return a file with int8 weights (per channel) and activations, and int32 biases.

    Inputs and outputs stay float32, and a softmax that gives an output; so do operators that have
    no int8 form.

    Args:
        data: a float file of one input, in its canonical form.
        ranges: by the names that ``observe_tflite`` gives.
        keep_float: output tensors of operators that stay float32.
    Raises: ModelRefused: no such file; nothing in it can be int8; a tensor has no range; what was
        made does not run. ConfigError: ai-edge-quantizer is not installed.
    """
    model = float_model(data)
    (graph,) = model.subgraphs
    names = tensor_names(graph)
    scores = {
        names[index]
        for operator in graph.operators
        if operator_name(model, operator) in FLOAT_OUTPUTS
        for index in operator.outputs
        if index in graph.outputs
    }
    measured = {
        # Of weights none: with one, they would get a single scale for all channels.
        str(index): _extremes(graph.tensors[index], ranges[names[index]])
        for index in activations(model, graph)
        if names[index] in ranges
    }
    rules = [
        _rule(ACTIVATIONS, WEIGHTS, INTEGERS),
        *(_float_rule(".*", operation) for operation in ("INPUT", "OUTPUT", *FLOAT_OPERATORS)),
    ]
    return _quantize(data, model, rules, scores | set(keep_float), measured)


def quantize_dynamic(data: bytes, keep_float: Collection[str] = ()) -> bytes:
    """Return a file with int8 weights; the runtime finds each input's range as it runs.

    Args and errors: as ``quantize_static``.
    """
    rules = [
        _rule(None, WEIGHTS, INTEGERS),
        _rule(None, WEIGHTS, FLOATS, SLOW_DYNAMIC),
    ]
    return _quantize(data, float_model(data), rules, keep_float)


def quantize_weights_int8(data: bytes, keep_float: Collection[str] = ()) -> bytes:
    """Return a file that keeps its weights as int8 and computes with float32.

    Args and errors: as ``quantize_static``.
    """
    return _quantize(data, float_model(data), [_rule(None, WEIGHTS, FLOATS)], keep_float)


def quantize_weights_fp16(data: bytes) -> bytes:
    """Return a file that keeps its weights as float16 and computes with float32.

    Raises: as ``quantize_static``.
    """
    return _quantize(data, float_model(data), [_halves()], ())


def _quantize(
    data: bytes,
    model: Any,
    rules: list[Rule],
    keep_float: Collection[str],
    measured: Mapping[str, Any] | None = None,
) -> bytes:
    (graph,) = model.subgraphs
    names = tensor_names(graph)
    signed = bool(model.signatureDefs)
    kept = _scopes(graph, names, keep_float)
    # Numbers are unique, and no regular expression; a file's own names are neither.
    for index, tensor in enumerate(graph.tensors):
        tensor.name = str(index).encode()
    if not signed:
        sign(model)  # ai-edge-quantizer relies on one
    if kept:
        rules = [*rules, _float_rule(rf"\A(?:{'|'.join(kept)})\Z", "*")]
    try:
        made = unpack(emit(pack(model), rules, measured))
    except ConfigError:
        raise
    except Exception as error:  # it raises what it likes
        missing = MISSING_RANGE.search(str(error))
        if missing and measured is not None and missing[1] not in measured:
            raise ModelRefused(f"no range for tensor {names[int(missing[1])]}") from None
        raise ModelRefused(f"ai-edge-quantizer cannot quantize it: {first_line(error)}") from None
    if not any(tensor.type in SMALL for tensor in made.subgraphs[0].tensors):
        raise ModelRefused("nothing in it can be quantized; keep it float")
    _slim(made, names, graph.outputs)
    if not signed:
        made.signatureDefs = None
    file = pack(made)
    _prove(file, data)
    return file


def _rule(
    activations_as: Mapping[str, Any] | None,
    weights_as: Mapping[str, Any],
    compute: Rule,
    operation: str = "*",
) -> Rule:
    config = {**compute, "weight_tensor_config": weights_as, "min_weight_elements": 0}
    if activations_as:
        config["activation_tensor_config"] = activations_as
    return {
        "regex": ".*",
        "operation": operation,
        "algorithm_key": "min_max_uniform_quantize",
        "op_config": config,
    }


def _halves(operation: str = "*") -> Rule:
    return _rule(None, HALVES, FLOATS, operation) | {"algorithm_key": "float_casting"}


def _float_rule(regex: str, operation: str) -> Rule:
    return {"regex": regex, "operation": operation, "algorithm_key": "no_quantize"}


def _scopes(graph: Any, names: list[str], keep_float: Collection[str]) -> list[str]:
    """Return what ai-edge-quantizer calls the operators that give these tensors."""
    wanted = set(keep_float)
    scopes = []
    for operator in graph.operators:
        given = {names[index] for index in operator.outputs}
        if given & wanted:
            scopes.append("".join(f"{index};" for index in operator.outputs))
            wanted -= given
    if wanted:
        raise ModelRefused(f"no operator gives tensor {min(wanted)}, which is to stay float")
    return scopes


def _extremes(tensor: Any, found: Any) -> dict[str, Any]:
    shape = () if tensor.shape is None else (1,) * len(tensor.shape)
    return {
        "min": np.full(shape, found.low, np.float32),
        "max": np.full(shape, found.high, np.float32),
    }


def _slim(model: Any, names: list[str], outputs: list[int]) -> None:
    """Give activations their names back, and drop what no runtime reads."""
    (graph,) = model.subgraphs
    model.description = model.metadata = model.metadataBuffer = graph.name = None
    for tensor in graph.tensors:
        number, suffix = re.fullmatch(r"(\d+)(.*)", tensor.name.decode()).groups()  # type: ignore[union-attr]
        name = names[int(number)] + suffix
        tensor.name = None if is_constant(model, tensor) else name.encode()
        if tensor.quantization is not None and tensor.quantization.scale is None:
            tensor.quantization = None
    for index, before in zip(graph.outputs, outputs, strict=True):
        for tensor in graph.tensors:
            if tensor.name == names[before].encode():
                tensor.name = None
        graph.tensors[index].name = names[before].encode()


def _prove(file: bytes, given: bytes) -> None:
    """Run the file once: that one was returned does not say that it runs."""
    made, float_made = load_model(file, "tflite"), load_model(given, "tflite")
    try:
        found, expected = _borders(made), _borders(float_made)
        if found != expected:
            raise ModelRefused(f"ai-edge-quantizer changed {expected} to {found}")
        made.input(0)[...] = 0
        made.invoke()
    finally:
        made.close()
        float_made.close()


def _borders(model: Model) -> list[tuple[str, tuple[int, ...], str]]:
    return [(spec.name, spec.shape, spec.dtype) for spec in (*model.inputs, *model.outputs)]
