"""Parts that a test needs and a machine may lack: it is skipped there, unless they are required."""

import importlib
import os
from types import ModuleType
from typing import Final

import pytest

PARTS: Final = {
    "ai_edge_litert": ("tflite", "pip install 'edgeward[tflite]'"),
    "ai_edge_quantizer": ("tflite", "pip install 'edgeward[convert-tflite]'"),
    "onnx": ("onnx", "pip install 'edgeward[convert]'"),
    "onnxruntime": ("onnx", "pip install 'edgeward[onnx]'"),
}
"""For each module, what EDGEWARD_REQUIRE calls it, and how it is installed."""


def require(name: str, there: bool, advice: str) -> None:
    """Skip a test whose part is missing, or fail where EDGEWARD_REQUIRE says it must be there."""
    if there:
        return
    if name in os.environ.get("EDGEWARD_REQUIRE", "").split(","):
        pytest.fail(f"{name} is required and missing: {advice}")
    pytest.skip(f"{name} is missing: {advice}")


def require_module(module: str) -> ModuleType:
    """Return a module; where it is missing, as ``require``."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError:
        name, advice = PARTS[module]
        require(name, False, advice)
        raise
