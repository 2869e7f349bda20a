"""Pools over windows."""

from typing import Final

import numpy as np

from convert.tflite.assembly import Assembly, Unable
from convert.tflite.layout import Tensor, Value
from convert.tflite.onnx_graph import Node
from convert.tflite.operators.convolution import pad_image
from convert.tflite.operators.lowering import Lowering, Operands, first
from convert.tflite.operators.window import (
    SAME,
    VALID,
    Axis,
    Window,
    from_nhwc,
    read_window,
    to_nhwc,
)
from edge_bundle.tensor import Float32Array

LOWEST: Final = float(np.finfo(np.float32).min)


def _max_pool(job: Assembly, node: Node, operands: Operands) -> list[Value]:
    value, window = _read(node, operands)
    if len([name for name in node.outputs if name]) > 1:
        raise Unable("its indices are used")
    image, padding = to_nhwc(job, value), window.padding
    if padding is None:
        pads = [
            *([0, 0], [window.height.begin, window.height.end]),
            *([window.width.begin, window.width.end], [0, 0]),
        ]
        shape = [size + sum(pad) for size, pad in zip(image.shape, pads, strict=True)]
        padded = job.tensor(f"{value.name}#padded", shape, value.dtype)
        lowest = job.constant(LOWEST, np.float32)
        image = job.operate("PADV2", [image, job.constant(pads, np.int32), lowest], [padded])
        padding = VALID
    return [_pool(job, "MAX_POOL_2D", node, image, window, padding)]


def _average_pool(job: Assembly, node: Node, operands: Operands) -> list[Value]:
    value, window = _read(node, operands)
    image, padding, name = to_nhwc(job, value), window.padding, node.outputs[0]
    if padding == VALID:
        return [_pool(job, "AVERAGE_POOL_2D", node, image, window, VALID)]
    counted = bool(node.attributes.get("count_include_pad", 0))
    if node.attributes.get("ceil_mode") and counted:
        raise Unable("ceil_mode with counted padding")
    # SAME divides by the elements of the image alone.
    if padding == SAME and not counted:
        return [_pool(job, "AVERAGE_POOL_2D", node, image, window, SAME)]
    image = pad_image(job, value.name, image, window)
    if counted:
        return [_pool(job, "AVERAGE_POOL_2D", node, image, window, VALID)]
    pooled = _pool_tensor(job, "AVERAGE_POOL_2D", f"{name}#padded", image, window, VALID)
    share = np.outer(_share(window.height), _share(window.width))[None, :, :, None]
    made = job.tensor(name, pooled.shape, value.dtype)
    job.operate("MUL", [pooled, job.constant(share, np.float32)], [made])
    return [from_nhwc(job, name, node.given[0].shape, made)]


def _read(node: Node, operands: Operands) -> tuple[Value, Window]:
    value = first(operands)
    if value.dtype != np.float32:
        raise Unable(f"{value.dtype.name} values")
    if any(d != 1 for d in node.attributes.get("dilations", [])):
        raise Unable("dilations")
    kernel = tuple(node.attributes["kernel_shape"])
    return value, read_window(node, kernel, value.shape[2:])


def _pool(
    job: Assembly, kind: str, node: Node, image: Tensor, window: Window, padding: int
) -> Value:
    made = _pool_tensor(job, kind, node.outputs[0], image, window, padding)
    return from_nhwc(job, node.outputs[0], node.given[0].shape, made)


def _pool_tensor(
    job: Assembly, kind: str, name: str, image: Tensor, window: Window, padding: int
) -> Tensor:
    batch, _, _, channels = image.shape
    made = job.tensor(name, (batch, window.height.given, window.width.given, channels), image.dtype)
    sizes = {"filterHeight": window.height.kernel, "filterWidth": window.width.kernel}
    return job.operate(kind, [image], [made], padding=padding, **window.options, **sizes)


def _share(axis: Axis) -> Float32Array:
    """Return by what to multiply a mean over a padded window to have one over the image alone."""
    starts = np.arange(axis.given) * axis.stride - axis.begin
    inside = np.minimum(starts + axis.kernel, axis.size) - np.maximum(starts, 0)
    return (axis.kernel / inside).astype(np.float32)


TABLE: Final[dict[str, Lowering]] = {"AveragePool": _average_pool, "MaxPool": _max_pool}
