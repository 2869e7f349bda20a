"""Each operator gives what it gives in ONNX, whatever the order that its input lies in."""

from typing import Any

import numpy as np
import pytest

from convert.tflite.emission import emit_tflite
from tests.convert.tflite.graphs import BOUND, graph, largest_error, operators

IMAGE = "float[1,4,6,5] x"
K33 = {"w": [8, 4, 3, 3], "b": [8]}


def ints(*values: int) -> Any:
    """Return int64 values, as ONNX has shapes and axes."""
    return np.asarray(values, np.int64)


# What is put around an operator so that its input lies in TFLite's order.
TURNED = {"k": [4, 4, 1, 1]}

UNARY = [
    *("Abs", "Ceil", "Cos", "Exp", "Floor", "HardSwish", "Neg", "Relu", "Round", "Sigmoid"),
    *("Sign", "Sin", "Tanh", "HardSigmoid", "HardSigmoid <alpha = 0.166666667>", "Elu"),
    *("LeakyRelu <alpha = 0.2>", "Softmax", "Softmax <axis = 1>", "Softmax <axis = 2>"),
    *("LogSoftmax <axis = -1>", "LogSoftmax <axis = 1>", "Identity", "Dropout", "Reciprocal"),
    *("GlobalAveragePool", "GlobalMaxPool", "Flatten", "Flatten <axis = 2>", "Flatten <axis = 0>"),
    *("Transpose", "Transpose <perm = [0, 2, 3, 1]>", "Transpose <perm = [3, 1, 0, 2]>"),
    *("ReduceMean", "ReduceMean <axes = [1]>", "ReduceMean <axes = [2, 3], keepdims = 0>"),
    *(
        "ReduceMax <axes = [-1]>",
        "ReduceMin <axes = [1, 2], keepdims = 0>",
        "ReduceProd <axes = [3]>",
    ),
    *("ReduceL2 <axes = [1]>", "ReduceSumSquare <axes = [1], keepdims = 0>"),
    *("DepthToSpace <blocksize = 2>", 'DepthToSpace <blocksize = 2, mode = "CRD">'),
    *("MaxPool <kernel_shape = [2, 2], strides = [2, 2]>",),
]
NODES: list[tuple[str, dict[str, Any]]] = [
    ("Conv (x, w, b)", K33),
    ("Conv (x, w)", {"w": [8, 4, 3, 3]}),
    ("Conv <pads = [1, 1, 1, 1]> (x, w, b)", K33),
    ("Conv <pads = [2, 0, 0, 1], strides = [2, 1]> (x, w, b)", K33),
    ("Conv <dilations = [2, 2]> (x, w, b)", K33),
    ("Conv <dilations = [2, 1], strides = [1, 2], pads = [2, 1, 2, 1]> (x, w, b)", K33),
    ('Conv <auto_pad = "SAME_UPPER", strides = [2, 2]> (x, w, b)', K33),
    ('Conv <auto_pad = "SAME_LOWER", strides = [2, 2]> (x, w, b)', {"w": [8, 4, 4, 2], "b": [8]}),
    ('Conv <auto_pad = "VALID"> (x, w, b)', K33),
    ("Conv <group = 4, pads = [1, 1, 1, 1]> (x, w, b)", {"w": [4, 1, 3, 3], "b": [4]}),
    ("Conv <group = 4, strides = [2, 1]> (x, w)", {"w": [8, 1, 3, 3]}),
    ("Conv <group = 4, dilations = [2, 2]> (x, w)", {"w": [4, 1, 3, 2]}),
    ("Conv <group = 2> (x, w, b)", {"w": [6, 2, 3, 3], "b": [6]}),
    ("ConvTranspose (x, w, b)", {"w": [4, 3, 3, 3], "b": [3]}),
    ("ConvTranspose <strides = [2, 2]> (x, w)", {"w": [4, 3, 2, 2]}),
    (
        "ConvTranspose <strides = [2, 2], pads = [1, 1, 1, 1]> (x, w, b)",
        {"w": [4, 3, 4, 4], "b": [3]},
    ),
    (
        "ConvTranspose <strides = [2, 2], pads = [1, 1, 1, 1], output_padding = [1, 1]> (x, w)",
        {"w": [4, 3, 3, 3]},
    ),
    ('ConvTranspose <strides = [2, 3], auto_pad = "SAME_UPPER"> (x, w)', {"w": [4, 3, 3, 4]}),
    ("Add (x, c)", {"c": [4, 1, 1]}),
    ("Add (c, x)", {"c": []}),
    ("Sub (c, x)", {"c": [1, 4, 6, 5]}),
    ("Mul (x, c)", {"c": [6, 1]}),
    ("Mul (x, c)", {"c": [5]}),
    ("Div (x, c)", {"c": [1, 4, 1, 5]}),
    ("Add (x, c)", {"c": [3, 4, 6, 5]}),
    ("Add (x, x)", {}),
    ("Max (x, c)", {"c": [4, 1, 1]}),
    ("Min (x, c, d)", {"c": [], "d": [5]}),
    ("PRelu (x, c)", {"c": [4, 1, 1]}),
    ("PRelu (x, c)", {"c": [1]}),
    *(("Pow (x, c)", {"c": np.float32(p)}) for p in (1, 2, 3, -1)),
    *(
        ("Clip (x, c, d)", {"c": np.float32(a), "d": np.float32(b)})
        for a, b in ((0, 6), (-1, 1), (0, 1), (-0.5, 2))
    ),
    ("Clip (x, , d)", {"d": np.float32(0.5)}),
    ("Clip (x, c)", {"c": np.float32(0)}),
    ("Clip (x)", {}),
    (
        "BatchNormalization (x, g, c, m, v)",
        {"g": [4], "c": [4], "m": [4], "v": np.arange(1, 5, dtype=np.float32)},
    ),
    ("InstanceNormalization (x, g, c)", {"g": [4], "c": [4]}),
    ("LayerNormalization (x, g, c)", {"g": [5], "c": [5]}),
    ("LayerNormalization <axis = 2> (x, g)", {"g": [6, 5]}),
    ("Reshape (x, s)", {"s": ints(0, -1)}),
    ("Reshape (x, s)", {"s": ints(1, 2, 2, 30)}),
    ("Reshape (x, s)", {"s": ints(5, 6, 4)}),
    ("Reshape (x, s)", {"s": ints(4, 30)}),
    ("Squeeze (x, s)", {"s": ints(0)}),
    ("Unsqueeze (x, s)", {"s": ints(1, 3)}),
    ("ReduceSum <keepdims = 0> (x, s)", {"s": ints(2)}),
    ("ReduceSum (x)", {}),
    ("Slice (x, s, e)", {"s": ints(0, 1), "e": ints(1, 3)}),
    ("Slice (x, s, e, a)", {"s": ints(-2), "e": ints(99), "a": ints(1)}),
    (
        "Slice (x, s, e, a, t)",
        {"s": ints(-1, 0), "e": ints(-99, 5), "a": ints(3, 2), "t": ints(-1, 2)},
    ),
    ("Gather <axis = 1> (x, s)", {"s": ints(3, 0, -1)}),
    ("Gather <axis = 2> (x, s)", {"s": np.asarray(2)}),
    ("Gather <axis = 3> (x, s)", {"s": np.asarray([[0, 1], [4, 2]])}),
    ("Pad (x, s)", {"s": ints(0, 0, 1, 2, 0, 0, 0, 1)}),
    ("Pad (x, s, c)", {"s": ints(0, 1, 0, 0, 0, 0, 0, 0), "c": np.float32(1.5)}),
    ('Pad <mode = "reflect"> (x, s)', {"s": ints(0, 0, 1, 2, 0, 0, 2, 1)}),
    ("Expand (x, s)", {"s": ints(2, 3, 4, 6, 5)}),
    ("Expand (x, s)", {"s": ints(1, 1)}),
    ("Tile (x, s)", {"s": ints(1, 2, 1, 3)}),
    ("MatMul (x, w)", {"w": [5, 7]}),
    ("MatMul (w, x)", {"w": [7, 6]}),
    ("MatMul (x, w)", {"w": [4, 5, 3]}),
    ("MatMul (x, w)", {"w": [5]}),
]
POOLS = [
    *("strides = [2, 2]", "pads = [1, 1, 1, 1]", 'auto_pad = "SAME_UPPER", strides = [2, 2]'),
    *('auto_pad = "SAME_LOWER"', "pads = [1, 0, 0, 1], strides = [2, 1]"),
    *("ceil_mode = 1, strides = [2, 2]", "ceil_mode = 1, strides = [2, 2], pads = [1, 0, 1, 0]"),
]
RESIZES = [
    'mode = "nearest", coordinate_transformation_mode = "asymmetric", nearest_mode = "floor"',
    'mode = "nearest"',
    'mode = "linear"',
    'mode = "linear", coordinate_transformation_mode = "pytorch_half_pixel"',
    'mode = "linear", coordinate_transformation_mode = "align_corners"',
    'mode = "linear", coordinate_transformation_mode = "asymmetric"',
]


