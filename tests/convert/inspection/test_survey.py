"""A file is taken apart, never believed, and never run in this process."""

import random
from pathlib import Path

import msgspec
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper, parser

from convert.inspection import fitness, trial
from convert.inspection.fitness import Fitness
from convert.inspection.onnx_anatomy import read_onnx
from convert.inspection.survey import Inspection, inspect_model
from convert.inspection.text import describe_inspection
from convert.inspection.tflite_anatomy import read_tflite
from convert.targets import read_target
from edge_bundle.errors import ConfigError, ModelRefused
from tests.convert.graphs import save_graph
from tests.edge_bundle.bundles import MODEL, WAKE_WORD, write_watch_bundle

GOOD = "scores = MatMul(x, w)"


def verdict(inspection: Inspection, target: str) -> Fitness:
    return next(t for t in inspection.targets if t.target == target)


@pytest.fixture(scope="module")
def watch() -> Inspection:
    return inspect_model(MODEL)


@pytest.fixture(scope="module")
def wake_word() -> Inspection:
    return inspect_model(WAKE_WORD)


def test_onnx_file_is_taken_apart(watch: Inspection) -> None:
    anatomy = watch.anatomy
    assert (anatomy.format, anatomy.ir, anatomy.opsets["ai.onnx"]) == ("onnx", 8, 15)
    assert (anatomy.inputs[0].name, anatomy.inputs[0].shape) == ("X", ("?", 600))
    assert [o.name for o in anatomy.outputs] == ["label", "probabilities"]
    assert anatomy.precision == "float32"
    assert anatomy.multiply_accumulates == 600 * 24 + 24 * 7
    assert not anatomy.uncounted


def test_tflite_file_is_taken_apart(wake_word: Inspection) -> None:
    anatomy = wake_word.anatomy
    (given,) = anatomy.inputs
    assert (given.shape, given.dtype, given.zero_point) == ((1, 3, 40), "int8", -128)
    assert given.scale == pytest.approx(0.10196, rel=1e-4)
    assert anatomy.precision == "int8"
    assert anatomy.stateful == ("12 VAR_HANDLE",)
    assert {o.name: o.count for o in anatomy.operators}["CONV_2D"] == 5
    assert anatomy.multiply_accumulates == 21_630


def test_what_runs_here_runs_on_targets_of_the_same_runtimes(watch: Inspection) -> None:
    assert watch.trial.ran
    assert {t.runs for t in watch.targets} == {"yes"}
    assert (watch.trial.memory_bytes or 0) > watch.model_bytes


def test_build_says_what_it_could_make(watch: Inspection, wake_word: Inspection) -> None:
    assert {b.format: b.possible for b in watch.builds}["onnx"]
    assert not any(b.possible for b in wake_word.builds)
    assert "quantized already (int8)" in wake_word.builds[0].why


def test_bundle_shows_what_its_manifest_says(tmp_path: Path) -> None:
    bundle = write_watch_bundle(tmp_path)
    inspection = inspect_model(bundle.path)
    assert inspection.sha256 == bundle.sha256
    assert inspection.model_bytes == MODEL.stat().st_size
    assert inspection.bundle
    assert inspection.bundle.takes.startswith("windows of 100 samples at 50 Hz: ax (g)")
    assert "watch 1.0.0 onnx-float" in describe_inspection(inspection)


def test_inspection_is_json_and_fits_a_terminal(watch: Inspection, wake_word: Inspection) -> None:
    for inspection in (watch, wake_word):
        read = msgspec.json.decode(msgspec.json.encode(inspection), type=Inspection)
        assert read == inspection
        lines = describe_inspection(inspection).splitlines()[2:]  # a path is not cut
        assert max(map(len, lines)) <= 80


@pytest.mark.skipif(
    tuple(map(int, onnxruntime.__version__.split(".")[:2])) < (1, 24),
    reason="an older runtime, as Python 3.10 gets, loads it on no target",
)
def test_versions_that_a_target_does_not_load_are_named(tmp_path: Path) -> None:
    file = save_graph(tmp_path / "m.onnx", GOOD, ir=12, opsets=['"" : 24'])
    inspection = inspect_model(file)
    assert verdict(inspection, "raspberry-pi-4").runs == "yes"
    jetson = verdict(inspection, "jetson-orin")
    assert jetson.runs == "no"
    assert "opset 24, onnxruntime 1.23.2 (Python 3.10 (JetPack 6)) loads up to 23" in jetson.why
    assert "IR 12" in verdict(inspection, "generic").why


def test_custom_operators_are_named(tmp_path: Path) -> None:
    opsets = ['"" : 15', '"own" : 1']
    inspection = inspect_model(save_graph(tmp_path / "m.onnx", "scores = own.Magic(x)", 8, opsets))
    assert inspection.anatomy.custom == ("own.Magic",)
    assert "own.Magic" in verdict(inspection, "host").why
    assert inspection.builds[0].why == "custom operators: own.Magic"


def test_control_flow_is_named_and_its_work_not_counted(tmp_path: Path) -> None:
    body = (
        "n = Constant <value = bool {1}> ()"
        "scores = If (n) <then_branch = g () => (float[N,2] a) { a = MatMul(x, w) },"
        "else_branch = h () => (float[N,2] b) { b = MatMul(x, w) }>"
    )
    anatomy = inspect_model(save_graph(tmp_path / "m.onnx", body)).anatomy
    assert anatomy.control_flow == ("If",)
    assert (anatomy.multiply_accumulates, anatomy.uncounted) == (0, ("If",))
    assert {o.name: o.count for o in anatomy.operators} == {"MatMul": 2, "If": 1}


