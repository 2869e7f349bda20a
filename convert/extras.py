"""Packages that conversion needs and a device does not have: asked for before the work begins."""

from collections.abc import Iterable
from importlib.util import find_spec
from typing import Final

from edge_bundle.errors import RuntimeMissing

ONNX: Final = ("onnx", "onnxruntime", "onnxslim", "rich")
TFLITE: Final = ("ai_edge_litert", "ai_edge_quantizer")


def require_onnx() -> None:
    """Raise RuntimeMissing, naming the extra, where something that every command needs is not."""
    _require(ONNX, "convert")


def require_tflite() -> None:
    """Raise RuntimeMissing, naming the extra, where TFLite files cannot be made here."""
    _require(TFLITE, "convert-tflite")


def _require(modules: Iterable[str], extra: str) -> None:
    for module in modules:
        if find_spec(module) is None:
            name = module.replace("_", "-")
            raise RuntimeMissing(f"{name} is not installed: pip install 'edgeward[{extra}]'")
