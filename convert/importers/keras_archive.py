"""Keras's model files, written by Keras's own ONNX export on PyTorch: TensorFlow is not needed.

Runs in a process of its own, whose ``KERAS_BACKEND`` is ``torch``.
"""

import re
from pathlib import Path
from typing import Any, Final
from zipfile import is_zipfile

from convert.given.source import first_line
from convert.importers.fidelity import compare_with
from convert.importers.imported import Imported
from edge_bundle.errors import ConfigError, ModelRefused
from edge_bundle.tensor import Array

OPSET: Final = 18
"""The lowest that PyTorch's exporter writes."""
SAFE: Final = (3, 13, 2)
"""Its safe mode holds back what a file could run until then (CVE-2026-1462 and those before)."""
OTHERWISE: Final = "export it where it was trained: model.export('model.onnx', format='onnx')"


def export(path: Path, trust: bool) -> Imported:
    """Return the model as ONNX, for one sample.

    Raises: ConfigError: not trusted, and it holds Python code or Keras is too old to hold it back.
        ModelRefused: damaged, weights alone, or with layers that are not here or not in ONNX.
    """
    import keras
    import torch

    model = _load(path, trust)
    inputs = model.inputs or []
    if len(inputs) != 1:
        raise ModelRefused(f"{len(inputs)} inputs, expected one")
    shape = tuple(inputs[0].shape[1:])
    if None in shape:
        raise ModelRefused(
            f"its input is {list(inputs[0].shape)}, and a device's window has one length: "
            "build it with all sizes but the batch given in keras.Input"
        )
    file = Path("exported.onnx")
    # With a free batch Keras falls back on PyTorch's former exporter, which writes far more nodes.
    signature = keras.InputSpec(shape=(1, *shape), dtype=inputs[0].dtype, name="input")
    try:
        model.export(
            file, format="onnx", verbose=False, input_signature=[signature], opset_version=OPSET
        )
        data = file.read_bytes()
    except Exception as error:  # of Keras, or of PyTorch's exporter below it
        raise ModelRefused(
            f"Keras cannot export it to ONNX: {type(error).__name__}: {first_line(error)}"
        ) from None
    note = compare_with(data, "Keras", lambda x: _run(model, x))
    version = f"{keras.__version__}"
    return Imported(
        data, f"Keras {version}", f"Keras {version} on PyTorch {torch.__version__}", (note,)
    )


def _load(path: Path, trust: bool) -> Any:
    import keras

    if path.suffix.lower() == ".keras" and not is_zipfile(path):
        raise ModelRefused("damaged: not the ZIP archive that a .keras file is")
    version = tuple(map(int, re.findall(r"\d+", keras.__version__)[:3]))
    if not trust and version < SAFE:
        raise ConfigError(
            f"Keras {keras.__version__} can be made to run a program that a file holds (expected "
            f"{'.'.join(map(str, SAFE))} or newer): update it, or add --trust if you made this file"
        )
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=not trust)
    except Exception as error:  # of Keras, h5py, zipfile and json, for all kinds of damage
        if "safe_mode" in str(error):
            raise ConfigError(
                "it holds Python code (a Lambda layer), which runs when it is read: add --trust if "
                f"you made this file or trust who did, or {OTHERWISE}"
            ) from None
        raise ModelRefused(
            f"not a model that Keras {keras.__version__} can read: {first_line(error)}; "
            f"if it is whole, {OTHERWISE}"
        ) from None


def _run(model: Any, x: Array) -> list[Array]:
    """Return what Keras itself makes of one input."""
    import keras

    outputs = keras.tree.flatten(model(x, training=False))
    return [keras.ops.convert_to_numpy(output) for output in outputs]
