"""A whole graph keeps its interface and its values, with few operators, or is refused by name."""

import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convert.onnx.canonical import keep_outputs, lower_scalers, to_bytes
from convert.tflite.emission import emit_tflite, origin
from convert.tflite.flatbuffer import tensor_names, unpack
from edge_bundle.errors import ModelRefused
from edge_bundle.runtimes.loader import load_model
from tests.convert.tflite.graphs import BOUND, graph, largest_error, load, operators

WATCH = Path(__file__).parents[3] / "examples" / "watch" / "watch_mlp.onnx"
NETWORK = """
    c1 = Conv <strides = [2, 2], pads = [1, 1, 1, 1]> (x, w1)
    n1 = BatchNormalization (c1, g, b, m, v)
    r1 = Relu (n1)
    c2 = Conv <group = 8, pads = [1, 1, 1, 1]> (r1, w2, b)
    r2 = Clip (c2, low, high)
    c3 = Conv (r2, w3)
    s = Add (c3, r1)
    r3 = Relu (s)
    p = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (r3)
    f = Flatten (p)
    h = MatMul (f, w4)
    a = Add (h, b4)
    y = Softmax (a)
"""
WEIGHTS = {
    "w1": (8, 3, 3, 3),
    "g": (8,),
    "b": (8,),
    "m": (8,),
    "v": np.ones(8, np.float32),
    "w2": (8, 1, 3, 3),
    "w3": (8, 8, 1, 1),
    "w4": (128, 5),
    "b4": (5,),
    "low": np.float32(0),
    "high": np.float32(6),
}


def network() -> bytes:
    """Return a small image classifier."""
    return graph("float[1,3,16,16] x", NETWORK, WEIGHTS)


def test_network_has_one_transposition_and_nothing_beside_its_layers() -> None:
    data = network()
    assert operators(emit_tflite(data)) == [
        *("TRANSPOSE", "PAD", "CONV_2D", "DEPTHWISE_CONV_2D", "CONV_2D", "ADD", "MAX_POOL_2D"),
        *("FULLY_CONNECTED", "SOFTMAX"),
    ]
    assert largest_error(data) <= BOUND


def test_file_is_little_more_than_its_weights_and_the_same_again() -> None:
    data = network()
    file = emit_tflite(data)
    weights = sum(len(t.raw_data) for t in load(data).graph.initializer)
    assert weights < len(file) < weights + 3000
    assert emit_tflite(data) == file


def test_tensors_keep_their_onnx_names() -> None:
    names = tensor_names(unpack(emit_tflite(network())).subgraphs[0])
    assert names[0] == "x"
    assert names[1].startswith("tensor#")
    computed = [name for name in names if not name.startswith("tensor#")]
    assert computed == ["x", "x@1", "x@2", "r1", "r2", "c3", "r3", "p", "a", "y"]
    assert [origin(name) for name in computed][:4] == ["x", "x", "x", "r1"]


def test_weights_are_aligned() -> None:
    file = emit_tflite(network())
    for buffer in unpack(file).buffers:
        if buffer.data is not None and len(buffer.data) > 64:
            assert file.index(buffer.data.tobytes()) % 16 == 0


def test_signature_names_inputs_and_outputs() -> None:
    file = emit_tflite(
        graph(
            "float[1,4] x, float[1,4] z",
            "y = Add (x, z) u = Sub (x, z)",
            outputs="float y, float u",
        )
    )
    (signature,) = unpack(file).signatureDefs
    assert signature.signatureKey == b"serving_default"
    assert [entry.name for entry in signature.inputs] == [b"x", b"z"]
    assert [entry.name for entry in signature.outputs] == [b"y", b"u"]


