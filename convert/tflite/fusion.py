"""Operators of a graph in the making that others can do on the way."""

from collections import Counter
from collections.abc import Collection
from typing import Final

import numpy as np

from convert.tflite.assembly import Operation, own_constant
from convert.tflite.layout import Tensor

ACTIVATIONS: Final = {"RELU": 1, "RELU_N1_TO_1": 2, "RELU6": 3}
"""With the schema's codes for a fused one."""
APPLY: Final = frozenset(
    {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "AVERAGE_POOL_2D", "MAX_POOL_2D"}
    | {"ADD", "SUB", "MUL"}
)
"""Operators that apply an activation to what they give, in every runtime."""
BIASED: Final = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"})


def fuse(operations: list[Operation], shown: Collection[Tensor]) -> list[Operation]:
    """Put vectors that are added into biases, and activations into what they follow.

    The result keeps the name of the later tensor.

    Args:
        operations: in order; changed.
        shown: tensors that the graph gives.
    """
    uses = Counter([*shown, *(tensor for made in operations for tensor in made.inputs)])
    makers: dict[Tensor, Operation] = {}
    kept = []
    for operation in operations:
        maker = makers.get(operation.inputs[0]) if uses[operation.inputs[0]] == 1 else None
        if maker is not None and (_add_bias(maker, operation) or _activate(maker, operation)):
            maker.outputs = operation.outputs
        else:
            kept.append(operation)
            maker = operation
        makers.update(dict.fromkeys(operation.outputs, maker))
    return kept


def drop_unused(operations: list[Operation], shown: Collection[Tensor]) -> list[Operation]:
    """Leave out operators whose results nobody takes."""
    needed = set(shown)
    kept = []
    for operation in reversed(operations):
        if needed.intersection(operation.outputs):
            needed.update(operation.inputs)
            kept.append(operation)
    return kept[::-1]


def _add_bias(maker: Operation, operation: Operation) -> bool:
    if (
        operation.kind != "ADD"
        or maker.kind not in BIASED
        or "fusedActivationFunction" in (maker.options)
    ):
        return False
    taken, added = operation.inputs
    values, bias = added.data, maker.inputs[2].data
    if values is None or bias is None or operation.outputs[0].shape != taken.shape:
        return False
    if values.size not in {1, taken.shape[-1]} or values.size != np.prod(values.shape[-1:]):
        return False
    maker.inputs[2] = own_constant((bias + values.reshape(-1)).astype(np.float32))
    return True


def _activate(maker: Operation, operation: Operation) -> bool:
    if operation.kind not in ACTIVATIONS or maker.kind not in APPLY:
        return False
    if "fusedActivationFunction" in maker.options:
        return False
    maker.options["fusedActivationFunction"] = ACTIVATIONS[operation.kind]
    return True
