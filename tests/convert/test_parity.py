"""A step that changes scores does not pass, and what a model says is what a device would hear."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser

from convert import parity
from convert.given.source import Source
from convert.parity import FOLDED, measure_parity, run_model
from convert.tflite.emission import emit_tflite
from edge_bundle.errors import ModelRefused
from edge_bundle.runtimes.loader import load_model
from edge_bundle.tensor import Array, TensorSpec
from tests.convert.example import (
    IMAGES,
    INPUTS,
    network,
    network_parity,
    parity_of,
    save,
    save_small,
)
from tests.convert.tflite.example import INPUT, SCORES, small_model
from tests.convert.tflite.example import INPUTS as TFLITE_INPUTS

BODY = "scores = MatMul(x, w)"


def with_weights(file: Path, change: Array) -> bytes:
    model = onnx.load(file)
    weights = numpy_helper.to_array(model.graph.initializer[0]) + change
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(weights, "w"))
    data: bytes = model.SerializeToString()
    return data


def test_same_model_differs_by_nothing(tmp_path: Path) -> None:
    file = save_small(tmp_path / "m.onnx", BODY)
    assert parity_of(file).check(file.read_bytes(), "none") == 0


def test_difference_is_said_relative_to_the_range_of_the_output(tmp_path: Path) -> None:
    file = save_small(tmp_path / "m.onnx", BODY)
    found = parity_of(file)
    change = np.zeros((6, 2), np.float32)
    change[0, 0] = 1e-4
    expected = np.abs(np.stack(INPUTS)[..., 0]).max() * 1e-4 / np.ptp(found.found[0])
    assert found.check(with_weights(file, change), "nudge", FOLDED) == pytest.approx(
        expected, rel=0.01
    )


@pytest.mark.parametrize("change", [0.01, np.nan])
def test_changed_weights_are_refused(tmp_path: Path, change: float) -> None:
    file = save_small(tmp_path / "m.onnx", BODY)
    data = with_weights(file, np.full((6, 2), change, np.float32))
    with pytest.raises(ModelRefused, match=r"step slip changes scores by .*, at most"):
        parity_of(file).check(data, "slip")


def test_changed_shape_is_refused(tmp_path: Path) -> None:
    file = save_small(tmp_path / "m.onnx", BODY)
    other = save_small(tmp_path / "o.onnx", "y = MatMul(x, w) scores = Transpose(y)")
    with pytest.raises(
        ModelRefused, match=r"changes the shape of scores from \[1, 2\] to \[2, 1\]"
    ):
        parity_of(file).check(other.read_bytes(), "turn")


def test_output_that_never_changes_may_be_rounded_but_not_changed(tmp_path: Path) -> None:
    """A dead output, or one sample of a regression, has no range of its own."""
    text = (
        '<ir_version: 8, opset_import: ["" : 15]> g (float[N,6] x) => (float[N,6] scores)'
        "<float c = {VALUE}> { z = Sub(x, x) scores = Add(z, c) }"
    )

    def constant(value: str) -> bytes:
        given: bytes = parser.parse_model(text.replace("VALUE", value)).SerializeToString()
        return given

    found = parity_of(save(tmp_path / "m.onnx", constant("1000.0")))
    assert 0 < found.check(constant("1000.001"), "round") < 1e-5
    with pytest.raises(ModelRefused, match="step shift changes scores by 1, at most 0.01"):  # noqa: RUF043
        found.check(constant("1001.0"), "shift")
    zeros = parity_of(save(tmp_path / "z.onnx", constant("0.0")))
    assert zeros.check(constant("0.0"), "none") == 0
    with pytest.raises(ModelRefused, match="step shift changes scores"):
        zeros.check(constant("0.001"), "shift")


def test_shapes_are_those_of_one_sample(tmp_path: Path) -> None:
    found = network_parity(tmp_path)
    assert (found.shapes, found.found[0].shape) == (((1, 3),), (16, 1, 3))


def test_tflite_file_is_compared_output_by_output(tmp_path: Path) -> None:
    found = network_parity(tmp_path)
    assert 0 <= found.check_tflite(emit_tflite(network()), "emit") < FOLDED
    other = network().replace(b"Softmax", b"Sigmoid")
    with pytest.raises(ModelRefused, match="step emit changes y by"):
        found.check_tflite(emit_tflite(other), "emit")
    two = measure_parity(found.source, ("y", "y"), IMAGES)
    with pytest.raises(ModelRefused, match="step emit gives 1 outputs, expected 2"):
        two.check_tflite(emit_tflite(network()), "emit")


def test_tflite_source_is_run_by_its_own_runtime(tmp_path: Path) -> None:
    file = save(tmp_path / "m.tflite", small_model())
    taken = TensorSpec("x", INPUT, "float32")
    source = Source(file, "tflite", small_model(), "", 0, taken, (SCORES,))
    found = measure_parity(source, (SCORES,), TFLITE_INPUTS)
    assert found.shapes == ((1, 3),)
    assert found.check_tflite(small_model(), "none") == 0


def test_model_that_gives_no_numbers_is_refused(tmp_path: Path) -> None:
    file = save_small(tmp_path / "m.onnx", "y = MatMul(x, w) z = Sub(y, y) scores = Div(z, z)")
    with pytest.raises(ModelRefused, match="output scores is not finite on real samples"):
        parity_of(file)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("y = ArgMax(x)", "output y: int64, expected float32"),
        ("y = SequenceConstruct(x)", "output y: object, expected float32"),
        ("y = Slice(x, a, a, a)", r"output y is empty: \[1, 0\]"),
    ],
)
def test_output_that_turns_out_to_hold_no_scores_is_refused(
    tmp_path: Path, body: str, message: str
) -> None:
    text = (
        '<ir_version: 8, opset_import: ["" : 15]> g (float[N,6] x) => (float y)'
        f"<int64[1] a = {{1}}> {{ {body} }}"
    )
    model = parser.parse_model(text)
    # Before it runs nobody knows: the file does not say.
    model.graph.output[0].ClearField("type")
    data = model.SerializeToString()
    taken = TensorSpec("x", (1, 6), "float32")
    source = Source(tmp_path / "m.onnx", "onnx", data, "", 0, taken, ("y",))
    with pytest.raises(ModelRefused, match=message):
        measure_parity(source, ("y",), INPUTS)


def failing(folder: Path) -> Path:
    """Save a model that loads and cannot run."""
    text = (
        '<ir_version: 8, opset_import: ["" : 15]> g (float[1,6] x) => (float[1,2] scores)'
        "<int64[1] a = {0}> { s = Squeeze(x, a) n = Cast <to = 7> (s) scores = Reshape(x, n) }"
    )
    return save(folder / "m.onnx", parser.parse_model(text).SerializeToString())


def test_runtime_that_fails_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelRefused, match=r"m\.onnx: onnxruntime: .*Reshape"):
        parity_of(failing(tmp_path), [np.full((1, 6), 7, np.float32)])


def test_runtime_gets_its_memory_back_when_it_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_model(failing(tmp_path).read_bytes(), "onnx")
    closed = []
    monkeypatch.setattr(model, "close", lambda: closed.append(True))
    monkeypatch.setattr(parity, "load_model", lambda *_: model)
    with pytest.raises(ModelRefused, match="Reshape"):
        run_model(b"", "onnx", [np.full((1, 6), 7, np.float32)])
    assert closed == [True]


@pytest.mark.parametrize("kind", ["onnx", "tflite"])
def test_outputs_are_real_values_and_the_work_is_reported(kind: str) -> None:
    data = network() if kind == "onnx" else emit_tflite(network())
    told: list[tuple[int, int]] = []
    (scores,) = run_model(data, kind, IMAGES[:3], lambda done, of: told.append((done, of)))
    assert scores.shape == (3, 1, 3)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores.sum(-1), 1, rtol=1e-6)
    assert told == [(1, 3), (2, 3), (3, 3)]
