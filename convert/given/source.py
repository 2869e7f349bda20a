"""The model file as it was trained: read within bounds, and refused in plain words."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Final, Literal

import onnx

from convert.given.spec import Spec, SpecFile, place_finding
from edge_bundle.decision.fit import outputs_read
from edge_bundle.errors import ConfigError, ModelRefused
from edge_bundle.features.steps import form_after
from edge_bundle.tensor import TensorSpec

MAX_MODEL_BYTES: Final = 512 << 20
"""Well below the 2 GiB of a protobuf message, with room for the copies that a build makes."""
MIN_OPSET: Final = 7
"""Before it operators broadcast in another way, and onnxruntime promises nothing."""
DEFAULT_DOMAINS: Final = ("", "ai.onnx")
ML: Final = "ai.onnx.ml"
DTYPES: Final = {
    onnx.TensorProto.FLOAT: "float32",
    onnx.TensorProto.UINT8: "uint8",
    onnx.TensorProto.INT8: "int8",
    onnx.TensorProto.UINT16: "uint16",
    onnx.TensorProto.INT16: "int16",
    onnx.TensorProto.INT32: "int32",
    onnx.TensorProto.INT64: "int64",
}
"""What an input may be: real values, or codes and tokens."""
QUANTIZED: Final = frozenset(
    {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "MatMulInteger", "ConvInteger"}
)


OTHERS: Final = (
    (b"PK", "a ZIP file, such as a bundle or a .npz"),
    (b"\x80", "a pickle"),
    (b"\x89HDF", "an HDF5 file, such as Keras's"),
    (b"{", "JSON text"),
)
"""First bytes of files that are given by mistake."""


@dataclass(frozen=True, slots=True)
class Source:
    """A float model of one input that its format's checker accepts."""

    path: Path
    format: Literal["onnx", "tflite"]
    data: bytes
    """The model; of an imported one, what its exporter gave."""
    sha256: str
    """Of the file that was given."""
    file_bytes: int
    """Of the file that was given."""
    input: TensorSpec
    outputs: tuple[str, ...]
    """Names of the outputs that hold real values."""
    notes: tuple[str, ...] = ()
    """What the user should know of how it was read."""


def read_onnx(path: Path, data: bytes | None = None) -> Source:
    """Read an ONNX file.

    Args:
        path: the file.
        data: the model that an exporter made of it, where it is a file of another kind.
    Raises: ConfigError: no such file. ModelRefused: not a model, or one that cannot be used.
    """
    file = read_bounded(path)
    model = _parse(path, file if data is None else data)
    # Before the checker, which says of missing weights only that it found no file.
    _refuse_external_data(path, model)
    try:
        onnx.checker.check_model(model)
    except Exception as error:  # onnx.checker.ValidationError, and others for some damage
        raise ModelRefused(f"{path}: not an ONNX model: {first_line(error)}") from None
    _refuse_nodes(path, model)
    return Source(
        path=path,
        format="onnx",
        data=file if data is None else data,
        sha256=hashlib.sha256(file).hexdigest(),
        file_bytes=len(file),
        input=_only_input(path, model),
        outputs=_real_outputs(path, model),
    )


def read_bounded(path: Path) -> bytes:
    """Return a model file's bytes.

    Raises: ConfigError: no such file. ModelRefused: too large, or empty.
    """
    try:
        length = path.stat().st_size
        if length > MAX_MODEL_BYTES:
            raise ModelRefused(f"{path}: {length} bytes, at most {MAX_MODEL_BYTES}")
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from None
    if not data:
        raise ModelRefused(f"{path}: the file is empty")
    return data


def check_input(source: Source, spec: Spec) -> None:
    """Refuse a model that does not take what the stream and its features give.

    Raises: ModelRefused: naming both shapes.
    """
    if spec.stream is None:
        return
    form = form_after(spec.features, spec.stream.form)
    given = form.rows, form.columns
    takes = prod(source.input.shape)
    if takes != prod(given):
        are = "the features of a window" if spec.features else "the stream's windows"
        raise ModelRefused(
            f"{source.path}: input {source.input.name} takes {show_shape(source.input.shape)} = "
            f"{takes} values, {are} are {show_shape(given)} = {prod(given)} values"
        )


