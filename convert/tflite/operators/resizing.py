"""Images made larger or smaller."""

from typing import Final

import numpy as np

from convert.tflite.assembly import Assembly, Unable, fixed
from convert.tflite.layout import Value
from convert.tflite.onnx_graph import Node
from convert.tflite.operators.lowering import Lowering, Operands, first, optional
from convert.tflite.operators.window import from_nhwc, to_nhwc


def _resize(job: Assembly, node: Node, operands: Operands) -> list[Value]:
    value, name, shape = first(operands), node.outputs[0], node.given[0].shape
    attributes = node.attributes
    if len(shape) not in {3, 4} or shape[:2] != value.shape[:2]:
        raise Unable("dimensions other than height and width")
    if attributes.get("antialias") or "axes" in attributes:
        raise Unable("antialias or axes")
    _check_scales(value, shape, operands)
    mode = attributes.get("mode", "nearest")
    place = attributes.get("coordinate_transformation_mode", "half_pixel")
    options = {"alignCorners": place == "align_corners", "halfPixelCenters": False}
    if mode == "linear" and place in {"half_pixel", "pytorch_half_pixel", "asymmetric"}:
        if place == "pytorch_half_pixel" and 1 in shape[2:]:
            raise Unable("pytorch_half_pixel to a size of 1")
        options["halfPixelCenters"] = place != "asymmetric"
    elif mode == "nearest":
        _check_nearest(value, shape, place, attributes.get("nearest_mode", "round_prefer_floor"))
    elif mode != "linear" or place != "align_corners":
        raise Unable(f"mode {mode} with {place}")
    kind = "RESIZE_BILINEAR" if mode == "linear" else "RESIZE_NEAREST_NEIGHBOR"
    image = to_nhwc(job, value)
    height, width = [1, *shape[2:]][-2:]
    made = job.tensor(name, (image.shape[0], height, width, image.shape[3]), value.dtype)
    job.operate(kind, [image, job.constant([height, width], np.int32)], [made], **options)
    return [from_nhwc(job, name, shape, made)]


def _check_scales(value: Value, shape: tuple[int, ...], operands: Operands) -> None:
    """TFLite knows sizes alone: a scale must be the ratio of two."""
    scales = optional(operands, 2)
    if scales is None or not fixed(scales, "scales").size:
        return
    for size, given, scale in zip(value.shape, shape, fixed(scales, "scales"), strict=True):
        if abs(size * float(scale) - given) > 1e-3:
            raise Unable(f"scale {float(scale):g} of {size}, which is no whole number")


def _check_nearest(value: Value, shape: tuple[int, ...], place: str, rounding: str) -> None:
    whole = all(given % size == 0 for size, given in zip(value.shape, shape, strict=True))
    # Between whole multiples no centre falls halfway between two pixels.
    centred = place == "half_pixel" and whole and rounding.startswith("round_prefer")
    if not centred and (place, rounding) != ("asymmetric", "floor"):
        raise Unable(f"mode nearest with {place} and {rounding}")


TABLE: Final[dict[str, Lowering]] = {"Resize": _resize}
