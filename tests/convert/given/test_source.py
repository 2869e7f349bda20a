"""What cannot be converted is refused by what is wrong with it."""

import contextlib
import hashlib
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper, parser

from convert.given import source
from convert.given.source import check_input, choose_outputs, first_line, read_onnx, show_shape
from convert.given.spec import EMPTY, Spec, SpecFile, read_spec
from edge_bundle.decision.rules import Classification
from edge_bundle.errors import ConfigError, ModelRefused
from edge_bundle.features.steps import Statistics
from edge_bundle.tensor import TensorSpec
from tests.convert.example import MODEL, SPEC, save_small

GOOD = "scores = MatMul(x, w)"


def change(file: Path, find: str, replace: str) -> Path:
    text = onnx.printer.to_text(onnx.load(file))
    assert find in text
    model = onnx.parser.parse_model(text.replace(find, replace))
    file.write_bytes(model.SerializeToString())
    return file


def save_text(file: Path, text: str) -> Path:
    header = '<ir_version: 8, opset_import: ["" : 15, "own" : 1]> g '
    file.write_bytes(parser.parse_model(header + text).SerializeToString())
    return file


def test_what_was_read_says_what_the_model_takes_and_gives() -> None:
    read = read_onnx(MODEL)
    assert (read.path, read.format, read.notes) == (MODEL, "onnx", ())
    assert read.input == TensorSpec("X", (1, 600), "float32")
    assert read.outputs == ("probabilities",)
    assert read.sha256 == hashlib.sha256(MODEL.read_bytes()).hexdigest()
    assert (read.file_bytes, read.data) == (MODEL.stat().st_size, MODEL.read_bytes())


def test_model_of_an_exporter_is_read_instead_of_its_file(tmp_path: Path) -> None:
    pickle = tmp_path / "m.pkl"
    pickle.write_bytes(b"a pickle")
    exported = save_small(tmp_path / "m.onnx", GOOD).read_bytes()
    read = read_onnx(pickle, exported)
    assert (read.path, read.data, read.file_bytes) == (pickle, exported, 8)
    assert read.sha256 == hashlib.sha256(b"a pickle").hexdigest()


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.onnx: No such file"):
        read_onnx(tmp_path / "none.onnx")


def test_file_larger_than_memory_allows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = save_small(tmp_path / "m.onnx", GOOD)
    monkeypatch.setattr(source, "MAX_MODEL_BYTES", 100)
    with pytest.raises(ModelRefused, match=rf"m\.onnx: {file.stat().st_size} bytes, at most 100"):
        read_onnx(file)


@pytest.mark.parametrize("content", [b"not a model", b"\x08\x08:\x00"])
def test_file_that_is_no_model(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "m.onnx"
    file.write_bytes(content)
    with pytest.raises(ModelRefused, match=r"m\.onnx: not an ONNX model: ."):
        read_onnx(file)


def test_weights_in_another_file(tmp_path: Path) -> None:
    file = save_small(tmp_path / "m.onnx", GOOD)
    model = onnx.load(file)
    weights = model.graph.initializer[0]
    weights.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weights), "w"))
    onnx.save(model, file, save_as_external_data=True, location="weights.bin", size_threshold=0)
    with pytest.raises(ModelRefused, match=r"in another file \(weights\.bin\)"):
        read_onnx(file)


def test_constant_in_another_file(tmp_path: Path) -> None:
    body = "b = Constant <value = float[2] {1.0, 2.0}> () y = MatMul(x, w) scores = Add(y, b)"
    file = save_small(tmp_path / "m.onnx", body)
    model = onnx.load(file)
    value = model.graph.node[0].attribute[0].t
    value.CopyFrom(numpy_helper.from_array(np.ones(2, np.float32)))
    onnx.external_data_helper.set_external_data(value, "constants.bin")
    value.ClearField("raw_data")
    file.write_bytes(model.SerializeToString())
    with pytest.raises(ModelRefused, match=r"in another file \(constants\.bin\)"):
        read_onnx(file)


def test_control_flow(tmp_path: Path) -> None:
    body = (
        "n = Constant <value = bool {1}> ()"
        "scores = If (n) <then_branch = g () => (float[N,2] a) { a = MatMul(x, w) },"
        "else_branch = h () => (float[N,2] b) { b = MatMul(x, w) }>"
    )
    with pytest.raises(ModelRefused, match=r"node scores: control flow \(If\) cannot be converted"):
        read_onnx(save_small(tmp_path / "m.onnx", body))


