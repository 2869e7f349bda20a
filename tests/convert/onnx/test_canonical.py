"""Each step keeps the scores, and leaves the one plain form."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxslim
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import checker, helper, numpy_helper
from onnxruntime import InferenceSession

from convert.given.source import read_onnx
from convert.onnx import canonical
from convert.onnx.canonical import (
    bound_versions,
    canonicalise,
    keep_outputs,
    lift_constants,
    lower_scalers,
    name_nodes,
    to_bytes,
)
from convert.parity import BOUND, FOLDED, Parity, measure_parity
from edge_bundle.errors import ModelRefused
from tests.convert.example import (
    MODEL,
    load,
    network,
    network_parity,
    operators,
    parity_of,
    save,
    save_small,
)
from tests.convert.tflite.graphs import graph

FLOATS = st.floats(-8, 8, width=32)
LISTS = st.lists(FLOATS, min_size=6, max_size=6) | st.lists(FLOATS, min_size=1, max_size=1)
PLAIN = "scores = MatMul(x, w)"


def test_real_model_loses_its_labels_and_foreign_operators() -> None:
    windows = list(np.random.default_rng(3).normal(size=(4, 1, 600)).astype(np.float32))
    found = canonicalise(measure_parity(read_onnx(MODEL), ("probabilities",), windows))
    model = load(found.data)
    assert operators(found.data)[:3] == ["Sub", "Mul", "Gemm"]
    assert [o.name for o in model.graph.output] == ["probabilities"]
    assert [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim] == [1, 600]
    assert [d.dim_value for d in model.graph.output[0].type.tensor_type.shape.dim] == [1, 7]
    assert {n.domain for n in model.graph.node} == {""}
    assert "classes" not in {t.name for t in model.graph.initializer}
    assert found.notes == ()


def test_network_becomes_what_kernels_run_whole(tmp_path: Path) -> None:
    found = canonicalise(network_parity(tmp_path))
    assert operators(found.data) == ["Conv", "Relu", "MaxPool", "Flatten", "Gemm", "Softmax"]


def test_canonical_form_is_its_own(tmp_path: Path) -> None:
    once = canonicalise(network_parity(tmp_path)).data
    again = canonicalise(
        parity_of(save(tmp_path / "c.onnx", once), network_parity(tmp_path).inputs)
    )
    assert again.data == once


def test_each_step_is_proven_before_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proven: list[tuple[str, float]] = []
    check = Parity.check

    def remember(parity: Parity, data: bytes, step: str, bound: float) -> float:
        proven.append((step, bound))
        return check(parity, data, step, bound)

    monkeypatch.setattr(Parity, "check", remember)
    canonicalise(network_parity(tmp_path))
    steps = [step for step, _ in proven]
    assert {"keep-outputs", "simplify", "name-nodes"} <= set(steps)
    assert dict(proven)["keep-outputs"] == BOUND
    assert dict(proven)["simplify"] == FOLDED


def test_newer_opset_and_functions_become_what_devices_know(tmp_path: Path) -> None:
    file = save_small(
        tmp_path / "m.onnx",
        "y = own.half(x) scores = MatMul(y, w)",
        ir=11,
        opsets=('"" : 23', '"own" : 1'),
        functions='<domain: "own", opset_import: ["" : 23]> half (a) => (b) { b = Relu(a) }',
    )
    data = canonicalise(parity_of(file)).data
    assert operators(data) == ["Relu", "MatMul"]
    assert [(o.domain, o.version) for o in load(data).opset_import] == [("", 21)]
    assert load(data).ir_version <= 10


def test_older_opset_becomes_one_with_codes_by_channel(tmp_path: Path) -> None:
    file = save_small(
        tmp_path / "m.onnx",
        "y = MatMul(x, w) scores = Softmax <axis = 1> (y)",
        opsets=('"" : 11',),
    )
    assert load(canonicalise(parity_of(file)).data).opset_import[0].version == 13


def test_opset_that_devices_know_stays() -> None:
    assert bound_versions(load(network())) == load(network())


def test_default_domain_has_one_name(tmp_path: Path) -> None:
    file = save_small(tmp_path / "m.onnx", PLAIN, opsets=('"ai.onnx" : 15',))
    model = load(canonicalise(parity_of(file)).data)
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 15)]


def test_constants_become_weights(tmp_path: Path) -> None:
    body = "b = Constant <value = float[2] {1.0, 2.0}> () y = MatMul(x, w) scores = Add(y, b)"
    lifted = lift_constants(onnx.load(save_small(tmp_path / "m.onnx", body)))
    assert [n.op_type for n in lifted.graph.node] == ["MatMul", "Add"]
    assert {t.name for t in lifted.graph.initializer} == {"b", "w"}
    data = canonicalise(parity_of(tmp_path / "m.onnx")).data
    assert "Constant" not in operators(data)


def test_constants_of_a_file_of_ir_3_become_weights_too(tmp_path: Path) -> None:
    """Where each weight has to be an input as well."""
    body = "b = Constant <value = float[2] {1.0, 2.0}> () y = MatMul(x, w) scores = Add(y, b)"
    file = save_small(tmp_path / "m.onnx", body, ir=3, opsets=('"" : 9',))
    model = onnx.load(file)
    model.graph.input.append(helper.make_tensor_value_info("w", onnx.TensorProto.FLOAT, [6, 2]))
    found = load(canonicalise(parity_of(save(file, model.SerializeToString()))).data)
    assert "Constant" not in {n.op_type for n in found.graph.node}
    assert [i.name for i in found.graph.input] == ["x"]
    assert found.ir_version >= 4


def test_what_leads_to_no_output_goes(tmp_path: Path) -> None:
    body = "scores = MatMul(x, w) a = Relu(x) more = MatMul(a, w)"
    model = onnx.load(save_small(tmp_path / "m.onnx", body))
    model.graph.output.append(helper.make_tensor_value_info("more", 1, ["N", 2]))
    model.graph.node[0].doc_string = "traced at line 7"
    model.graph.node[0].metadata_props.add(key="scope", value="net")
    data = to_bytes(keep_outputs(model, ("scores",)))
    assert operators(data) == ["MatMul"]
    assert [o.name for o in load(data).graph.output] == ["scores"]
    assert b"traced" not in data
    assert b"scope" not in data
    both = to_bytes(keep_outputs(model, ("more", "scores")))
    assert [o.name for o in load(both).graph.output] == ["more", "scores"]


def test_output_that_does_not_depend_on_the_input_is_refused(tmp_path: Path) -> None:
    file = save_small(tmp_path / "m.onnx", "t = Transpose(w) scores = MatMul(t, w)")
    why = r"m\.onnx: step keep-outputs: output scores does not depend on the input"
    with pytest.raises(ModelRefused, match=why):
        canonicalise(parity_of(file))


def test_every_node_has_a_name_of_its_own() -> None:
    model = load(network())
    for node, name in zip(model.graph.node, ["a", "a", "MaxPool_3", "", "b", "", "b"], strict=True):
        node.name = name
    names = [n.name for n in name_nodes(model).graph.node]
    assert len(set(names)) == len(names) == 7
    assert all(names)
    assert names[:5:2] == ["a", "MaxPool_3", "b"]


def broken(model: onnx.ModelProto) -> onnx.ModelProto:
    """Double a weight, as a step with a mistake would."""
    weight = max(model.graph.initializer, key=lambda t: np.prod(t.dims))
    values = 2 * numpy_helper.to_array(weight)
    weight.CopyFrom(numpy_helper.from_array(values, weight.name))
    return model


def invalid(model: onnx.ModelProto) -> onnx.ModelProto:
    """Leave an input of a node undefined."""
    model.graph.node[0].input[0] = "nowhere"
    return model


def fail(_: onnx.ModelProto) -> onnx.ModelProto:
    raise KeyError("missing")


def rounded(model: onnx.ModelProto) -> onnx.ModelProto:
    """Change what comes out as folding may, and as no other step may."""
    weight = next(t for t in model.graph.initializer if t.name == "matrix")
    values = (1 + 1e-4) * numpy_helper.to_array(weight)
    weight.CopyFrom(numpy_helper.from_array(values.astype(np.float32), weight.name))
    return model


def test_rounding_of_one_step_is_not_held_against_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(canonical, "simplify", rounded)
    parity = network_parity(tmp_path)
    found = canonicalise(parity)
    assert found.notes == ()
    assert BOUND < parity.check(found.data, "all", FOLDED) < FOLDED


@pytest.mark.parametrize(
    ("step", "why"), [(broken, ": changes y by "), (invalid, "nowhere"), (None, ": onnxslim: ")]
)
def test_optional_step_that_breaks_the_model_is_left_out_and_said(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: Callable[[onnx.ModelProto], onnx.ModelProto] | None,
    why: str,
) -> None:
    if step is None:
        # It may raise whatever it likes.
        monkeypatch.setattr(onnxslim, "slim", fail)
    else:
        monkeypatch.setattr(canonical, "simplify", step)
    found = canonicalise(network_parity(tmp_path))
    assert operators(found.data) == ["Conv", "Relu", "MaxPool", "Flatten", "Gemm", "Softmax"]
    (note,) = found.notes
    assert note.startswith("Step simplify was left out: ")
    assert why in note
    assert note.endswith(".")
    assert str(tmp_path) not in note
    assert note.count("simplify") == 1


@pytest.mark.parametrize(("step", "why"), [(broken, "changes y by .*, at most"), (invalid, "")])
def test_required_step_that_breaks_the_model_refuses_it(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: Callable[[onnx.ModelProto], onnx.ModelProto],
    why: str,
) -> None:
    monkeypatch.setattr(canonical, "name_nodes", step)
    with pytest.raises(ModelRefused, match=rf"^\S+/net\.onnx: step name-nodes: {why}") as refusal:
        canonicalise(network_parity(tmp_path))
    assert str(refusal.value).count("net.onnx") == 1


def test_mistake_of_ours_is_not_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canonical, "fold_batch_norm", lambda model: model.no_such_field)
    with pytest.raises(AttributeError):
        canonicalise(network_parity(tmp_path))


def test_scalar_outputs_and_tokens_get_fixed_shapes(tmp_path: Path) -> None:
    body = "f = Cast <to = 1> (x) y = ReduceMax <keepdims = 0> (f)"
    file = save(tmp_path / "m.onnx", graph("int64[N,4] x", body))
    found = load(canonicalise(parity_of(file, [np.arange(4).reshape(1, 4)])).data)
    assert found.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.INT64
    assert [d.dim_value for d in found.graph.input[0].type.tensor_type.shape.dim] == [1, 4]
    assert found.graph.output[0].type.tensor_type.HasField("shape")
    checker.check_model(found, full_check=True)


@settings(max_examples=15)
@given(offset=st.none() | LISTS, scale=st.none() | LISTS, kind=st.sampled_from(["float", "int64"]))
def test_scaler_of_any_form_keeps_its_values(
    offset: list[float] | None, scale: list[float] | None, kind: str
) -> None:
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 15, "ai.onnx.ml" : 1]>'
        f"g ({kind}[1,6] x) => (float[1,6] y) {{ y = ai.onnx.ml.Scaler(x) }}"
    )
    # What is not written means 0 and 1.
    written = {k: v for k, v in (("offset", offset), ("scale", scale)) if v is not None}
    model.graph.node[0].attribute.extend(helper.make_attribute(k, v) for k, v in written.items())
    lowered = lower_scalers(model)
    x = np.linspace(-3, 3, 6).reshape(1, 6).astype({"float": "float32"}.get(kind, kind))
    (found,) = InferenceSession(lowered.SerializeToString()).run(["y"], {"x": x})
    shift = np.asarray([0] if offset is None else offset, np.float32)
    factor = np.asarray([1] if scale is None else scale, np.float32)
    np.testing.assert_array_equal(found, (x.astype(np.float32) - shift) * factor)
    assert [o.domain for o in lowered.opset_import] == [""]


def test_other_foreign_operators_keep_their_domain() -> None:
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["ai.onnx.ml" : 1]> g (float[1,6] x) => (float[1,6] y)'
        '{ s = ai.onnx.ml.Scaler <scale = [2.0]> (x) y = ai.onnx.ml.Normalizer <norm = "L2"> (s) }'
    )
    lowered = lower_scalers(model)
    assert [(o.domain, o.version) for o in lowered.opset_import] == [("", 13), ("ai.onnx.ml", 1)]
    checker.check_model(lowered)
