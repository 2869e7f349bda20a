"""What an ONNX file is made of, read from its bytes and never run."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Final

import numpy as np
import onnx
from onnx import TensorProto, helper

from convert.given.source import DEFAULT_DOMAINS, first_line
from convert.inspection.anatomy import Anatomy, TensorFacts, count_operators
from edge_bundle.errors import ModelRefused

FREE: Final = "?"
NO_PARAMETERS: Final = frozenset({"int64", "bool", "string"})
"""Types of shapes, axes, masks and words."""
CONTROL: Final = frozenset({"If", "Loop", "Scan", "SequenceMap"})
WEIGHTS_AT: Final = {
    "Conv": 1,
    "ConvTranspose": 1,
    "Gemm": 1,
    "MatMul": 1,
    "LSTM": 1,
    "GRU": 1,
    "RNN": 1,
    "ConvInteger": 1,
    "MatMulInteger": 1,
    "QLinearConv": 3,
    "QLinearMatMul": 3,
    "com.microsoft.QGemm": 3,
    "com.microsoft.DynamicQuantizeMatMul": 1,
    "com.microsoft.MatMulIntegerToFloat": 1,
    "com.microsoft.FusedConv": 1,
    "com.microsoft.FusedGemm": 1,
    "com.microsoft.FusedMatMul": 1,
    "com.microsoft.MatMulNBits": 1,
}
"""Operators that multiply with weights, and which of their inputs these are."""
INT8: Final = frozenset({"QLinearConv", "QLinearMatMul", "com.microsoft.QGemm"})
DYNAMIC: Final = frozenset(
    {"ConvInteger", "MatMulInteger", "com.microsoft.DynamicQuantizeMatMul"}
    | {"com.microsoft.MatMulIntegerToFloat"}
)
FEW_BITS: Final = "com.microsoft.MatMulNBits"
ALSO_MULTIPLY: Final = frozenset(
    {"Einsum", "Attention", "com.microsoft.Attention", "com.microsoft.MultiHeadAttention", FEW_BITS}
)
KEEP_SHAPE: Final = frozenset({"Scaler", "Normalizer", "Imputer"})
"""Of ai.onnx.ml, as scikit-learn's models begin."""
RECURRENT: Final = frozenset({"LSTM", "GRU", "RNN"})
Shape = tuple[int, ...]


def read_onnx(data: bytes) -> Anatomy:
    """Read an ONNX file that may be damaged.

    Raises: ModelRefused: no ONNX model, or one that onnx's checker does not accept.
    """
    try:
        model = onnx.load_model_from_string(data)
    except Exception as error:  # protobuf's DecodeError; protobuf itself is not ours to import
        raise ModelRefused(f"not an ONNX model: {first_line(error)}") from None
    external = _external_files(model)
    try:
        if not external:  # the checker would look for the files, in the wrong folder
            onnx.checker.check_model(model)
        return _read(model, external)
    except Exception as error:  # onnx raises what it likes on some damage
        raise ModelRefused(f"not a whole ONNX model: {first_line(error)}") from None


@dataclass(slots=True)
class _Parts:
    """All graphs of a file, taken apart."""

    main: list[onnx.NodeProto] = field(default_factory=list)
    """Nodes of the graph that always run."""
    nested: list[onnx.NodeProto] = field(default_factory=list)
    """Nodes of graphs in attributes, and of functions."""
    constants: dict[str, TensorProto] = field(default_factory=dict)
    """By the name of the value in its graph; an inner graph's name may hide an outer one's."""
    tensors: list[TensorProto] = field(default_factory=list)


