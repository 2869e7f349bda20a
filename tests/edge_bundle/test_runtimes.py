"""Both runtimes behind one protocol, on real models; what is no model is refused in one line."""

import importlib
import importlib.util
import subprocess
import sys
import types
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from edge_bundle.errors import ConfigError, ModelRefused, RuntimeMissing
from edge_bundle.runtimes import loader
from edge_bundle.runtimes.loader import installed_formats, load_model, runtime_version
from edge_bundle.runtimes.model import Model, read_output, write_input
from edge_bundle.tensor import Array, TensorSpec
from tests.edge_bundle.bundles import MODEL, WAKE_WORD, watch_windows
from tests.parts import require_module

ROOT = Path(__file__).parents[2]


@pytest.fixture
def watch() -> Iterator[Model]:
    model = load_model(MODEL.read_bytes(), "onnx")
    yield model
    model.close()


@pytest.fixture
def wake_word() -> Iterator[Model]:
    require_module("ai_edge_litert")
    model = load_model(WAKE_WORD.read_bytes(), "tflite")
    yield model
    model.close()


def test_onnx_tensors_are_those_of_the_file(watch: Model) -> None:
    assert watch.inputs == (TensorSpec("X", (1, 600), "float32"),)
    assert watch.outputs == (
        TensorSpec("label", (1,), "int64"),
        TensorSpec("probabilities", (1, 7), "float32"),
    )


def test_onnx_gives_what_a_plain_session_gives(watch: Model) -> None:
    session = onnxruntime.InferenceSession(MODEL.read_bytes(), providers=["CPUExecutionProvider"])
    for window in watch_windows(5):
        label, probabilities = session.run(None, {"X": window.reshape(1, 600)})
        write_input(watch, 0, window)
        watch.invoke()
        np.testing.assert_array_equal(watch.output(0), label)
        np.testing.assert_allclose(watch.output(1), probabilities, atol=1e-6)
        assert read_output(watch, 1) is watch.output(1)
        assert read_output(watch, 0).tolist() == [float(label[0])]


def addresses(model: Model) -> list[int]:
    arrays = [model.input(0), *(model.output(i) for i in range(len(model.outputs)))]
    return [a.ctypes.data for a in arrays]


def test_onnx_memory_stays_where_it_is(watch: Model) -> None:
    before, ours = addresses(watch), watch.input(0)
    for value in (0.0, 1.0):
        ours[...] = value
        watch.invoke()
        assert watch.input(0) is ours
        assert addresses(watch) == before
    assert watch.output(1).sum() == pytest.approx(1)


def test_tflite_tensors_are_those_of_the_file(wake_word: Model) -> None:
    (input_,), (output,) = wake_word.inputs, wake_word.outputs
    assert (input_.shape, input_.dtype, input_.zero_point) == ((1, 3, 40), "int8", -128)
    assert (output.shape, output.dtype, output.zero_point) == ((1, 1), "uint8", 0)
    assert input_.scale == pytest.approx(26 / 255, rel=0.01)
    assert output.scale == pytest.approx(1 / 256)


def run_stream(model: Model, steps: list[Array]) -> list[int]:
    said = []
    for step in steps:
        model.input(0)[...] = step
        model.invoke()
        said.append(int(model.output(0)[0, 0]))
    return said


def test_only_a_file_with_variables_says_that_it_is_stateful(
    watch: Model, wake_word: Model
) -> None:
    assert (watch.stateful, wake_word.stateful) == (False, True)


def test_tflite_remembers_its_stream_until_it_is_reset(wake_word: Model) -> None:
    # Spoken sound is not at hand; this noise makes the model say a little now and then.
    noise = np.random.default_rng(0)
    steps = list(noise.integers(0, 127, (60, 1, 3, 40)).astype(np.int8))
    first = run_stream(wake_word, steps)
    went_on = run_stream(wake_word, steps)
    for _ in range(2):
        wake_word.reset()
        assert run_stream(wake_word, steps) == first
    assert len(set(first)) > 1
    assert went_on != first


def test_tflite_memory_stays_where_it_is(wake_word: Model) -> None:
    before, ours = addresses(wake_word), wake_word.input(0)
    for value in (-128, 127):
        ours[...] = value
        wake_word.invoke()
        assert wake_word.input(0) is ours
        assert (wake_word.input(0) == value).all()
        assert addresses(wake_word) == before


