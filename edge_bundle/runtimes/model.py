"""What every runtime gives: memory to write inputs into, a call, memory to read outputs from."""

from typing import Protocol

from edge_bundle.tensor import Array, Coder, Float32Array, TensorSpec, dequantize


class Model(Protocol):
    """A loaded model. Not thread-safe: one thread at a time calls it."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    stateful: bool
    """Whether the file says that it remembers what it saw, until ``reset``."""

    def input(self, index: int) -> Array:
        """Return the preallocated input in the tensor's own type; write it before ``invoke``.

        The same memory each time, as of ``output``.
        """

    def invoke(self) -> None:
        """Run once.

        Raises: ModelRefused: where the runtime fails.
        """

    def output(self, index: int) -> Array:
        """Return an output in the tensor's own type; the next ``invoke`` overwrites it."""

    def reset(self) -> None:
        """Forget what a stateful model remembers of its stream."""

    def close(self) -> None:
        """Give the runtime's memory back."""


def write_input(model: Model, index: int, values: Float32Array) -> None:
    """Put real values into an input, as codes where the tensor is an integer one.

    Args:
        values: float32, of the input's number of elements in C order.
    """
    Coder(model.inputs[index]).encode(values, model.input(index))


def read_output(model: Model, index: int) -> Float32Array:
    """Return an output's real values; float32 comes uncopied, until the next ``invoke``."""
    return dequantize(model.output(index), model.outputs[index])
