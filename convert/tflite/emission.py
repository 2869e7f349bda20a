"""A TFLite file made directly of a float ONNX graph, or a refusal that names what cannot be."""

import numpy as np
import onnx

from convert.given.source import first_line
from convert.onnx.folding import fold_batch_norm
from convert.tflite.assembly import Assembly, Unable, fixed_value, origin
from convert.tflite.fusion import drop_unused, fuse
from convert.tflite.gelu import fuse_gelus
from convert.tflite.layout import Tensor, Value
from convert.tflite.onnx_graph import Graph, Node, Port, read_graph
from convert.tflite.operators.table import TABLE
from convert.tflite.packing import pack_graph
from edge_bundle.errors import ModelRefused

__all__ = ["emit_tflite", "origin"]


def emit_tflite(data: bytes) -> bytes:
    """Return a TFLite file with the inputs and outputs of an ONNX file: name, shape, type, order.

    Tensors keep the names of the ONNX tensors whose values they hold. A second one of the same
    values has ``@1`` and so on behind the name (``origin``); a step of an operator that is composed
    of several has ``#`` and a word. Constants have no names.

    Args:
        data: an ONNX file of opset 13 to 21 with static shapes, without control flow.
    Raises: ModelRefused: not such a file, or naming every node that TFLite cannot express.
    """
    graph = fuse_gelus(read_graph(_fold(data), {*TABLE, "Erf"}))
    both = {port.name for port in graph.inputs} & {port.name for port in graph.outputs}
    if both:
        raise ModelRefused(f"{min(both)} is an input and an output of the graph; leave it out")
    job = Assembly(port.name for port in graph.outputs)
    values = {name: fixed_value(name, array) for name, array in graph.constants.items()}
    inputs, refusals = [], []
    for port in graph.inputs:
        try:
            values[port.name] = _computed(job, port)
        except Unable as error:
            raise ModelRefused(f"input {port.name} cannot be TFLite's: {error}") from None
        inputs.append(values[port.name].forms[0].tensor)
    for node in graph.nodes:
        try:
            values.update(_lower(job, node, values))
        except (Unable, OverflowError) as error:  # a shape of more than 31 bits
            refusals.append(f"{node.operator} (node {node.name}){f': {error}' * bool(str(error))}")
            # What follows is looked at all the same.
            values.update({port.name: _computed(job, port) for port in node.given})
    if refusals:
        raise ModelRefused(f"cannot be emitted as TFLite directly: {'; '.join(refusals)}")
    outputs = _show(job, graph, values, inputs)
    operations = fuse(drop_unused(job.operations, outputs), outputs)
    return pack_graph(operations, inputs, outputs)


def _fold(data: bytes) -> bytes:
    try:
        model = fold_batch_norm(onnx.load_model_from_string(data))
    except Exception as error:  # protobuf's DecodeError, and NumPy's for damaged weights
        raise ModelRefused(f"not an ONNX model: {first_line(error)}") from None
    folded: bytes = model.SerializeToString(deterministic=True)
    return folded


def _computed(job: Assembly, port: Port) -> Value:
    tensor = job.tensor(port.name, port.shape, port.dtype)
    return job.give(port.name, port.shape, tensor, range(len(port.shape)))


def _lower(job: Assembly, node: Node, values: dict[str, Value]) -> dict[str, Value]:
    if node.operator not in TABLE:
        raise Unable
    missing = [name for name in node.inputs if name and name not in values]
    if missing or len(node.given) < len([name for name in node.outputs if name]):
        # Behind a node that was refused; its own shape cannot be known.
        return {}
    given = TABLE[node.operator](job, node, [values.get(name) for name in node.inputs])
    for value, port in zip(given, node.given, strict=True):
        if value.shape != port.shape or value.dtype != port.dtype:
            raise Unable(
                f"gives {value.dtype}{list(value.shape)}, expected {port.dtype}{list(port.shape)}"
            )
    return {port.name: value for value, port in zip(given, node.given, strict=True)}


def _show(
    job: Assembly, graph: Graph, values: dict[str, Value], inputs: list[Tensor]
) -> list[Tensor]:
    """Return the tensors that the file gives, each of its own and named as ONNX has it."""
    outputs: list[Tensor] = []
    for port in graph.outputs:
        if values[port.name].constant is not None:
            raise ModelRefused(f"output {port.name} does not depend on the input")
        tensor = job.plain(values[port.name])
        if tensor in inputs or tensor in outputs:
            copy = Tensor(port.name, port.shape, port.dtype)
            shape = job.constant(port.shape, np.int32)
            tensor = job.operate("RESHAPE", [tensor, shape], [copy], newShape=list(port.shape))
        tensor.name = port.name
        outputs.append(tensor)
    return outputs
