"""Fewer operators give the same values, and what cannot be folded is left as it was."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import onnx
import onnxslim
import pytest
from onnx import checker

from convert.onnx.canonical import to_bytes
from convert.onnx.folding import fold_batch_norm, gather_embeddings, simplify
from edge_bundle.errors import ModelRefused
from edge_bundle.tensor import Array
from tests.convert.example import IMAGES, load, network, operators, output
from tests.convert.tflite.graphs import graph

NORM: Final = {
    "gain": (4,),
    "shift": (4,),
    "mean": (4,),
    "variance": np.array([1.0, 0.5, 2.0, 0.1], np.float32),
    "kernel": (4, 1, 3, 3),
    "bias": (4,),
}
CONV: Final = "c = Conv <pads = [1, 1, 1, 1]> "
BATCH_NORM: Final = "BatchNormalization <epsilon = 0.01> (c, gain, shift, mean, variance)"

COLUMNS, TOKENS, LENGTH = 3, 7, 5
ONE_HOT: Final = "u = Unsqueeze (x, last) e = Equal (u, row) o = Cast <to = 1> (e)"
GELU: Final = "a = Add (m, bias) t = Tanh (a) g = Mul (a, t) y = ReduceMean <axes = [1]> (g)"
GATHER: Final = ["Squeeze", "Add", "Clip", "Cast", "Gather"]


def folded(data: bytes) -> bytes:
    """Fold batch norms, and check that the values stay."""
    found = to_bytes(fold_batch_norm(load(data)))
    checker.check_model(load(found))
    np.testing.assert_allclose(output(found, IMAGES), output(data, IMAGES), rtol=1e-4, atol=1e-5)
    return found


def embedding(
    body: str, kind: str = "int32", length: int = LENGTH, **weights: Sequence[int] | Array
) -> bytes:
    """Return a model of tokens [1, length], by default with a table for ``ONE_HOT``."""
    row = np.arange(TOKENS).reshape(1, 1, TOKENS)
    given: Mapping[str, Sequence[int] | Array] = {
        "last": np.array([-1]),
        "row": row.astype({"float": "float32"}.get(kind, kind)),
        "table": (TOKENS, COLUMNS),
        "bias": (1, 1, COLUMNS),
        **weights,
    }
    return graph(f"{kind}[1,{length}] x", body, given)


def gathered(data: bytes, tokens: Sequence[Sequence[float]] | None = None) -> bytes:
    """Look rows up, and check that the values stay, for tokens outside the table as well."""
    found = to_bytes(gather_embeddings(load(data)))
    checker.check_model(load(found))
    taken = load(data).graph.input[0].type.tensor_type
    kind = onnx.helper.tensor_dtype_to_np_dtype(taken.elem_type)
    length = taken.shape.dim[1].dim_value
    known = [0, TOKENS - 1, -1, TOKENS, TOKENS + 5, 3, -(2**31), 2**31 - 1]
    lines = tokens or [known[:length], known[-length:]]
    inputs = [np.asarray([line], kind) for line in lines]
    np.testing.assert_allclose(output(found, inputs), output(data, inputs), rtol=1e-6, atol=1e-6)
    return found


@pytest.mark.parametrize("given", ["(x, kernel)", "(x, kernel, bias)"])
def test_batch_norm_goes_into_the_convolution_before_it(given: str) -> None:
    data = graph("float[1,1,8,8] x", f"{CONV} {given} y = {BATCH_NORM}", NORM)
    found = folded(data)
    assert operators(found) == ["Conv"]
    assert load(found).graph.output[0].name == "y"


def test_epsilon_that_is_not_written_is_the_default() -> None:
    norm = "BatchNormalization (c, gain, shift, mean, tiny)"
    weights = {**NORM, "tiny": np.full(4, 1e-5, np.float32)}
    data = graph("float[1,1,8,8] x", f"{CONV} (x, kernel) y = {norm}", weights)
    assert operators(folded(data)) == ["Conv"]


def test_depthwise_convolution_is_folded_by_channel() -> None:
    body = f"w = Conv (x, one) {CONV.replace('<', '<group = 4, ')} (w, kernel) y = {BATCH_NORM}"
    data = graph("float[1,1,8,8] x", body, {**NORM, "one": (4, 1, 1, 1)})
    assert operators(folded(data)) == ["Conv", "Conv"]


@pytest.mark.parametrize(
    "body",
    [
        # Another one takes the weights as well.
        (
            f"{CONV} (x, kernel) d = Conv <pads = [1, 1, 1, 1]> (x, kernel) n = {BATCH_NORM}"
            "y = Add (n, d)"
        ),
        # The values before the norm are used as well.
        f"{CONV} (x, kernel) n = {BATCH_NORM} y = Add (n, c)",
        # What is before it is no convolution.
        f"d = Conv <pads = [1, 1, 1, 1]> (x, kernel) c = Relu (d) y = {BATCH_NORM}",
        f"c = Concat <axis = 1> (x, x, x, x) y = {BATCH_NORM}",
        # The weights, or the statistics, are computed.
        f"k = Relu (kernel) {CONV} (x, k) y = {BATCH_NORM}",
        f"{CONV} (x, kernel) v = Exp (variance) y = {BATCH_NORM.replace('variance', 'v')}",
    ],
)
def test_batch_norm_that_cannot_be_folded_stays(body: str) -> None:
    data = graph("float[1,1,8,8] x", body, NORM)
    assert folded(data) == to_bytes(load(data))


def test_batch_norm_of_the_input_stays() -> None:
    norm = "y = BatchNormalization (x, one, one, one, one)"
    data = graph("float[1,1,8,8] x", norm, {"one": np.ones(1, np.float32)})
    assert operators(folded(data)) == ["BatchNormalization"]


@pytest.mark.parametrize("kind", ["int32", "int64"])
def test_one_hot_product_becomes_a_look_up(kind: str) -> None:
    data = embedding(f"{ONE_HOT} m = MatMul (o, table) {GELU}", kind)
    found = gathered(data)
    # What followed value by value was done to the table.
    assert [o for o in operators(found) if o in {"MatMul", "Tanh", "Mul"}] == []
    assert operators(found)[-6:] == [*GATHER, "ReduceMean"]
    assert operators(gathered(embedding(f"{ONE_HOT} y = MatMul (o, table)", kind)))[-5:] == GATHER


def test_large_tokens_are_outside_the_table_too() -> None:
    """As int32 they would come round to a token that is known."""
    data = embedding(f"{ONE_HOT} y = MatMul (o, table)", "int64")
    gathered(data, [[2**32 + 3, -(2**32) + 3, 2**40, -(2**63), 2**63 - 1]])


def test_operands_of_equal_in_either_order() -> None:
    body = f"{ONE_HOT.replace('(u, row)', '(row, u)')} m = MatMul (o, table) {GELU}"
    assert "Gather" in operators(gathered(embedding(body)))


@pytest.mark.parametrize(
    ("body", "left"),
    [
        # The rows themselves are used as well.
        ("a = Add (m, bias) t = Relu (a) y = Concat <axis = 1> (m, t)", ["Add", "Relu", "Concat"]),
        # Two values that come of them are used.
        ("a = Add (m, bias) t = Relu (a) y = Concat <axis = 1> (a, t)", ["Add", "Relu", "Concat"]),
        # What is added depends on the place.
        ("a = Add (m, places) y = ReduceMean <axes = [1]> (a)", ["Add", "ReduceMean"]),
        # What is multiplied depends on the input.
        ("f = Cast <to = 1> (u) a = Mul (m, f) y = ReduceMean <axes = [1]> (a)", None),
        # The output keeps its name.
        ("y = Relu (m)", ["Relu"]),
    ],
)
def test_what_is_not_of_tokens_alone_stays_behind_the_look_up(
    body: str, left: list[str] | None
) -> None:
    rows = f"{ONE_HOT} m = MatMul (o, table)"
    data = embedding(f"{rows} {body}", length=COLUMNS, places=(COLUMNS, 1))
    found = operators(gathered(data))
    assert "Gather" in found
    assert "MatMul" not in found
    if left:
        assert found[-len(left) :] == left


@pytest.mark.parametrize(
    "data",
    [
        # A float may stand between two tokens.
        embedding(f"{ONE_HOT} y = MatMul (o, table)", "float"),
        # Not the tokens 0 to n - 1.
        embedding(f"{ONE_HOT} y = MatMul (o, table)", row=np.arange(1, 8, dtype=np.int32)),
        # One token: where it is, not which it is.
        embedding(f"{ONE_HOT} y = MatMul (o, one)", row=np.int32(0), one=(1, 2)),
        # As many numbers, but not against each token.
        embedding(
            f"{ONE_HOT} y = MatMul (o, one)",
            length=TOKENS,
            row=np.arange(TOKENS, dtype=np.int32).reshape(1, TOKENS, 1),
            one=(1, 2),
        ),
        # Nobody says that the last dimension of the tokens is 1.
        embedding("e = Equal (x, row) o = Cast <to = 1> (e) y = MatMul (o, table)", length=7),
        # The table is computed, or there is one for each place.
        embedding(f"{ONE_HOT} b = Relu (table) y = MatMul (o, b)"),
        embedding(f"{ONE_HOT} y = MatMul (o, cube)", cube=(LENGTH, TOKENS, 2)),
        # Nothing is compared.
        embedding("u = Unsqueeze (x, last) o = Cast <to = 1> (u) y = MatMul (o, one)", one=(1, 2)),
        embedding("n = Neg (x) o = Cast <to = 1> (n) y = MatMul (o, five)", five=(LENGTH, 2)),
    ],
)
def test_other_products_are_left_alone(data: bytes) -> None:
    assert to_bytes(gather_embeddings(load(data))) == to_bytes(load(data))


def test_two_tables_are_both_looked_up() -> None:
    body = f"{ONE_HOT} m = MatMul (o, table) n = MatMul (o, other) y = Concat <axis = 2> (m, n)"
    found = operators(gathered(embedding(body, other=(TOKENS, 2))))
    assert found.count("Gather") == 2


def test_simplifier_prints_nothing_and_leaves_its_model_alone(
    capfd: pytest.CaptureFixture[str],
) -> None:
    model = load(network())
    slim = simplify(model)
    assert model == load(network())
    assert len(slim.graph.node) < len(model.graph.node)
    assert capfd.readouterr() == ("", "")


def fail(_: onnx.ModelProto) -> onnx.ModelProto:
    raise KeyError("missing")


@pytest.mark.parametrize(
    ("answer", "message"),
    [(lambda _: None, "onnxslim gave no model"), (fail, "onnxslim: ")],
)
def test_simplifier_that_fails_is_named(
    monkeypatch: pytest.MonkeyPatch, answer: object, message: str
) -> None:
    monkeypatch.setattr(onnxslim, "slim", answer)
    with pytest.raises(ModelRefused, match=message):
        simplify(load(network()))