def test_example_model_is_emitted() -> None:
    model = onnx.load_model(WATCH)
    for value in (*model.graph.input, *model.graph.output):
        for dimension in value.type.tensor_type.shape.dim:
            dimension.dim_value = max(1, dimension.dim_value)
    data = to_bytes(lower_scalers(keep_outputs(model, ("probabilities",))))
    assert largest_error(data) <= BOUND
    assert operators(emit_tflite(data)) == [
        *("SUB", "MUL", "FULLY_CONNECTED", "FULLY_CONNECTED", "SOFTMAX")
    ]


def test_transpositions_that_cancel_leave_nothing() -> None:
    body = """
        a = Transpose <perm = [0, 2, 3, 1]> (x)
        b = Relu (a)
        y = Transpose <perm = [0, 3, 1, 2]> (b)
    """
    assert operators(emit_tflite(graph("float[1,2,3,4] x", body))) == ["RELU"]


def test_image_of_one_channel_is_reshaped() -> None:
    data = graph("float[1,1,6,5] x", "y = Conv (x, w)", {"w": (1, 1, 3, 3)})
    assert operators(emit_tflite(data)) == ["RESHAPE", "CONV_2D", "RESHAPE"]


def test_flattened_image_is_connected_as_it_lies() -> None:
    body = "c = Conv (x, w) f = Reshape (c, s) y = Gemm <transB = 1> (f, v, b)"
    weights = {"w": (3, 2, 1, 1), "s": np.asarray([-1, 60]), "v": (7, 60), "b": (7,)}
    data = graph("float[1,2,5,4] x", body, weights)
    assert operators(emit_tflite(data)) == ["TRANSPOSE", "CONV_2D", "FULLY_CONNECTED"]
    assert largest_error(data) <= BOUND


def test_attention_needs_no_transposition_of_its_scores() -> None:
    body = """
        q0 = MatMul (x, w) q1 = Reshape (q0, s) q = Transpose <perm = [0, 2, 1, 3]> (q1)
        k0 = MatMul (x, u) k1 = Reshape (k0, s) k = Transpose <perm = [0, 2, 3, 1]> (k1)
        a = MatMul (q, k) p = Softmax (a) v1 = Transpose <perm = [0, 2, 1, 3]> (k1)
        o = MatMul (p, v1) t = Transpose <perm = [0, 2, 1, 3]> (o) y = Reshape (t, z)
    """
    weights = {"w": (8, 8), "u": (8, 8), "s": np.asarray([1, 6, 2, 4]), "z": np.asarray([1, 6, 8])}
    data = graph("float[1,6,8] x", body, weights)
    assert largest_error(data) <= BOUND


def test_vector_that_is_added_first_becomes_a_bias() -> None:
    data = graph("float[1,4] x", "a = MatMul (x, w) y = Add (b, a)", {"w": (4, 3), "b": (3,)})
    assert operators(emit_tflite(data)) == ["FULLY_CONNECTED"]
    assert largest_error(data) <= BOUND


def test_input_that_is_an_output_is_refused() -> None:
    model = load(graph("float[1,4] x", "y = Relu (x)"))
    model.graph.output.append(model.graph.input[0])
    with pytest.raises(ModelRefused, match="x is an input and an output"):
        emit_tflite(model.SerializeToString())


def test_activation_that_is_not_the_only_user_stays() -> None:
    data = graph("float[1,4] x", "a = Add (x, x) r = Relu (a) y = Sub (r, a)")
    assert operators(emit_tflite(data)) == ["ADD", "RELU", "SUB"]
    assert largest_error(data) <= BOUND


def test_shared_weights_are_stored_once() -> None:
    once = graph("float[1,64] x", "y = MatMul (x, w)", {"w": (64, 64)})
    twice = graph("float[1,64] x", "a = MatMul (x, w) y = MatMul (a, w)", {"w": (64, 64)})
    assert len(emit_tflite(twice)) < len(emit_tflite(once)) + 64 * 64