def test_real_values_are_quantized_in_and_out_with_saturation(wake_word: Model) -> None:
    spec = wake_word.inputs[0]
    assert spec.scale is not None
    assert spec.zero_point is not None
    write_input(wake_word, 0, np.full((3, 40), 1e9, np.float32))
    assert (wake_word.input(0) == 127).all()
    write_input(wake_word, 0, np.full((120,), -1e9, np.float32))
    assert (wake_word.input(0) == -128).all()
    values = np.linspace(0, 25, 120, dtype=np.float32)
    write_input(wake_word, 0, values)
    expected = np.clip(np.rint(values / spec.scale) + spec.zero_point, -128, 127)
    np.testing.assert_array_equal(wake_word.input(0).reshape(-1), expected)
    wake_word.invoke()
    real = read_output(wake_word, 0)
    assert real.dtype == np.float32
    np.testing.assert_allclose(real, wake_word.output(0) * np.float32(1 / 256))


@pytest.mark.parametrize("kind", ["onnx", "tflite"])
@pytest.mark.parametrize("data", [b"", b"hello", b"\0" * 1000, b"PK\3\4" * 100])
def test_what_is_no_model_is_refused_in_one_line(kind: str, data: bytes) -> None:
    if kind == "tflite":
        require_module("ai_edge_litert")
    with pytest.raises(ModelRefused) as refused:
        load_model(data, kind)
    assert str(refused.value).startswith(runtime_version(kind))
    assert "\n" not in str(refused.value).strip()


def test_onnx_model_that_is_cut_short_is_refused() -> None:
    data = MODEL.read_bytes()
    for length in range(1, len(data), 5000):
        with pytest.raises(ModelRefused):
            load_model(data[:length], "onnx")


def test_tflite_model_that_is_cut_short_is_refused_and_kills_nothing() -> None:
    """In a process of its own: the runtime is C++, and the file's offsets are believed."""
    require_module("ai_edge_litert")
    code = """
import sys
from pathlib import Path
from edge_bundle.errors import ModelRefused
from edge_bundle.runtimes.loader import load_model
data = Path(sys.argv[1]).read_bytes()
for length in [*range(0, 400, 7), *range(400, len(data), 997), len(data) - 1]:
    try:
        load_model(data[:length], "tflite")
    except ModelRefused as error:
        assert "\\n" not in str(error), error
    else:
        raise SystemExit(f"{length} bytes were taken")
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(WAKE_WORD)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


class Stub:
    """An interpreter as small as the guard needs it."""

    def __init__(self, **_: Any) -> None:
        pass

    def allocate_tensors(self) -> None:
        pass


class Dies(Stub):
    """tflite-runtime 2.14 with NumPy 2: it imports, takes junk for junk, and fails on a model."""

    def __init__(self, **_: Any) -> None:
        raise SystemError("<built-in method> returned a result with an exception set\n")


def install(patch: pytest.MonkeyPatch, module: str, interpreter: type[Stub]) -> None:
    fake = types.ModuleType(module)
    fake.Interpreter = interpreter  # type: ignore[attr-defined]
    patch.setitem(sys.modules, module.partition(".")[0], types.ModuleType("package"))
    patch.setitem(sys.modules, module, fake)


def test_runtime_that_imports_and_then_dies_gives_way_to_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    require_module("ai_edge_litert")
    tflite = importlib.import_module("edge_bundle.runtimes.tflite")
    monkeypatch.setattr(metadata, "version", lambda _: "9.9")
    install(monkeypatch, "ai_edge_litert.interpreter", Dies)
    install(monkeypatch, "tflite_runtime.interpreter", Stub)
    assert tflite._interpreter_class() == ("tflite-runtime 9.9", Stub)
    install(monkeypatch, "tflite_runtime.interpreter", Dies)
    with pytest.raises(RuntimeMissing) as missing:
        tflite._interpreter_class()
    assert "ai-edge-litert does not work here: <built-in method>" in str(missing.value)
    assert "pip install 'edgeward[tflite]'" in str(missing.value)
    assert "\n" not in str(missing.value)


def test_runtime_that_misses_a_part_of_its_own_is_told_from_one_that_is_not_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    require_module("ai_edge_litert")
    tflite = importlib.import_module("edge_bundle.runtimes.tflite")
    monkeypatch.setitem(sys.modules, "tflite_runtime", None)
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(RuntimeMissing) as missing:
        tflite._interpreter_class()
    assert "ai-edge-litert does not work here: " in str(missing.value)
    assert "tflite-runtime" not in str(missing.value)


def test_runtime_is_named_by_the_version_that_is_installed() -> None:
    require_module("ai_edge_litert")
    installed = metadata.version("ai-edge-litert")
    assert runtime_version("tflite") == f"ai-edge-litert {installed}"


def test_guard_builds_a_true_model() -> None:
    require_module("ai_edge_litert")
    tflite = importlib.import_module("edge_bundle.runtimes.tflite")
    model = load_model(tflite.PROBE, "tflite")
    assert [(t.shape, t.dtype) for t in (*model.inputs, *model.outputs)] == [((1,), "float32")] * 2
    model.input(0)[:] = -2.5
    model.invoke()
    assert model.output(0) == 2.5
    model.close()


def test_runtime_s_greeting_is_not_said_and_all_else_is() -> None:
    """In a process of its own: it is said at the first graph alone, by C++, on descriptor 2."""
    require_module("ai_edge_litert")
    code = """
