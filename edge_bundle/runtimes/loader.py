"""Which runtime loads which format, imported only when it is needed."""

import importlib
import importlib.util
from collections.abc import Mapping
from types import ModuleType
from typing import Final, Literal

from edge_bundle.errors import ConfigError, RuntimeMissing
from edge_bundle.runtimes.model import Model

PACKAGES: Final = {
    "onnx": ("onnxruntime",),
    "tflite": ("ai_edge_litert", "tflite_runtime"),
}
TFLITE_MARK: Final = b"TFL3"
"""From the fifth byte on, of every TFLite file; ONNX files have no mark of their own."""


def guess_format(data: bytes) -> Literal["onnx", "tflite"]:
    """Return the format that a model file's first bytes speak of."""
    return "tflite" if data[4:8] == TFLITE_MARK else "onnx"


NO_SHAPES: Final[Mapping[str, tuple[int, ...]]] = {}


def installed_formats() -> tuple[str, ...]:
    """Return the formats for which a runtime is installed, without importing any."""
    return tuple(
        name
        for name, packages in PACKAGES.items()
        if any(importlib.util.find_spec(package) for package in packages)
    )


def runtime_version(kind: str) -> str:
    """Return name and version of the runtime for a format, as proofs and reports state it.

    Raises: RuntimeMissing: not installed, or it does not import.
    """
    module = _import_runtime(kind)
    return str(module.VERSION) if kind == "tflite" else f"onnxruntime {module.VERSION}"


def load_model(
    data: bytes,
    kind: str,
    threads: int = 1,
    shapes: Mapping[str, tuple[int, ...]] = NO_SHAPES,
) -> Model:
    """Load a model file.

    Args:
        data: the file's bytes.
        kind: ``onnx`` or ``tflite``.
        threads: that one inference may use.
        shapes: of inputs and outputs, by name, for what an ONNX file leaves free; 1 where they say
            nothing.
    Raises: RuntimeMissing: no runtime installed, or it does not import. ModelRefused: the runtime
        cannot load it.
    """
    _import_runtime(kind)
    if kind == "onnx":
        from edge_bundle.runtimes.onnx import OnnxModel

        return OnnxModel(data, threads, shapes)
    from edge_bundle.runtimes.tflite import TfliteModel

    return TfliteModel(data, threads)


def _import_runtime(kind: str) -> ModuleType:
    if kind not in PACKAGES:
        raise ConfigError(f"format {kind!r}: expected one of {', '.join(PACKAGES)}")
    if kind not in installed_formats():
        raise RuntimeMissing(f"no {kind} runtime installed: pip install 'edgeward[{kind}]'")
    try:
        return importlib.import_module(f"edge_bundle.runtimes.{kind}")
    except ImportError as error:
        raise RuntimeMissing(f"the {kind} runtime does not import: {error}") from None
