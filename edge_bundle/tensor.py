"""Arrays and what their codes stand for. Nothing here knows a runtime."""

from math import prod
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
from msgspec import Struct
from msgspec.structs import replace

Array: TypeAlias = npt.NDArray[Any]
Float32Array: TypeAlias = npt.NDArray[np.float32]
UNLABELLED: Final = -1
"""The code of a sample or recording that nobody gave a label."""


class TensorSpec(Struct, frozen=True):
    """One input or output of a model."""

    name: str
    shape: tuple[int, ...]
    """Dimensions with the batch and every free dimension set to 1."""
    dtype: str
    """NumPy's name of the type."""
    scale: float | None = None
    """Real value of one step, for integer tensors that stand for real values."""
    zero_point: int | None = None
    """Code that means 0.0."""

    @property
    def size(self) -> int:
        """Number of elements."""
        return prod(self.shape)

    @property
    def codes(self) -> tuple[str, float | None, int | None]:
        """What its elements stand for: two of the same can be copied as they are."""
        return self.dtype, self.scale, self.zero_point


FEW: Final = 64
"""Up to so many values NumPy's call overhead is more than its work."""


class Coder:
    """Real values to the codes of one tensor and back, in memory of its own. Not thread-safe."""

    def __init__(self, spec: TensorSpec) -> None:
        """Take a tensor; where it is an integer one without scale, the codes are whole values."""
        self._shape = spec.shape
        dtype = np.dtype(spec.dtype)
        self._plain = dtype == np.float32
        self._scaled = spec.scale is not None and spec.zero_point is not None
        self._scale = np.float32(spec.scale or 1)
        self._zero = np.float32(spec.zero_point or 0)
        self._whole = dtype.kind in "iu"
        if self._whole:
            limits = np.iinfo(dtype)
            self._least, self._most = np.float32(limits.min), np.float32(limits.max)
            if int(self._most) > limits.max:  # rounded up, where there are more than 24 bits
                self._most = np.nextafter(self._most, np.float32(0))
        self._real: Float32Array = np.empty(() if self._plain else spec.shape, np.float32)
        self._table: Float32Array | None = None
        """What each of 256 codes stands for, by its bits; for few values the fastest way."""
        if self._scaled and dtype.itemsize == 1 and spec.size <= FEW:
            every = np.arange(256, dtype=np.uint8).view(dtype).astype(np.float32)
            self._table = (every - self._zero) * self._scale

    def encode(self, values: Float32Array, out: Array) -> None:
        """Write into ``out`` the codes that stand for real values, saturating.

        Args:
            values: float32, any shape of the tensor's number of elements.
            out: of the tensor's dtype and shape.
        Source: LiteRT 8-bit quantization spec, q = round(r / scale) + zero_point.
        """
        values = values.reshape(self._shape)
        if not self._whole:
            out[...] = values
            return
        codes = self._real
        if self._scaled:
            np.divide(values, self._scale, out=codes)
            np.rint(codes, out=codes)
            np.add(codes, self._zero, out=codes)
        else:
            np.rint(values, out=codes)
        np.maximum(codes, self._least, out=codes)
        np.minimum(codes, self._most, out=codes)
        out[...] = codes

    def decode(self, codes: Array) -> Float32Array:
        """Return the real values that codes stand for, until the next call.

        Args:
            codes: of the tensor's dtype and shape.
        Returns: float32, the tensor's shape; of a float32 tensor the codes themselves, uncopied.
        Source: LiteRT 8-bit quantization spec, r = scale * (q - zero_point).
        """
        if self._plain:
            return codes
        real = self._real
        if self._table is not None:
            self._table.take(codes.view(np.uint8), out=real, mode="clip")
        elif self._scaled:
            np.subtract(codes, self._zero, out=real, dtype=np.float32, casting="same_kind")
            np.multiply(real, self._scale, out=real)
        else:
            np.copyto(real, codes, casting="unsafe")
        return real


def dequantize(codes: Array, spec: TensorSpec) -> Float32Array:
    """Return the real values that codes of any shape stand for: see ``Coder.decode``."""
    return Coder(replace(spec, shape=codes.shape)).decode(codes)
