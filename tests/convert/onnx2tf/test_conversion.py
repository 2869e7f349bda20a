"""onnx2tf is a world of its own: whatever it does, what comes out is fit for use or refused."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper, parser

from convert.child import LOG_BYTES
from convert.onnx2tf.conversion import convert_onnx
from convert.onnx2tf.environment import find_environment
from convert.tflite import flatbuffer, schema
from edge_bundle.errors import ConfigError, ModelRefused
from edge_bundle.runtimes.loader import load_model
from edge_bundle.tensor import TensorSpec
from tests.parts import require

Install = Callable[[str], Path]
PAIR = "(float[1,4] a, float[1,2] b) => (float[1,4] y, float[1,2] z) { y = Tanh(a) z = Tanh(b) }"
FLOAT32 = "out/model_float32.tflite"


def onnx_model(text: str) -> bytes:
    model = parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> g {text}')
    data: bytes = model.SerializeToString()
    return data


def with_names(data: bytes, **names: str) -> bytes:
    """Give values names that the text format has no letters for."""
    model = onnx.load_model_from_string(data)
    for node in model.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for value in (*model.graph.input, *model.graph.output):
        value.name = names.get(value.name, value.name)
    renamed: bytes = model.SerializeToString()
    return renamed


def tflite_model(
    operator: Any, taken: dict[str, Sequence[int]], given: dict[str, Sequence[int]]
) -> Any:
    """Return one operator for each input and output; the empty buffer is all that it holds."""
    model, graph, code = schema.ModelT(), schema.SubGraphT(), schema.OperatorCodeT()
    model.version, model.buffers, model.subgraphs = 3, [schema.BufferT()], [graph]
    if isinstance(operator, str):
        code.builtinCode, code.customCode = schema.BuiltinOperator.CUSTOM, operator.encode()
    else:
        code.builtinCode = operator
    code.deprecatedBuiltinCode = min(code.builtinCode, 127)
    code.version, model.operatorCodes = 1, [code]
    graph.tensors, graph.operators = [], []
    for name, shape in (taken | given).items():
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.buffer = name.encode(), list(shape), 0
        tensor.type = schema.TensorType.FLOAT32
        graph.tensors.append(tensor)
    graph.inputs = list(range(len(taken)))
    graph.outputs = list(range(len(taken), len(taken) + len(given)))
    for before, after in zip(graph.inputs, graph.outputs, strict=True):
        step = schema.OperatorT()
        step.opcodeIndex, step.inputs, step.outputs = 0, [before], [after]
        if operator == schema.BuiltinOperator.RESHAPE:
            step.builtinOptionsType = schema.BuiltinOptions.ReshapeOptions
            step.builtinOptions = schema.ReshapeOptionsT()
            step.builtinOptions.newShape = graph.tensors[after].shape
        graph.operators.append(step)
    return model


def tanh_pair() -> Any:
    """Return ``PAIR`` with its outputs the other way round."""
    model = tflite_model(
        schema.BuiltinOperator.TANH,
        {"port0": (1, 4), "port1": (1, 2)},
        {"port2": (1, 4), "port3": (1, 2)},
    )
    model.subgraphs[0].outputs.reverse()
    return model


@pytest.fixture
def install(tmp_path: Path) -> Install:
    """Make an environment whose onnx2tf is a shell script."""

    def make(script: str) -> Path:
        tool = tmp_path / "bin" / "onnx2tf"
        tool.parent.mkdir()
        tool.write_text(f"#!/bin/sh\n{script}\n")
        tool.chmod(0o755)
        return tmp_path

    return make


@pytest.fixture
def writing(tmp_path: Path, install: Install) -> Callable[[Any], Path]:
    """Make an environment whose onnx2tf writes this model."""

    def make(model: Any) -> Path:
        file = tmp_path / "written.tflite"
        file.write_bytes(model if isinstance(model, bytes) else flatbuffer.pack(model))
        return install(f"mkdir out && cp {file} {FLOAT32}")

    return make


def test_names_and_order_are_those_of_the_onnx_file(writing: Callable[[Any], Path]) -> None:
    data = with_names(onnx_model(PAIR), a="/in:0", z="z:1")
    converted = convert_onnx(data, environment=writing(tanh_pair()))
    model = load_model(converted, "tflite")
    assert [spec.name for spec in model.inputs] == ["/in:0", "b"]
    assert model.outputs == (
        TensorSpec("y", (1, 4), "float32"),
        TensorSpec("z:1", (1, 2), "float32"),
    )
    model.input(1)[...] = 0.5
    model.invoke()
    assert model.output(1) == pytest.approx(np.tanh(0.5))


def test_output_of_three_dimensions_comes_flat_and_leaves_in_shape(
    writing: Callable[[Any], Path],
) -> None:
    data = onnx_model("(float[1,2,3] a) => (float[1,2,3] y) { y = Identity(a) }")
    given = tflite_model(schema.BuiltinOperator.RESHAPE, {"port0": (1, 2, 3)}, {"port1flat": (6,)})
    model = load_model(convert_onnx(data, environment=writing(given)), "tflite")
    model.input(0)[...] = values = np.arange(6, dtype=np.float32).reshape(1, 2, 3)
    model.invoke()
    assert np.array_equal(model.output(0), values)


def test_hint_that_float16_will_do_is_taken_out(writing: Callable[[Any], Path]) -> None:
    hinting, hint = tanh_pair(), schema.MetadataT()
    hint.name, hint.buffer, hinting.metadata = b"reduced_precision_support", 0, [hint]
    converted = convert_onnx(onnx_model(PAIR), environment=writing(hinting))
    assert not flatbuffer.unpack(converted).metadata


def test_it_works_on_a_copy_with_its_own_folder_on_the_path(
    tmp_path: Path, install: Install
) -> None:
    file = tmp_path / "written.tflite"
    file.write_bytes(flatbuffer.pack(tanh_pair()))
    environment = install(
        f"echo broken > model.onnx && simplify && mkdir out && cp {file} {FLOAT32}"
    )
    simplify = environment / "bin" / "simplify"
    simplify.write_text("#!/bin/sh\n")
    simplify.chmod(0o755)
    assert convert_onnx(onnx_model(PAIR), environment=environment)


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo all is well", "onnx2tf wrote no file and said: all is well"),
        ("true", "onnx2tf wrote no file and said: exit code 0 without a word"),
        (
            (
                "echo 'NotImplementedError: op=GRU node=n reason_code=r message=W is no constant'"
                " && exit 1"
            ),
            "onnx2tf cannot convert: GRU: W is no constant",
        ),
        (r"printf '\033[31mno luck\033[0m\n\n' && exit 1", "onnx2tf cannot convert: no luck"),
        ("kill -9 $$", "onnx2tf was ended by signal 9 while it converted"),
        (f"mkdir out && echo TFL3 > {FLOAT32}", "onnx2tf wrote no model: not a TFLite file"),
    ],
)
def test_failure_is_said_in_one_line(install: Install, script: str, said: str) -> None:
    with pytest.raises(ModelRefused, match=f"^{said}") as refused:
        convert_onnx(onnx_model(PAIR), environment=install(script))
    assert "\n" not in str(refused.value)


def test_only_the_end_of_much_talk_is_kept(install: Install) -> None:
    environment = install(f"yes | head -c {5 * LOG_BYTES}; echo at last >&2; exit 1")
    with pytest.raises(ModelRefused, match="at last"):
        convert_onnx(onnx_model(PAIR), environment=environment)


def test_what_hangs_is_killed_with_its_children(tmp_path: Path, install: Install) -> None:
    environment = install(f"sleep 60 & echo $! > {tmp_path}/child; wait")
    began = time.monotonic()
    with pytest.raises(ModelRefused, match=r"did not convert the model within 0\.5 s"):
        convert_onnx(onnx_model(PAIR), environment=environment, timeout_s=0.5)
    assert time.monotonic() - began < 10
    child = int((tmp_path / "child").read_text())
    # Whoever adopts it may take a moment to bury it.
    state = Path(f"/proc/{child}/stat")
    assert not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z"


def test_custom_operators_are_refused_by_their_onnx_name(writing: Callable[[Any], Path]) -> None:
    data = onnx_model("(float[1,4] a) => (float[1,4] y) { y = HardSwish(a) }")
    given = tflite_model("ONNX_HARDSWISH", {"port0": (1, 4)}, {"port1": (1, 4)})
    with pytest.raises(ModelRefused, match=r"onnx2tf cannot convert: HardSwish \(.*custom"):
        convert_onnx(data, environment=writing(given))


@pytest.mark.parametrize(
    ("taken", "given", "said"),
    [
        (
            {"port0": (1, 3, 2)},
            {"port1flat": (6,)},
            r"a \(float32 1x2x3\) became a \(float32 1x3x2\)",
        ),
        ({"port0": (1, 2, 3), "more": (6,)}, {"port1flat": (6,), "too": (6,)}, "inputs from 1 to"),
        ({"port0": (1, 2, 3)}, {"other": (6,)}, "the outputs from 1 to 1"),
        ({"port0": (1, 2, 3)}, {"port1flat": (5,)}, "changes output y from 6 values to 5"),
    ],
)
def test_other_inputs_and_outputs_are_refused(
    writing: Callable[[Any], Path],
    taken: dict[str, Sequence[int]],
    given: dict[str, Sequence[int]],
    said: str,
) -> None:
    data = onnx_model("(float[1,2,3] a) => (float[1,2,3] y) { y = Identity(a) }")
    written = tflite_model(schema.BuiltinOperator.RESHAPE, taken, given)
    with pytest.raises(ModelRefused, match=said):
        convert_onnx(data, environment=writing(written))


def test_free_dimension_is_refused_before_it_becomes_one(install: Install) -> None:
    data = onnx_model('(float["n",4] a) => (float["n",4] y) { y = Tanh(a) }')
    with pytest.raises(ModelRefused, match=r"input a is \?x4, onnx2tf needs a fixed shape"):
        convert_onnx(data, environment=install("true"))


def test_no_model_at_all_is_refused(install: Install) -> None:
    with pytest.raises(ModelRefused, match="not an ONNX model"):
        convert_onnx(b"\xff" * 9, environment=install("true"))


@pytest.mark.parametrize(
    "script", ["echo \"ModuleNotFoundError: No module named 'onnx2tf'\" && exit 1", None]
)
def test_damaged_environment_is_told_from_a_bad_model(
    tmp_path: Path, install: Install, script: str | None
) -> None:
    environment = install(script) if script else tmp_path
    with pytest.raises(ConfigError, match="make it anew: edge-convert setup-tflite"):
        convert_onnx(onnx_model(PAIR), environment=environment)


def test_without_an_environment_the_command_that_makes_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(ConfigError, match=r"edge-convert setup-tflite \(once, about \d+ MB\)"):
        convert_onnx(onnx_model(PAIR))


def test_real_onnx2tf_keeps_values_layout_and_names() -> None:
    require("onnx2tf", find_environment() is not None, "edge-convert setup-tflite")
    random = np.random.default_rng(3)
    weights = random.standard_normal((4, 4, 3, 3), np.float32)
    port = helper.make_tensor_value_info
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["/x:0", "w"], ["c"], pads=[1, 1, 1, 1]),
            helper.make_node("Relu", ["c"], ["/y:0"]),
            helper.make_node("ReduceMean", ["/y:0"], ["mean"], axes=[2, 3], keepdims=0),
        ],
        "images",
        # Equal sizes: a transposed one would not show in the shape.
        [port("/x:0", onnx.TensorProto.FLOAT, [1, 4, 4, 4])],
        [
            port("/y:0", onnx.TensorProto.FLOAT, [1, 4, 4, 4]),
            port("mean", onnx.TensorProto.FLOAT, [1, 4]),
        ],
        [numpy_helper.from_array(weights, "w")],
    )
    opset = helper.make_opsetid("", 17)
    data = helper.make_model(graph, opset_imports=[opset], ir_version=8).SerializeToString()
    converted = convert_onnx(data)
    before, after = load_model(data, "onnx"), load_model(converted, "tflite")
    assert (after.inputs, after.outputs) == (before.inputs, before.outputs)
    values = random.standard_normal((1, 4, 4, 4), np.float32)
    for model in (before, after):
        model.input(0)[...] = values
        model.invoke()
    for index in range(2):
        assert np.allclose(before.output(index), after.output(index), atol=1e-5)


def test_real_onnx2tf_cannot_hide_an_operator() -> None:
    require("onnx2tf", find_environment() is not None, "edge-convert setup-tflite")
    data = onnx_model(
        "(float[1,8] x) => (float[1,8] y){ u, i, j, k = Unique(x) s = ReduceSum(u) y = Add(x, s) }"
    )
    with pytest.raises(ModelRefused, match="onnx2tf cannot convert: Unique"):
        convert_onnx(data)
