"""Both formats of a model give the same values, and share one calibration."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnxslim
import pytest

from convert import float_models
from convert.float_models import FloatModels, _stand_ins, prepare_models, to_tflite
from convert.given.source import Source
from convert.onnx.canonical import canonicalise, name_nodes, to_bytes
from convert.onnx2tf import conversion
from convert.parity import FOLDED, Parity, measure_parity
from convert.ranges import METHODS
from convert.tflite import calibration as tflite_calibration
from convert.tflite.canonical import canonicalise as canonicalise_tflite
from convert.tflite.emission import emit_tflite
from convert.tflite.source import operators as tflite_operators
from edge_bundle.errors import ConfigError, ModelRefused
from edge_bundle.tensor import Array, Float32Array, TensorSpec
from tests.convert.classifier import Told
from tests.convert.example import (
    IMAGES,
    INPUTS,
    load,
    network_parity,
    operators,
    output,
    parity_of,
    samples,
    save,
)
from tests.convert.tflite.example import INPUT, SCORES, small_model
from tests.convert.tflite.example import INPUTS as TFLITE_INPUTS
from tests.convert.tflite.graphs import graph, seeded

CALIBRATION = samples(IMAGES)
UNKNOWN = graph("float[1,6] x", "s = Softplus (x) y = MatMul (s, w)", {"w": (6, 2)})
"""Our emitter does not know Softplus."""
SPELT_OUT = graph(
    "float[1,6] x",
    "e = Exp (x) p = Add (e, one) s = Log (p) y = MatMul (s, w)",
    {"w": (6, 2), "one": np.float32(1)},
)
"""The same values."""


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def no_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail where a TFLite file is run to see its tensors."""

    def fail(_data: bytes, _inputs: Sequence[Array]) -> Iterator[tuple[str, Float32Array]]:
        raise AssertionError("a second pass")

    monkeypatch.setattr(tflite_calibration, "observe_tflite", fail)


@pytest.fixture
def both(tmp_path: Path, told: Told) -> FloatModels:
    return prepare_models(network_parity(tmp_path), ("onnx", "tflite"), CALIBRATION, told)


def unknown(folder: Path) -> Parity:
    """Run the model whose operator our emitter does not know."""
    return parity_of(save(folder / "m.onnx", UNKNOWN), INPUTS)


def test_both_formats_give_the_values_of_the_source(both: FloatModels, tmp_path: Path) -> None:
    expected = network_parity(tmp_path).found[0]
    for form, model in both.by_format.items():
        found = output(model.data, IMAGES, form)
        assert np.abs(found - expected).max() <= 1e-4 * np.ptp(expected)
    (how,) = both.explanations
    assert how.startswith("The TFLite file was emitted directly, equal within ")


@pytest.mark.usefixtures("no_pass")
def test_one_calibration_serves_both_formats(tmp_path: Path, told: Told) -> None:
    both = prepare_models(network_parity(tmp_path), ("tflite", "onnx"), CALIBRATION, told)
    onnx_model, tflite_model = both.by_format["onnx"], both.by_format["tflite"]
    for method in METHODS:
        shared = tflite_model.ranges[method]
        assert {"x", "h", "y"} <= shared.keys()
        for name, found in shared.items():
            origin = name.partition("@")[0]
            assert found == onnx_model.ranges[method][origin]
    assert told.advances[-1] == (len(IMAGES), len(IMAGES))
    assert told.texts == [
        "canonicalising, proving each step on 16 samples",
        "calibrating with 16 samples",
        "converting to TFLite",
    ]


def test_what_was_fused_behind_a_node_stands_for_it(both: FloatModels) -> None:
    conv, gemm = (node.name for node in both.by_format["onnx"].nodes)
    model = both.by_format["tflite"]
    given = [operator.output for operator in tflite_operators(model.data)]
    found = [o.name for o in tflite_operators(model.data) if o.output == model.tensors[conv]]
    assert found == ["CONV_2D"]
    assert model.tensors[conv] in given
    # The convolution's own output is no longer there.
    assert (model.tensors[conv], model.tensors[gemm]) == ("r", "h")


