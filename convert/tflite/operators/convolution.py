"""Convolutions of one and two dimensions."""

from typing import Final

import numpy as np

from convert.tflite.assembly import Assembly, Unable, fixed, own_constant
from convert.tflite.layout import Tensor, Value
from convert.tflite.onnx_graph import Node
from convert.tflite.operators.lowering import Lowering, Operands, first, optional
from convert.tflite.operators.window import (
    SAME,
    VALID,
    Window,
    from_nhwc,
    read_window,
    to_nhwc,
)
from edge_bundle.tensor import Array


def pad_image(job: Assembly, name: str, image: Tensor, window: Window) -> Tensor:
    """Emit zeros around an image [n, h, w, c]."""
    height, width = window.height, window.width
    pads = [[0, 0], [height.begin, height.end], [width.begin, width.end], [0, 0]]
    shape = [size + sum(pad) for size, pad in zip(image.shape, pads, strict=True)]
    made = job.tensor(name, shape, image.dtype)
    return job.operate("PAD", [image, job.constant(pads, np.int32)], [made])


def _conv(job: Assembly, node: Node, operands: Operands) -> list[Value]:
    value, kernel = first(operands), fixed(operands[1], "weights")
    outputs, bias = kernel.shape[0], _bias(operands, kernel.shape[0])
    window = read_window(node, kernel.shape[2:], value.shape[2:])
    if kernel.ndim == 3:
        kernel = kernel[:, :, None, :]
    groups, channels = node.attributes.get("group", 1), value.shape[1]
    image, padding = to_nhwc(job, value), window.padding
    if padding is None:
        image, padding = pad_image(job, value.name, image, window), VALID
    given = (image.shape[0], window.height.given, window.width.given, outputs)
    made = job.tensor(node.outputs[0], given, value.dtype)
    options = {
        **window.options,
        "padding": padding,
        "dilationHFactor": window.height.dilation,
        "dilationWFactor": window.width.dilation,
    }
    if groups == channels > 1:
        weights = job.constant(kernel.transpose(1, 2, 3, 0), np.float32)
        options["depthMultiplier"] = outputs // channels
        job.operate("DEPTHWISE_CONV_2D", [image, weights, bias], [made], **options)
    else:
        weights = job.constant(kernel.transpose(0, 2, 3, 1), np.float32)
        job.operate("CONV_2D", [image, weights, bias], [made], **options)
    return [from_nhwc(job, node.outputs[0], node.given[0].shape, made)]


def _conv_transpose(job: Assembly, node: Node, operands: Operands) -> list[Value]:
    value, kernel = first(operands), fixed(operands[1], "weights")
    attributes, count = node.attributes, len(value.axes) - 2
    if attributes.get("group", 1) != 1:
        raise Unable(f"{attributes['group']} groups, expected 1")
    if any(d != 1 for d in attributes.get("dilations", [])):
        raise Unable("dilations")
    if count not in {1, 2}:
        raise Unable(f"{count} spatial dimensions, at most 2")
    if kernel.ndim == 3:
        kernel = kernel[:, :, None, :]
    image = to_nhwc(job, value)
    strides = [1, *attributes.get("strides", [1] * count)][-2:]
    sizes = [1, *node.given[0].shape[2:]][-2:]
    full = [
        (n - 1) * s + k for n, s, k in zip(image.shape[1:3], strides, kernel.shape[2:], strict=True)
    ]
    begins = _crops(node, full[-count:], sizes[-count:])
    begins = [0, *begins][-2:]
    totals = [whole - size for whole, size in zip(full, sizes, strict=True)]
    if min(totals) < 0 or any(b > t for b, t in zip(begins, totals, strict=True)):
        raise Unable("output padding beyond the last window")
    same = all(
        (begin == total // 2 and -(-size // stride) == n)
        for begin, total, size, stride, n in zip(
            begins, totals, sizes, strides, image.shape[1:3], strict=True
        )
    )
    outputs, name = kernel.shape[1], node.outputs[0]
    weights = job.constant(kernel.transpose(1, 2, 3, 0), np.float32)
    bias = _bias(operands, outputs)
    wanted = sizes if same else full
    made = job.tensor(
        name if wanted == sizes else f"{name}#full", (image.shape[0], *wanted, outputs), value.dtype
    )
    shape = job.constant(made.shape, np.int32)
    job.operate(
        "TRANSPOSE_CONV",
        [shape, weights, image, bias],
        [made],
        padding=SAME if same and any(totals) else VALID,
        strideH=strides[0],
        strideW=strides[1],
    )
    if wanted != sizes:
        made = _crop(job, name, made, begins, sizes)
    return [from_nhwc(job, name, node.given[0].shape, made)]


def _crops(node: Node, full: list[int], sizes: list[int]) -> list[int]:
    """Return how much is cut off at the beginning of each dimension."""
    mode = node.attributes.get("auto_pad", "NOTSET")
    totals = [whole - size for whole, size in zip(full, sizes, strict=True)]
    if mode == "SAME_UPPER":
        return [total // 2 for total in totals]
    if mode == "SAME_LOWER":
        return [total - total // 2 for total in totals]
    if "output_shape" in node.attributes:
        raise Unable("an output shape of its own")
    return list(node.attributes.get("pads", [0] * 2 * len(full)))[: len(full)]


def _crop(job: Assembly, name: str, image: Tensor, begins: list[int], sizes: list[int]) -> Tensor:
    batch, _, _, channels = image.shape
    begin = [0, *begins, 0]
    end = [batch, *(b + size for b, size in zip(begins, sizes, strict=True)), channels]
    made = job.tensor(name, (batch, *sizes, channels), image.dtype)
    bounds = [job.constant(values, np.int32) for values in (begin, end, [1] * 4)]
    return job.operate("STRIDED_SLICE", [image, *bounds], [made])


def _bias(operands: Operands, outputs: int) -> Tensor:
    given = optional(operands, 2)
    bias: Array = np.zeros(outputs, np.float32) if given is None else fixed(given, "a bias")
    return own_constant(bias)


TABLE: Final[dict[str, Lowering]] = {"Conv": _conv, "ConvTranspose": _conv_transpose}
