"""A step that changes scores does not pass."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edge_bundle.errors import ModelRefused
from tests.convert.example import parity_of, save_small

BODY = "scores = MatMul(x, w)"


def with_weights(file: Path, change: "np.typing.NDArray[np.float32]") -> bytes:
    model = onnx.load(file)
    weights = numpy_helper.to_array(model.graph.initializer[0]) + change
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(weights, "w"))
    data: bytes = model.SerializeToString()
    return data


def test_same_model_differs_by_nothing(tmp_path: Path) -> None:
    file = save_small(tmp_path / "m.onnx", BODY)
    assert parity_of(file).check(file.read_bytes(), "none") == 0


@pytest.mark.parametrize("change", [0.01, np.nan])
def test_changed_weights_are_refused(tmp_path: Path, change: float) -> None:
    file = save_small(tmp_path / "m.onnx", BODY)
    data = with_weights(file, np.full((6, 2), change, np.float32))
    with pytest.raises(ModelRefused, match=r"step slip changes scores by .*, at most"):
        parity_of(file).check(data, "slip")


def test_changed_shape_is_refused(tmp_path: Path) -> None:
    file = save_small(tmp_path / "m.onnx", BODY)
    other = save_small(tmp_path / "o.onnx", "y = MatMul(x, w) scores = Transpose(y)")
    other_bytes = other.read_bytes()
    with pytest.raises(ModelRefused, match=r"step turn changes the shape of scores"):
        parity_of(file).check(other_bytes, "turn")


def test_model_that_gives_no_numbers_is_refused(tmp_path: Path) -> None:
    file = save_small(tmp_path / "m.onnx", "y = MatMul(x, w) z = Sub(y, y) scores = Div(z, z)")
    with pytest.raises(ModelRefused, match="not finite on real windows"):
        parity_of(file)


def test_operator_that_no_runtime_has_is_refused(tmp_path: Path) -> None:
    file = save_small(tmp_path / "m.onnx", "scores = own.Magic(x)", opsets=('"" : 15', '"own" : 1'))
    with pytest.raises(ModelRefused, match=r"m\.onnx: onnxruntime: .*Magic"):
        parity_of(file)