def test_nodes_too_far_before_what_the_file_has_have_no_stand_in() -> None:
    """An emitter fuses no more than a few; beyond that a name would be a guess."""
    body = "a = Relu (x) b = Exp (a) c = Abs (b) d = Tanh (c) e = Sqrt (d) y = Neg (e)"
    model = name_nodes(load(graph("float[1,6] x", body)))
    other = emit_tflite(graph("float[1,6] x", "y = Neg (x)"))
    found = _stand_ins(to_bytes(model), other)
    assert found == {node.name: "y" for node in list(model.graph.node)[2:]}


def test_outputs_and_inputs_that_are_left_out_are_no_tensors() -> None:
    body = ", last = LSTM <hidden_size = 2> (x, w, r) c = Clip (last, , most) y = Neg (c)"
    weights = {"w": (1, 8, 6), "r": (1, 8, 2), "most": np.float32(1)}
    model = name_nodes(load(graph("float[3,1,6] x", body, weights)))
    lstm = model.graph.node[0]
    assert list(lstm.output) == ["", "last"]
    lone = model.graph.node.add(op_type="Identity", input=["x"], output=["nowhere"], name="lone")
    other = emit_tflite(graph("float[3,1,6] x", "last = Neg (x)", outputs="float last"))
    found = _stand_ins(to_bytes(model), other)
    assert found == {lstm.name: "last"}
    assert lone.name not in found


@pytest.mark.usefixtures("no_pass")
@pytest.mark.parametrize("form", ["onnx", "tflite"])
def test_without_samples_there_are_no_ranges(tmp_path: Path, told: Told, form: str) -> None:
    parity = network_parity(tmp_path)
    found = prepare_models(parity, ("onnx",) if form == "onnx" else ("tflite",), None, told)
    (model,) = found.by_format.values()
    assert (model.format, model.ranges) == (form, {})


def test_steps_that_were_left_out_are_told(
    tmp_path: Path, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnxslim, "slim", lambda _: None)
    found = prepare_models(network_parity(tmp_path), ("onnx",), None, told)
    assert found.explanations == ("Step simplify was left out: onnxslim gave no model.",)


LINE = graph(
    "float[1,16,12] x",
    "c = Conv <pads = [1, 1]> (x, kernel, bias) r = Relu (c) y = ReduceMean <axes = [2]> (r)",
    {"kernel": (16, 16, 3), "bias": (16,)},
)
"""A convolution along one dimension."""
LINES = [seeded(f"line {n}", (1, 16, 12)) for n in range(8)]


def test_convolution_along_one_dimension_is_also_had_as_a_product(
    tmp_path: Path, told: Told
) -> None:
    parity = parity_of(save(tmp_path / "m.onnx", LINE), LINES)
    model = prepare_models(parity, ("tflite",), None, told).by_format["tflite"]
    assert model.by_rows is not None
    kinds = [{o.name for o in tflite_operators(data)} for data in (model.data, model.by_rows)]
    assert "CONV_2D" in kinds[0] - kinds[1]
    assert parity.check_tflite(model.by_rows, "test") < FOLDED


def test_other_models_have_no_such_form(both: FloatModels) -> None:
    assert both.by_format["tflite"].by_rows is None


