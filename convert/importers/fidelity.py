"""Whether an exported model computes what its framework computes: measured on random inputs."""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import onnxruntime

from convert.given.source import first_line
from edge_bundle.errors import ModelRefused
from edge_bundle.tensor import Array

SAMPLES: Final = 64
TOLERANCE: Final = 1e-3
"""Of the largest score: well above float32's rounding, well below any difference of meaning."""
MIN_SHARE: Final = 0.9
"""A rounding that crosses a tree's threshold alters a sample; a wrong export alters most."""


def compare_with(data: bytes, framework: str, run: Callable[[Array], Sequence[Array]]) -> str:
    """Run an exported model and its framework on the same random inputs.

    Args:
        data: ONNX file.
        run: what the framework itself makes of one input: its outputs, in the same order.
    Returns: a sentence with the largest difference, or why there is none.
    Raises: ModelRefused: the exported model does not run, or computes something else.
    """
    try:
        session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's classes are private
        raise ModelRefused(f"the exported model does not load: {first_line(error)}") from None
    inputs = session.get_inputs()
    if len(inputs) != 1:
        raise ModelRefused(
            f"{len(inputs)} inputs ({', '.join(i.name for i in inputs)}), expected one"
        )
    if inputs[0].type != "tensor(float)":
        return f"it was not compared with {framework}: its input is no float32 but {inputs[0].type}"
    # Free sizes are given by name, or not at all.
    first, *rest = [size if isinstance(size, int) else None for size in inputs[0].shape] or [1]
    shape = [size or 1 for size in rest]
    rows, batches = (SAMPLES, 1) if first is None else (first, SAMPLES)
    random = np.random.default_rng(0)
    drawn = [random.standard_normal((rows, *shape)).astype(np.float32) for _ in range(batches)]
    try:
        expected = [run(x) for x in drawn]
    except Exception as error:  # such as an index that has to be whole and positive
        return f"it was not compared with {framework}, whose own run failed: {first_line(error)}"
    found = [session.run(None, {inputs[0].name: x}) for x in drawn]
    pairs = zip(found, expected, strict=True)
    differences = np.concatenate([_differences(f, e, rows) for f, e in pairs])
    largest = max((float(np.abs(v).max(initial=0)) for e in expected for v in e), default=0.0)
    wrong = float(np.mean(~(differences <= TOLERANCE * max(largest, 1e-6))))
    if wrong > 1 - MIN_SHARE:
        raise ModelRefused(
            f"the exported model differs from {framework}'s own outputs on {wrong:.0%} of "
            f"{len(differences)} random inputs, by up to {differences.max():.2g}; it may have been "
            "saved while training"
        )
    return (
        f"its outputs differ from {framework}'s own by at most {differences.max():.1e} on "
        f"{len(differences)} random inputs"
    )


def _differences(
    found: Sequence[Array], expected: Sequence[Array], rows: int
) -> npt.NDArray[np.float64]:
    """Return the largest difference of each row; infinity for other shapes and for NaN."""
    worst = np.zeros(rows)
    if [f.shape for f in found] != [e.shape for e in expected]:
        return worst + np.inf
    for f, e in zip(found, expected, strict=True):
        distance = np.nan_to_num(np.abs(np.subtract(f, e, dtype=np.float64)), nan=np.inf)
        by_row = distance.shape[:1] == (rows,)
        worst = np.maximum(worst, distance.reshape(rows if by_row else 1, -1).max(axis=1))
    return worst