def test_control_flow_without_an_output_has_no_name(tmp_path: Path) -> None:
    file = save_small(tmp_path / "m.onnx", GOOD, opsets=('"" : 15', '"own" : 1'))
    model = onnx.load(file)
    loop = helper.make_node("Repeat", ["x"], [], domain="own", body=onnx.GraphProto(name="body"))
    model.graph.node.append(loop)
    file.write_bytes(model.SerializeToString())
    with pytest.raises(ModelRefused, match=r"control flow \(Repeat\)"):
        read_onnx(file)


def test_operators_that_no_runtime_has_are_all_named(tmp_path: Path) -> None:
    file = save_small(
        tmp_path / "m.onnx",
        "a = own.Magic(x) b = own.half(a) c = far.Sparkle(b) scores = MatMul(c, w)",
        opsets=('"" : 15', '"own" : 1', '"far" : 1'),
        functions='<domain: "own", opset_import: ["" : 15]> half (a) => (b) { b = Relu(a) }',
    )
    with pytest.raises(ModelRefused, match=r"no runtime of a device has: far\.Sparkle, own\.Magic"):
        read_onnx(file)


def test_operators_of_the_models_own_functions_are_looked_at(tmp_path: Path) -> None:
    file = save_small(
        tmp_path / "m.onnx",
        "a = own.half(x) scores = MatMul(a, w)",
        opsets=('"" : 15', '"own" : 1'),
        functions='<domain: "own", opset_import: ["" : 15, "far" : 1]> half (a) => (b) '
        "{ b = far.Sparkle(a) }",
    )
    with pytest.raises(ModelRefused, match=r"far\.Sparkle"):
        read_onnx(file)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ("float[N,6] x, float[1] z", r"2 inputs \(x, z\), expected one"),
        ("", r"0 inputs \(none\), expected one"),
        ("float16[N,6] x", "input x: float16 with a shape, expected float32 or integers"),
        ("float[] x", "not an ONNX model: Field 'shape'"),
        ("seq(float[N,6]) x", "input x: undefined without a shape, expected"),
    ],
)
def test_input_that_is_not_one_tensor_of_numbers(tmp_path: Path, inputs: str, message: str) -> None:
    file = save_text(
        tmp_path / "m.onnx",
        f"({inputs}) => (float[1] y) <float[1] c = {{1.0}}> {{ y = Identity(c) }}",
    )
    with pytest.raises(ModelRefused, match=message):
        read_onnx(file)


def test_type_that_onnx_does_not_know(tmp_path: Path) -> None:
    file = save_small(tmp_path / "m.onnx", GOOD)
    model = onnx.load(file)
    model.graph.input[0].type.tensor_type.elem_type = 99
    file.write_bytes(model.SerializeToString())
    with pytest.raises(ModelRefused, match="input x: type 99 with a shape"):
        read_onnx(file)


@pytest.mark.parametrize("kind", ["int32", "int64", "uint8"])
def test_tokens_and_codes_are_inputs_too(tmp_path: Path, kind: str) -> None:
    body = "y = Cast <to = 1> (x) scores = MatMul(y, w)"
    file = change(save_small(tmp_path / "m.onnx", body), "float[N,6] x", f"{kind}[N,6] x")
    assert read_onnx(file).input == TensorSpec("x", (1, 6), kind)


def test_weights_listed_as_inputs_are_none(tmp_path: Path) -> None:
    """As in files of IR 3."""
    file = save_small(tmp_path / "m.onnx", GOOD, ir=3)
    model = onnx.load(file)
    model.graph.input.append(helper.make_tensor_value_info("w", onnx.TensorProto.FLOAT, [6, 2]))
    file.write_bytes(model.SerializeToString())
    assert read_onnx(file).input.name == "x"