def test_form_that_gives_other_values_is_done_without(
    tmp_path: Path, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    parity = parity_of(save(tmp_path / "m.onnx", LINE), LINES)
    other = LINE.replace(b"ReduceMean", b"ReduceProd")
    monkeypatch.setattr(float_models, "unroll", lambda _: other)
    model = prepare_models(parity, ("tflite",), None, told).by_format["tflite"]
    assert model.by_rows is None
    assert parity.check_tflite(model.data, "test") < FOLDED


def tflite_parity(folder: Path) -> Parity:
    file = save(folder / "m.tflite", small_model())
    spec = TensorSpec("x", INPUT, "float32")
    source = Source(file, "tflite", small_model(), "", 0, spec, (SCORES,))
    return measure_parity(source, (SCORES,), TFLITE_INPUTS)


def test_tflite_source_stays_in_its_format(tmp_path: Path, told: Told) -> None:
    found = prepare_models(tflite_parity(tmp_path), ("tflite",), samples(TFLITE_INPUTS), told)
    (model,) = found.by_format.values()
    assert model.data == canonicalise_tflite(small_model())
    assert set(model.ranges) == set(METHODS)
    assert model.ranges["min-max"]["x"].high == np.max(TFLITE_INPUTS)
    assert (model.tensors, found.explanations) == ({}, ())
    assert told.texts == ["calibrating the TFLite model"]


def test_tflite_source_without_samples(tmp_path: Path, told: Told) -> None:
    found = prepare_models(tflite_parity(tmp_path), ("tflite",), None, told)
    assert found.by_format["tflite"].ranges == {}
    assert told.texts == ["reading the TFLite model"]


def test_onnx2tf_makes_what_our_emitter_cannot(
    tmp_path: Path, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversion, "convert_onnx", lambda _: emit_tflite(SPELT_OUT))
    data, how = to_tflite(UNKNOWN, unknown(tmp_path), told)
    assert data == emit_tflite(SPELT_OUT)
    assert how.startswith("onnx2tf made the TFLite file (cannot be emitted as TFLite directly: ")
    assert "Softplus" in how
    assert str(tmp_path) not in how
    assert told.texts[-1].endswith("; trying onnx2tf")


def test_file_of_onnx2tf_is_not_believed(
    tmp_path: Path, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = graph("float[1,6] x", "s = Relu (x) y = MatMul (s, w)", {"w": (6, 2)})
    monkeypatch.setattr(conversion, "convert_onnx", lambda _: emit_tflite(other))
    with pytest.raises(ModelRefused, match=r"m\.onnx: step onnx2tf changes y by .*, at most"):
        to_tflite(UNKNOWN, unknown(tmp_path), told)


def test_where_onnx2tf_is_not_set_up_the_way_is_said(
    tmp_path: Path, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversion, "find_environment", lambda: None)
    with pytest.raises(ConfigError, match=r"m\.onnx: .*Softplus.*; .*edge-convert setup-tflite"):
        prepare_models(unknown(tmp_path), ("onnx", "tflite"), None, told)


def test_what_neither_can_convert_is_refused_with_both_reasons(
    tmp_path: Path, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: bytes) -> bytes:
        raise ModelRefused("Softplus has no form")

    monkeypatch.setattr(conversion, "convert_onnx", refuse)
    why = r"m\.onnx: cannot be emitted .*Softplus.*; onnx2tf: Softplus has no form"
    with pytest.raises(ModelRefused, match=why):
        to_tflite(UNKNOWN, unknown(tmp_path), told)


def test_file_that_gives_other_values_goes_to_onnx2tf(
    tmp_path: Path, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mistake of our emitter must not be shipped."""
    parity = unknown(tmp_path)
    other = graph("float[1,6] x", "s = Relu (x) y = MatMul (s, w)", {"w": (6, 2)})
    monkeypatch.setattr(conversion, "convert_onnx", lambda _: emit_tflite(SPELT_OUT))
    _, how = to_tflite(other, parity, told)
    assert how.startswith("onnx2tf made the TFLite file (step emit-tflite changes y by ")


def test_canonical_form_is_what_is_calibrated(both: FloatModels, tmp_path: Path) -> None:
    data = canonicalise(network_parity(tmp_path)).data
    assert both.by_format["onnx"].data == data
    made = set(both.by_format["onnx"].ranges["min-max"])
    assert made == {"x", "n", "r", "p", "f", "h", "y"}
    assert operators(data)[0] == "Conv"
