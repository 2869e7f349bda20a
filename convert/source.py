"""The model file as it was trained: read within bounds, and refused in plain words."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Final

import onnx

from convert.spec import SpecFile
from edge_bundle.errors import ConfigError, ModelRefused
from edge_bundle.features import shape_after

MAX_MODEL_BYTES: Final = 512 << 20
"""Well below the 2 GiB of a protobuf message, with room for the copies that a build makes."""
MIN_OPSET: Final = 7
"""Before it operators broadcast in another way, and onnxruntime promises nothing."""
DEFAULT_DOMAINS: Final = ("", "ai.onnx")
QUANTIZED: Final = frozenset(
    {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "MatMulInteger", "ConvInteger"}
)


@dataclass(frozen=True, slots=True)
class Source:
    """A float model of one input that onnx's checker accepts."""

    path: Path
    data: bytes
    sha256: str
    model: onnx.ModelProto
    input_name: str
    input_shape: tuple[int, ...]
    """Dimensions with the batch and every free dimension set to 1."""


def read_source(path: Path) -> Source:
    """Read an ONNX file.

    Raises: ConfigError: no such file. ModelRefused: not a model, or one that cannot be used.
    """
    try:
        length = path.stat().st_size
        if length > MAX_MODEL_BYTES:
            raise ModelRefused(f"{path}: {length} bytes, at most {MAX_MODEL_BYTES}")
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from None
    try:
        model = onnx.load_model_from_string(data)
    except Exception as error:  # protobuf's DecodeError; protobuf itself is not ours to import
        raise ModelRefused(f"{path}: not an ONNX model: {first_line(error)}") from None
    # Before the checker, which says of missing weights only that it found no file.
    _refuse_external_data(path, model)
    try:
        onnx.checker.check_model(model)
    except Exception as error:  # onnx.checker.ValidationError, and others for some damage
        raise ModelRefused(f"{path}: not an ONNX model: {first_line(error)}") from None
    _refuse_nodes(path, model)
    name, shape = _only_input(path, model)
    return Source(path, data, hashlib.sha256(data).hexdigest(), model, name, shape)


def check_input(source: Source, file: SpecFile) -> None:
    """Refuse a model that does not take what the stream and its features give.

    Raises: ModelRefused: naming both shapes.
    """
    spec = file.spec
    given = shape_after(spec.features, *spec.window_shape)
    takes = prod(source.input_shape)
    if takes != prod(given):
        raise ModelRefused(
            f"{source.path}: input {source.input_name} takes {show_shape(source.input_shape)} = "
            f"{takes} values, the stream's windows are {show_shape(given)} = {prod(given)} values"
        )


def scores_output(source: Source, file: SpecFile) -> str:
    """Return the name of the output that holds the scores.

    Raises: ConfigError: the spec names none of the model's outputs, or has to name one.
    """
    names = [output.name for output in source.model.graph.output]
    wanted = file.spec.decision.output
    if wanted and wanted not in names:
        raise file.error(("decision", "output"), f"{wanted!r}, the model has {', '.join(names)}")
    if not wanted and len(names) > 1:
        raise file.error(("decision", "output"), f"must name one of {', '.join(names)}")
    return wanted or names[0]


def show_shape(shape: tuple[int, ...]) -> str:
    """Return ``1x600``."""
    return "x".join(map(str, shape)) or "scalar"


def first_line(error: Exception) -> str:
    """Return the first line of a library's message, bounded."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]


def all_nodes(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    """Yield the nodes of the graph and of the model's own functions."""
    yield from model.graph.node
    for function in model.functions:
        yield from function.node


def _refuse_external_data(path: Path, model: onnx.ModelProto) -> None:
    for tensor in model.graph.initializer:
        if onnx.external_data_helper.uses_external_data(tensor):
            where = next((e.value for e in tensor.external_data if e.key == "location"), "?")
            raise ModelRefused(
                f"{path}: its weights are in another file ({where}); save the model as one file"
            )


def _refuse_nodes(path: Path, model: onnx.ModelProto) -> None:
    for node in all_nodes(model):
        if any(a.type in {a.GRAPH, a.GRAPHS} for a in node.attribute):
            raise ModelRefused(
                f"{path}: node {node.name or node.output[0]}: control flow ({node.op_type}) "
                "cannot be converted; export the model without it"
            )
        if node.op_type in QUANTIZED or node.op_type.startswith("QLinear"):
            raise ModelRefused(
                f"{path}: already quantized ({node.op_type}); give the float model it came from"
            )
    for opset in model.opset_import:
        if opset.domain in DEFAULT_DOMAINS and opset.version < MIN_OPSET:
            raise ModelRefused(
                f"{path}: opset {opset.version}, expected {MIN_OPSET} or newer; export it anew"
            )


def _only_input(path: Path, model: onnx.ModelProto) -> tuple[str, tuple[int, ...]]:
    # Files of IR 3 list their weights among the inputs as well.
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [i for i in model.graph.input if i.name not in weights]
    if len(inputs) != 1:
        names = ", ".join(i.name for i in inputs) or "none"
        raise ModelRefused(f"{path}: {len(inputs)} inputs ({names}), expected one")
    tensor = inputs[0].type.tensor_type
    if tensor.elem_type != onnx.TensorProto.FLOAT or not tensor.HasField("shape"):
        found = onnx.TensorProto.DataType.Name(tensor.elem_type).lower()
        kind = f"{found} {'with' if tensor.HasField('shape') else 'without'} a shape"
        raise ModelRefused(f"{path}: input {inputs[0].name}: {kind}, expected float with a shape")
    return inputs[0].name, tuple(max(1, d.dim_value) for d in tensor.shape.dim)
