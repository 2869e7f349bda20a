"""Codes span the given ranges, silently, and only where something can be int8."""

import logging
from typing import Final

import numpy as np
import onnx
import pytest
from onnx import checker, numpy_helper

from convert.choice.recipes import FloatModel
from convert.given.source import read_onnx
from convert.onnx.calibration import observe_onnx, sqnr_db
from convert.onnx.canonical import canonicalise, name_nodes, to_bytes
from convert.onnx.quantization import (
    Activations,
    Scope,
    Static,
    int8_nodes,
    keep_weights,
    narrow_weights,
    quantize_dynamic,
    quantize_static,
)
from convert.parity import measure_parity
from convert.ranges import Range, choose_ranges
from edge_bundle.errors import ModelRefused
from edge_bundle.tensor import Array
from tests.convert.example import IMAGES, MODEL, calibrated, load, operators, output
from tests.convert.tflite.graphs import graph, seeded

ALL: Final[Scope] = "all operators"
WEIGHTED: Final[Scope] = "weighted operators"
UINT8: Final = Static("uint8", ALL)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> FloatModel:
    return calibrated(tmp_path_factory.mktemp("network"))


def named(data: bytes) -> bytes:
    return to_bytes(name_nodes(load(data)))


def ranges_of(data: bytes, inputs: list[Array]) -> dict[str, Range]:
    return choose_ranges(observe_onnx(data, inputs), "min-max")


def weights(data: bytes) -> list[Array]:
    return [numpy_helper.to_array(t) for t in load(data).graph.initializer]


def decibels(data: bytes, reference: bytes) -> float:
    return sqnr_db(output(reference, IMAGES), output(data, IMAGES))


def int8_operators(data: bytes) -> set[str]:
    """Return the operators that stand between codes, so that a runtime may compute with them."""
    nodes = load(data).graph.node
    decoded = {o for n in nodes if n.op_type == "DequantizeLinear" for o in n.output}
    encoded = {n.input[0] for n in nodes if n.op_type == "QuantizeLinear"}
    return {n.op_type for n in nodes if set(n.input) <= decoded and encoded.intersection(n.output)}


@pytest.mark.parametrize("kind", ["uint8", "int8"])
@pytest.mark.parametrize("scope", [ALL, WEIGHTED])
def test_codes_keep_the_scores_in_a_fraction_of_the_bytes(
    model: FloatModel, kind: Activations, scope: Scope
) -> None:
    made = quantize_static(model.data, model.ranges["min-max"], Static(kind, scope))
    checker.check_model(load(made), full_check=True)
    assert decibels(made, model.data) > 25
    (zeros,) = {w.dtype.name for w in weights(made) if w.dtype.kind in "iu" and w.ndim == 0}
    assert zeros == kind
    assert {w.dtype.name for w in weights(made) if w.ndim > 1} == {"int8"}
    # Each channel has a scale of its own.
    assert sorted(w.shape for w in weights(made) if w.dtype == np.float32 and w.ndim) == [
        *((3,), (3,), (4,), (4,))
    ]


def test_codes_span_the_range_that_was_chosen(model: FloatModel) -> None:
    ranges = {**model.ranges["min-max"], "x": Range(-2, 3.1)}
    made = load(quantize_static(model.data, ranges, UINT8))
    given = {t.name: numpy_helper.to_array(t) for t in made.graph.initializer}
    (first,) = [n for n in made.graph.node if list(n.input[:1]) == ["x"]]
    assert first.op_type == "QuantizeLinear"
    assert float(given[first.input[1]]) == pytest.approx(5.1 / 255)
    assert int(given[first.input[2]]) == 100


def test_scope_says_what_stands_between_weights(model: FloatModel) -> None:
    ranges = model.ranges["min-max"]
    assert int8_operators(quantize_static(model.data, ranges, UINT8)) == {
        *("Conv", "MaxPool", "Flatten", "Gemm")
    }
    assert int8_operators(quantize_static(model.data, ranges, Static("uint8", WEIGHTED))) == {
        *("Conv", "Gemm")
    }


