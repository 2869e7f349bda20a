"""Each node's damage is what it does alone, without a label being looked at."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from convert.choice.recipes import FloatModel, Format, Recipe, emit_only, static_recipes
from convert.choice.sensitivity import find_nodes, measure_damage, quality
from convert.findings import Damage
from convert.float_models import prepare_models
from convert.given.source import read_onnx
from convert.parity import measure_parity
from convert.targets import read_target
from tests.convert.classifier import (
    CLASSES,
    NODES,
    WIDTH,
    Told,
    harm,
    inputs_of,
    perceptron,
    samples_of,
)
from tests.parts import require_module

CALIBRATION = inputs_of(40)
CALIBRATION[:, 0] = 0
INPUTS = [row[None] for row in CALIBRATION[:24]]
BYTES = [WIDTH * 24, 24 * 24, 24 * CLASSES]
"""Of the weights of each node; int8 saves three of four, and nothing of a bias."""


def calibrated(
    file: Path, form: Format
) -> tuple[FloatModel, list["np.typing.NDArray[np.float32]"]]:
    parity = measure_parity(read_onnx(file), ("scores",), INPUTS)
    models = prepare_models(parity, (form,), samples_of(CALIBRATION), Told())
    return models.by_format[form], list(parity.found)


def damages(file: Path, form: Format = "onnx", told: Told | None = None) -> list[Damage]:
    model, expected = calibrated(file, form)
    (recipe, *_) = static_recipes(model, read_target("generic"))
    return measure_damage(model, recipe, INPUTS, expected, told or Told())


def test_nodes_with_weights_come_in_the_order_in_which_they_run(tmp_path: Path) -> None:
    model, _ = calibrated(perceptron(tmp_path / "m.onnx"), "onnx")
    found = find_nodes(model)
    assert [(n.name, n.operator) for n in found] == [(name, "Gemm") for name in NODES]
    assert [n.bytes_saved for n in found] == [3 * size for size in BYTES]


def test_tflite_has_the_same_nodes_by_their_output(tmp_path: Path) -> None:
    require_module("ai_edge_litert")
    model, _ = calibrated(perceptron(tmp_path / "m.onnx"), "tflite")
    found = find_nodes(model)
    assert [n.operator for n in found] == ["FULLY_CONNECTED"] * 3
    assert [n.name for n in found] == [model.tensors[name] for name in NODES]
    assert all(
        n.bytes_saved == pytest.approx(3 * size, rel=0.1)
        for n, size in zip(found, BYTES, strict=True)
    )


def test_one_node_alone_is_int8(tmp_path: Path) -> None:
    model, _ = calibrated(perceptron(tmp_path / "m.onnx"), "onnx")
    recipe = Recipe("onnx", "int8", "min-max", "weighted operators", "uint8")
    for number, name in enumerate(NODES):
        made = onnx.load_model_from_string(emit_only(model, recipe, name))
        givers = {node.output[0]: node.op_type for node in made.graph.node}
        gemms = [node for node in made.graph.node if node.op_type == "Gemm"]
        int8 = [givers.get(node.input[1]) == "DequantizeLinear" for node in gemms]
        assert int8 == [i == number for i in range(len(NODES))]


@pytest.mark.parametrize("form", ["onnx", "tflite"])
@pytest.mark.parametrize("number", range(len(NODES)))
def test_the_node_that_int8_hurts_stands_out(tmp_path: Path, number: int, form: Format) -> None:
    if form == "tflite":
        require_module("ai_edge_litert")
        require_module("ai_edge_quantizer")
    file = perceptron(tmp_path / "m.onnx")
    harm(file, NODES[number], 300)
    decibels = [d.sqnr_db or 0 for d in damages(file, form)]
    others = [db for i, db in enumerate(decibels) if i != number]
    assert decibels[number] < 10
    assert min(others) > 25


def test_both_formats_tell_the_same(tmp_path: Path) -> None:
    require_module("ai_edge_litert")
    require_module("ai_edge_quantizer")
    file = perceptron(tmp_path / "m.onnx")
    one, other = ([d.sqnr_db for d in damages(file, form)] for form in ("onnx", "tflite"))
    assert one == pytest.approx(other, abs=4)  # of 40 dB


def test_progress_goes_node_by_node(tmp_path: Path) -> None:
    told = Told()
    damages(perceptron(tmp_path / "m.onnx"), told=told)
    assert told.advances == [(1, 3), (2, 3), (3, 3)]


def test_quality_is_of_the_worst_output() -> None:
    expected = [np.ones((4, 2), np.float32), np.ones((4, 3), np.float32)]
    found = [expected[0] * np.float32(1.1), expected[1] * np.float32(1.001)]
    assert quality(found, expected) == pytest.approx(20, abs=1e-3)
    assert quality(expected, expected) == np.inf
    assert quality([expected[0], expected[1] * np.nan], expected) == -np.inf
