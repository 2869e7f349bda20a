"""A recipe is told in words, and makes the same file of the same float model every time."""

from collections.abc import Collection
from dataclasses import replace
from typing import Final

import msgspec
import pytest

from convert.choice.recipes import FloatModel, Recipe, emit, emit_only, static_recipes
from convert.onnx.calibration import observe_onnx, sqnr_db
from convert.onnx.quantization import (
    Static,
    keep_weights,
    narrow_weights,
    quantize_dynamic,
    quantize_static,
)
from convert.ranges import METHODS, Ranges, choose_ranges
from convert.targets import read_target
from convert.tflite import quantization as tflite
from convert.tflite.compaction import compact
from convert.tflite.emission import emit_tflite
from convert.tflite.source import operators
from edge_bundle.errors import ModelRefused
from tests.convert.example import IMAGES, calibrated, output
from tests.convert.tflite.graphs import graph

STATIC: Final = Recipe("onnx", "int8", "min-max", "all operators", "uint8")
TFLITE: Final = Recipe("tflite", "int8", "min-max", "all operators")


@pytest.fixture(scope="module")
def onnx_model(tmp_path_factory: pytest.TempPathFactory) -> FloatModel:
    return calibrated(tmp_path_factory.mktemp("network"))


@pytest.fixture(scope="module")
def tflite_model(onnx_model: FloatModel) -> FloatModel:
    seen = observe_onnx(onnx_model.data, IMAGES)
    ranges = {m: choose_ranges(seen, m) for m in METHODS}
    conv, gemm = (node.name for node in onnx_model.nodes)
    # In the file a convolution and its activation are one.
    return FloatModel("tflite", emit_tflite(onnx_model.data), ranges, {conv: "r", gemm: "h"})


@pytest.mark.parametrize(
    ("recipe", "variant", "words"),
    [
        (Recipe("onnx", "float"), "onnx-float", "float32"),
        (
            Recipe("tflite", "fp16"),
            "tflite-fp16",
            "float16 weights, computing in float32",
        ),
        (
            Recipe("onnx", "dynamic"),
            "onnx-dynamic",
            "int8 weights by channel, ranges of activations found as it runs",
        ),
        (
            STATIC,
            "onnx-int8",
            "static QDQ uint8 activations, int8 weights by channel, min-max ranges, all operators",
        ),
        (
            Recipe(
                *("onnx", "int8", "least-squares", "weighted operators", "int8"),
                reduce_range=True,
                float_nodes=("a", "b"),
            ),
            "onnx-int8",
            (
                "static QDQ int8 activations, int8 weights by channel, least-squares ranges, "
                "weighted operators, 7-bit weights, 2 left in float"
            ),
        ),
        (
            TFLITE,
            "tflite-int8",
            "static int8 activations, int8 weights by channel, min-max ranges, all operators",
        ),
        (
            Recipe("tflite", "dynamic", by_rows=True),
            "tflite-dynamic",
            "int8 weights by channel, ranges of activations found as it runs, row by row",
        ),
    ],
)
def test_words(recipe: Recipe, variant: str, words: str) -> None:
    assert (recipe.variant, recipe.words()) == (variant, words)
    # A plan keeps it.
    assert msgspec.json.decode(msgspec.json.encode(recipe), type=Recipe) == recipe


def test_what_is_tried_is_what_the_target_likes(
    onnx_model: FloatModel, tflite_model: FloatModel
) -> None:
    arm = read_target("raspberry-pi-4")
    x86 = msgspec.structs.replace(read_target("generic"), reduce_range=True)
    tried = static_recipes(onnx_model, arm)
    assert {(r.activations, r.reduce_range) for r in tried} == {("int8", False)}
    assert [(r.scope, r.ranges) for r in tried] == [
        (scope, method) for scope in ("all operators", "weighted operators") for method in METHODS
    ]
    assert {(r.activations, r.reduce_range) for r in static_recipes(onnx_model, x86)} == {
        ("uint8", True)
    }
    assert [(r.scope, r.ranges) for r in static_recipes(tflite_model, arm)] == [
        (r.scope, r.ranges) for r in tried
    ]
    assert {r.activations for r in static_recipes(tflite_model, arm)} == {None}
    assert static_recipes(replace(onnx_model, ranges={}), arm) == []


