"""Images: a row for each pixel, line after line, a column for each colour. Pure."""

from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from msgspec import Meta, Struct

from edge_bundle.features.form import MAX_VALUES, Form, Misfit
from edge_bundle.features.runner import Fresh
from edge_bundle.tensor import Float32Array

Pixels = Annotated[int, Meta(ge=1, le=1 << 14)]


class Resize(Struct, frozen=True, tag_field="kind", tag="resize"):
    """An image of another size, each pixel taken at its middle, as OpenCV and TensorFlow 2 do."""

    height: Pixels
    """Of the image that comes."""
    width: Pixels
    to_height: Pixels
    to_width: Pixels
    method: Literal["bilinear", "nearest"] = "bilinear"
    """Between the four nearest pixels, without smoothing before; or the nearest."""

    def after(self, form: Form) -> Form:
        """Return what the step gives; raises Misfit."""
        if form.bins or form.rows != self.height * self.width:
            raise Misfit(
                f"{self.height} x {self.width} pixels are {self.height * self.width} rows, "
                f"{form.rows} come to it",
                "height",
            )
        if self.to_height * self.width * form.columns > MAX_VALUES:
            raise Misfit(f"{self.to_height} lines of {self.width} pixels are too many", "to_height")
        return Form(self.to_height * self.to_width, form.columns, 0.0).bounded()


class ResizeRunner:
    """Lines first, then columns."""

    def __init__(self, step: Resize, form: Form) -> None:
        after = step.after(form)
        self._shape = step.height, step.width, form.columns
        self._nearest = step.method == "nearest"
        places = _nearest if self._nearest else _neighbours
        self._upper, self._lower, down = places(step.height, step.to_height)
        self._left, self._right, across = places(step.width, step.to_width)
        self._down, self._across = down[:, None, None], across[:, None]
        lines = (step.to_height, step.width, form.columns)
        self._lines, self._lines_below = np.empty(lines, np.float32), np.empty(lines, np.float32)
        self._out = np.empty((after.rows, after.columns), np.float32)
        self._pixels = self._out.reshape(step.to_height, step.to_width, form.columns)
        self._pixels_right = np.empty_like(self._pixels)

    def run(self, values: Float32Array, _fresh: Fresh) -> tuple[Float32Array, Fresh]:
        image = values.reshape(self._shape)
        # All places are within: clip only lets NumPy write without a buffer.
        np.take(image, self._upper, axis=0, out=self._lines, mode="clip")
        if not self._nearest:
            np.take(image, self._lower, axis=0, out=self._lines_below, mode="clip")
            _blend(self._lines, self._lines_below, self._down)
        np.take(self._lines, self._left, axis=1, out=self._pixels, mode="clip")
        if not self._nearest:
            np.take(self._lines, self._right, axis=1, out=self._pixels_right, mode="clip")
            _blend(self._pixels, self._pixels_right, self._across)
        return self._out, None


Places = tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], Float32Array]
"""Of each new pixel: the old one before it, the one after it, how far it is from the first."""


def _neighbours(old: int, new: int) -> Places:
    at = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
    before = at.astype(np.intp)
    return before, np.minimum(before + 1, old - 1), np.asarray(at - before, np.float32)


def _nearest(old: int, new: int) -> Places:
    # In whole numbers: half way between two pixels it is the later.
    at = (2 * np.arange(new) + 1) * old // (2 * new)
    return at, at, np.zeros(new, np.float32)


def _blend(first: Float32Array, second: Float32Array, share: Float32Array) -> None:
    """Move the first towards the second, in place; the second is used up."""
    np.subtract(second, first, out=second)
    np.multiply(second, share, out=second)
    np.add(first, second, out=first)
