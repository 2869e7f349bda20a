"""Codes span the given ranges, files run and are small, and what must stay float does."""

import logging
import sys
import threading
from typing import Any

import numpy as np
import pytest

from convert.ranges import Range
from convert.tflite import schema
from convert.tflite.canonical import canonicalise
from convert.tflite.flatbuffer import unpack
from convert.tflite.observation import observe_tflite
from convert.tflite.quantization import (
    quantize_dynamic,
    quantize_static,
    quantize_weights_fp16,
    quantize_weights_int8,
)
from convert.tflite.signature import add_signature
from convert.tflite.source import operators
from edge_bundle.errors import ConfigError, ModelRefused
from edge_bundle.runtimes.loader import load_model
from edge_bundle.tensor import Float32Array
from tests.convert.tflite.example import (
    CODES,
    INPUTS,
    LOGITS,
    SCORES,
    TYPES,
    Builder,
    small_model,
)

MODEL = canonicalise(small_model())
ACTIVE = "block;conv/BiasAdd#4"


@pytest.fixture(scope="module")
def ranges() -> dict[str, Range]:
    found: dict[str, Range] = {}
    for name, values in observe_tflite(MODEL, INPUTS):
        old = found.get(name, Range(0, 0))
        found[name] = Range(min(old.low, float(values.min())), max(old.high, float(values.max())))
    return found


def scores(data: bytes) -> Float32Array:
    model = load_model(data, "tflite")
    found = []
    for values in INPUTS:
        model.input(0)[...] = values
        model.invoke()
        found.append(model.output(0).ravel().copy())
    return np.stack(found)


def decibels(data: bytes) -> float:
    """Return how far the error of a file's scores is below the scores."""
    exact, found = scores(MODEL), scores(data)
    return float(10 * np.log10((exact**2).sum() / ((found - exact) ** 2).sum()))


def tensor(data: bytes, name: str) -> Any:
    (graph,) = unpack(data).subgraphs
    (found,) = (t for t in graph.tensors if t.name == name.encode())
    return found


def weighted(data: bytes) -> list[tuple[Any, Any]]:
    """Return weights and bias of each convolution."""
    model = unpack(data)
    (graph,) = model.subgraphs
    return [
        (graph.tensors[op.inputs[1]], graph.tensors[op.inputs[2]])
        for op in graph.operators
        if model.operatorCodes[op.opcodeIndex].builtinCode == CODES.CONV_2D
    ]


def names(data: bytes) -> list[str]:
    return [operator.name for operator in operators(data)]


def test_int8_scores_are_near_the_float_ones(ranges: dict[str, Range]) -> None:
    assert decibels(quantize_static(MODEL, ranges)) > 25


def test_codes_span_the_given_range(ranges: dict[str, Range]) -> None:
    data = quantize_static(MODEL, {**ranges, ACTIVE: Range(0, 51)})
    found = tensor(data, ACTIVE).quantization
    assert found.scale == pytest.approx([0.2])
    assert list(found.zeroPoint) == [-128]


def test_weights_have_a_scale_for_each_channel_and_biases_are_int32(
    ranges: dict[str, Range],
) -> None:
    ((weights, bias),) = weighted(quantize_static(MODEL, ranges))
    assert (weights.type, len(weights.quantization.scale)) == (TYPES.INT8, 4)
    assert not any(weights.quantization.zeroPoint)
    assert bias.type == TYPES.INT32


def test_ranges_of_weights_are_not_heeded(ranges: dict[str, Range]) -> None:
    more = {**ranges, "kernel": Range(-100, 100)}
    assert quantize_static(MODEL, more) == quantize_static(MODEL, ranges)


def test_borders_and_the_last_softmax_stay_float(ranges: dict[str, Range]) -> None:
    data = quantize_static(MODEL, ranges)
    assert names(data) == ["QUANTIZE", "CONV_2D", "FULLY_CONNECTED", "DEQUANTIZE", "SOFTMAX"]
    model = load_model(data, "tflite")
    assert [(s.name, s.dtype) for s in (*model.inputs, *model.outputs)] == [
        ("x", "float32"),
        (SCORES, "float32"),
    ]


@pytest.mark.parametrize(
    ("kept", "expected"),
    [
        (ACTIVE, ["CONV_2D", "QUANTIZE", "FULLY_CONNECTED", "DEQUANTIZE", "SOFTMAX"]),
        (LOGITS, ["QUANTIZE", "CONV_2D", "DEQUANTIZE", "FULLY_CONNECTED", "SOFTMAX"]),
    ],
)
def test_an_operator_is_kept_float(
    ranges: dict[str, Range], kept: str, expected: list[str]
) -> None:
    assert names(quantize_static(MODEL, ranges, [kept])) == expected


