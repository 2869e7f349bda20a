"""A small float TFLite file with real kinds of operators, made with the schema."""

from typing import Any

import numpy as np

from convert.tflite import schema
from convert.tflite.flatbuffer import pack

CODES = schema.BuiltinOperator
TYPES = schema.TensorType
INPUT = (1, 6, 6, 1)
INPUTS = list(np.random.default_rng(3).normal(size=(16, *INPUT)).astype(np.float32))
"""Inputs for it, each of shape ``INPUT``."""
BLOCK, LOGITS, SCORES = "block;conv/BiasAdd", "dense", "scores"
"""What its weighted operators and its last one give."""


class Builder:
    """Collects the tensors and operators of a model of one graph."""

    def __init__(self) -> None:
        self.model = schema.ModelT()
        self.model.version, self.model.description = 3, b"made by a test"
        self.model.operatorCodes, self.model.buffers = [], [schema.BufferT()]
        self.graph = schema.SubGraphT()
        self.graph.tensors, self.graph.operators = [], []
        self.model.subgraphs = [self.graph]

    def tensor(self, name: str, shape: tuple[int, ...], values: Any = None, kind: int = 0) -> int:
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type, tensor.buffer = name.encode(), list(shape), kind, 0
        if values is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(values).tobytes(), np.uint8)
            tensor.buffer = len(self.model.buffers)
            self.model.buffers.append(buffer)
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def operator(
        self, code: int, inputs: list[int], outputs: list[int], options: Any = None
    ) -> Any:
        entry = schema.OperatorCodeT()
        # Only the short field, as files from before 2020 have it.
        entry.deprecatedBuiltinCode, entry.version = code, 1
        operator = schema.OperatorT()
        operator.opcodeIndex = len(self.model.operatorCodes)
        operator.inputs, operator.outputs = inputs, outputs
        if options is not None:
            name = type(options).__name__.removesuffix("T")
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, name)
            operator.builtinOptions = options
        self.model.operatorCodes.append(entry)
        self.graph.operators.append(operator)
        return entry

    def data(self, inputs: list[int], outputs: list[int]) -> bytes:
        self.graph.inputs, self.graph.outputs = inputs, outputs
        return pack(self.model)


def small_model(*, halves: bool = False) -> bytes:
    """Return convolution, activation, matrix product and softmax: [1, 6, 6, 1] to [1, 3].

    Args:
        halves: whether the convolution's weights are float16.
    """
    random = np.random.default_rng(5)
    made = Builder()
    taken = made.tensor("x", INPUT)
    kernel = random.normal(size=(4, 3, 3, 1)) * np.array([1, 10, 0.1, 3]).reshape(4, 1, 1, 1)
    if halves:
        stored = made.tensor("halves", (4, 3, 3, 1), kernel.astype(np.float16), TYPES.FLOAT16)
        weights = made.tensor("kernel", (4, 3, 3, 1))
        made.operator(CODES.DEQUANTIZE, [stored], [weights])
    else:
        weights = made.tensor("kernel", (4, 3, 3, 1), kernel.astype(np.float32))
    bias = made.tensor("bias", (4,), np.array([0.5, -1, 0, 2], np.float32))
    block = made.tensor(BLOCK, (1, 6, 6, 4))
    convolution = schema.Conv2DOptionsT()
    convolution.strideH = convolution.strideW = 1
    made.operator(CODES.CONV_2D, [taken, weights, bias], [block], convolution)
    # The name is used twice, as some exporters do.
    active = made.tensor(BLOCK, (1, 6, 6, 4))
    made.operator(CODES.RELU, [block], [active])
    matrix = made.tensor("matrix", (3, 144), random.normal(size=(3, 144)).astype(np.float32) / 20)
    logits, scores = made.tensor(LOGITS, (1, 3)), made.tensor(SCORES, (1, 3))
    made.operator(
        CODES.FULLY_CONNECTED, [active, matrix, -1], [logits], schema.FullyConnectedOptionsT()
    )
    softmax = schema.SoftmaxOptionsT()
    softmax.beta = 1.0
    made.operator(CODES.SOFTMAX, [logits], [scores], softmax)
    return made.data([taken], [scores])