def test_weights_in_another_file_are_named(tmp_path: Path) -> None:
    file = save_graph(tmp_path / "m.onnx", GOOD)
    model = onnx.load(file)
    weights = model.graph.initializer[0]
    weights.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weights), "w"))
    onnx.save(model, file, save_as_external_data=True, location="weights.bin", size_threshold=0)
    inspection = inspect_model(file)
    assert inspection.anatomy.external == ("weights.bin",)
    assert "weights.bin" in verdict(inspection, "generic").why


def test_quantized_arithmetic_is_told_from_stored_codes() -> None:
    text = """
    <ir_version: 8, opset_import: ["" : 17]>
    g (float[1,4] x) => (float[1,2] y, float[1,2] z)
    <float s = {0.1}, int8 p = {0}, int8[4,2] w = {1, 2, 3, 4, 5, 6, 7, 8}>
    {
      q = QuantizeLinear(x, s, p)
      d = DequantizeLinear(q, s, p)
      v = DequantizeLinear(w, s, p)
      y = MatMul(d, v)
      z = MatMul(x, v)
    }
    """
    anatomy = read_onnx(parser.parse_model(text).SerializeToString())
    assert anatomy.arithmetic == {"int8": 1, "int8 weights": 1}
    assert anatomy.precision == "mixed: 1 int8, 1 int8 weights"
    assert anatomy.weight_bytes["int8"] == 9


def test_work_of_convolutions_and_recurrent_layers() -> None:
    rng = np.random.default_rng(0)
    shapes = {"w": (8, 3, 3, 3), "k": (1, 16, 5), "r": (1, 16, 4)}
    values = [
        numpy_helper.from_array(rng.normal(size=shape).astype(np.float32), name)
        for name, shape in shapes.items()
    ]
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["image", "w"], ["c"], pads=[1, 1, 1, 1]),
            helper.make_node("LSTM", ["steps", "k", "r"], ["h"], hidden_size=4),
        ],
        "g",
        [
            helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, ["N", 3, 10, 10]),
            helper.make_tensor_value_info("steps", onnx.TensorProto.FLOAT, [7, "N", 5]),
        ],
        [
            helper.make_tensor_value_info("c", onnx.TensorProto.FLOAT, list("abcd")),
            helper.make_tensor_value_info("h", onnx.TensorProto.FLOAT, list("efgi")),
        ],
        values,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    anatomy = read_onnx(model.SerializeToString())
    assert anatomy.multiply_accumulates == 8 * 10 * 10 * 27 + 7 * 16 * (5 + 4)
    assert anatomy.outputs[0].shape == ("a", "b", "c", "d")


def test_memory_that_a_target_has_not_is_named(watch: Inspection) -> None:
    hungry = trial.Trial(True, "onnxruntime 1.32.0", memory_bytes=300 << 20)
    zero = fitness.judge_target(watch.anatomy, hungry, read_target("raspberry-pi-zero-2w"))
    assert zero.why == "it takes 300 MiB of memory, more than half of 512 MiB"
    four = fitness.judge_target(watch.anatomy, hungry, read_target("raspberry-pi-4"))
    assert four.runs == "yes"


def test_model_that_ends_its_process_leaves_this_one(monkeypatch: pytest.MonkeyPatch) -> None:
    program = "import os, signal; os.kill(os.getpid(), signal.SIGABRT)"
    monkeypatch.setattr(trial, "CHILD", ("-c", program))
    found = trial.try_model(WAKE_WORD.read_bytes(), "tflite")
    assert found.ran is False
    assert found.why == "it ends the whole process (SIGABRT)"


def test_model_that_a_runtime_refuses_is_said_in_its_words() -> None:
    with pytest.raises(ModelRefused, match=r"^m\.onnx: onnxruntime \S+: .*"):
        trial.require_safe(b"nothing of the kind", "onnx", "m.onnx")


@pytest.mark.parametrize("file", [MODEL, WAKE_WORD])
def test_flipped_bytes_are_refused_or_read(file: Path) -> None:
    """Nothing but ModelRefused, in one line, and in no time."""
    whole, rng = file.read_bytes(), random.Random(3)
    read = read_tflite if file.suffix == ".tflite" else read_onnx
    refusals = []
    for _ in range(60):
        data = bytearray(whole)
        for _ in range(8):
            # Most of a file is weights; its structure is at the ends.
            place = rng.choice([rng.randrange(2048), len(data) - 1 - rng.randrange(2048)])
            data[place] ^= 1 << rng.randrange(8)
        try:
            read(bytes(data))
        except ModelRefused as error:
            refusals.append(str(error))
    assert len(refusals) > 10
    assert not any("\n" in refusal for refusal in refusals)


@pytest.mark.parametrize(
    "data", [b"", b"TFL3", b"\x1c\0\0\0TFL3", b"PK\3\4 not a bundle", b"\xff" * 64]
)
def test_what_is_no_model_is_refused_in_one_line(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "m.bin"
    file.write_bytes(data)
    with pytest.raises(Exception, match=r"m\.bin: ") as caught:
        inspect_model(file)
    assert caught.type.__name__ in {"ModelRefused", "BundleRefused"}
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["/dev/null", "empty.onnx", "empty.bundle"])
def test_empty_file_is_said_to_be_empty(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.touch()
    with pytest.raises(ModelRefused, match=rf"{name}: the file is empty$"):
        inspect_model(file)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        inspect_model(tmp_path / "none.onnx")
