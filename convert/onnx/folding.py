"""Steps that make a float graph smaller or faster without changing what it computes."""

import contextlib
import io
from typing import Final

import numpy as np
import onnx
from onnx import helper, numpy_helper

from edge_bundle.errors import ModelRefused
from edge_bundle.tensor import Array

ELEMENTWISE: Final = frozenset(
    {"Add", "Sub", "Mul", "Div", "Tanh", "Relu", "Sigmoid", "Erf", "Exp", "Sqrt", "Neg", "Abs"}
)
"""What can be done to a table's rows beforehand as well as to the rows that were looked up."""

TOKENS: Final = (np.int32, np.int64)
"""Of other integers onnxruntime has no Clip; a float may stand between two tokens."""


def simplify(model: onnx.ModelProto) -> onnx.ModelProto:
    """Fold constants and fuse what can be fused, by onnxslim."""
    import onnxslim

    # It prints, and it changes the model that it is given.
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            slim = onnxslim.slim(copy)
    except Exception as error:  # it raises what it likes
        raise ModelRefused(f"onnxslim: {str(error) or type(error).__name__}") from None
    if not isinstance(slim, onnx.ModelProto):
        raise ModelRefused("onnxslim gave no model")
    return slim


def fold_batch_norm(model: onnx.ModelProto) -> onnx.ModelProto:
    """Put a batch norm that follows a convolution into its weights.

    Source: w' = w * g / sqrt(v + e), b' = (b - m) * g / sqrt(v + e) + beta, by output channel.
    """
    graph = model.graph
    weights = {t.name: t for t in graph.initializer}
    uses = _uses(graph)
    makers = {o: n for n in graph.node for o in n.output}
    for norm in [n for n in graph.node if n.op_type == "BatchNormalization"]:
        conv = makers.get(norm.input[0])
        constants = [weights.get(name) for name in norm.input[1:5]]
        if conv is None or conv.op_type != "Conv" or uses[norm.input[0]] != 1:
            continue
        if None in constants or len([o for o in norm.output if o]) > 1:
            continue
        if any(name not in weights or uses[name] != 1 for name in conv.input[1:]):
            continue
        gain, shift, mean, variance = (numpy_helper.to_array(c) for c in constants if c is not None)
        epsilon = next((a.f for a in norm.attribute if a.name == "epsilon"), 1e-5)
        factor = (gain / np.sqrt(variance.astype(np.float64) + epsilon)).astype(np.float64)
        kernel = numpy_helper.to_array(weights[conv.input[1]])
        bias = numpy_helper.to_array(weights[conv.input[2]]) if len(conv.input) > 2 else 0.0
        shaped = factor.reshape(-1, *[1] * (kernel.ndim - 1))
        _write(weights[conv.input[1]], kernel * shaped)
        folded = numpy_helper.from_array(
            np.asarray((bias - mean) * factor + shift, np.float32), f"{norm.output[0]}_bias"
        )
        graph.initializer.append(folded)
        conv.input[:] = [*conv.input[:2], folded.name]
        conv.output[0] = norm.output[0]
        graph.node.remove(norm)
    return model


def gather_embeddings(model: onnx.ModelProto) -> onnx.ModelProto:
    """Look rows up where tokens are made one-hot and multiplied with a table.

    ``MatMul(Cast(Equal(tokens, 0..n-1)), table)`` is ``Gather(table, tokens)``; what follows
    value by value is then done to the table, once and for all. A token outside the table gives
    zeros in the first form; the table gets a row for those below and one for those above.
    """
    graph = model.graph
    makers = {o: n for n in graph.node for o in n.output}
    weights = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    for product in [n for n in graph.node if n.op_type == "MatMul"]:
        tokens = _one_hot(product, makers, weights)
        if tokens is None:
            continue
        table = weights[product.input[1]]
        table = np.pad(table, ((1, 1), (0, 0)))
        absorbed, table = _absorb(graph, product, table, weights)
        _replace_by_gather(graph, product, absorbed, tokens, table)
    return model


def _one_hot(
    product: onnx.NodeProto, makers: dict[str, onnx.NodeProto], weights: dict[str, Array]
) -> tuple[str, Array] | None:
    """Return the tensor of tokens with a last dimension of 1, and the tokens that are known."""
    table = weights.get(product.input[1])
    cast = makers.get(product.input[0])
    equal = makers.get(cast.input[0]) if cast is not None and cast.op_type == "Cast" else None
    if table is None or table.ndim != 2 or equal is None or equal.op_type != "Equal":
        return None
    for tokens, numbers in (equal.input, reversed(equal.input)):
        row = weights.get(numbers)
        if row is None or row.dtype not in TOKENS or not row.ndim:
            continue
        if row.size == row.shape[-1] == len(table):
            counted = np.array_equal(row.reshape(-1), np.arange(row.size))
            reshape = makers.get(tokens)
            if counted and reshape is not None and reshape.op_type in {"Reshape", "Unsqueeze"}:
                return tokens, row
    return None


