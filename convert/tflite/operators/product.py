"""Matrix products: with weights, and of two activations."""

from math import prod
from typing import Final

import numpy as np

from convert.tflite.assembly import Assembly, Unable, own_constant
from convert.tflite.layout import Value, flat, leaves
from convert.tflite.onnx_graph import Node
from convert.tflite.operators.elementwise import combine, scalar
from convert.tflite.operators.lowering import Lowering, Operands, optional, present
from edge_bundle.tensor import Array


def connect(job: Assembly, value: Value, matrix: Array, bias: Array | None, name: str) -> Value:
    """Emit the product of a value's last dimension with weights.

    Where that dimension is a flattened image, the weights are put in the order in which its
    numbers lie, instead of the numbers into that of the weights.

    Args:
        value: [..., k].
        matrix: float32 [k, n].
        bias: float32 [n], None for zeros.
    """
    rows = flat(value.axes[:-1])
    inner = leaves(value.axes[-1])
    tensor = None
    for form in value.forms:
        order = leaves(form.order)
        if order[: len(rows)] == rows:
            tensor, lying = form.tensor, order[len(rows) :]
            break
    if tensor is None:
        tensor, lying = job.plain(value), inner
    count = matrix.shape[1]
    spread = matrix.reshape([*(atom.size for atom in inner), count])
    moved = spread.transpose([len(inner), *(inner.index(atom) for atom in lying)])
    weights = job.constant(moved.reshape(count, -1), np.float32)
    shape = (*value.shape[:-1], count)
    made = job.tensor(name, (prod(shape[:-1]), count), value.dtype)
    added = own_constant(np.zeros(count, np.float32) if bias is None else bias)
    job.operate("FULLY_CONNECTED", [tensor, weights, added], [made])
    return job.give(name, shape, made, range(len(shape)))


def multiply(job: Assembly, left: Value, right: Value, name: str) -> Value:
    """Emit the product of two matrices, or of stacks of them that are broadcast.

    Raises: Unable: vectors, or integers.
    """
    if left.dtype != np.float32:
        raise Unable(f"{left.dtype.name} values")
    if right.constant is not None and right.constant.ndim == 1:
        column = connect(job, left, right.constant[:, None], None, name)
        return job.reshaped(column, name, left.shape[:-1])
    if right.constant is not None and right.constant.ndim == 2:
        return connect(job, left, right.constant, None, name)
    if len(left.axes) < 2 or len(right.axes) < 2:
        raise Unable("a vector that is no weight")
    if left.constant is not None and left.constant.ndim == 2:
        turned = connect(job, _turn(job, right), left.constant.T, None, name)
        return _turn(job, turned)
    a, rank = job.plain(left), len(right.axes)
    plain = tuple(range(rank))
    swapped = (*plain[:-2], rank - 1, rank - 2)
    adjoint = right.constant is None and job.natural([right]) == swapped
    b = job.lay(right, swapped if adjoint else plain)
    stacks = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    shape = (*stacks, left.shape[-2], right.shape[-1])
    made = job.tensor(name, shape, left.dtype)
    job.operate("BATCH_MATMUL", [a, b], [made], adjY=adjoint)
    return job.give(name, shape, made, range(len(shape)))


def _turn(job: Assembly, value: Value) -> Value:
    *rest, rows, columns = range(len(value.axes))
    return job.transposed(value, value.name, (*rest, columns, rows))


def _matmul(job: Assembly, node: Node, operands: Operands) -> list[Value]:
    left, right = present(operands)
    return [multiply(job, left, right, node.outputs[0])]


def _gemm(job: Assembly, node: Node, operands: Operands) -> list[Value]:
    left, right = present(operands[:2])
    added, name = optional(operands, 2), node.outputs[0]
    alpha, beta = (float(node.attributes.get(key, 1.0)) for key in ("alpha", "beta"))
    if node.attributes.get("transA"):
        left = _turn(job, left)
    if node.attributes.get("transB"):
        right = _turn(job, right)
    count = right.shape[-1]
    if beta == 0:
        added = None
    weights, bias = right.constant, None if added is None else added.constant
    if left.constant is None and weights is not None:
        weights = weights * np.float32(alpha)
        if added is None:
            return [connect(job, left, weights, None, name)]
        if bias is not None and bias.size in {1, bias.shape[-1:] and bias.shape[-1]}:
            row = np.broadcast_to(np.float32(beta) * bias.reshape(-1), count)
            return [connect(job, left, weights, row, name)]
    product = multiply(
        job, left, right, name if added is None and alpha == 1 else f"{name}#product"
    )
    if alpha != 1:
        scaled = name if added is None else f"{name}#scaled"
        product = combine(job, "MUL", [product, scalar(alpha)], scaled)
    if added is None:
        return [product]
    if beta != 1:
        added = combine(job, "MUL", [added, scalar(beta)], f"{name}#added")
    return [combine(job, "ADD", [product, added], name)]


TABLE: Final[dict[str, Lowering]] = {"Gemm": _gemm, "MatMul": _matmul}