def choose_outputs(source: Source, file: SpecFile) -> tuple[str, ...]:
    """Return the outputs to keep: those that the decision reads, or all without a decision.

    Raises: ConfigError: the spec names none of the model's outputs, or has to name one.
    """
    decision, names = file.spec.decision, source.outputs
    if decision is None:
        return names
    try:
        return tuple(names[i] for i in outputs_read(decision, names))
    except ValueError as error:
        raise place_finding(file, error) from None


def show_shape(shape: tuple[int, ...]) -> str:
    """Return ``1x600``."""
    return "x".join(map(str, shape)) or "scalar"


def first_line(error: BaseException) -> str:
    """Return the first line of a library's message, bounded."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]


def all_nodes(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    """Yield the nodes of the graph and of the model's own functions."""
    yield from model.graph.node
    for function in model.functions:
        yield from function.node


def _refuse_external_data(path: Path, model: onnx.ModelProto) -> None:
    attributes = (a for node in all_nodes(model) for a in node.attribute)
    for tensor in (*model.graph.initializer, *(a.t for a in attributes if a.type == a.TENSOR)):
        if onnx.external_data_helper.uses_external_data(tensor):
            where = next((e.value for e in tensor.external_data if e.key == "location"), "?")
            raise ModelRefused(
                f"{path}: its weights are in another file ({where}); save the model as one file"
            )


def _refuse_nodes(path: Path, model: onnx.ModelProto) -> None:
    for node in all_nodes(model):
        if any(a.type in {a.GRAPH, a.GRAPHS} for a in node.attribute):
            name = node.name or ", ".join(node.output)
            raise ModelRefused(
                f"{path}: node {name}: control flow ({node.op_type}) cannot be converted; export "
                "the model without it"
            )
        if node.op_type in QUANTIZED or node.op_type.startswith("QLinear"):
            raise ModelRefused(
                f"{path}: already quantized ({node.op_type}); give the float model it came from"
            )
    own = {(f.domain, f.name) for f in model.functions}
    known = (*DEFAULT_DOMAINS, ML)
    unknown = sorted(
        {
            f"{node.domain}.{node.op_type}"
            for node in all_nodes(model)
            if node.domain not in known and (node.domain, node.op_type) not in own
        }
    )
    if unknown:
        raise ModelRefused(
            f"{path}: operators that no runtime of a device has: {', '.join(unknown)}; "
            "export the model without them"
        )
    for opset in model.opset_import:
        if opset.domain in DEFAULT_DOMAINS and opset.version < MIN_OPSET:
            raise ModelRefused(
                f"{path}: opset {opset.version}, expected {MIN_OPSET} or newer; export it anew"
            )


def _parse(path: Path, data: bytes) -> onnx.ModelProto:
    try:
        return onnx.load_model_from_string(data)
    except Exception as error:  # protobuf's DecodeError; protobuf itself is not ours to import
        what = next((f"it is {what}" for mark, what in OTHERS if data.startswith(mark)), "")
        raise ModelRefused(f"{path}: not an ONNX model: {what or first_line(error)}") from None


def _only_input(path: Path, model: onnx.ModelProto) -> TensorSpec:
    # Files of IR 3 list their weights among the inputs as well.
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [i for i in model.graph.input if i.name not in weights]
    if len(inputs) != 1:
        names = ", ".join(i.name for i in inputs) or "none"
        raise ModelRefused(f"{path}: {len(inputs)} inputs ({names}), expected one")
    tensor = inputs[0].type.tensor_type
    if tensor.elem_type not in DTYPES or not tensor.HasField("shape"):
        kinds = {number: name.lower() for name, number in onnx.TensorProto.DataType.items()}
        found = kinds.get(tensor.elem_type, f"type {tensor.elem_type}")
        kind = f"{found} {'with' if tensor.HasField('shape') else 'without'} a shape"
        raise ModelRefused(
            f"{path}: input {inputs[0].name}: {kind}, expected float32 or integers with a shape"
        )
    shape = tuple(max(1, d.dim_value) for d in tensor.shape.dim)
    return TensorSpec(inputs[0].name, shape, DTYPES[tensor.elem_type])


def _real_outputs(path: Path, model: onnx.ModelProto) -> tuple[str, ...]:
    # A type that is not said may be anything; what it is shows when it runs.
    real = tuple(
        o.name
        for o in model.graph.output
        if o.type.WhichOneof("value") in {None, "tensor_type"}
        and o.type.tensor_type.elem_type in {onnx.TensorProto.FLOAT, 0}
    )
    if not real:
        found = ", ".join(o.name for o in model.graph.output)
        raise ModelRefused(f"{path}: no output of float32: {found}")
    return real