def _read(model: onnx.ModelProto, external: tuple[str, ...]) -> Anatomy:
    parts = _take_apart(model)
    nodes = [*parts.main, *parts.nested]
    weight_bytes: dict[str, int] = {}
    parameters = 0
    for tensor in parts.tensors:
        kind, size = _dtype(tensor.data_type), prod(tensor.dims)
        weight_bytes[kind] = weight_bytes.get(kind, 0) + _bytes(kind, size)
        parameters += 0 if kind in NO_PARAMETERS else size
    macs, uncounted = _multiplications(model, parts)
    weights = {tensor.name for tensor in model.graph.initializer}
    return Anatomy(
        format="onnx",
        ir=model.ir_version,
        opsets={o.domain or "ai.onnx": o.version for o in model.opset_import},
        producer=f"{model.producer_name} {model.producer_version}".strip(),
        # Files of IR 3 list their weights among the inputs as well.
        inputs=tuple(_facts(v) for v in model.graph.input if v.name not in weights),
        outputs=tuple(_facts(v) for v in model.graph.output),
        operators=count_operators(_name(n) for n in nodes if n.op_type != "Constant"),
        parameters=parameters,
        weight_bytes=weight_bytes,
        arithmetic=_arithmetic(parts),
        control_flow=tuple(sorted({n.op_type for n in nodes} & CONTROL)),
        custom=_custom(model, nodes),
        external=external,
        multiply_accumulates=macs,
        uncounted=uncounted,
    )


def _take_apart(model: onnx.ModelProto) -> _Parts:
    parts = _Parts()
    waiting = [(list(model.graph.node), list(model.graph.initializer), parts.main)]
    waiting += [(list(f.node), [], parts.nested) for f in model.functions]
    while waiting:
        nodes, initializers, target = waiting.pop()
        target.extend(nodes)
        parts.tensors += initializers
        parts.constants |= {t.name: t for t in initializers}
        for node in nodes:
            for attribute in node.attribute:
                graphs = [attribute.g] if attribute.type == attribute.GRAPH else attribute.graphs
                waiting += [(list(g.node), list(g.initializer), parts.nested) for g in graphs]
                if node.op_type == "Constant" and attribute.name == "value":
                    parts.tensors.append(attribute.t)
                    parts.constants[node.output[0]] = attribute.t
    return parts


def _arithmetic(parts: _Parts) -> dict[str, int]:
    """Return how many operators with constant weights compute how."""
    makers = {name: node for node in [*parts.main, *parts.nested] for name in node.output}
    found: dict[str, int] = {}
    for node in [*parts.main, *parts.nested]:
        name = _name(node)
        if name not in WEIGHTS_AT or len(node.input) <= WEIGHTS_AT[name]:
            continue
        weights, through = _trace(node.input[WEIGHTS_AT[name]], makers, parts.constants)
        if weights is None and name == "MatMul":
            continue  # of two activations, as in attention
        kind = _dtype(weights.data_type) if weights else "float32"
        activation = makers.get(node.input[0])
        if name in INT8:
            kind = "int8"
        elif name in DYNAMIC:
            kind = "dynamic int8"
        elif name == FEW_BITS:
            kind = "int4 weights"
        elif through:
            is_coded = activation is not None and activation.op_type == "DequantizeLinear"
            kind = "int8" if is_coded else "int8 weights"
        found[kind] = found.get(kind, 0) + 1
    return found


def _trace(
    name: str, makers: Mapping[str, onnx.NodeProto], constants: Mapping[str, TensorProto]
) -> tuple[TensorProto | None, bool]:
    """Return the constant that a value comes from, and whether it was dequantized on its way."""
    through = False
    for _ in range(len(makers) + 1):
        if name in constants:
            return constants[name], through
        node = makers.get(name)
        if node is None or not node.input:
            break
        if node.op_type not in {"DequantizeLinear", "Transpose", "Reshape", "Cast", "Identity"}:
            break
        through |= node.op_type == "DequantizeLinear"
        name = node.input[0]
    return None, through


def _multiplications(model: onnx.ModelProto, parts: _Parts) -> tuple[int, tuple[str, ...]]:
    """Return the multiply-accumulates of one run, and which operators are not in the number."""
    shapes = _shapes(model, parts)
    total = 0
    uncounted = {_name(n) for n in parts.main if _name(n) in ALSO_MULTIPLY}
    uncounted |= {n.op_type for n in parts.main if n.op_type in CONTROL}
    for node in parts.main:
        if (name := _name(node)) in WEIGHTS_AT and name != FEW_BITS:
            try:
                total += _multiplications_of(node, shapes)
            except KeyError:  # no shape was found for one of its tensors
                uncounted.add(name)
    called = {n.op_type for n in parts.main} & {f.name for f in model.functions}
    return total, tuple(sorted(uncounted | called))