@pytest.mark.parametrize(
    "body",
    [
        "q = QuantizeLinear(x, s, z) y = DequantizeLinear(q, s, z) scores = MatMul(y, w)",
        "q, a, b = DynamicQuantizeLinear(x) y = Cast <to = 1> (q) scores = MatMul(y, w)",
        (
            "q = QuantizeLinear(x, s, z) p = QLinearMatMul(q, s, z, v, s, z, s, z)"
            "scores = Cast <to = 1> (p)"
        ),
    ],
)
def test_model_that_is_quantized_already(tmp_path: Path, body: str) -> None:
    constants = (
        "s = Constant <value = float {0.5}> () z = Constant <value = uint8 {0}> ()"
        "v = Cast <to = 2> (w)"
    )
    with pytest.raises(ModelRefused, match="already quantized .* give the float model"):  # noqa: RUF043
        read_onnx(save_small(tmp_path / "m.onnx", constants + body))


def test_operators_of_another_age(tmp_path: Path) -> None:
    with pytest.raises(ModelRefused, match="opset 6, expected 7"):
        read_onnx(save_small(tmp_path / "m.onnx", GOOD, opsets=('"" : 6',)))


def test_only_outputs_of_real_values_are_offered(tmp_path: Path) -> None:
    body = "y = MatMul(x, w) s = SequenceConstruct(x) n = ArgMax(x)"
    outputs = "float[N,2] y, seq(float[N,6]) s, int64[1,6] n"
    weights = "<float[6,2] w = {1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 1.0, 2.0, 3.0}>"
    file = save_text(tmp_path / "m.onnx", f"(float[N,6] x) => ({outputs}) {weights} {{ {body} }}")
    assert read_onnx(file).outputs == ("y",)


def test_no_output_of_real_values(tmp_path: Path) -> None:
    text = "(float[N,6] x) => (int64[1,6] n, seq(float[N,6]) s)"
    file = save_text(tmp_path / "m.onnx", text + "{ n = ArgMax(x) s = SequenceConstruct(x) }")
    with pytest.raises(ModelRefused, match="no output of float32: n, s"):
        read_onnx(file)


def test_stream_of_another_size_than_the_model_takes(tmp_path: Path) -> None:
    spec = read_spec(SPEC).spec
    check_input(read_onnx(MODEL), spec)
    small = read_onnx(save_small(tmp_path / "m.onnx", GOOD))
    check_input(small, Spec())
    with pytest.raises(ModelRefused, match=r"x takes 1x6 = 6 values, .* are 100x6 = 600 values"):
        check_input(small, spec)
    means = msgspec.structs.replace(spec, features=(Statistics(("mean",)),))
    check_input(small, means)
    more = msgspec.structs.replace(spec, features=(Statistics(("mean", "rms")),))
    with pytest.raises(ModelRefused, match=r"x takes 1x6 .*features of a window are 1x12 = 12 val"):
        check_input(small, more)


def test_outputs_are_what_the_decision_reads_or_all(tmp_path: Path) -> None:
    body = "scores = MatMul(x, w) more = Relu(x)"
    file = save_small(tmp_path / "m.onnx", body)
    both = read_onnx(change(file, "float[N,2] scores", "float[N,2] scores, float[N,6] more"))
    one = read_onnx(save_small(tmp_path / "m.onnx", GOOD))

    def choose(wanted: str, read: source.Source) -> tuple[str, ...]:
        decision = Classification(labels=("a", "b"), output=wanted)
        return choose_outputs(read, SpecFile(Spec(decision=decision), None))

    assert choose_outputs(both, EMPTY) == ("scores", "more")
    assert choose("more", both) == ("more",)
    assert choose("", one) == ("scores",)
    with pytest.raises(ConfigError, match=r"decision\.output: 'probs', the model has scores, more"):
        choose("probs", both)
    with pytest.raises(ConfigError, match=r"decision\.output: must name one of scores, more"):
        choose("", both)


def test_words_for_shapes_and_errors() -> None:
    assert (show_shape((1, 600)), show_shape(())) == ("1x600", "scalar")
    assert first_line(ValueError("\n one\ntwo")) == "one"
    assert first_line(KeyError()) == "KeyError"
    assert len(first_line(ValueError("a" * 999))) == 300


@pytest.mark.parametrize("seed", range(20))
def test_damaged_file_is_refused_or_read_and_never_a_crash(tmp_path: Path, seed: int) -> None:
    random = np.random.default_rng(seed)
    data = bytearray(MODEL.read_bytes())
    for at in random.integers(0, 4000, 30):
        data[at] = random.integers(0, 256)
    file = tmp_path / "damaged.onnx"
    file.write_bytes(data)
    with contextlib.suppress(ModelRefused):
        assert read_onnx(file).data == data