import os, sys
from pathlib import Path
from edge_bundle.runtimes.loader import load_model
model = load_model(Path(sys.argv[1]).read_bytes(), "tflite")
model.invoke()
from edge_bundle.runtimes.tflite import _without_greeting
with _without_greeting():
    os.write(2, b"INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\\nERROR: a fault\\n")
os.write(2, b"over\\n")
os.close(2)
with _without_greeting():
    pass
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(WAKE_WORD)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "ERROR: a fault\nover\n")


def test_missing_runtime_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert installed_formats() == ()
    for kind in ("onnx", "tflite"):
        with pytest.raises(RuntimeMissing, match=rf"pip install 'edgeward\[{kind}\]'"):
            load_model(b"", kind)
        with pytest.raises(RuntimeMissing):
            runtime_version(kind)


def test_runtime_that_does_not_import_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "edge_bundle.runtimes.onnx", raising=False)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.setattr(loader, "installed_formats", lambda: ("onnx",))
    with pytest.raises(RuntimeMissing, match="the onnx runtime does not import"):
        load_model(b"", "onnx")


def test_unknown_format_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="format 'torch': expected one of onnx, tflite"):
        load_model(b"", "torch")
    with pytest.raises(ConfigError):
        runtime_version("../onnx")


def onnx_model(input_type: int, shape: list[Any], operator: str, output_type: int) -> bytes:
    onnx = require_module("onnx")
    helper = onnx.helper
    graph = helper.make_graph(
        [helper.make_node(operator, ["x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", input_type, shape)],
        [helper.make_tensor_value_info("y", output_type, shape)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return bytes(model.SerializeToString())


FLOAT, UINT8, INT64, STRING, FLOAT16 = 1, 2, 7, 8, 10


@pytest.mark.parametrize(
    ("onnx_type", "dtype"), [(FLOAT16, "float16"), (UINT8, "uint8"), (INT64, "int64")]
)
def test_onnx_tensors_keep_their_own_type(onnx_type: int, dtype: str) -> None:
    model = load_model(onnx_model(onnx_type, ["n", 2], "Identity", onnx_type), "onnx")
    assert model.inputs[0] == TensorSpec("x", (1, 2), dtype)
    write_input(model, 0, np.array([3, 4], np.float32))
    model.invoke()
    assert model.output(0).dtype == np.dtype(dtype)
    assert read_output(model, 0).tolist() == [[3.0, 4.0]]


def test_onnx_output_that_is_an_input_has_its_values() -> None:
    onnx = require_module("onnx")
    made = onnx.load_model_from_string(onnx_model(FLOAT, [1, 2], "Neg", FLOAT))
    made.graph.output.append(made.graph.input[0])
    model = load_model(made.SerializeToString(), "onnx")
    for values in ([3, 4], [5, 6]):
        write_input(model, 0, np.array(values, np.float32))
        model.invoke()
        given = [read_output(model, i).tolist() for i in range(2)]
        assert given == [[[-values[0], -values[1]]], [values]]


def test_onnx_model_that_cannot_be_run_here_is_refused() -> None:
    with pytest.raises(ModelRefused, match=r"tensor x: tensor\(string\) is not supported"):
        load_model(onnx_model(STRING, [1], "Identity", STRING), "onnx")
    with pytest.raises(ModelRefused, match="Unable to allocate"):
        load_model(onnx_model(FLOAT, [1, 10**14], "Relu", FLOAT), "onnx")
    # The number of results depends on the values, so that no memory can be bound to it.
    model = load_model(onnx_model(FLOAT, ["n", "m"], "NonZero", INT64), "onnx")
    with pytest.raises(ModelRefused):
        model.invoke()