@pytest.mark.parametrize(
    ("body", "outputs"),
    [
        ("y = Identity (x)", "float y"),
        ("y = Identity (x) u = Relu (x) v = Identity (u)", "float y, float u, float v"),
        ("y = Reshape (x, s)", "float y"),
        ("a = Relu (x) y = Reshape (a, s) u = Transpose (a)", "float y, float u"),
    ],
)
def test_outputs_that_are_the_same_tensor_have_names_of_their_own(body: str, outputs: str) -> None:
    weights = {"s": np.asarray([3, 2])} if "s)" in body else {}
    assert largest_error(graph("float[2,3] x", body, weights, outputs)) == 0


def test_shapes_are_computed_beforehand() -> None:
    body = "s = Shape (x) i = Gather (s, z) t = Concat <axis = 0> (i, m) y = Reshape (x, t)"
    data = graph("float[2,3] x", body, {"z": np.asarray([1]), "m": np.asarray([-1])})
    assert largest_error(data) == 0


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_any_window_lies_where_onnx_has_it(data: st.DataObject) -> None:
    draw = data.draw
    kind = draw(st.sampled_from(["Conv", "Depthwise", "MaxPool", "AveragePool"]))
    size = [draw(st.integers(7, 10)) for _ in range(2)]
    kernel = [draw(st.integers(1, 4)) for _ in range(2)]
    # onnxruntime's pools refuse SAME where windows leave something out.
    mode = draw(st.sampled_from(["NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"]))
    steps = [3 if mode == "NOTSET" else length for length in kernel]
    options = f"strides = {[draw(st.integers(1, step)) for step in steps]}"
    convolves = kind in {"Conv", "Depthwise"}
    dilation = [draw(st.integers(1, 2)) if convolves else 1 for _ in range(2)]
    if mode == "NOTSET":
        limits = [*kernel, *kernel]
        options += f", pads = {[draw(st.integers(0, limit - 1)) for limit in limits]}"
    else:
        options += f', auto_pad = "{mode}"'
        # onnxruntime pads dilated kernels in its own way.
        dilation = [1, 1]
    if convolves:
        group, shape = (3, (6, 1, *kernel)) if kind == "Depthwise" else (1, (4, 3, *kernel))
        body = f"y = Conv <{options}, dilations = {dilation}, group = {group}> (x, w)"
        weights = {"w": shape}
    else:
        counted = draw(st.integers(0, 1)) if kind == "AveragePool" else None
        options += "" if counted is None else f", count_include_pad = {counted}"
        body, weights = f"y = {kind} <kernel_shape = {kernel}, {options}> (x)", {}
    file = graph(f"float[1,3,{size[0]},{size[1]}] x", body, weights)
    assert largest_error(file, count=1) <= BOUND


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_any_regrouping_of_dimensions_keeps_every_value_in_its_place(data: st.DataObject) -> None:
    draw = data.draw
    shape, name, body = [2, 3, 4, 5], "x", ""
    weights: dict[str, np.ndarray] = {}
    for step in range(draw(st.integers(1, 4))):
        last, name = name, f"t{step}"
        kind = draw(st.sampled_from(["Transpose", "Reshape", "ReduceMax", "Add"]))
        if kind == "Transpose":
            order = draw(st.permutations(range(len(shape))))
            body += f"{name} = Transpose <perm = {order}> ({last}) "
            shape = [shape[axis] for axis in order]
        elif kind == "Reshape":
            shape = draw(st.sampled_from(_shapes(int(np.prod(shape)))))
            body += f"{name} = Reshape ({last}, s{step}) "
            weights[f"s{step}"] = np.asarray(shape)
        elif kind == "ReduceMax":
            axis = draw(st.integers(0, len(shape) - 1))
            body += f"{name} = ReduceMax <axes = [{axis}]> ({last}) "
            shape[axis] = 1
        else:
            wide = [draw(st.sampled_from([1, size])) for size in shape]
            weights[f"c{step}"] = np.arange(np.prod(wide), dtype=np.float32).reshape(wide)
            body += f"{name} = Add ({last}, c{step}) "
    data_file = graph("float[2,3,4,5] x", f"{body} y = Mul ({name}, {name})", weights)
    assert largest_error(data_file, count=1) <= BOUND