def _multiplications_of(node: onnx.NodeProto, shapes: Mapping[str, Shape]) -> int:
    name = _name(node)
    taken, weights = shapes[node.input[0]], shapes[node.input[WEIGHTS_AT[name]]]
    if name in RECURRENT:  # [steps, batch, values] with [directions, gates, values]
        return prod(taken[:2]) * (prod(weights) + prod(shapes[node.input[2]]))
    if name == "ConvTranspose":
        return prod(taken) * prod(weights[1:])
    given = shapes[node.output[0]]
    if "Conv" in name:
        return prod(given) * prod(weights[1:])
    if "Gemm" in name:
        turned = any(a.name == "transA" and a.i for a in node.attribute)
        return prod(given) * taken[0 if turned else -1]
    return prod(given) * taken[-1]


def _shapes(model: onnx.ModelProto, parts: _Parts) -> dict[str, Shape]:
    """Return the shapes that follow from the inputs' with every free dimension 1."""
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    del fixed.graph.value_info[:]  # may say otherwise, and wrongly
    for value in (*fixed.graph.input, *fixed.graph.output):
        for dimension in value.type.tensor_type.shape.dim:
            if value in fixed.graph.output:
                dimension.Clear()
            elif dimension.dim_value < 1:
                dimension.dim_value = 1
    for node in fixed.graph.node:
        if node.op_type in KEEP_SHAPE:  # onnx infers no shape through these
            node.CopyFrom(helper.make_node("Identity", node.input[:1], node.output[:1]))
    with_shapes = onnx.shape_inference.infer_shapes(fixed, data_prop=True)
    graph = with_shapes.graph
    found = {name: tuple(tensor.dims) for name, tensor in parts.constants.items()}
    for value in (*graph.input, *graph.output, *graph.value_info):
        tensor = value.type.tensor_type
        if tensor.HasField("shape") and all(d.dim_value > 0 for d in tensor.shape.dim):
            found[value.name] = tuple(d.dim_value for d in tensor.shape.dim)
    return found


def _external_files(model: onnx.ModelProto) -> tuple[str, ...]:
    return tuple(
        sorted(
            {
                next((e.value for e in tensor.external_data if e.key == "location"), FREE)
                for tensor in _take_apart(model).tensors
                if onnx.external_data_helper.uses_external_data(tensor)
            }
        )
    )


def _custom(model: onnx.ModelProto, nodes: list[onnx.NodeProto]) -> tuple[str, ...]:
    known = {"ai.onnx.ml", "com.microsoft", *DEFAULT_DOMAINS}
    own = {(f.domain, f.name) for f in model.functions}
    names = (_name(n) for n in nodes if n.domain not in known and (n.domain, n.op_type) not in own)
    return tuple(sorted(set(names)))


def _facts(value: onnx.ValueInfoProto) -> TensorFacts:
    tensor = value.type.tensor_type
    if not value.type.HasField("tensor_type"):
        return TensorFacts(value.name, None, value.type.WhichOneof("value") or "none")
    shape = None
    if tensor.HasField("shape"):
        shape = tuple(_dimension(d) for d in tensor.shape.dim)
    return TensorFacts(value.name, shape, _dtype(tensor.elem_type))


def _dimension(dimension: onnx.TensorShapeProto.Dimension) -> int | str:
    if dimension.HasField("dim_value"):
        return int(dimension.dim_value)
    return str(dimension.dim_param) or FREE


def _dtype(kind: int) -> str:
    try:
        name = TensorProto.DataType.Name(kind)
        dtype = helper.tensor_dtype_to_np_dtype(kind)
    except (ValueError, KeyError):
        return f"type {kind}"
    # NumPy has none of the small and short floats; onnx gives a stand-in for some of them.
    return "string" if name == "STRING" else np.dtype(dtype).name


def _bytes(kind: str, size: int) -> int:
    if kind.endswith("int4"):
        return (size + 1) // 2
    try:
        return size * np.dtype(kind).itemsize
    except TypeError:
        return size


def _name(node: onnx.NodeProto) -> str:
    return node.op_type if node.domain in DEFAULT_DOMAINS else f"{node.domain}.{node.op_type}"