def test_softmax_stays_float(model: FloatModel) -> None:
    assert operators(quantize_static(model.data, model.ranges["min-max"], UINT8))[-1] == "Softmax"


def test_one_node_alone_or_all_but_one(model: FloatModel) -> None:
    conv, gemm = (node.name for node in model.nodes)
    ranges = model.ranges["min-max"]
    assert int8_operators(quantize_static(model.data, ranges, UINT8, only=[conv])) == {"Conv"}
    kept = quantize_static(model.data, ranges, UINT8, keep_float=[conv])
    assert int8_operators(kept) >= {"Gemm"}
    assert "Conv" not in int8_operators(kept)
    both = quantize_static(model.data, ranges, UINT8)
    alone = quantize_static(model.data, ranges, UINT8, only=[gemm])
    assert decibels(both, model.data) < decibels(alone, model.data) < 80


def test_7_bit_weights_leave_room_for_pairs_of_products(model: FloatModel) -> None:
    ranges = model.ranges["min-max"]
    largest = []
    for reduce_range in (False, True):
        made = quantize_static(model.data, ranges, Static("uint8", ALL, reduce_range))
        codes = [w for w in weights(made) if w.dtype == np.int8 and w.ndim > 1]
        largest.append(max(int(np.abs(w.astype(int)).max()) for w in codes))
    assert largest == [127, 64]


def test_two_nodes_that_share_their_weights() -> None:
    """Onnxruntime's quantizer makes an invalid graph of it (microsoft/onnxruntime#24705)."""
    body = (
        "a = Conv <pads = [1, 1, 1, 1]> (x, k, b) r = Relu (a)"
        "c = Conv <pads = [1, 1, 1, 1]> (r, k, b) y = Add (c, a)"
    )
    data = named(graph("float[1,1,8,8] x", body, {"k": (1, 1, 3, 3), "b": (1,)}))
    for kind in ("uint8", "int8"):
        static = Static("uint8" if kind == "uint8" else "int8", ALL)
        made = quantize_static(data, ranges_of(data, IMAGES), static)
        checker.check_model(load(made), full_check=True)
        assert "Conv" in int8_operators(made)
        assert decibels(made, data) > 25


def test_nothing_to_quantize_is_refused() -> None:
    data = named(graph("float[4,4] x", "s = Sin (x) y = Exp (s)"))
    ranges = ranges_of(data, [seeded("x", (4, 4))])
    with pytest.raises(ModelRefused, match="nothing in it can be int8; build it with --precision"):
        quantize_static(data, ranges, UINT8)


def test_missing_range_is_refused_in_one_line(model: FloatModel) -> None:
    ranges = {n: r for n, r in model.ranges["min-max"].items() if n != "h"}
    with pytest.raises(ModelRefused, match=r"\Aonnxruntime cannot quantize it: [^\n]*h[^\n]*\Z"):
        quantize_static(model.data, ranges, UINT8)


def test_same_recipe_gives_the_same_bytes(model: FloatModel) -> None:
    ranges = dict(list(model.ranges["min-max"].items())[::-1])
    for recipe in (UINT8, Static("int8", WEIGHTED, reduce_range=True)):
        one = quantize_static(model.data, model.ranges["min-max"], recipe, keep_float=["b", "a"])
        assert quantize_static(model.data, ranges, recipe, keep_float={"a", "b"}) == one
    assert quantize_dynamic(model.data) == quantize_dynamic(model.data)


def test_what_stays_float_takes_16_bits_and_scales_stay_exact() -> None:
    body = "a = MatMul (x, w) s = Sin (a) y = MatMul (s, v)"
    data = named(graph("float[1,8] x", body, {"w": (8, 80), "v": (80, 8)}))
    ranges = ranges_of(data, [seeded(str(n), (1, 8)) for n in range(9)])
    first = load(data).graph.node[0].name
    made = quantize_static(data, ranges, Static("uint8", WEIGHTED), only=[first])
    stored = {(w.dtype.name, w.shape) for w in weights(made)}
    assert {("int8", (8, 80)), ("float32", (80,)), ("float16", (80, 8))} <= stored