def _shapes(size: int) -> list[list[int]]:
    """Return ways to write a number as a product of up to four."""
    divisors = [n for n in range(1, size + 1) if size % n == 0]
    pairs = [[n, size // n] for n in divisors]
    return [
        *([size], *pairs),
        *([n, m, size // n // m] for n in divisors for m in divisors if size // n % m == 0),
        *([n, 1, size // n, 1] for n in divisors),
    ]


def test_every_node_that_cannot_be_emitted_is_named() -> None:
    body = """
        a = Det (x)
        b = com.acme.Magic (x)
        c = Elu <alpha = 0.5> (x)
        d = Relu (b)
        y = Add (c, c)
    """
    given = "float y, float a, float[1,3,3] d"
    model = load(graph("float[1,3,3] x", body, outputs=given, domains=', "com.acme" : 1'))
    for number, node in enumerate(model.graph.node):
        node.name = f"n{number}"
    with pytest.raises(ModelRefused) as refusal:
        emit_tflite(model.SerializeToString())
    assert str(refusal.value) == (
        "cannot be emitted as TFLite directly: Det (node n0); com.acme.Magic (node n1); "
        "Elu (node n2): alpha 0.5, expected 1"
    )


@pytest.mark.parametrize(
    ("inputs", "body", "weights", "why"),
    [
        ("float[1,2,3,3,3] x", "y = Conv (x, w)", {"w": (2, 2, 1, 1, 1)}, "3 spatial dimensions"),
        ("float[1,3,4,4] x, float[3,3,1,1] w", "y = Conv (x, w)", {}, "weights that the model"),
        ("float[3] x", 'y = Pad <mode = "edge"> (x, p)', {"p": np.asarray([0, 1])}, "mode edge"),
        ("float[1,3] x", "y = Pow (x, x)", {}, "an exponent"),
        (
            "float[1,3,4] x",
            "y = MaxPool <kernel_shape = [2], dilations = [2]> (x)",
            {},
            "dilations",
        ),
        ("double[1,3] x", "d = Relu (x) y = Cast <to = 1> (d)", {}, "float64 values"),
        ("float[N,3] x", "y = Relu (x)", {}, "x has no fixed shape"),
        ("float[1,3] x", "y = Erf (x)", {}, "Erf (node y)"),
        ("float[1,3] x", "y = Add (c, c)", {"c": (1, 3)}, "output y does not depend on the input"),
    ],
)
def test_refusal_says_why(inputs: str, body: str, weights: dict[str, object], why: str) -> None:
    with pytest.raises(ModelRefused, match=re.escape(why)) as refusal:
        emit_tflite(graph(inputs, body, weights))
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("data", [b"", b"no model", b"\x08\x08"])
def test_damaged_file_is_refused(data: bytes) -> None:
    with pytest.raises(ModelRefused):
        emit_tflite(data)


def test_other_opset_is_refused() -> None:
    with pytest.raises(ModelRefused, match="opset 12, expected 13 to 21"):
        emit_tflite(graph("float[1,3] x", "y = Relu (x)", opset=12))


def test_control_flow_is_refused() -> None:
    branch = onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", ["x"], ["o"])],
        "branch",
        [],
        [onnx.helper.make_tensor_value_info("o", 1, [1])],
    )
    branches = {"then_branch": branch, "else_branch": branch}
    node = onnx.helper.make_node("If", ["c"], ["y"], name="n", **branches)
    model = load(graph("float[1] x, bool c", "y = Relu (x)"))
    model.graph.node[0].CopyFrom(node)
    with pytest.raises(ModelRefused, match="control flow"):
        emit_tflite(model.SerializeToString())


def test_file_is_loaded_without_its_onnx_twin() -> None:
    model = load_model(emit_tflite(network()), "tflite")
    assert [(spec.name, spec.shape) for spec in model.inputs] == [("x", (1, 3, 16, 16))]
    model.close()
