"""One of two models that are compared: opened, given samples in its own layout, and read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from convert.given.source import read_bounded
from convert.inspection.survey import read_anatomy
from convert.inspection.trial import require_safe
from convert.inspection.wiring import NOTHING, Wiring
from edge_bundle.archive import BUNDLE_MARK, read_bundle
from edge_bundle.errors import RecordingRefused
from edge_bundle.features.chain import compile_steps
from edge_bundle.inference import Inference
from edge_bundle.manifest import Manifest
from edge_bundle.runtimes.loader import guess_format, load_model
from edge_bundle.runtimes.model import Model, read_output, write_input
from edge_bundle.tensor import Array, Float32Array, TensorSpec

ONLY: Final = "x"
"""Array of a model with one input."""
MOVES: Final = (((1, 2, 0), "NCHW to NHWC"), ((2, 0, 1), "NHWC to NCHW"))
"""Orders of axes that turn one layout of an image, without its batch, into the other."""
Shape = tuple[int, ...]


@dataclass(slots=True)
class Side:
    """A model ready to run, and its manifest where it comes from a bundle."""

    label: str
    """``A`` or ``B``, for messages."""
    model: Model
    manifest: Manifest | None
    inference: Inference | None = None
    """The bundle's whole path, where raw windows are given."""
    notes: list[str] = field(default_factory=list)
    """What was done to the samples on their way, each in a sentence."""

    def run(self, sample: Sequence[Array]) -> list[Float32Array]:
        """Run one sample, with nothing remembered of another.

        Args:
            sample: an array for each input, as ``fit`` gives them; or one raw window.
        Returns: real values of each output, in its shape; the next call overwrites them.
        """
        self.model.reset()
        if self.inference:
            self.inference.scores(sample[0])
        else:
            for index, values in enumerate(sample):
                self._write(index, values)
            self.model.invoke()
        return [read_output(self.model, i) for i in range(len(self.model.outputs))]

    def _write(self, index: int, values: Array) -> None:
        target = self.model.input(index)
        if values.dtype == np.float32:
            write_input(self.model, index, values)
        else:  # codes and tokens, as they are
            target[...] = values.reshape(target.shape)


def open_side(path: Path, label: str) -> Side:
    """Open an ONNX file, a TFLite file or a bundle, once it is known not to end the process.

    Raises: ConfigError: no such file. RuntimeMissing. ArtifactRefused: damaged, or does not run.
    """
    data = read_bounded(path)
    manifest = None
    if data.startswith(BUNDLE_MARK):
        bundle = read_bundle(path)
        manifest, data = bundle.manifest, bundle.model()
    form = manifest.format if manifest else guess_format(data)
    read_anatomy(data, form, path)
    wiring = Wiring(manifest.shapes, manifest.constants) if manifest else NOTHING
    require_safe(data, form, str(path), wiring)
    return Side(label, load_model(data, form, shapes=wiring.shapes), manifest)


def fit(
    sides: tuple[Side, Side], arrays: Mapping[str, Array], where: Path
) -> tuple[list[Array], list[Array]]:
    """Return for each side an array for each of its inputs, [samples, ...] in its layout and type.

    Args:
        sides: both models.
        arrays: ``x`` [samples, ...] or one for each input by name; other arrays are not looked at.
        where: they come from, for messages.
    Raises: RecordingRefused: an array is missing, empty, not finite, or does not fit.
    """
    found = {side.label: _arrays_of(side, sides, arrays, where) for side in sides}
    _check([pair for pairs in found.values() for pair in pairs], where)
    streams = [s for s in sides if _takes_windows(s, arrays)]
    fitted = []
    for side in sides:
        if side in streams:
            assert side.manifest
            side.inference = Inference(side.manifest, side.model)
            side.notes.append(f"{side.label} takes raw windows, through its own features")
            fitted.append([arrays[ONLY].astype(np.float32)])
            continue
        named = found[side.label]
        if streams and len(named) == 1:
            named = [(ONLY, _prepare(arrays[ONLY], streams[0], side.model.inputs[0]))]
            side.notes.append(f"{side.label} takes what {streams[0].label}'s features give")
        are_codes = _same_codes(sides, found)
        inputs = zip(named, side.model.inputs, strict=True)
        fitted.append(
            [_fit(side, name, values, spec, are_codes, where) for (name, values), spec in inputs]
        )
    return fitted[0], fitted[1]


def move_axes(shape: Shape, wanted: Shape) -> tuple[tuple[int, ...], str] | None:
    """Return how to turn an image without its batch into the other layout, in axes and words.

    Returns: None where that does not lead from one shape to the other.
    """
    for axes, words in MOVES:
        if len(shape) == len(axes) and tuple(shape[a] for a in axes) == wanted:
            return axes, words
    return None


