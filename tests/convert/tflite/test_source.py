"""A file is judged before any runtime sees it, and each refusal names what was found."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from convert.given.source import MAX_MODEL_BYTES
from convert.tflite import schema
from convert.tflite.flatbuffer import pack, unpack
from convert.tflite.quantization import quantize_weights_int8
from convert.tflite.source import Operator, operators, read_tflite
from edge_bundle.errors import ConfigError, ModelRefused
from edge_bundle.tensor import TensorSpec
from tests.convert.tflite.example import BLOCK, CODES, INPUT, TYPES, Builder, small_model

WAKE_WORD = Path(__file__).parents[3] / "examples" / "wake_word" / "hey_jarvis.tflite"


def saved(tmp_path: Path, data: bytes) -> Path:
    file = tmp_path / "m.tflite"
    file.write_bytes(data)
    return file


def single(code: int, **options: int) -> Builder:
    """Return a model of one operator from x to y."""
    made = Builder()
    made.tensor("x", (1, 4)), made.tensor("y", (1, 4), kind=options.get("kind", 0))
    made.operator(code, [0], [1])
    return made


def test_a_float_model_is_read_with_its_borders(tmp_path: Path) -> None:
    source = read_tflite(saved(tmp_path, small_model()))
    assert source.input == TensorSpec("x", INPUT, "float32")
    assert source.outputs == (TensorSpec("scores", (1, 3), "float32"),)
    assert len(source.sha256) == 64


def test_operators_are_named_with_what_they_give_and_hold() -> None:
    assert operators(small_model()) == [
        Operator("CONV_2D", BLOCK, 4 * (4 * 9 + 4)),
        Operator("RELU", f"{BLOCK}#4", 0),
        Operator("FULLY_CONNECTED", "dense", 4 * 3 * 144),
        Operator("SOFTMAX", "scores", 0),
    ]


def test_operators_of_a_stateful_file_are_listed() -> None:
    names = {operator.name for operator in operators(WAKE_WORD.read_bytes())}
    assert {"VAR_HANDLE", "CONV_2D", "CALL_ONCE"} <= names


def test_a_stateful_model_is_refused() -> None:
    with pytest.raises(ModelRefused, match=r"keeps state \(VAR_HANDLE\); pack takes the file"):
        read_tflite(WAKE_WORD)


def test_a_variable_tensor_is_refused(tmp_path: Path) -> None:
    made = single(CODES.RELU)
    made.tensor("memory", (1, 4))
    made.graph.tensors[2].isVariable = True
    with pytest.raises(ModelRefused, match=r"keeps state \(variable memory\)"):
        read_tflite(saved(tmp_path, made.data([0], [1])))


def test_a_quantized_model_is_refused(tmp_path: Path) -> None:
    data = quantize_weights_int8(small_model())
    with pytest.raises(ModelRefused, match=r"already quantized .* pack takes the file as it is"):
        read_tflite(saved(tmp_path, data))


@pytest.mark.parametrize("code", ["IF", "WHILE"])
def test_control_flow_is_refused(tmp_path: Path, code: str) -> None:
    data = single(getattr(CODES, code)).data([0], [1])
    with pytest.raises(ModelRefused, match=rf"control flow \({code}\)"):
        read_tflite(saved(tmp_path, data))


def test_a_custom_operator_is_refused_by_its_name(tmp_path: Path) -> None:
    made = single(CODES.CUSTOM)
    made.model.operatorCodes[0].customCode = b"SignalWindow"
    file = saved(tmp_path, made.data([0], [1]))
    with pytest.raises(ModelRefused, match="custom operator SignalWindow"):
        read_tflite(file)
    assert operators(file.read_bytes()) == [Operator("SignalWindow", "y", 0)]


def test_several_graphs_are_refused(tmp_path: Path) -> None:
    made = single(CODES.RELU)
    made.graph.inputs, made.graph.outputs = [0], [1]
    made.model.subgraphs = [made.graph, made.graph]
    with pytest.raises(ModelRefused, match="2 graphs, expected one"):
        read_tflite(saved(tmp_path, pack(made.model)))


def test_several_inputs_are_refused(tmp_path: Path) -> None:
    made = Builder()
    for name in "abc":
        made.tensor(name, (1, 4))
    made.operator(CODES.ADD, [0, 1], [2], schema.AddOptionsT())
    with pytest.raises(ModelRefused, match=r"2 inputs \(a, b\), expected one"):
        read_tflite(saved(tmp_path, made.data([0, 1], [2])))


def test_something_else_is_no_tflite_file(tmp_path: Path) -> None:
    for data in (b"", b"TFL3", b"a readme of some length"):
        with pytest.raises(ModelRefused, match="not a TFLite file"):
            read_tflite(saved(tmp_path, data))


def test_no_cut_and_no_changed_byte_is_a_bug_of_ours() -> None:
    whole = small_model()
    random = np.random.default_rng(1)
    cuts = [whole[:length] for length in range(8, len(whole), 97)]
    for _ in range(300):
        changed = bytearray(whole)
        for place in random.integers(8, len(whole), 4):
            changed[place] = random.integers(256)
        cuts.append(bytes(changed))
    refusals = []
    for data in cuts:
        try:
            unpack(data)
        except ModelRefused as error:
            refusals.append(str(error))
    assert len(refusals) > 30
    assert not any("\n" in line for line in refusals)


def test_an_index_out_of_its_list_is_refused(tmp_path: Path) -> None:
    made = single(CODES.RELU)
    made.graph.operators[0].inputs = [7]
    with pytest.raises(ModelRefused, match="damaged TFLite file: tensor 7 of 2"):
        read_tflite(saved(tmp_path, made.data([0], [1])))


def test_graphs_listed_over_and_over_are_refused_at_once() -> None:
    made = single(CODES.RELU)
    data = bytearray(made.data([0], [1]))
    root = schema.Model.GetRootAs(data, 0)
    # Claims as many buffers as bytes: more than the file can hold.
    vector = root._tab.Vector(root._tab.Offset(12))
    data[vector - 4 : vector] = len(data).to_bytes(4, "little")
    with pytest.raises(ModelRefused, match="damaged"):
        unpack(bytes(data))


def test_a_large_file_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "large.tflite"
    with file.open("wb") as stream:
        stream.truncate(MAX_MODEL_BYTES + 1)
    with pytest.raises(ModelRefused, match=f"at most {MAX_MODEL_BYTES}"):
        read_tflite(file)


def test_a_missing_file_is_the_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        read_tflite(tmp_path / "absent.tflite")


def test_no_runtime_is_imported_to_judge_a_file() -> None:
    code = "import sys, convert.tflite.source; print('ai_edge_litert.interpreter' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_half_weights_are_no_quantized_model(tmp_path: Path) -> None:
    assert TYPES.FLOAT16 != TYPES.FLOAT32
    assert read_tflite(saved(tmp_path, small_model(halves=True))).input.name == "x"
