"""How a model's tensors are joined: to the stream's windows, to each other, and to constants.

From what the file and the spec say, before anything is loaded.
"""

from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Final

from msgspec import Struct

from convert.given.spec import EMPTY, SpecFile
from convert.inspection.anatomy import Anatomy, TensorFacts
from edge_bundle.errors import ModelRefused
from edge_bundle.features.steps import form_after
from edge_bundle.wording import word_unknown

Shape = tuple[int, ...]


class Wiring(Struct, frozen=True):
    """What fixes a model's free dimensions and fills its other inputs."""

    shapes: dict[str, Shape] = {}
    """By name, of inputs and outputs whose shape the file states but for free dimensions."""
    constants: dict[str, int | float] = {}


NOTHING: Final = Wiring()
"""Free dimensions are 1, and every input is fed."""


def join(path: Path, anatomy: Anatomy, file: SpecFile = EMPTY) -> Wiring:
    """Return how a model is joined to what its spec says.

    The first free dimension of several is the batch, and 1; the last free one holds what the
    stream's windows give. One name stands for one size wherever it is.

    Args:
        path: of the model, for messages.
        anatomy: of the model.
        file: its spec.
    Raises:
        ConfigError: the spec names tensors that the model has not. ModelRefused: not exactly one
            input is left for the window, or one holds no value.
    """
    inputs = {t.name: t for t in anatomy.inputs}
    outputs = {t.name: t for t in anatomy.outputs}
    spec = file.spec
    for i, pair in enumerate(spec.state):
        for key, name, known in (("input", pair.input, inputs), ("output", pair.output, outputs)):
            if name not in known:
                raise file.error(("state", i, key), word_unknown(name, key, list(known)))
    for name in spec.constants:
        if name not in inputs:
            raise file.error(("constants", name), word_unknown(name, "input", list(inputs)))
    filled = {*(pair.input for pair in spec.state), *spec.constants}
    fed = [t for t in anatomy.inputs if t.name not in filled]
    if len(fed) != 1:
        raise ModelRefused(
            f"{path}: {len(fed)} inputs ({', '.join(t.name for t in fed) or 'none'}), expected "
            "one beside those that [[state]] and [constants] of a --spec name"
        )
    _refuse_empty(path, anatomy.inputs)
    sizes = {}
    if spec.stream is not None:
        form = form_after(spec.features, spec.stream.form)
        sizes = _fit_window(fed[0], form.rows * form.columns)
    shapes = {
        t.name: tuple(n if isinstance(n, int) else sizes.get(n, 1) for n in t.shape)
        for t in (*anatomy.inputs, *anatomy.outputs)
        if t.shape is not None
    }
    for pair in spec.state:  # exporters often forget the shape of what comes out
        shapes[pair.output] = shapes[pair.input]
    return Wiring(shapes, spec.constants)


def _fit_window(tensor: TensorFacts, values: int) -> dict[str, int]:
    """Return the size of the free dimension that holds a window, by its name."""
    shape = tensor.shape or ()
    free = [n for n in (shape[1:] if len(shape) > 1 else shape) if isinstance(n, str)]
    size, rest = divmod(values, prod(n for n in shape if isinstance(n, int)))
    # What does not fit is refused with both shapes where the whole model is looked at.
    return {free[-1]: size} if free and size and not rest else {}


def _refuse_empty(path: Path, inputs: Sequence[TensorFacts]) -> None:
    for tensor in inputs:
        shape = tensor.shape or ()
        if 0 in shape:
            raise ModelRefused(
                f"{path}: input {tensor.name}: {'x'.join(map(str, shape))}, which holds no value; "
                "export the model with a batch of 1"
            )