def test_dynamic_codes_are_of_matrix_products_alone(model: FloatModel) -> None:
    made = quantize_dynamic(model.data)
    found = operators(made)
    assert found[:3] == ["Conv", "Relu", "MaxPool"]
    assert {"DynamicQuantizeLinear", "MatMulInteger"} <= set(found)
    assert decibels(made, model.data) > 25
    (codes,) = [w for w in weights(made) if w.dtype == np.int8 and w.ndim == 2]
    assert codes.shape == (64, 3)


def test_dynamic_leaves_a_node_in_float() -> None:
    body = "a = MatMul (x, w) y = MatMul (a, v)"
    data = named(graph("float[1,8] x", body, {"w": (8, 8), "v": (8, 8)}))
    first = load(data).graph.node[0].name
    made = operators(quantize_dynamic(data, keep_float=[first]))
    assert (made.count("MatMul"), made.count("MatMulInteger")) == (1, 1)


@pytest.mark.parametrize("body", ["y = Conv (x, w)", "y = MatMul (x, x)"])
def test_nothing_for_dynamic_codes_is_refused(body: str) -> None:
    data = named(graph("float[1,1,4,4] x", body, {"w": (1, 1, 2, 2)} if "w" in body else {}))
    with pytest.raises(ModelRefused, match="no matrix product with constant weights in it"):
        quantize_dynamic(data)


def test_onnxruntime_that_fails_to_find_dynamic_codes_is_named() -> None:
    data = named(graph("float[1,8] x", "y = MatMul (x, w)", {"w": (8, 8)}))
    model = load(data)
    model.graph.initializer[0].ClearField("raw_data")
    with pytest.raises(ModelRefused, match=r"\Aonnxruntime cannot quantize it: ."):
        quantize_dynamic(model.SerializeToString())


def test_graph_that_is_not_valid_never_leaves(model: FloatModel) -> None:
    broken = load(model.data)
    broken.graph.node[2].input[0] = "nowhere"
    with pytest.raises(ModelRefused, match=r"the quantized graph is not valid: .*"):
        keep_weights(broken.SerializeToString())


def test_half_weights_take_half_the_bytes() -> None:
    data = named(graph("float[1,64] x", "y = MatMul (x, w)", {"w": (64, 64)}))
    small, whole = narrow_weights(data), keep_weights(data)
    assert len(small) < 0.52 * len(whole)
    x = [seeded("x", (1, 64))]
    assert sqnr_db(output(whole, x), output(small, x)) > 60
    assert np.array_equal(output(whole, x), output(data, x))


def test_float_file_as_it_is_shipped_says_only_what_a_runtime_reads(model: FloatModel) -> None:
    given = load(model.data)
    given.producer_version, given.ir_version = "1.2.3", 11
    given.metadata_props.add(key="author", value="somebody")
    given.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    shipped = keep_weights(given.SerializeToString())
    found = load(shipped)
    assert (found.producer_name, found.producer_version) == ("edgeward", "")
    assert found.ir_version == 10
    assert [o.domain for o in found.opset_import] == [""]
    assert b"somebody" not in shipped
    assert np.array_equal(output(shipped, IMAGES), output(model.data, IMAGES))
    assert keep_weights(shipped) == shipped


def test_nodes_that_int8_makes_smaller(model: FloatModel) -> None:
    assert [n.op_type for n in int8_nodes(model.data)] == ["Conv", "Gemm"]
    assert int8_nodes(graph("float[4,4] x", "y = MatMul (x, x)")) == []


def test_advice_of_the_library_is_not_shown(
    model: FloatModel, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    root = logging.getLogger()
    handlers, filters = list(root.handlers), list(root.filters)
    quantize_static(model.data, model.ranges["min-max"], UINT8)
    quantize_dynamic(model.data)
    assert (root.handlers, root.filters) == (handlers, filters)
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []


def test_watch_model_becomes_a_third_of_its_size() -> None:
    windows = list(np.random.default_rng(3).normal(size=(8, 1, 600)).astype(np.float32))
    data = canonicalise(measure_parity(read_onnx(MODEL), ("probabilities",), windows)).data
    made = quantize_static(data, ranges_of(data, windows), UINT8)
    assert len(made) < len(keep_weights(data)) / 3
