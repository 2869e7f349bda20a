"""All ONNX operators that can be emitted."""

from typing import Final

from convert.tflite.operators import (
    activation,
    convolution,
    elementwise,
    pooling,
    product,
    reduction,
    resizing,
    shaping,
)
from convert.tflite.operators.lowering import Lowering

TABLE: Final[dict[str, Lowering]] = {
    **activation.TABLE,
    **convolution.TABLE,
    **elementwise.TABLE,
    **pooling.TABLE,
    **product.TABLE,
    **reduction.TABLE,
    **resizing.TABLE,
    **shaping.TABLE,
}
