"""A finished graph as a TFLite file."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from convert.tflite import schema
from convert.tflite.assembly import Operation
from convert.tflite.flatbuffer import pack
from convert.tflite.kinds import KINDS
from convert.tflite.layout import Tensor
from convert.tflite.signature import sign

SCHEMA_VERSION: Final = 3
MAX_SHORT_CODE: Final = 127
"""Of the field that runtimes before 2020 read."""
DESCRIPTION: Final = b"edgeward"


def pack_graph(
    operations: Sequence[Operation], inputs: Sequence[Tensor], outputs: Sequence[Tensor]
) -> bytes:
    """Return a file's bytes, with the signature ``serving_default``; the same for equal graphs."""
    model = schema.ModelT()
    model.version, model.description = SCHEMA_VERSION, DESCRIPTION
    taken = (tensor for made in operations for tensor in (*made.inputs, *made.outputs))
    tensors = list(dict.fromkeys([*inputs, *taken, *outputs]))
    # By convention the first buffer is the empty one, of all that is computed.
    model.buffers = [schema.BufferT()]
    graph = schema.SubGraphT()
    graph.tensors = [_tensor(model, tensor) for tensor in tensors]
    places = {tensor: place for place, tensor in enumerate(tensors)}
    kinds = list(dict.fromkeys(made.kind for made in operations))
    model.operatorCodes = [_code(kind) for kind in kinds]
    graph.inputs = [places[tensor] for tensor in inputs]
    graph.outputs = [places[tensor] for tensor in outputs]
    graph.operators = [_operator(made, kinds.index(made.kind), places) for made in operations]
    model.subgraphs = [graph]
    return pack(sign(model))


def _tensor(model: Any, tensor: Tensor) -> Any:
    made = schema.TensorT()
    made.name = tensor.name.encode() or None
    made.shape = list(tensor.shape)
    made.type = getattr(schema.TensorType, tensor.dtype.name.upper())
    made.buffer = 0
    if tensor.data is not None:
        made.buffer = len(model.buffers)
        held = schema.BufferT()
        little = tensor.data.astype(tensor.data.dtype.newbyteorder("<"))
        held.data = np.frombuffer(little.tobytes(), np.uint8)
        model.buffers.append(held)
    return made


def _code(kind: str) -> Any:
    code = schema.OperatorCodeT()
    code.builtinCode = getattr(schema.BuiltinOperator, kind)
    code.deprecatedBuiltinCode = min(code.builtinCode, MAX_SHORT_CODE)
    code.version = KINDS[kind].version
    return code


def _operator(made: Operation, code: int, places: dict[Tensor, int]) -> Any:
    operator = schema.OperatorT()
    operator.opcodeIndex = code
    operator.inputs = [places[tensor] for tensor in made.inputs]
    operator.outputs = [places[tensor] for tensor in made.outputs]
    name = KINDS[made.kind].options
    if name:
        operator.builtinOptionsType = getattr(schema.BuiltinOptions, name)
        operator.builtinOptions = getattr(schema, f"{name}T")()
        for key, value in made.options.items():
            if not hasattr(operator.builtinOptions, key):
                raise KeyError(f"{name} has no {key}")
            setattr(operator.builtinOptions, key, value)
    return operator