def check(body: str, weights: dict[str, Any], inputs: str = IMAGE, **more: Any) -> None:
    """Compare with the input as the file takes it, and as a convolution leaves it."""
    assert largest_error(graph(inputs, f"y = {body}", weights, **more)) <= BOUND
    turned = f"turned = Conv (x, k) y = {body.replace('(x', '(turned').replace(', x', ', turned')}"
    if inputs == IMAGE:
        assert largest_error(graph(inputs, turned, {**weights, **TURNED}, **more)) <= BOUND


@pytest.mark.parametrize("node", UNARY)
def test_operator_without_weights(node: str) -> None:
    check(f"{node} (x)", {})


@pytest.mark.parametrize(("node", "weights"), NODES)
def test_operator_with_constants(node: str, weights: dict[str, Any]) -> None:
    check(node, weights)


@pytest.mark.parametrize("node", ["Log", "Sqrt"])
def test_operator_of_positive_values(node: str) -> None:
    assert largest_error(graph(IMAGE, f"y = {node} (x)"), low=0.1) <= BOUND


@pytest.mark.parametrize("power", [0.5, -0.5, 1.7])
def test_power_of_positive_values(power: float) -> None:
    data = graph(IMAGE, "y = Pow (x, c)", {"c": np.float32(power)})
    assert largest_error(data, low=0.1) <= BOUND


