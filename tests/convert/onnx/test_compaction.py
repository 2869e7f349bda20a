"""A compact file says the same in fewer bytes, and the same file always comes out."""

from typing import Final

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import checker, helper, numpy_helper
from onnxruntime import InferenceSession

from convert.onnx.canonical import to_bytes
from convert.onnx.compaction import FP16_MAX, compact, own_weights, store_fp16
from edge_bundle.tensor import Array
from tests.convert.example import IMAGES, load, network, output
from tests.convert.tflite.graphs import graph, seeded

FLOAT: Final = onnx.TensorProto.FLOAT
POOL: Final = [
    np.random.default_rng(n).normal(size=(1, 3)).astype(np.float32) for n in (0, 1, 0, 2, 0)
]
"""Weights, three of them equal."""
NAMES: Final = st.sampled_from(["0", "1", "a", "z", "", "model/layer_with_a_long_name/Add:0"])
STEPS: Final = st.lists(
    st.tuples(st.sampled_from(["Add", "Mul", "Sub"]), st.integers(0, 9), st.integers(0, 4), NAMES),
    min_size=1,
    max_size=9,
)


@st.composite
def models(draw: st.DrawFn) -> onnx.ModelProto:
    """Return a graph of steps, each on an earlier value and a weight; short names are taken."""
    taken = draw(st.sampled_from(["0", "x", "1"]))
    values, nodes = [taken], []
    for number, (kind, before, weight, name) in enumerate(draw(STEPS)):
        given_name = f"{name}{number}" if name else f"v{number}"
        if given_name in {*values, "weight"}:
            given_name += "'"
        nodes.append(
            helper.make_node(
                kind,
                [values[before % len(values)], f"weight{weight}"],
                [given_name],
                name=f"node {number}",
                doc_string="from here",
            )
        )
        values.append(given_name)
    outputs = draw(st.lists(st.sampled_from(values[1:]), min_size=1, max_size=3, unique=True))
    return helper.make_model(
        helper.make_graph(
            nodes,
            "g",
            [helper.make_tensor_value_info(taken, FLOAT, [1, 3])],
            [helper.make_tensor_value_info(name, FLOAT, [1, 3]) for name in outputs],
            [numpy_helper.from_array(w, f"weight{n}") for n, w in enumerate(POOL)],
            value_info=[helper.make_tensor_value_info(values[1], FLOAT, [1, 3])],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )


def run(model: onnx.ModelProto) -> list[Array]:
    session = InferenceSession(model.SerializeToString())
    x = np.array([[0.5, -2, 3]], np.float32)
    found: list[Array] = session.run(None, {session.get_inputs()[0].name: x})
    return found


@settings(max_examples=40)
@given(models())
def test_compact_graph_gives_the_same_in_fewer_bytes(model: onnx.ModelProto) -> None:
    before, expected = to_bytes(model), run(model)
    small = compact(load(before))
    checker.check_model(small, full_check=True)
    for values, wanted in zip(run(small), expected, strict=True):
        np.testing.assert_array_equal(values, wanted)
    assert len(to_bytes(small)) < len(before)
    # The same file always; and it is its own form.
    assert to_bytes(compact(load(before))) == to_bytes(small)
    assert to_bytes(compact(load(to_bytes(small)))) == to_bytes(small)
    shown = [*model.graph.input, *model.graph.output]
    assert [*small.graph.input, *small.graph.output] == shown
    # Each equal weight is there once, unused ones not at all.
    weights = [numpy_helper.to_array(t).tobytes() for t in small.graph.initializer]
    assert len(set(weights)) == len(weights)
    used = {i for n in small.graph.node for i in n.input}
    assert {t.name for t in small.graph.initializer} <= used
    # No two things have one name, and none inside is longer than it must be.
    made = [o for n in small.graph.node for o in n.output]
    names = [
        *made,
        *(t.name for t in small.graph.initializer),
        *(i.name for i in model.graph.input),
    ]
    assert len(set(names)) == len(names)
    assert all(len(n) == 1 for n in set(names) - {v.name for v in shown})
    assert not any(n.name or n.doc_string for n in small.graph.node)


def test_short_names_go_on_after_the_alphabet() -> None:
    steps = " ".join(f"value_{n + 1} = Neg (value_{n})" for n in range(80))
    model = load(graph("float[1] value_0", steps, outputs="float value_80"))
    small = compact(model)
    checker.check_model(small)
    inside = [n.output[0] for n in small.graph.node[:-1]]
    assert len(set(inside)) == 79
    assert {len(name) for name in inside} == {1, 2}


def test_inputs_that_are_left_out_stay_so() -> None:
    model = load(graph("float[1,3] x", "y = Clip (x, , most)", {"most": np.float32(1)}))
    (node,) = compact(model).graph.node
    assert node.input[1] == ""
    assert node.input[2] != ""


def test_weights_that_are_outputs_keep_their_names() -> None:
    same = np.arange(3, dtype=np.float32)
    weights = {"u": same, "v": same, "w": same}
    model = load(graph("float[3] x", "y = Add (x, u) z = Add (x, w)", weights))
    for name in ("z", "v", "u"):
        model.graph.output.append(helper.make_tensor_value_info(name, FLOAT, [3]))
    small = compact(model)
    checker.check_model(small, full_check=True)
    assert {"u", "v"} <= {t.name for t in small.graph.initializer}


def test_equal_numbers_of_other_shapes_or_types_are_not_one_weight() -> None:
    weights = {
        "a": np.zeros((1, 2), np.float32),
        "b": np.zeros((2, 1), np.float32),
        "c": np.zeros((1, 2), np.int32),
    }
    body = "p = Add (x, a) q = Add (p, b) r = Cast <to = 1> (c) y = Add (q, r)"
    assert len(compact(load(graph("float[2,2] x", body, weights))).graph.initializer) == 3


def half(model: onnx.ModelProto) -> dict[str, int]:
    """Store in 16 bits and return each weight's type."""
    stored = store_fp16(model)
    checker.check_model(stored, full_check=True)
    return {t.name: t.data_type for t in stored.graph.initializer}


def test_weights_take_16_bits_and_scores_hardly_change() -> None:
    model = load(network())
    kinds = half(model)
    # Small ones would cost more as a node than they save.
    assert {n for n, kind in kinds.items() if kind == onnx.TensorProto.FLOAT16} == {"matrix/fp16"}
    data = to_bytes(model)
    np.testing.assert_allclose(output(data, IMAGES), output(network(), IMAGES), atol=2e-2)
    assert not np.array_equal(output(data, IMAGES), output(network(), IMAGES))


@pytest.mark.parametrize("value", [np.float32(FP16_MAX) * 1.001, np.inf, -1e6])
def test_weights_beyond_16_bits_stay(value: float) -> None:
    weights = seeded("w", (1, 64))
    weights[0, 3] = value
    model = load(graph("float[1,64] x", "y = Mul (x, w)", {"w": weights}))
    assert half(model) == {"w": FLOAT}


def test_largest_number_of_16_bits_is_stored() -> None:
    weights = np.full((1, 64), FP16_MAX, np.float32)
    model = load(graph("float[1,64] x", "y = Mul (x, w)", {"w": weights}))
    assert half(model) == {"w/fp16": onnx.TensorProto.FLOAT16}


def test_scales_and_outputs_and_integers_stay_as_they_are() -> None:
    weights = {
        "codes": np.ones((64, 70), np.int8),
        "scale": seeded("s", (64,)) ** 2,
        "zero": np.zeros(64, np.int8),
        "shown": seeded("o", (64,)),
        "index": np.arange(64),
    }
    body = (
        "w = DequantizeLinear <axis = 0> (codes, scale, zero) t = Transpose (w) m = MatMul (x, t)"
        "a = Add (m, shown) y = Gather <axis = 1> (a, index)"
    )
    model = load(graph("float[1,70] x", body, weights))
    model.graph.output.append(helper.make_tensor_value_info("shown", FLOAT, [64]))
    kinds = half(model)
    assert set(kinds) == set(weights)
    assert kinds["scale"] == kinds["shown"] == FLOAT


def test_each_use_of_a_weight_gets_its_own() -> None:
    weights = {"w": (4, 4), "b": (4,)}
    body = "p = MatMul (x, w) q = MatMul (p, w) r = Mul (b, b) s = Add (q, r) y = Add (s, b)"
    data = graph("float[1,4] x", body, weights)
    model = own_weights(load(data))
    checker.check_model(model, full_check=True)
    given = {t.name for t in model.graph.initializer}
    uses = [i for n in model.graph.node for i in n.input if i in given]
    assert len(uses) == len(set(uses)) == 5
    x = [seeded("x", (1, 4))]
    np.testing.assert_array_equal(output(to_bytes(model), x), output(data, x))
