"""Arrays and what their codes stand for. Nothing here knows a runtime."""

from dataclasses import dataclass
from math import prod
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
Float32Array: TypeAlias = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class TensorSpec:
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


def quantize(values: Float32Array, spec: TensorSpec, out: Array) -> None:
    """Write into ``out`` the codes that stand for real values, saturating.

    Args:
        values: float32, any shape of ``spec.size`` elements.
        spec: an integer tensor with scale and zero point.
        out: of ``spec``'s dtype and shape.
    Raises: ValueError: if the tensor has no scale.
    Source: LiteRT 8-bit quantization spec, q = round(r / scale) + zero_point.
    """
    if spec.scale is None or spec.zero_point is None:
        raise ValueError(f"tensor {spec.name}: {spec.dtype} without scale and zero point")
    limits = np.iinfo(out.dtype)
    codes = np.rint(values.reshape(spec.shape) / np.float32(spec.scale)) + spec.zero_point
    np.copyto(out, np.clip(codes, limits.min, limits.max), casting="unsafe")


def dequantize(codes: Array, spec: TensorSpec) -> Float32Array:
    """Return the real values that codes stand for; float32 comes back as it is, uncopied.

    Args:
        codes: of ``spec``'s dtype, any shape.
        spec: where integer, without a scale the codes themselves are the values.
    Returns: float32, shape of ``codes``.
    Source: LiteRT 8-bit quantization spec, r = scale * (q - zero_point).
    """
    if codes.dtype == np.float32:
        return codes
    if spec.scale is None or spec.zero_point is None:
        return codes.astype(np.float32)
    values: Float32Array = codes.astype(np.float32) - np.float32(spec.zero_point)
    values *= np.float32(spec.scale)
    return values