def test_an_unknown_tensor_to_keep_is_refused(ranges: dict[str, Range]) -> None:
    with pytest.raises(ModelRefused, match="no operator gives tensor dens,"):
        quantize_static(MODEL, ranges, ["dens"])


def test_an_activation_of_its_own_stays_float() -> None:
    seen = {name: Range(-9, 9) for name, _ in observe_tflite(small_model(), INPUTS[:1])}
    data = quantize_static(small_model(), seen)
    assert names(data)[1:5] == ["CONV_2D", "DEQUANTIZE", "RELU", "QUANTIZE"]


def test_a_tensor_without_a_range_is_named(ranges: dict[str, Range]) -> None:
    known = {name: span for name, span in ranges.items() if name != ACTIVE}
    with pytest.raises(ModelRefused, match=f"no range for tensor {ACTIVE}"):
        quantize_static(MODEL, known)


def test_a_tensor_that_stays_float_needs_no_range(ranges: dict[str, Range]) -> None:
    known = {name: span for name, span in ranges.items() if name != SCORES}
    assert quantize_static(MODEL, known) == quantize_static(MODEL, ranges)


def test_a_constant_activation_gets_codes(ranges: dict[str, Range]) -> None:
    data = quantize_static(MODEL, {**ranges, "x": Range(0, 0)})
    assert np.isfinite(scores(data)).all()


def test_equal_inputs_give_equal_bytes(ranges: dict[str, Range]) -> None:
    again = dict(reversed(ranges.items()))
    assert quantize_static(MODEL, ranges) == quantize_static(MODEL, again)
    assert quantize_dynamic(MODEL) == quantize_dynamic(MODEL)


def test_weights_alone_as_int8_or_float16() -> None:
    eight, sixteen = quantize_weights_int8(MODEL), quantize_weights_fp16(MODEL)
    assert len(eight) < len(sixteen) < len(MODEL)
    assert decibels(eight) > 35
    assert decibels(sixteen) > 60


def test_weights_with_ranges_found_at_run_time() -> None:
    assert names(quantize_dynamic(MODEL)) == ["CONV_2D", "FULLY_CONNECTED", "SOFTMAX"]
    assert decibels(quantize_dynamic(MODEL)) > 25
    kept = quantize_dynamic(MODEL, [ACTIVE])
    assert weighted(kept)[0][0].type == TYPES.FLOAT32


def test_what_no_runtime_reads_is_dropped(ranges: dict[str, Range]) -> None:
    model = unpack(quantize_static(MODEL, ranges))
    assert model.signatureDefs is None
    assert model.description is None
    held = [t for t in model.subgraphs[0].tensors if model.buffers[t.buffer].data is not None]
    assert [t.name for t in held] == [None] * 3


def test_a_signature_of_the_file_stays(ranges: dict[str, Range]) -> None:
    model = unpack(quantize_static(add_signature(MODEL), ranges))
    (signature,) = model.signatureDefs
    assert signature.outputs[0].tensorIndex == model.subgraphs[0].outputs[0]


def test_nothing_to_quantize_is_refused() -> None:
    made = Builder()
    made.tensor("x", (1, 4)), made.tensor("y", (1, 4))
    made.operator(CODES.SIN, [0], [1])
    data = made.data([0], [1])
    for attempt in (quantize_dynamic, quantize_weights_fp16):
        with pytest.raises(ModelRefused, match="nothing in it can be quantized"):
            attempt(data)


def test_a_division_stays_float() -> None:
    made = Builder()
    for name in ("x", "twice", "y"):
        made.tensor(name, (1, 4))
    made.operator(CODES.ADD, [0, 0], [1], schema.AddOptionsT())
    made.operator(CODES.DIV, [0, 1], [2], schema.DivOptionsT())
    spans = dict.fromkeys(("x", "twice", "y"), Range(0, 1))
    assert "DIV" in names(quantize_static(made.data([0], [2]), spans))


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ai_edge_quantizer", None)
    with pytest.raises(ConfigError, match=r"pip install 'edgeward\[convert-tflite\]'"):
        quantize_dynamic(MODEL)


def test_advice_of_the_library_is_not_shown(
    ranges: dict[str, Range],
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    handlers, filters = list(logging.getLogger().handlers), list(logging.getLogger().filters)
    threads = threading.active_count()
    quantize_static(MODEL, ranges)
    assert threading.active_count() == threads
    assert (logging.getLogger().handlers, logging.getLogger().filters) == (handlers, filters)
    assert capsys.readouterr() == ("", "")
    assert caplog.records == []
