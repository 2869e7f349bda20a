"""ONNX files by onnxruntime. Only ``loader`` imports this module, when a model needs it."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnxruntime

from edge_bundle.errors import ModelRefused
from edge_bundle.tensor import Array, TensorSpec

DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(int8)": "int8",
    "tensor(uint8)": "uint8",
    "tensor(int16)": "int16",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
    "tensor(bool)": "bool",
}
VERSION: str = onnxruntime.__version__


class OnnxModel:
    """A session whose inputs and outputs are bound to memory of ours: nothing is copied."""

    stateful = False

    def __init__(self, data: bytes, threads: int, shapes: Mapping[str, tuple[int, ...]]) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # The arena keeps its peak for ever; on a small device memory matters more.
        options.enable_cpu_mem_arena = False
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 4
        try:
            self.session = onnxruntime.InferenceSession(
                data, options, providers=["CPUExecutionProvider"]
            )
            """What onnxruntime made of the file."""
            self.inputs = tuple(_spec(t, shapes) for t in self.session.get_inputs())
            self.outputs = tuple(_spec(t, shapes) for t in self.session.get_outputs())
            self._inputs = [np.zeros(t.shape, t.dtype) for t in self.inputs]
            # What is an input and an output at once onnxruntime writes nowhere.
            given = {t.name: a for t, a in zip(self.inputs, self._inputs, strict=True)}
            self._outputs = [
                given[t.name] if t.name in given else np.zeros(t.shape, t.dtype)
                for t in self.outputs
            ]
        except ModelRefused:
            raise
        except Exception as error:  # onnxruntime's own classes share no base
            raise ModelRefused(f"onnxruntime {VERSION}: {_first_line(error)}") from None
        self._binding = self.session.io_binding()
        for spec, array in zip(self.inputs, self._inputs, strict=True):
            self._binding.bind_input(
                spec.name, "cpu", 0, array.dtype.type, spec.shape, array.ctypes.data
            )
        for spec, array in zip(self.outputs, self._outputs, strict=True):
            self._binding.bind_output(
                spec.name, "cpu", 0, array.dtype.type, spec.shape, array.ctypes.data
            )

    def input(self, index: int) -> Array:
        return self._inputs[index]

    def invoke(self) -> None:
        try:
            self.session.run_with_iobinding(self._binding)
        except Exception as error:
            raise ModelRefused(f"onnxruntime {VERSION}: {_first_line(error)}") from None

    def output(self, index: int) -> Array:
        return self._outputs[index]

    def reset(self) -> None:
        """Do nothing: an ONNX graph keeps no state between calls."""

    def close(self) -> None:
        del self._binding, self.session


def _spec(tensor: Any, shapes: Mapping[str, tuple[int, ...]]) -> TensorSpec:
    if tensor.type not in DTYPES:
        raise ModelRefused(f"tensor {tensor.name}: {tensor.type} is not supported")
    wanted = shapes.get(tensor.name, ())
    if len(wanted) != len(tensor.shape):  # the caller compares, and refuses it in its own words
        wanted = (1,) * len(tensor.shape)
    # Free dimensions are names, or None.
    stated = (n if isinstance(n, int) and n > 0 else None for n in tensor.shape)
    shape = tuple(w if n is None else n for n, w in zip(stated, wanted, strict=True))
    return TensorSpec(tensor.name, shape, DTYPES[tensor.type])


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
