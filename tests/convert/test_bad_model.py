"""Every model and spec that cannot be built is one clear line, and leaves nothing behind."""

import pickle
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tests.convert.conftest import GOOD, Example
from tests.convert.example import MODEL, RECORDING, SPEC
from tests.convert.graphs import save_graph, save_text
from tests.parts import require_module

IF = """
    yes = Constant<value = bool {1}>()
    scores = If(yes) <
        then_branch = g1 () => (float[N,2] a) { a = MatMul(x, w) },
        else_branch = g2 () => (float[N,2] b) { b = MatMul(x, w) }
    >
"""


def write_spec(file: Path, old: str, new: str) -> Path:
    text = SPEC.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    return file


def test_missing_model(example: Example, tmp_path: Path) -> None:
    assert "No such file" in example(2, tmp_path / "none.onnx")


def test_empty_file(example: Example, tmp_path: Path) -> None:
    for name in ("none.onnx", "none.tflite"):
        (tmp_path / name).touch()
        assert example(3, tmp_path / name).endswith(f"{name}: the file is empty")


@pytest.mark.parametrize("content", [b"hello", b"PK\x03\x04"])
def test_file_that_is_not_a_model(example: Example, tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "text.onnx"
    file.write_bytes(content)
    assert "not an ONNX model" in example(3, file)


def test_truncated_model(example: Example, tmp_path: Path) -> None:
    file = tmp_path / "half.onnx"
    file.write_bytes(MODEL.read_bytes()[:30_000])
    assert "not an ONNX model" in example(3, file)


@pytest.mark.parametrize("content", [b"TFL3" * 9, b"\x20\0\0\0TFL3" + bytes(range(256))])
def test_damaged_tflite_file(small: Example, tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "half.tflite"
    file.write_bytes(content)
    assert f"{file}: cut off or damaged TFLite file" in small(3, file)


def test_model_of_2_gigabytes(example: Example, tmp_path: Path) -> None:
    file = tmp_path / "large.onnx"
    with file.open("wb") as sparse:
        sparse.truncate(2 << 30)
    assert "2147483648 bytes, at most 536870912" in example(3, file)


def test_weights_in_another_file_that_is_missing(small: Example, tmp_path: Path) -> None:
    file = tmp_path / "m.onnx"
    model = onnx.load_model(save_graph(file, GOOD))
    # Values in the typed field would stay where they are.
    weights = numpy_helper.from_array(numpy_helper.to_array(model.graph.initializer[0]), "w")
    model.graph.initializer[0].CopyFrom(weights)
    onnx.save_model(model, file, save_as_external_data=True, location="m.bin", size_threshold=0)
    (tmp_path / "m.bin").unlink()
    assert "its weights are in another file (m.bin); save the model as one file" in small(3, file)


def test_control_flow(small: Example, tmp_path: Path) -> None:
    line = small(3, save_graph(tmp_path / "if.onnx", IF))
    assert "control flow (If) cannot be converted; export the model without it" in line


def test_operator_that_onnx_does_not_have(small: Example, tmp_path: Path) -> None:
    line = small(3, save_graph(tmp_path / "u.onnx", "scores = Magic(x, w)"))
    assert "Magic" in line


def test_operator_of_somebody_s_own(small: Example, tmp_path: Path) -> None:
    own = save_graph(
        tmp_path / "own.onnx", "scores = com.acme.Magic(x, w)", opsets=('"" : 15', '"com.acme" : 1')
    )
    assert "operators that no runtime of a device has: com.acme.Magic" in small(3, own)


def test_model_of_two_inputs(small: Example, tmp_path: Path) -> None:
    text = '<ir_version: 8, opset_import: ["" : 15]>'
    text += "two (float[N,6] x, float[N,6] z) => (float[N,6] s) { s = Add(x, z) }"
    assert "2 inputs (x, z), expected one" in small(3, save_text(tmp_path / "two.onnx", text))


def test_model_that_is_quantized_already(small: Example, tmp_path: Path) -> None:
    body = "q = QuantizeLinear(x, s, z)\n d = DequantizeLinear(q, s, z)\n scores = MatMul(d, w)"
    model = onnx.load_model(save_graph(tmp_path / "q.onnx", body))
    model.graph.initializer.append(numpy_helper.from_array(np.float32(0.1), "s"))
    model.graph.initializer.append(numpy_helper.from_array(np.uint8(128), "z"))
    onnx.save_model(model, tmp_path / "q.onnx")
    line = small(3, tmp_path / "q.onnx")
    assert "already quantized (QuantizeLinear); give the float model it came from" in line


def test_tflite_with_custom_operators(small: Example, tmp_path: Path) -> None:
    require_module("ai_edge_litert")
    from tests.convert.tflite.example import CODES, Builder

    made = Builder()
    made.tensor("x", (1, 4))
    made.tensor("y", (1, 4))
    made.operator(CODES.CUSTOM, [0], [1]).customCode = b"ONNX_LSTM"
    file = tmp_path / "custom.tflite"
    file.write_bytes(made.data([0], [1]))
    assert f"{file}: custom operator ONNX_LSTM, expected TFLite's own alone" in small(3, file)


def test_tflite_asked_for_as_onnx(small: Example, tmp_path: Path) -> None:
    require_module("ai_edge_litert")
    from tests.convert.tflite.example import small_model

    file = tmp_path / "m.tflite"
    file.write_bytes(small_model())
    assert "is TFLite and gives TFLite alone" in small(2, file, to="onnx")


def test_pickle_that_nobody_vouches_for(small: Example, tmp_path: Path) -> None:
    file = tmp_path / "model.pkl"
    file.write_bytes(pickle.dumps({"would": "run"}))
    assert "add --trust if you made this file" in small(2, file)


def test_missing_spec(example: Example, tmp_path: Path) -> None:
    assert "No such file" in example(2, spec=tmp_path / "none.toml")


def test_unknown_key_in_the_spec(example: Example, tmp_path: Path) -> None:
    spec = write_spec(tmp_path / "s.toml", "window =", "windw =")
    assert f"{spec}:6:1: stream.windw: unknown key; did you mean 'window'?" in example(2, spec=spec)


def test_stream_of_another_shape_than_the_model_says_both(example: Example, tmp_path: Path) -> None:
    spec = write_spec(tmp_path / "s.toml", "window = 100", "window = 90")
    line = example(3, spec=spec)
    assert "1x600 = 600 values" in line
    assert "90x6 = 540 values" in line


def test_model_with_another_number_of_scores(example: Example, tmp_path: Path) -> None:
    spec = write_spec(tmp_path / "s.toml", '"PEN", ', "")
    assert "decision.labels: 6 labels, the model gives 7 scores" in example(
        3, spec=spec, evaluation=f"{RECORDING}#7-10"
    )


@pytest.mark.parametrize("output", ["label", "scores"])
def test_output_that_holds_no_scores(example: Example, tmp_path: Path, output: str) -> None:
    spec = write_spec(tmp_path / "s.toml", '"probabilities"', f'"{output}"')
    line = example(2, spec=spec)
    assert f"{spec}:19:1: decision.output: '{output}', the model has probabilities" in line