def without_batch(shape: Shape) -> Shape:
    """Return a tensor's shape for one sample."""
    return shape[1:] if shape[:1] == (1,) else shape


def same_order(shape: Shape, other: Shape) -> bool:
    """Whether two shapes hold the same values in the same order: they differ in ones at most."""
    return [n for n in shape if n != 1] == [n for n in other if n != 1]


def _arrays_of(
    side: Side, sides: tuple[Side, Side], arrays: Mapping[str, Array], where: Path
) -> list[tuple[str, Array]]:
    names = [t.name for t in side.model.inputs]
    if len(names) == 1 and ONLY in arrays:
        return [(ONLY, arrays[ONLY])]
    for of in (side, *sides):  # its own names, else the other's in their order
        called = [t.name for t in of.model.inputs]
        if len(called) == len(names) and all(name in arrays for name in called):
            return [(name, arrays[name]) for name in called]
    expected = repr(ONLY) if len(names) == 1 else f"one for each input: {', '.join(names)}"
    raise RecordingRefused(
        f"{where}: arrays {', '.join(arrays) or 'none'}; {side.label} expects {expected}"
    )


def _check(named: list[tuple[str, Array]], where: Path) -> None:
    counts = {}
    for name, values in named:
        if not values.ndim or values.dtype.kind not in "fiub":
            raise RecordingRefused(
                f"{where}: {name}: {values.dtype} {list(values.shape)}, expected real numbers "
                "[samples, ...]"
            )
        if not values.size:
            raise RecordingRefused(f"{where}: {name}: {list(values.shape)}, it has no sample")
        if not np.isfinite(values).all():
            rows = ~np.isfinite(values).reshape(len(values), -1).all(axis=1)
            raise RecordingRefused(
                f"{where}: {name}: NaN or infinite in {int(rows.sum())} of {len(values)} samples, "
                f"first in sample {int(rows.argmax())}"
            )
        counts[name] = len(values)
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise RecordingRefused(f"{where}: numbers of samples differ: {listed}")


def _takes_windows(side: Side, arrays: Mapping[str, Array]) -> bool:
    if side.manifest is None or side.manifest.stream is None or ONLY not in arrays:
        return False
    return arrays[ONLY].shape[1:] == side.manifest.window_shape


def _prepare(windows: Array, stream_side: Side, spec: TensorSpec) -> Float32Array:
    """Return what a bundle's features make of raw windows, in another model's input shape."""
    manifest = stream_side.manifest
    assert manifest
    assert manifest.stream
    stream = manifest.stream
    chain = compile_steps(manifest.features, stream.form)
    made = np.stack([chain.run(w).copy() for w in windows.astype(np.float32)])
    shape = (len(made), *without_batch(spec.shape))
    return made.reshape(shape) if made[0].size == spec.size else made


def _same_codes(sides: tuple[Side, Side], found: Mapping[str, list[tuple[str, Array]]]) -> bool:
    """Whether the arrays can only be codes: all inputs are of their type, with one meaning."""
    specs = [[(t.dtype, t.scale, t.zero_point) for t in s.model.inputs] for s in sides]
    arrays = [values for _, values in found[sides[0].label]]
    return (
        specs[0] == specs[1]
        and [dtype for dtype, _, _ in specs[0]] == [str(values.dtype) for values in arrays]
        and all(values.dtype.kind in "iu" for values in arrays)
    )


def _fit(
    side: Side, name: str, values: Array, spec: TensorSpec, are_codes: bool, where: Path
) -> Array:
    wanted, shape = without_batch(spec.shape), values.shape[1:]
    if not same_order(shape, wanted):
        moved = move_axes(shape, wanted)
        if moved is None:
            raise RecordingRefused(
                f"{where}: {name}: samples {list(shape)}, {side.label}'s input {spec.name} takes "
                f"{list(wanted)}"
            )
        axes, words = moved
        side.notes.append(f"{name} is turned from {words} for {side.label}")
        values = values.transpose(0, *(a + 1 for a in axes))
    elif shape != wanted:
        side.notes.append(f"{name} {list(shape)} is taken as {list(wanted)} by {side.label}")
    if are_codes:
        return values
    if spec.scale is not None or spec.dtype.startswith("float"):
        return values.astype(np.float32)
    return _whole(side, name, values, spec, where)


def _whole(side: Side, name: str, values: Array, spec: TensorSpec, where: Path) -> Array:
    """Return tokens, flags or indices in the input's own type."""
    if values.dtype.kind not in "iub":
        raise RecordingRefused(
            f"{where}: {name}: {values.dtype}, {side.label}'s input {spec.name} takes {spec.dtype}"
        )
    converted = values.astype(spec.dtype)
    if (converted != values).any():
        raise RecordingRefused(
            f"{where}: {name}: values from {values.min()} to {values.max()}, {side.label}'s input "
            f"{spec.name} takes {spec.dtype}"
        )
    return converted
