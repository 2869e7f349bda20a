"""What cannot be converted is refused by what is wrong with it."""

import contextlib
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from convert.source import read_source
from edge_bundle.errors import ModelRefused
from tests.convert.example import MODEL, save_small

GOOD = "scores = MatMul(x, w)"


def change(file: Path, find: str, replace: str) -> Path:
    text = onnx.printer.to_text(onnx.load(file))
    assert find in text
    model = onnx.parser.parse_model(text.replace(find, replace))
    file.write_bytes(model.SerializeToString())
    return file


def test_weights_in_another_file(tmp_path: Path) -> None:
    file = save_small(tmp_path / "m.onnx", GOOD)
    model = onnx.load(file)
    weights = model.graph.initializer[0]
    weights.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weights), "w"))
    onnx.save(model, file, save_as_external_data=True, location="weights.bin", size_threshold=0)
    with pytest.raises(ModelRefused, match=r"in another file \(weights\.bin\)"):
        read_source(file)


def test_control_flow(tmp_path: Path) -> None:
    body = (
        "n = Constant <value = bool {1}> ()"
        "scores = If (n) <then_branch = g () => (float[N,2] a) { a = MatMul(x, w) },"
        "else_branch = h () => (float[N,2] b) { b = MatMul(x, w) }>"
    )
    with pytest.raises(ModelRefused, match=r"control flow \(If\)"):
        read_source(save_small(tmp_path / "m.onnx", body))


def test_two_inputs(tmp_path: Path) -> None:
    file = change(save_small(tmp_path / "m.onnx", GOOD), "[N,6] x", "[N,6] x, float[1] z")
    with pytest.raises(ModelRefused, match=r"2 inputs \(x, z\), expected one"):
        read_source(file)


def test_input_that_is_no_float(tmp_path: Path) -> None:
    body = "y = Cast <to = 1> (x) scores = MatMul(y, w)"
    file = change(save_small(tmp_path / "m.onnx", body), "float[N,6] x", "int32[N,6] x")
    with pytest.raises(ModelRefused, match="input x: int32 with a shape, expected float"):
        read_source(file)


def test_model_that_is_already_quantized(tmp_path: Path) -> None:
    body = (
        "s = Constant <value = float {0.5}> () z = Constant <value = uint8 {0}> ()"
        "q = QuantizeLinear(x, s, z) y = DequantizeLinear(q, s, z) scores = MatMul(y, w)"
    )
    with pytest.raises(ModelRefused, match="already quantized"):
        read_source(save_small(tmp_path / "m.onnx", body))


def test_operators_of_another_age(tmp_path: Path) -> None:
    with pytest.raises(ModelRefused, match="opset 6, expected 7"):
        read_source(save_small(tmp_path / "m.onnx", GOOD, opsets=('"" : 6',)))


def test_free_dimensions_count_as_one(tmp_path: Path) -> None:
    assert read_source(save_small(tmp_path / "m.onnx", GOOD)).input_shape == (1, 6)


@pytest.mark.parametrize("seed", range(20))
def test_damaged_file_is_refused_or_read_and_never_a_crash(tmp_path: Path, seed: int) -> None:
    random = np.random.default_rng(seed)
    data = bytearray(MODEL.read_bytes())
    for at in random.integers(0, 4000, 30):
        data[at] = random.integers(0, 256)
    file = tmp_path / "damaged.onnx"
    file.write_bytes(data)
    with contextlib.suppress(ModelRefused):
        assert read_source(file).data == data
