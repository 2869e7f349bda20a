"""Where the windows of convolutions and pools lie, in ONNX's terms and in TFLite's."""

from dataclasses import dataclass
from typing import Any, Final

from convert.tflite.assembly import Assembly, Unable
from convert.tflite.layout import Shape, Tensor, Value
from convert.tflite.onnx_graph import Node

SAME: Final = 0
VALID: Final = 1
"""Codes of the schema's ``Padding``."""


@dataclass(frozen=True, slots=True)
class Axis:
    """Windows along one dimension."""

    size: int
    """Of the input."""
    kernel: int
    stride: int
    dilation: int
    begin: int
    end: int
    """Padding, where the last window may reach beyond the input's end: as much as it needs."""
    given: int
    """Windows."""

    @property
    def extent(self) -> int:
        """Of one window."""
        return (self.kernel - 1) * self.dilation + 1

    @property
    def same(self) -> bool:
        """Whether TFLite's SAME pads so."""
        given = -(-self.size // self.stride)
        total = max((given - 1) * self.stride + self.extent - self.size, 0)
        return self.given == given and (self.begin, self.end) == (total // 2, total - total // 2)


@dataclass(frozen=True, slots=True)
class Window:
    """Windows along height and width."""

    height: Axis
    width: Axis

    @property
    def padding(self) -> int | None:
        """SAME, VALID, or None where neither pads so."""
        axes = (self.height, self.width)
        if all(axis.begin == axis.end == 0 for axis in axes):
            return VALID
        return SAME if all(axis.same for axis in axes) else None

    @property
    def options(self) -> dict[str, Any]:
        """As the schema has them for every operator with windows."""
        return {"strideH": self.height.stride, "strideW": self.width.stride}


def read_window(node: Node, kernel: Shape, sizes: Shape) -> Window:
    """Read a node's windows; a single dimension is a width.

    Args:
        node: convolution or pool.
        kernel: size of a window along each dimension.
        sizes: of the input.
    Raises: Unable: more than two dimensions, or a window outside the image.
    """
    count = len(sizes)
    if count not in {1, 2}:
        raise Unable(f"{count} spatial dimensions, at most 2")
    attributes = node.attributes
    strides = attributes.get("strides", [1] * count)
    dilations = attributes.get("dilations", [1] * count)
    pads = attributes.get("pads", [0] * 2 * count)
    given = node.given[0].shape[2:]
    axes = [
        _axis(attributes.get("auto_pad", "NOTSET"), *values)
        for values in zip(
            *(sizes, kernel, strides, dilations, pads[:count], pads[count:], given), strict=True
        )
    ]
    return Window(axes[0] if count == 2 else Axis(1, 1, 1, 1, 0, 0, 1), axes[-1])


def to_nhwc(job: Assembly, value: Value) -> Tensor:
    """Return an image as TFLite takes it; a sequence as one of height 1."""
    batch, channels, *sizes = value.shape
    height, width = sizes if len(sizes) == 2 else (1, sizes[0])
    order = (0, *range(2, len(value.axes)), 1)
    return job.lay(value, order, (batch, height, width, channels))


def from_nhwc(job: Assembly, name: str, shape: Shape, tensor: Tensor) -> Value:
    """Return the ONNX value that such a tensor holds."""
    return job.give(name, shape, tensor, (0, *range(2, len(shape)), 1))


def _axis(
    mode: str, size: int, kernel: int, stride: int, dilation: int, begin: int, end: int, given: int
) -> Axis:
    extent = (kernel - 1) * dilation + 1
    needed = (given - 1) * stride + extent - size
    if mode in {"SAME_UPPER", "SAME_LOWER"}:
        total = max(needed, 0)
        begin = total // 2 if mode == "SAME_UPPER" else total - total // 2
        end = total - begin
    elif mode == "VALID":
        begin = end = 0
    if (given - 1) * stride - begin >= size:
        raise Unable("a window with nothing but padding")
    # What lies behind the last window is not read; what ceil_mode adds is.
    end = max(needed - begin, 0)
    return Axis(size, kernel, stride, dilation, begin, end, given)