def test_onnx_files_are_those_of_the_emitter(onnx_model: FloatModel) -> None:
    data, ranges = onnx_model.data, onnx_model.ranges
    conv = onnx_model.nodes[0].name
    assert emit(onnx_model, Recipe("onnx", "float")) == keep_weights(data)
    assert emit(onnx_model, Recipe("onnx", "fp16")) == narrow_weights(data)
    assert emit(onnx_model, Recipe("onnx", "dynamic")) == quantize_dynamic(data)
    assert emit(onnx_model, STATIC) == quantize_static(
        data, ranges["min-max"], Static("uint8", "all operators")
    )
    other = Recipe(
        *("onnx", "int8", "percentile", "weighted operators", "int8", True), float_nodes=(conv,)
    )
    assert emit(onnx_model, other) == quantize_static(
        data, ranges["percentile"], Static("int8", "weighted operators", True), keep_float=[conv]
    )
    assert emit_only(onnx_model, STATIC, conv) == quantize_static(
        data, ranges["min-max"], Static("uint8", "all operators"), only=[conv]
    )


def test_tflite_files_are_those_of_the_emitter(tflite_model: FloatModel) -> None:
    data, ranges = tflite_model.data, tflite_model.ranges
    assert emit(tflite_model, Recipe("tflite", "float")) == compact(data, narrow=False)
    halves, dynamic = tflite.quantize_weights_fp16(data), tflite.quantize_dynamic(data)
    assert emit(tflite_model, Recipe("tflite", "fp16")) == compact(halves, narrow=False)
    assert emit(tflite_model, Recipe("tflite", "dynamic")) == compact(dynamic, narrow=True)
    static = tflite.quantize_static(data, ranges["min-max"])
    made = emit(tflite_model, TFLITE)
    assert made == compact(static, narrow=True)
    assert sqnr_db(output(data, IMAGES, "tflite"), output(made, IMAGES, "tflite")) > 20


def test_ranges_found_row_by_row_come_of_the_file_made_for_them(tflite_model: FloatModel) -> None:
    by_rows = emit_tflite(graph("float[1,4] x", "y = MatMul (x, w)", {"w": (4, 4)}))
    model = replace(tflite_model, by_rows=by_rows)
    recipe = Recipe("tflite", "dynamic", by_rows=True)
    assert emit(model, recipe) == compact(tflite.quantize_dynamic(by_rows), narrow=True)
    plain = Recipe("tflite", "dynamic")
    assert emit(model, plain) == emit(tflite_model, recipe) == emit(tflite_model, plain)


def test_nodes_of_the_plan_are_left_in_float_by_their_tensors(
    onnx_model: FloatModel, tflite_model: FloatModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    conv = onnx_model.nodes[0].name
    kept: list[set[str]] = []

    def remember(data: bytes, ranges: Ranges, keep_float: Collection[str]) -> bytes:
        assert ranges is tflite_model.ranges["min-max"]
        kept.append(set(keep_float))
        return data

    monkeypatch.setattr(tflite, "quantize_static", remember)
    everything = {operator.output for operator in operators(tflite_model.data)}
    assert {"r", "h", "y"} < everything
    # A TFLite model that was given as such has tensors for nodes.
    emit(tflite_model, msgspec.structs.replace(TFLITE, float_nodes=(conv, "y")))
    emit_only(tflite_model, TFLITE, "h")
    emit(tflite_model, msgspec.structs.replace(TFLITE, scope="weighted operators"))
    assert kept == [{"r", "y"}, everything - {"h"}, everything - {"r", "h"}]


@pytest.mark.parametrize("recipe", [STATIC, TFLITE, msgspec.structs.replace(STATIC, ranges=None)])
def test_static_codes_need_ranges(
    recipe: Recipe, onnx_model: FloatModel, tflite_model: FloatModel
) -> None:
    given = onnx_model if recipe.format == "onnx" else tflite_model
    model = replace(given, ranges={})
    with pytest.raises(ModelRefused, match="static int8 needs ranges: give --calibration"):
        emit(model, recipe)
    with pytest.raises(ModelRefused, match="static int8 needs ranges"):
        emit_only(model, recipe, "any")
