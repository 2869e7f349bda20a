"""A model whose answers a test decides: its scores are its inputs, and its samples say them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from convert.given.samples import Samples
from edge_bundle.tensor import Array, Float32Array

CLASSES = 4


class Told:
    """A progress display that remembers."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.advances: list[tuple[int, int]] = []

    def __call__(self, text: str) -> None:
        self.texts.append(text)

    def advance(self, done: int, of: int) -> None:
        """Remember it."""
        self.advances.append((done, of))


def echo(confused: Sequence[int] = ()) -> bytes:
    """Return an ONNX model that answers what its input says, and 0 for some classes."""
    table = np.eye(CLASSES, dtype=np.float32)
    for number in confused:
        table[number] = table[0]
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["scores"])],
        "echo",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, CLASSES])],
        [helper.make_tensor_value_info("scores", onnx.TensorProto.FLOAT, [1, CLASSES])],
        [numpy_helper.from_array(table, "w")],
    )
    opsets = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    data: bytes = model.SerializeToString()
    return data


def say(answers: Sequence[int] | Array) -> Float32Array:
    """Return float32 [samples, CLASSES], scores that give these answers."""
    scores: Float32Array = np.eye(CLASSES, dtype=np.float32)[np.asarray(answers)]
    return scores


def samples_of(x: Array, y: Array | None = None, source: str = "eval.npz") -> Samples:
    """Return samples that were read before; ``x`` is [samples, ...]."""
    rows = [np.ascontiguousarray(row)[None] for row in x]
    return Samples(source, "0" * 64, rows, rows, y)


WIDTH = 16
NODES = "first", "second", "third"
"""Of ``perceptron``, with weights, in the order in which they run."""


def perceptron(file: Path, names: Sequence[str] = NODES) -> Path:
    """Write an ONNX model of some layers, from x [1, WIDTH] to scores [1, CLASSES]."""
    random = np.random.default_rng(2)
    sizes = [WIDTH, *[24] * (len(names) - 1), CLASSES]
    nodes, weights, taken = [], [], "x"
    for number, name in enumerate(names):
        given = "scores" if name == names[-1] else f"{name}_sum"
        table = random.normal(size=sizes[number : number + 2]).astype(np.float32)
        offset = random.normal(size=sizes[number + 1]).astype(np.float32)
        weights += [numpy_helper.from_array(table, f"{name}_w")]
        weights += [numpy_helper.from_array(offset, f"{name}_b")]
        nodes.append(
            helper.make_node("Gemm", [taken, f"{name}_w", f"{name}_b"], [given], name=name)
        )
        taken = f"{name}_relu"
        if given != "scores":
            nodes.append(helper.make_node("Relu", [given], [taken], name=taken))
    graph = helper.make_graph(
        nodes,
        "perceptron",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, WIDTH])],
        [helper.make_tensor_value_info("scores", onnx.TensorProto.FLOAT, [1, CLASSES])],
        weights,
    )
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), file)
    return file


def harm(file: Path, name: str, weight: float) -> None:
    """Give one layer of a ``perceptron`` a huge weight in each channel, so that int8 loses others.

    It changes no answer: what it weighs is always 0 (where it is the first layer, if x[:, 0] is).
    """
    model = onnx.load(file)
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    layers = [node.name for node in model.graph.node if node.op_type == "Gemm"]
    before = dict(zip(layers[1:], layers, strict=False)).get(name)

    def change(tensor: str, index: object, value: float) -> None:
        table = numpy_helper.to_array(weights[tensor]).copy()
        table[index] = value
        weights[tensor].CopyFrom(numpy_helper.from_array(table, tensor))

    change(f"{name}_w", 0, weight)
    if before is not None:
        change(f"{before}_w", (slice(None), 0), 0)
        change(f"{before}_b", 0, 0)
    onnx.save(model, file)


def inputs_of(count: int, seed: int = 3) -> Float32Array:
    """Return float32 [count, WIDTH] for ``perceptron``."""
    random = np.random.default_rng(seed)
    return random.normal(size=(count, WIDTH)).astype(np.float32)
