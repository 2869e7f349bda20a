"""TFLite files by ai-edge-litert, else tflite-runtime. Only ``loader`` imports this module."""

import importlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import ModuleType
from typing import Any

import numpy as np

from edge_bundle.errors import ModelRefused, RuntimeMissing
from edge_bundle.tensor import Array, TensorSpec

SOURCES = (
    ("ai-edge-litert", "ai_edge_litert"),
    ("tflite-runtime", "tflite_runtime"),
)
PROBE = bytes.fromhex(
    "1800000054464c3300000e00140010000c000800000004000e000000100000001c000000b000000003000000"
    "0100000008000000040004000400000001000000100000000c00140010000c00080004000c00000010000000"
    "74000000280000002c000000010000001000000000000a000c000000080004000a0000005000000004000000"
    "0100000000000000020000002800000004000000ecffffff080000002c00000001000000790000000c000c00"
    "08000000000004000c000000080000000c00000001000000780000000100000001000000010000000c000000"
    "00000600080007000600000000000065"
)
"""The smallest TFLite file that computes: y is the absolute value of x, one number."""
GREETING = b"INFO: Created TensorFlow Lite XNNPACK delegate for CPU."
"""What the runtime says on stderr at a process's first graph; no setting of its silences it."""


def _interpreter_class() -> tuple[str, Any]:
    found = []
    for distribution, package in SOURCES:
        try:
            name = f"{distribution} {_version(importlib.import_module(package), distribution)}"
            interpreter = importlib.import_module(f"{package}.interpreter").Interpreter
            # tflite-runtime with NumPy 2 imports, and fails when it builds its first interpreter.
            with _without_greeting():
                interpreter(model_content=PROBE, num_threads=1).allocate_tensors()
            return name, interpreter
        except ModuleNotFoundError as error:
            if error.name != package:
                found.append(f"{distribution} does not work here: {_first_line(error)}")
        except Exception as error:  # a wheel built for another NumPy raises what it likes
            found.append(f"{distribution} does not work here: {_first_line(error)}")
    raise RuntimeMissing(
        "; ".join([*found, "no TFLite runtime installed: pip install 'edgeward[tflite]'"])
    )


@contextmanager
def _without_greeting() -> Iterator[None]:
    """Hold back what is written on stderr, and let all of it through but the greeting.

    For what is known to build in a millisecond alone: whoever dies in here is not heard.
    """
    with ExitStack() as stack:
        try:
            said = stack.enter_context(tempfile.TemporaryFile())
            stderr = os.dup(2)
        except OSError:  # nowhere to hold it, or nowhere to say it
            yield
            return
        stack.callback(os.close, stderr)
        os.dup2(said.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stderr, 2)
            said.seek(0)
            os.write(stderr, b"".join(line for line in said if not line.startswith(GREETING)))


def _version(package: ModuleType, distribution: str) -> str:
    """Return a runtime's version: what it says itself, for reading the installation's records
    takes ten milliseconds and a third of a mebibyte.
    """
    if stated := getattr(package, "__version__", None):
        return str(stated)
    from importlib import metadata

    return metadata.version(distribution)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]


VERSION, _INTERPRETER = _interpreter_class()


class TfliteModel:
    """An interpreter with its tensors allocated, and our own memory in front of it.

    The interpreter may move its tensors when it runs, so inputs and outputs are copied once each
    way, without conversion.
    """

    def __init__(self, data: bytes, threads: int) -> None:
        try:
            self._interpreter = _build(data, threads)
            inputs = self._interpreter.get_input_details()
            outputs = self._interpreter.get_output_details()
            self.inputs = tuple(_spec(t) for t in inputs)
            self.outputs = tuple(_spec(t) for t in outputs)
            self._inputs = [np.zeros(t.shape, t.dtype) for t in self.inputs]
            self._outputs = [np.zeros(t.shape, t.dtype) for t in self.outputs]
        except Exception as error:  # the bindings raise what they like on a damaged file
            raise ModelRefused(f"{VERSION}: {_first_line(error)}") from None
        self._input_ids = [t["index"] for t in inputs]
        self._output_ids = [t["index"] for t in outputs]
        self._views = [self._interpreter.tensor(n) for n in self._output_ids]
        # reset_all_variables leaves resource variables, whose type is object, as they are, and
        # so does allocate_tensors (tried): a model that has them is built anew.
        tensors = self._interpreter.get_tensor_details()
        self.stateful = any(np.dtype(t["dtype"]).kind == "O" for t in tensors)
        self._again = (data, threads) if self.stateful else None
        self._fresh = True
        """Whether it has not run since it was built or reset."""

    def input(self, index: int) -> Array:
        return self._inputs[index]

    def invoke(self) -> None:
        self._fresh = False
        try:
            for tensor, values in zip(self._input_ids, self._inputs, strict=True):
                self._interpreter.set_tensor(tensor, values)
            self._interpreter.invoke()
            for view, out in zip(self._views, self._outputs, strict=True):
                # Of an output whose size depends on the values.
                np.copyto(out, view())
        except (ValueError, RuntimeError) as error:
            raise ModelRefused(f"{VERSION}: {_first_line(error)}") from None

    def output(self, index: int) -> Array:
        return self._outputs[index]

    def reset(self) -> None:
        if self._fresh:
            return
        if self._again:
            self._interpreter = _build(*self._again)
            self._views = [self._interpreter.tensor(n) for n in self._output_ids]
        else:
            self._interpreter.reset_all_variables()
        self._fresh = True

    def close(self) -> None:
        del self._views, self._interpreter


def _build(data: bytes, threads: int) -> Any:
    interpreter = _INTERPRETER(model_content=data, num_threads=threads)
    interpreter.allocate_tensors()
    return interpreter


def _spec(details: dict[str, Any]) -> TensorSpec:
    scale, zero_point = details["quantization"]
    integer = np.dtype(details["dtype"]).kind in "iu" and scale > 0
    return TensorSpec(
        details["name"],
        tuple(max(1, int(n)) for n in details["shape"]),
        np.dtype(details["dtype"]).name,
        float(scale) if integer else None,
        int(zero_point) if integer else None,
    )
