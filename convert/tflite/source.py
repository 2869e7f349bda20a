"""A TFLite model as it was exported: read within bounds, and refused in plain words."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from convert.given.source import MAX_MODEL_BYTES
from convert.tflite import schema
from convert.tflite.flatbuffer import (
    DTYPES,
    is_constant,
    operator_name,
    tensor_names,
    unpack,
)
from edge_bundle.errors import ConfigError, ModelRefused
from edge_bundle.tensor import TensorSpec

STATEFUL: Final = ("VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE")
CONTROL_FLOW: Final = ("IF", "WHILE", "CALL", "CALL_ONCE", "STABLEHLO_WHILE", "STABLEHLO_CASE")
QUANTIZED: Final = ("INT2", "INT4", "INT8", "BFLOAT16")
"""Types that weights of a float model do not have."""
AS_IT_IS: Final = "pack takes the file as it is"


@dataclass(frozen=True, slots=True)
class TfliteSource:
    """A float model of one input and one graph."""

    path: Path
    data: bytes
    sha256: str
    input: TensorSpec
    outputs: tuple[TensorSpec, ...]


@dataclass(frozen=True, slots=True)
class Operator:
    """One step of a model."""

    name: str
    """As the schema has it, such as ``CONV_2D``; a custom operator's own name."""
    output: str
    """Name of its first output tensor."""
    weight_bytes: int
    """Of the values that the file holds for it."""


def read_tflite(path: Path) -> TfliteSource:
    """Read a float TFLite file.

    Raises: ConfigError: no such file. ModelRefused: not a model, or one that cannot be quantized.
    """
    try:
        length = path.stat().st_size
        if length > MAX_MODEL_BYTES:
            raise ModelRefused(f"{path}: {length} bytes, at most {MAX_MODEL_BYTES}")
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from None
    try:
        model = float_model(data)
    except ModelRefused as error:
        raise ModelRefused(f"{path}: {error}") from None
    graph = model.subgraphs[0]
    names = tensor_names(graph)
    (taken,) = (_spec(graph.tensors[index], names[index]) for index in graph.inputs)
    given = tuple(_spec(graph.tensors[index], names[index]) for index in graph.outputs)
    return TfliteSource(path, data, hashlib.sha256(data).hexdigest(), taken, given)


def float_model(data: bytes) -> Any:
    """Return the schema's ``ModelT`` of a file that may be observed and quantized.

    No runtime sees the bytes here: some abort the process on what is refused.

    Raises: ModelRefused: damaged; or with state, control flow, custom operators, several graphs or
        inputs; or quantized already.
    """
    model = unpack(data)
    used = [(operator_name(model, op), op) for graph in model.subgraphs for op in graph.operators]
    for name in STATEFUL:
        if name in {used_name for used_name, _ in used}:
            raise ModelRefused(f"it keeps state ({name}); {AS_IT_IS}")
    for name, operator in used:
        if name in CONTROL_FLOW:
            raise ModelRefused(f"control flow ({name}) cannot be converted; export it without")
        if model.operatorCodes[operator.opcodeIndex].builtinCode == schema.BuiltinOperator.CUSTOM:
            raise ModelRefused(f"custom operator {name}, expected TFLite's own alone")
    if len(model.subgraphs) > 1:
        raise ModelRefused(f"{len(model.subgraphs)} graphs, expected one; export one signature")
    (graph,) = model.subgraphs
    names = tensor_names(graph)
    for tensor, name in zip(graph.tensors, names, strict=True):
        _check_tensor(model, tensor, name)
    if len(graph.inputs) != 1:
        found = ", ".join(names[index] for index in graph.inputs) or "none"
        raise ModelRefused(f"{len(graph.inputs)} inputs ({found}), expected one")
    return model


def operators(data: bytes) -> list[Operator]:
    """Return the operators of every graph of any TFLite file, in order.

    Raises: ModelRefused: not a TFLite file, or a damaged one.
    """
    model = unpack(data)
    found = []
    for graph in model.subgraphs:
        names = tensor_names(graph)
        for operator in graph.operators:
            held = {graph.tensors[index].buffer for index in operator.inputs if index >= 0}
            found.append(
                Operator(
                    operator_name(model, operator),
                    names[operator.outputs[0]] if operator.outputs else "",
                    sum(_length(model.buffers[index]) for index in held),
                )
            )
    return found


def _check_tensor(model: Any, tensor: Any, name: str) -> None:
    if tensor.isVariable:
        raise ModelRefused(f"it keeps state (variable {name}); {AS_IT_IS}")
    kind = DTYPES.get(tensor.type, str(tensor.type))
    codes = tensor.quantization is not None and tensor.quantization.scale is not None
    if (codes and len(tensor.quantization.scale)) or (
        kind in QUANTIZED and is_constant(model, tensor)
    ):
        raise ModelRefused(f"already quantized (tensor {name} is {kind.lower()}); {AS_IT_IS}")


def _spec(tensor: Any, name: str) -> TensorSpec:
    shape = () if tensor.shape is None else tuple(max(1, int(n)) for n in tensor.shape)
    return TensorSpec(name, shape, DTYPES.get(tensor.type, str(tensor.type)).lower())


def _length(buffer: Any) -> int:
    return 0 if buffer.data is None else len(buffer.data)