@pytest.mark.parametrize("options", POOLS)
@pytest.mark.parametrize("kind", ["MaxPool", "AveragePool"])
def test_pool(kind: str, options: str) -> None:
    check(f"{kind} <kernel_shape = [3, 2], {options}> (x)", {})


@pytest.mark.parametrize("options", [options for options in POOLS if "ceil" not in options])
def test_pool_that_counts_its_padding(options: str) -> None:
    check(f"AveragePool <kernel_shape = [3, 2], count_include_pad = 1, {options}> (x)", {})


@pytest.mark.parametrize("options", RESIZES)
def test_resize(options: str) -> None:
    check(f"Resize <{options}> (x, , s)", {"s": np.asarray([1, 1, 2, 3], np.float32)})


@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_gelu(approximate: str) -> None:
    check(f'Gelu <approximate = "{approximate}"> (x)', {}, opset=20)


@pytest.mark.parametrize("node", ["ReduceMean (x, s)", "ReduceMax <keepdims = 0> (x, s)"])
def test_reduction_with_axes_as_input(node: str) -> None:
    check(node, {"s": ints(1, -1)}, opset=18)


@pytest.mark.parametrize(
    "node",
    [
        "Conv (x, w, b)",
        "Conv <pads = [1, 1], strides = [2]> (x, w, b)",
        "Conv <dilations = [2], pads = [2, 0]> (x, w, b)",
        "MaxPool <kernel_shape = [3], pads = [1, 1]> (x)",
        "AveragePool <kernel_shape = [2], strides = [2]> (x)",
        "ConvTranspose <strides = [2], pads = [1, 0]> (x, v)",
        "GlobalAveragePool (x)",
        'Resize <mode = "nearest"> (x, , s)',
    ],
)
def test_sequence(node: str) -> None:
    weights = {"w": [5, 3, 3], "b": [5], "v": [3, 4, 3], "s": np.asarray([1, 1, 2], np.float32)}
    used = {name: w for name, w in weights.items() if f" {name}" in node.split("(")[1]}
    check(node, used, "float[1,3,12] x")


