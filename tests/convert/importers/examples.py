"""Small models of each framework, and what to run where it is installed."""

import importlib.util
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from onnxruntime import InferenceSession

from tests.parts import require

WATCH = Path(__file__).parents[3] / "examples" / "watch"
FEATURES = 6
RANDOM = np.random.default_rng(3)
X = RANDOM.normal(size=(120, FEATURES)).astype(np.float32)
CLASSES = np.digitize(X[:, 0] + X[:, 1] ** 2, [0.4, 1.2])
NAMES = np.array(["idle", "run", "walk"])[CLASSES]
UNSEEN = RANDOM.normal(size=(40, FEATURES)).astype(np.float32)


def require_sklearn() -> None:
    """Skip or fail, as ``tests.brokers.require``."""
    there = all(importlib.util.find_spec(name) for name in ("sklearn", "skl2onnx"))
    require("sklearn", there, "pip install 'edgeward[convert-sklearn]'")


def require_torch() -> None:
    """Skip or fail, as ``tests.brokers.require``."""
    there = all(importlib.util.find_spec(name) for name in ("torch", "onnxscript"))
    require("torch", there, "pip install 'edgeward[convert-torch]'")


def require_keras() -> None:
    """Skip or fail, as ``tests.brokers.require``."""
    there = all(importlib.util.find_spec(name) for name in ("keras", "torch", "onnxscript"))
    require("keras", there, "pip install 'edgeward[convert-keras]'")


def save(value: object, file: Path) -> Path:
    """Pickle a value."""
    file.write_bytes(pickle.dumps(value))
    return file


def fit_forest() -> Any:
    """Return a fitted pipeline of a scaler and ten trees that knows ``NAMES``."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    forest = RandomForestClassifier(10, max_depth=4, random_state=0)
    return make_pipeline(StandardScaler(), forest).fit(X, NAMES)


def run_onnx(data: bytes, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the only output."""
    session = InferenceSession(data, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {session.get_inputs()[0].name: x})
    return np.asarray(found, np.float32)


def train_elsewhere(script: str, folder: Path) -> None:
    """Run a training script in a folder, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        cwd=folder,
        env={**os.environ, "KERAS_BACKEND": "torch", "KERAS_HOME": str(folder)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