def _absorb(
    graph: onnx.GraphProto, product: onnx.NodeProto, table: Array, weights: dict[str, Array]
) -> tuple[list[onnx.NodeProto], Array]:
    """Return the nodes after a product that work value by value, and the table after them."""
    values = {product.output[0]: table}
    absorbed: list[onnx.NodeProto] = []
    shown = {o.name for o in graph.output}
    for node in graph.node:
        if node.op_type not in ELEMENTWISE or not any(i in values for i in node.input):
            continue
        operands = [values.get(i, weights.get(i)) for i in node.input]
        # A constant that is neither one value nor one row belongs to places, not to tokens.
        if any(o is None for o in operands) or not all(
            weights[i].size == 1 or weights[i].shape[-1] == weights[i].size == table.shape[1]
            for i in node.input
            if i in weights
        ):
            continue
        flat = [
            o if i in values else o.reshape(-1)
            for i, o in zip(node.input, operands, strict=True)
            if o is not None
        ]
        values[node.output[0]] = _evaluate(node, flat)
        absorbed.append(node)
    last = _frontier(graph, product, absorbed)
    if last is None or last.output[0] in shown:
        return [product], table
    return [product, *absorbed[: absorbed.index(last) + 1]], values[last.output[0]]


def _frontier(
    graph: onnx.GraphProto, product: onnx.NodeProto, absorbed: list[onnx.NodeProto]
) -> onnx.NodeProto | None:
    """Return the one absorbed node whose value is used outside, or None where there are more."""
    inside = {id(n) for n in (product, *absorbed)}
    used_outside = {i for n in graph.node if id(n) not in inside for i in n.input}
    used_outside |= {o.name for o in graph.output}
    open_nodes = [n for n in (product, *absorbed) if used_outside.intersection(n.output)]
    if len(open_nodes) != 1 or open_nodes[0] is product:
        return None
    return open_nodes[0]


def _evaluate(node: onnx.NodeProto, operands: list[Array]) -> Array:
    from onnx.reference import ReferenceEvaluator

    names = [f"i{k}" for k in range(len(operands))]
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    copy.input[:] = names
    graph = helper.make_graph(
        [copy],
        "row",
        [
            helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, o.shape)
            for n, o in zip(names, operands, strict=True)
        ],
        [helper.make_tensor_value_info(node.output[0], onnx.TensorProto.FLOAT, None)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    result: Array = ReferenceEvaluator(model).run(None, dict(zip(names, operands, strict=True)))[0]
    return result.astype(np.float32)


def _replace_by_gather(
    graph: onnx.GraphProto,
    product: onnx.NodeProto,
    absorbed: list[onnx.NodeProto],
    tokens: tuple[str, Array],
    table: Array,
) -> None:
    given = absorbed[-1].output[0]
    name, known = tokens
    constants = {
        f"{given}_table": table.astype(np.float32),
        f"{given}_one": np.asarray(1, known.dtype),
        f"{given}_least": np.asarray(0, known.dtype),
        f"{given}_most": np.asarray(known.size + 1, known.dtype),
        f"{given}_axis": np.asarray([-1], np.int64),
    }
    graph.initializer.extend(numpy_helper.from_array(v, k) for k, v in constants.items())
    new = [
        helper.make_node("Squeeze", [name, f"{given}_axis"], [f"{given}_flat"]),
        helper.make_node("Add", [f"{given}_flat", f"{given}_one"], [f"{given}_place"]),
        # Before the cast, which would wrap a large int64 round to a token that is known. From 0 on:
        # onnxruntime 1.23 lets some int64 below a negative end pass (tried).
        helper.make_node(
            "Clip", [f"{given}_place", f"{given}_least", f"{given}_most"], [f"{given}_near"]
        ),
        helper.make_node("Cast", [f"{given}_near"], [f"{given}_row"], to=onnx.TensorProto.INT32),
        helper.make_node("Gather", [f"{given}_table", f"{given}_row"], [given], axis=0),
    ]
    place = list(graph.node).index(product)
    for node in absorbed:
        graph.node.remove(node)
    for offset, node in enumerate(new):
        graph.node.insert(place + offset, node)


def _uses(graph: onnx.GraphProto) -> dict[str, int]:
    counts: dict[str, int] = {o.name: 1 for o in graph.output}
    for node in graph.node:
        for name in node.input:
            counts[name] = counts.get(name, 0) + 1
    return counts


def _write(tensor: onnx.TensorProto, values: Array) -> None:
    tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float32), tensor.name))
