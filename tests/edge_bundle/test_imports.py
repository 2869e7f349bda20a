"""Importing this room loads nothing heavy: a device pays only for the runtime that it uses."""

import pkgutil
import subprocess
import sys
from pathlib import Path

import edge_bundle

ROOT = Path(__file__).parents[2]
HEAVY = {
    "onnx",
    "onnxruntime",
    "ai_edge_litert",
    "tflite_runtime",
    "tensorflow",
    "torch",
    "pandas",
    "sklearn",
    "rich",
    "librosa",
    "scipy",
    "pymicro_features",
    "paho",
}


def test_importing_every_module_loads_no_runtime() -> None:
    names = [m.name for m in pkgutil.walk_packages(edge_bundle.__path__, "edge_bundle.")]
    # These two import their runtime; the loader imports them when a model needs it.
    names = [
        n for n in names if n not in {"edge_bundle.runtimes.onnx", "edge_bundle.runtimes.tflite"}
    ]
    assert "edge_bundle.runtimes.loader" in names
    assert "edge_bundle.inference" in names
    code = f"import sys, {', '.join(names)}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert not HEAVY & {name.partition(".")[0] for name in done.stdout.split()}
