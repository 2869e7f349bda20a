"""An ONNX graph as the emitter reads it: static shapes, constants computed, nothing unused."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
import onnx
from onnx import helper, numpy_helper, shape_inference
from onnx.reference import ReferenceEvaluator

from convert.given.source import DEFAULT_DOMAINS, first_line
from convert.tflite.layout import Shape
from edge_bundle.errors import ModelRefused
from edge_bundle.tensor import Array

MIN_OPSET, MAX_OPSET = 13, 21
RANDOM: Final = ("RandomNormal", "RandomUniform", "Bernoulli", "Multinomial")


@dataclass(frozen=True, slots=True)
class Port:
    """A tensor of fixed shape."""

    name: str
    shape: Shape
    dtype: np.dtype[np.generic]


@dataclass(frozen=True, slots=True)
class Node:
    """An operator with what shape inference knows of its outputs."""

    operator: str
    """With its domain where that is not ONNX's own: ``com.microsoft.Gelu``."""
    name: str
    inputs: tuple[str, ...]
    """Empty where an optional input is left out."""
    outputs: tuple[str, ...]
    attributes: dict[str, Any]
    """Texts as str."""
    given: tuple[Port, ...]
    """One for each output; fewer where a shape is not known."""
    opset: int


@dataclass(frozen=True, slots=True)
class Graph:
    """What is to be emitted."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    nodes: tuple[Node, ...]
    """Sorted; without those whose inputs are all constant."""
    constants: dict[str, Array]


Known: TypeAlias = Collection[str]


def read_graph(data: bytes, known: Known) -> Graph:
    """Read an ONNX file.

    Args:
        data: its bytes.
        known: operators that can be emitted; a file that has others may lack shapes.
    Raises: ModelRefused: not such a file; functions, control flow or external weights; no static
        shapes; another opset than 13 to 21.
    """
    model = _load(data)
    opset = next((o.version for o in model.opset_import if o.domain in DEFAULT_DOMAINS), 0)
    if not MIN_OPSET <= opset <= MAX_OPSET:
        raise ModelRefused(f"opset {opset}, expected {MIN_OPSET} to {MAX_OPSET}")
    weights = {tensor.name for tensor in model.graph.initializer}
    complete = all(_operator(node) in known for node in model.graph.node)
    model = _infer(model, strict=complete)
    ports = _ports(model)
    constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    needed = _needed(model)
    nodes = []
    for node in model.graph.node:
        if not needed.intersection(node.output):
            continue
        fixed = {name: constants[name] for name in node.input if name in constants}
        if node.op_type in {"Shape", "Size"} and node.input[0] in ports:
            fixed[node.input[0]] = _stand_in(ports[node.input[0]])
        if all(name in fixed for name in node.input if name) and _is_pure(node):
            constants.update(_compute(node, fixed, opset))
        else:
            nodes.append(_read_node(node, ports, opset))
    inputs = [value.name for value in model.graph.input if value.name not in weights]
    return Graph(
        tuple(_port(ports, name) for name in inputs),
        tuple(_port(ports, value.name) for value in model.graph.output),
        tuple(nodes),
        constants,
    )


def _load(data: bytes) -> onnx.ModelProto:
    try:
        model = onnx.load_model_from_string(data)
        onnx.checker.check_model(model)
    except Exception as error:  # protobuf's own, the checker's, and others for some damage
        raise ModelRefused(f"not an ONNX model: {first_line(error)}") from None
    if model.functions:
        raise ModelRefused("it has functions of its own; inline them")
    if any(onnx.external_data_helper.uses_external_data(t) for t in model.graph.initializer):
        raise ModelRefused("its weights are in another file; save the model as one file")
    for node in model.graph.node:
        if any(a.type in {a.GRAPH, a.GRAPHS} for a in node.attribute):
            raise ModelRefused(f"control flow ({node.op_type}, node {node.name or node.output[0]})")
    return model


def _infer(model: onnx.ModelProto, strict: bool) -> onnx.ModelProto:
    try:
        return shape_inference.infer_shapes(
            model, check_type=strict, strict_mode=strict, data_prop=True
        )
    except Exception as error:  # shape_inference.InferenceError and RuntimeError
        raise ModelRefused(f"its shapes cannot be inferred: {first_line(error)}") from None


def _ports(model: onnx.ModelProto) -> dict[str, Port]:
    graph, ports = model.graph, {}
    for value in (*graph.value_info, *graph.input, *graph.output):
        tensor = value.type.tensor_type
        sizes = tuple(d.dim_value for d in tensor.shape.dim)
        if tensor.HasField("shape") and all(size > 0 for size in sizes) and tensor.elem_type:
            dtype = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.elem_type))
            ports[value.name] = Port(value.name, sizes, dtype)
    return ports


def _port(ports: dict[str, Port], name: str) -> Port:
    if name not in ports:
        raise ModelRefused(f"{name} has no fixed shape; fix the shapes of the inputs first")
    return ports[name]


def _needed(model: onnx.ModelProto) -> set[str]:
    needed = {value.name for value in model.graph.output}
    for node in reversed(model.graph.node):  # a checked graph is sorted
        if needed.intersection(node.output):
            needed.update(name for name in node.input if name)
    return needed


def _is_pure(node: onnx.NodeProto) -> bool:
    return node.domain in DEFAULT_DOMAINS and not node.op_type.startswith(RANDOM)


def _stand_in(port: Port) -> Array:
    """Return an array of a tensor's shape that takes no memory."""
    return np.broadcast_to(np.zeros((), port.dtype), port.shape)


def _compute(node: onnx.NodeProto, inputs: dict[str, Array], opset: int) -> dict[str, Array]:
    graph = helper.make_graph(
        [node],
        "constant",
        [
            helper.make_tensor_value_info(k, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
            for k, v in inputs.items()
        ],
        [onnx.ValueInfoProto(name=name) for name in node.output if name],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    try:
        found = ReferenceEvaluator(model).run(None, inputs)
    except Exception as error:  # the evaluator's operators raise what they like
        where = f"{node.op_type} (node {node.name or node.output[0]})"
        raise ModelRefused(f"{where} of constants fails: {first_line(error)}") from None
    return dict(zip([name for name in node.output if name], map(np.asarray, found), strict=True))


def _read_node(node: onnx.NodeProto, ports: dict[str, Port], opset: int) -> Node:
    decode: Callable[[Any], Any] = lambda v: v.decode() if isinstance(v, bytes) else v  # noqa: E731
    return Node(
        _operator(node),
        node.name or node.output[0],
        tuple(node.input),
        tuple(node.output),
        {a.name: decode(helper.get_attribute_value(a)) for a in node.attribute},
        tuple(ports[name] for name in node.output if name in ports),
        opset,
    )


def _operator(node: onnx.NodeProto) -> str:
    own = node.domain in DEFAULT_DOMAINS
    return str(node.op_type) if own else f"{node.domain}.{node.op_type}"