@pytest.mark.parametrize(
    "attributes", ["", "<alpha = 0.5, beta = 2.0>", "<transB = 1>", "<transA = 1>", "<beta = 0.0>"]
)
@pytest.mark.parametrize("bias", [[4], [1, 4], [], [4, 4]])
def test_gemm(attributes: str, bias: list[int]) -> None:
    shape = [4, 4]
    check(f"Gemm {attributes} (x, w, c)", {"w": shape, "c": bias}, "float[4,4] x")


def test_products_of_activations() -> None:
    body = "t = Transpose <perm = [0, 2, 1]> (x) a = MatMul (x, t) b = MatMul (t, x) y = Add (a, a)"
    data = graph("float[2,3,5] x", body, outputs="float y, float b")
    assert largest_error(data) <= BOUND
    assert "TRANSPOSE" in operators(emit_tflite(data))


def test_parts_of_equal_and_unequal_size() -> None:
    body = (
        "p, q = Split <axis = 1> (x) r, y = Split <axis = 3> (q, s) z = Concat <axis = 1> (p, q, p)"
    )
    data = graph(IMAGE, body, {"s": ints(2, 3)}, "float y, float z, float r")
    assert largest_error(data) <= BOUND


def test_choices_and_comparisons() -> None:
    body = (
        "a = Greater (x, c) b = LessOrEqual (x, d) e = And (a, b) f = Not (e) g = Or (f, b)"
        "y = Where (g, x, c) z = Cast <to = 1> (e)"
    )
    data = graph(IMAGE, body, {"c": [4, 1, 1], "d": []}, "float y, float z")
    assert largest_error(data) <= BOUND


@pytest.mark.parametrize("tail", ["", ", keepdims = 0"])
@pytest.mark.parametrize("axis", [1, 3])
def test_arg_max(axis: int, tail: str) -> None:
    check(f"ArgMax <axis = {axis}{tail}> (x)", {}, outputs="int64 y")


@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_rows_of_a_table_are_looked_up(dtype: str) -> None:
    body = "g = Gather (t, x) y = Transpose <perm = [0, 2, 1]> (g)"
    data = graph(f"{dtype}[1,9] x", body, {"t": [6, 4]})
    assert largest_error(data, high=5) <= BOUND


def test_integers_are_computed_with() -> None:
    body = "a = Add (x, c) b = Max (a, d) e = Clip (b, c, d) y = Cast <to = 1> (e)"
    data = graph("int32[1,9] x", body, {"c": np.int32(1), "d": np.int32(4)})
    assert largest_error(data, high=9) == 0


@pytest.mark.parametrize(
    "body",
    [
        "a = Div (x, r) b = Erf (a) c = Add (b, i) d = Mul (x, c) y = Mul (d, h)",
        "a = Div (x, r) b = Erf (a) c = Add (i, b) d = Mul (h, x) y = Mul (d, c)",
        """
        e = Pow (x, t) f = Mul (e, k) g = Add (x, f) a = Mul (g, s) b = Tanh (a)
        c = Add (b, i) d = Mul (c, h) y = Mul (x, d)
        """,
    ],
)
def test_gelu_of_several_operators_becomes_one(body: str) -> None:
    numbers = {"r": 2**0.5, "i": 1, "h": 0.5, "t": 3, "k": 0.044715, "s": (2 / np.pi) ** 0.5}
    weights = {n: np.float32(v) for n, v in numbers.items() if f"{n})" in body or f"({n}" in body}
    data = graph(IMAGE, f"{body} z = Relu (y)", weights, "float z")
    assert operators(emit_tflite(data)) == ["GELU", "RELU"]
    assert largest_error(data) <= BOUND


def test_tanh_that_is_no_gelu_stays() -> None:
    data = graph(IMAGE, "a = Tanh (x) b = Add (a, h) y = Mul (x, b)", {"h": np.float32(0.9)})
    assert operators(emit_tflite(data)) == ["TANH", "ADD", "MUL"]
