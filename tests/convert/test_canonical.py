"""Each step keeps the scores, and leaves the one plain form."""

from pathlib import Path

import numpy as np
import onnx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import helper
from onnxruntime import InferenceSession

from convert.canonical import canonicalise, lower_scalers
from convert.parity import measure_parity
from convert.source import read_source
from tests.convert.example import MODEL, operators, parity_of, save_small

FLOATS = st.floats(-8, 8, width=32)
LISTS = st.lists(FLOATS, min_size=6, max_size=6) | st.lists(FLOATS, min_size=1, max_size=1)


def test_real_model_loses_its_labels_and_foreign_operators() -> None:
    window = np.linspace(-1, 1, 600, dtype=np.float32).reshape(1, 600)
    data = canonicalise(measure_parity(read_source(MODEL), "probabilities", 7, [window]))
    model = onnx.load_model_from_string(data)
    assert operators(data)[:3] == ["Sub", "Mul", "Cast"]
    assert [o.name for o in model.graph.output] == ["probabilities"]
    assert [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim] == [1, 600]
    assert [d.dim_value for d in model.graph.output[0].type.tensor_type.shape.dim] == [1, 7]
    assert {n.domain for n in model.graph.node} == {""}
    assert "classes" not in {t.name for t in model.graph.initializer}


def test_newer_opset_and_functions_become_what_devices_know(tmp_path: Path) -> None:
    file = save_small(
        tmp_path / "m.onnx",
        "y = own.half(x) scores = MatMul(y, w)",
        ir=11,
        opsets=('"" : 23', '"own" : 1'),
        functions='<domain: "own", opset_import: ["" : 23]> half (a) => (b) { b = Relu(a) }',
    )
    data = canonicalise(parity_of(file))
    model = onnx.load_model_from_string(data)
    assert operators(data) == ["Relu", "MatMul"]
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 21)]
    assert model.ir_version <= 10


def test_older_opset_becomes_one_with_codes_by_channel(tmp_path: Path) -> None:
    file = save_small(
        tmp_path / "m.onnx",
        "y = MatMul(x, w) scores = Softmax <axis = 1> (y)",
        opsets=('"" : 11',),
    )
    model = onnx.load_model_from_string(canonicalise(parity_of(file)))
    assert model.opset_import[0].version == 13


def test_constants_become_weights(tmp_path: Path) -> None:
    body = "b = Constant <value = float[2] {1.0, 2.0}> () y = MatMul(x, w) scores = Add(y, b)"
    data = canonicalise(parity_of(save_small(tmp_path / "m.onnx", body)))
    assert operators(data) == ["MatMul", "Add"]
    assert {t.name for t in onnx.load_model_from_string(data).graph.initializer} == {"b", "w"}


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    offset=st.none() | LISTS,
    scale=st.none() | LISTS,
)
def test_scaler_of_any_form_keeps_its_values(
    offset: list[float] | None, scale: list[float] | None
) -> None:
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 15, "ai.onnx.ml" : 1]>'
        "g (float[1,6] x) => (float[1,6] y) { y = ai.onnx.ml.Scaler(x) }"
    )
    # What is not written means 0 and 1.
    written = {k: v for k, v in (("offset", offset), ("scale", scale)) if v is not None}
    model.graph.node[0].attribute.extend(helper.make_attribute(k, v) for k, v in written.items())
    lowered = lower_scalers(model)
    x = np.linspace(-3, 3, 6, dtype=np.float32).reshape(1, 6)
    (found,) = InferenceSession(lowered.SerializeToString()).run(["y"], {"x": x})
    shift = np.asarray([0] if offset is None else offset, np.float32)
    factor = np.asarray([1] if scale is None else scale, np.float32)
    np.testing.assert_array_equal(found, (x - shift) * factor)
    assert [o.domain for o in lowered.opset_import] == [""]
