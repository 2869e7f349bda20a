"""Float weights and activations to int8 codes, with ranges that real windows gave."""

import logging
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import onnx
import onnxruntime

from convert.canonical import MAX_IR, to_bytes
from convert.parity import SILENT
from convert.source import QUANTIZED, first_line
from edge_bundle.errors import ModelRefused
from edge_bundle.tensor import Float32Array

RECIPE: Final = "static-qdq u8s8 per-channel minmax"
"""How codes are made, what activations and weights become, weights' scales, ranges."""
OPERATORS: Final = (
    *("Conv", "ConvTranspose", "Gemm", "MatMul"),
    *("Add", "Clip", "Relu", "AveragePool", "GlobalAveragePool", "MaxPool"),
    *("Concat", "Flatten", "Pad", "Reshape", "Squeeze", "Transpose", "Unsqueeze"),
    "Softmax",
)
"""What holds weights, and what stands between two of these. Not what scales raw channels: their
units differ, and one scale for all loses the smaller ones."""
FLOAT_OUTPUTS: Final = ("Softmax",)
"""Scores stay float32, which costs nothing. (Softmax is listed above all the same: onnxruntime
1.20 wants its range even where it stays float.)"""


class _Reader:
    """Hands windows to onnxruntime's calibrator one by one."""

    def __init__(self, name: str, inputs: Sequence[Float32Array]) -> None:
        self._name = name
        self._rest = iter(inputs)

    def get_next(self) -> dict[str, Float32Array] | None:
        window = next(self._rest, None)
        return None if window is None else {self._name: window}


def quantize(data: bytes, inputs: Sequence[Float32Array]) -> bytes:
    """Return a canonical model with int8 weights and uint8 activations (QDQ).

    U8S8 because S8S8 is slow on x86, where models are measured too.

    Args:
        data: a model of one input.
        inputs: prepared windows, each of the model's input shape.
    Raises: ModelRefused: where onnxruntime cannot, or finds nothing to quantize.
    """
    name = onnx.load_model_from_string(data).graph.input[0].name
    # quantize_static empties a model given in memory, so it gets a file.
    with tempfile.TemporaryDirectory(prefix="edge-convert-") as folder, _quiet():
        given, made = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        given.write_bytes(data)
        try:
            _quantize_file(given, made, _Reader(name, inputs))
            model = onnx.load(made)
            model.ir_version = min(model.ir_version, MAX_IR)
            # onnxruntime infers these again, and they are a part of a small file.
            del model.graph.value_info[:]
            onnx.checker.check_model(model)
        except Exception as error:  # the quantizer raises what it likes
            raise ModelRefused(f"onnxruntime cannot quantize it: {first_line(error)}") from None
    if not any(node.op_type in QUANTIZED for node in model.graph.node):
        raise ModelRefused("nothing in it can be int8; build it with --precision float")
    return to_bytes(model)


def _quantize_file(given: Path, made: Path, reader: _Reader) -> None:
    from onnxruntime import quantization as ort

    ort.quantize_static(
        given,
        made,
        reader,
        quant_format=ort.QuantFormat.QDQ,
        op_types_to_quantize=list(OPERATORS),
        per_channel=True,
        activation_type=ort.QuantType.QUInt8,
        weight_type=ort.QuantType.QInt8,
        calibrate_method=ort.CalibrationMethod.MinMax,
        extra_options={"OpTypesToExcludeOutputQuantization": list(FLOAT_OUTPUTS)},
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep onnxruntime's advice, given through the root logger, off the user's screen."""
    root, sink = logging.getLogger(), logging.NullHandler()
    # Without a handler logging.warning() installs one that prints, for the whole process.
    root.addHandler(sink)
    root.addFilter(_not_from_root)
    onnxruntime.set_default_logger_severity(SILENT)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        root.removeFilter(_not_from_root)
        root.removeHandler(sink)


def _not_from_root(record: logging.LogRecord) -> bool:
    return record.name != "root"
