"""Models that our own emitter cannot express: onnx2tf writes them, and nothing it says is believed.

Its file is loaded and run, and must have the inputs and outputs of the ONNX file in number, order,
name, shape and type. Whether it gives the same values is for ``parity`` to say.
"""

import re
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import onnx

from convert.child import Ended
from convert.given.source import first_line, show_shape
from convert.onnx2tf.environment import SIZE, damaged, find_environment, run_tool
from convert.onnx2tf.ports import graphs_of, hide_ports, restore_ports
from convert.tflite import flatbuffer, schema, signature
from edge_bundle.errors import ConfigError, ModelRefused
from edge_bundle.runtimes.loader import load_model
from edge_bundle.tensor import TensorSpec

TIMEOUT_S: Final = 600.0
UNABLE: Final = re.compile(r"\bop=(\S+) .*?\bmessage=(.*)")
"""How its direct backend refuses a node."""


def convert_onnx(
    data: bytes, *, environment: Path | None = None, timeout_s: float = TIMEOUT_S
) -> bytes:
    """Convert a float ONNX file to a float TFLite file.

    Args:
        data: the ONNX file's bytes; inputs of fixed shapes.
        environment: with onnx2tf, other than the one in the user's cache.
        timeout_s: after which onnx2tf is killed.
    Returns: bytes that the TFLite runtime here loads and runs.
    Raises: ModelRefused: onnx2tf cannot convert it, or its file is not fit for use. ConfigError: no
        environment is set up, or it is damaged. RuntimeMissing: for either format.
    """
    environment = environment or find_environment()
    if environment is None:
        raise ConfigError(f"this model needs onnx2tf: run edge-convert setup-tflite (once, {SIZE})")
    try:
        model = onnx.load_model_from_string(data)
    except Exception as error:  # protobuf's DecodeError; protobuf itself is not ours to import
        raise ModelRefused(f"not an ONNX model: {first_line(error)}") from None
    _refuse_free_shapes(model)
    with closing(load_model(data, "onnx")) as loaded:
        inputs, outputs = loaded.inputs, loaded.outputs
    ports = hide_ports(model, inputs, outputs)
    given = model.SerializeToString()
    written = _run(environment, given, [port.name for port in ports.inputs], timeout_s)
    try:
        tflite = flatbuffer.unpack(written)
    except ModelRefused as error:
        raise ModelRefused(f"onnx2tf wrote no model: {error}") from None
    _refuse_custom_operators(tflite, model)
    restore_ports(tflite, ports)
    # It says that float16 will do, and ARM processors that have it then compute in it.
    tflite.metadata = None
    converted = flatbuffer.pack(signature.sign(tflite))
    _check_interface(converted, inputs, outputs)
    return converted


def _refuse_free_shapes(model: onnx.ModelProto) -> None:
    """onnx2tf sets what is free to 1 and says nothing."""
    # Files of IR 3 list their weights among the inputs as well.
    weights = {tensor.name for tensor in model.graph.initializer}
    for value in model.graph.input:
        dimensions = value.type.tensor_type.shape.dim
        if value.name not in weights and any(d.dim_value < 1 for d in dimensions):
            shape = "x".join(str(d.dim_value) if d.dim_value > 0 else "?" for d in dimensions)
            raise ModelRefused(f"input {value.name} is {shape}, onnx2tf needs a fixed shape")


def _run(environment: Path, data: bytes, inputs: list[str], timeout_s: float) -> bytes:
    with tempfile.TemporaryDirectory(prefix="edgeward-onnx2tf-") as temporary:
        folder = Path(temporary)
        # It rewrites the file that it is given.
        (folder / "model.onnx").write_bytes(data)
        ended = run_tool(
            environment,
            "onnx2tf",
            *("--input_onnx_file_path", "model.onnx"),
            *("--output_folder_path", "out"),
            *("--tflite_backend", "flatbuffer_direct"),
            # Else it takes what has three dimensions and more for an image, and transposes it.
            *("--keep_shape_absolutely_input_names", *inputs),
            folder=folder,
            timeout_s=timeout_s,
        )
        if ended.code is None:
            raise ModelRefused(f"onnx2tf did not convert the model within {timeout_s:g} s")
        if ended.code != 0:
            raise _failure(environment, ended)
        try:
            return (folder / "out" / "model_float32.tflite").read_bytes()
        except OSError:
            raise _failure(environment, ended) from None


def _failure(environment: Path, ended: Ended) -> Exception:
    line = ended.last_line
    if line.startswith(("ModuleNotFoundError", "ImportError")):
        return damaged(environment, line)
    if ended.code is not None and ended.code < 0:
        return ModelRefused(f"onnx2tf was ended by signal {-ended.code} while it converted")
    if unable := UNABLE.search(line):
        return ModelRefused(f"onnx2tf cannot convert: {unable[1]}: {unable[2]}")
    if ended.code == 0:
        return ModelRefused(f"onnx2tf wrote no file and said: {line}")
    return ModelRefused(f"onnx2tf cannot convert: {line}")


def _refuse_custom_operators(tflite: Any, model: onnx.ModelProto) -> None:
    """Refuse what it leaves as ``ONNX_LSTM``, which no runtime has."""
    codes = [
        (c.customCode or b"?").decode(errors="replace")
        for c in tflite.operatorCodes
        if c.builtinCode == schema.BuiltinOperator.CUSTOM
    ]
    if not codes:
        return
    nodes = (node for graph in graphs_of(model.graph) for node in graph.node)
    own = {f"ONNX_{node.op_type.upper()}": node.op_type for node in nodes}
    found = ", ".join(sorted({own.get(code, code) for code in codes}))
    raise ModelRefused(
        f"onnx2tf cannot convert: {found} (it leaves custom operators, which no runtime has)"
    )


def _check_interface(
    converted: bytes, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]
) -> None:
    """Load and run the file, and compare its inputs and outputs with those of the ONNX file."""
    try:
        with closing(load_model(converted, "tflite")) as model:
            for before, after in zip(
                (*inputs, *outputs), (*model.inputs, *model.outputs), strict=True
            ):
                if before != after:
                    raise ModelRefused(f"{_show(before)} became {_show(after)}")
            model.invoke()
    except ModelRefused as error:
        raise ModelRefused(f"the file that onnx2tf wrote is not fit for use: {error}") from None


def _show(spec: TensorSpec) -> str:
    return f"{spec.name} ({spec.dtype} {show_shape(spec.shape)})"
