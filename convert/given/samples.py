"""Samples to calibrate with and to judge by: arrays of a ``.npz``, or windows of recordings.

A ``.npz`` with ``x`` [samples, ...] holds what the model takes (where the spec has a stream: raw
windows), with ``y`` [samples] beside it. ``FILE.npz#0-99,120`` names some of its samples,
``FILE.npz#NAME`` those that the index array NAME of the same file lists.
"""

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, permutations
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from convert.given.spec import Spec
from convert.given.windows import cut_windows, run_features
from edge_bundle.archive import hash_file
from edge_bundle.errors import ConfigError, RecordingRefused
from edge_bundle.npz import MAX_BYTES, read_npz
from edge_bundle.tensor import Array, TensorSpec
from edge_bundle.wording import word_unknown

LEAST: Final = 8
"""Fewer samples, or windows of a recording, set no range, and judge nothing."""
ENOUGH: Final = 1000
"""Of the first samples, that are looked at for differences."""
CHANCE: Final = 0.005
"""Of the evaluation samples, that may be equal to one of the calibration by themselves."""
LAYOUT_RANK: Final = 4
"""Up to here a wrong order of dimensions is looked for."""

Labels = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Samples:
    """Samples of one file, or of a part of it."""

    source: str
    """As the user wrote it."""
    sha256: str
    """Of the whole file."""
    raw: Sequence[Array]
    """As a bundle takes them: windows float32 [window, channels], or what the model takes."""
    inputs: Sequence[Array]
    """As the model takes them: of its input's shape and dtype."""
    y: Array | None
    """What is right for each, as the file has it; None where it says nothing."""

    def __len__(self) -> int:
        return len(self.inputs)

    def take(self, numbers: Sequence[int]) -> "Samples":
        """Return some of them."""
        return replace(
            self,
            raw=[self.raw[i] for i in numbers],
            inputs=[self.inputs[i] for i in numbers],
            y=None if self.y is None else self.y[list(numbers)],
        )


def read_samples(
    source: str, spec: Spec, tensor: TensorSpec, *, to_judge: bool, least: int = LEAST
) -> Samples:
    """Read samples and check that the model takes them.

    Args:
        source: a recording or a ``.npz`` with ``x``, or a part of one.
        spec: with a stream for windows, without for prepared tensors.
        tensor: the model's input.
        to_judge: leave out windows without a label where others have one.
        least: how many there must be, all different; at least one.
    Raises:
        ConfigError: no such file or part. RecordingRefused: unreadable, other shapes, a value that
            is not finite, or fewer than ``least``.
    """
    path, part = split_part(source)
    arrays = _arrays(path)
    if arrays is not None and "x" in arrays:
        samples, more = _from_arrays(source, part, arrays, spec, tensor), ""
    elif spec.stream is not None:
        samples = _from_recordings(source, spec, tensor, to_judge)
        more = f" of {spec.stream.window} samples: give a longer recording, or more of them"
    else:
        found = (
            (", ".join(arrays) or "nothing")
            if arrays is not None
            else f"a {path.suffix or 'nameless'} file"
        )
        raise RecordingRefused(
            f"{path}: expected a .npz with an array 'x', found {found}; recordings need a --spec "
            "with [stream]"
        )
    what = "window" if spec.stream is not None else "sample"
    if len(samples) < least:
        raise RecordingRefused(
            f"{source}: {_count(len(samples), what)}, expected at least {least}{more}"
        )
    different = len({_digest(sample) for sample in samples.raw[:ENOUGH]})
    if different < least:
        raise RecordingRefused(
            f"{source}: {_count(different, f'different {what}')} among {len(samples)}, "
            f"expected at least {least}"
        )
    return replace(samples, sha256=hash_file(path))


def read_labels(samples: Samples, classes: Sequence[str] | int) -> Labels:
    """Return the right class of each sample as its number.

    Args:
        samples: with ``y``: names of classes, or their numbers.
        classes: their names in the order of the scores, or how many there are.
    Returns: int64 [samples].
    Raises: RecordingRefused: a label that is no class of the model.
    """
    y = samples.y
    count = classes if isinstance(classes, int) else len(classes)
    if y is None or y.ndim != 1 or y.dtype.kind not in "iuU":
        found = "none" if y is None else f"{y.dtype} {list(y.shape)}"
        raise RecordingRefused(
            f"{samples.source}: y: {found}, expected one class for each of {len(samples)} samples "
            "(or say --metric module:function)"
        )
    if y.dtype.kind == "U":
        if isinstance(classes, int):
            raise RecordingRefused(
                f"{samples.source}: y: names such as {str(y[0])!r}; name the classes in a --spec "
                "with [decision] labels, or give their numbers"
            )
        numbers = {name: i for i, name in enumerate(classes)}
        if unknown := sorted({str(name) for name in y} - set(numbers)):
            raise RecordingRefused(
                f"{samples.source}: label {unknown[0]!r} is not in decision.labels: "
                f"{', '.join(classes)}"
            )
        return np.asarray([numbers[str(name)] for name in y], np.int64)
    if y.min() < 0 or y.max() >= count:
        wrong = int(y.min() if y.min() < 0 else y.max())
        raise RecordingRefused(
            f"{samples.source}: y: class {wrong}, the model has {count} classes: 0 to {count - 1}"
        )
    return y.astype(np.int64)


def separate(calibration: Samples, evaluation: Samples) -> Samples:
    """Return the calibration without what the evaluation has as well.

    Few equal samples happen by themselves (two silences); many are a mistake.

    Raises: RecordingRefused: where more than ``CHANCE`` of the evaluation is in the calibration.
    """
    judged = {_digest(sample) for sample in evaluation.raw}
    apart = [i for i, sample in enumerate(calibration.raw) if _digest(sample) not in judged]
    if len(apart) == len(calibration):
        return calibration
    seen = {_digest(sample) for sample in calibration.raw}
    shared = sum(_digest(sample) in seen for sample in evaluation.raw)
    if shared > CHANCE * len(evaluation) or len(apart) < LEAST:
        raise RecordingRefused(
            f"{evaluation.source}: {shared} of {len(evaluation)} evaluation samples are "
            f"also in the calibration {calibration.source}; choose others, such as FILE.npz#0-6"
        )
    return calibration.take(apart)


def split_part(source: str) -> tuple[Path, str]:
    """Return file and part, empty for all of it; a folder or a file may have a # in its name."""
    path = Path(source)
    if os.path.isfile(path) or "#" not in source:
        return path, ""
    before, _, part = source.rpartition("#")
    return Path(before), part


def _arrays(path: Path) -> dict[str, Array] | None:
    if os.path.isdir(path):
        raise ConfigError(f"{path}: is a directory, expected a recording")
    if not os.path.isfile(path):  # Path's own raises for a name that is too long
        raise ConfigError(f"{path}: no such recording")
    if path.suffix != ".npz":
        return None
    if path.stat().st_size > MAX_BYTES:
        raise RecordingRefused(f"{path}: larger than {MAX_BYTES} bytes")
    return read_npz(path)


def _from_recordings(source: str, spec: Spec, tensor: TensorSpec, to_judge: bool) -> Samples:
    assert spec.stream is not None
    cut = cut_windows(source, spec.stream)
    labelled = [(w, label) for w, label in cut if label is not None] if to_judge else []
    # A window that two labels share is right for neither.
    windows = [window for window, _ in labelled or cut]
    y = np.asarray([label for _, label in labelled]) if labelled else None
    inputs = run_features(windows, spec.features, spec.stream)
    return Samples(source, "", windows, [_fit(i, tensor) for i in inputs], y)


def _from_arrays(
    source: str, part: str, arrays: dict[str, Array], spec: Spec, tensor: TensorSpec
) -> Samples:
    x, y = arrays["x"], arrays.get("y")
    if x.ndim < 1 or x.dtype.kind not in "fiub":
        raise RecordingRefused(f"{source}: x: {x.dtype} {list(x.shape)}, expected real numbers")
    if y is not None and (not y.ndim or len(y) != len(x)):
        raise RecordingRefused(
            f"{source}: y: {y.size if not y.ndim else len(y)} values for {len(x)} samples of x"
        )
    if part:
        numbers = list_numbers(source, part, arrays, len(x))
        x, y = x[numbers], None if y is None else y[numbers]
    _check_finite(source, x)
    if spec.stream is None:
        inputs = _prepared(source, x, tensor)
        return Samples(source, "", inputs, inputs, y)
    shape = (spec.stream.window, len(spec.stream.channels))
    if x.shape[1:] != shape:
        raise RecordingRefused(
            f"{source}: x: samples of {_show(x.shape[1:])}, the stream's windows are "
            f"{_show(shape)}{_other_layout(x.shape[1:], shape)}"
        )
    windows = list(np.ascontiguousarray(x, np.float32))
    inputs = run_features(windows, spec.features, spec.stream)
    return Samples(source, "", windows, [_fit(i, tensor) for i in inputs], y)


def list_numbers(source: str, part: str, arrays: Mapping[str, Array], count: int) -> Labels:
    """Return the numbers of the samples that a part names, int64.

    Args:
        source: file and part, for messages.
        part: such as ``0-99,120``, or the name of an index array.
        arrays: of the file.
        count: samples in it.
    Raises: ConfigError: it names none, or more than there are.
    """
    if part in arrays and part not in {"x", "y"}:
        index = arrays[part]
        if index.ndim != 1 or index.dtype.kind not in "iu":
            raise ConfigError(
                f"{source}: {part}: {index.dtype} {list(index.shape)}, expected numbers of samples"
            )
        numbers = index.astype(np.int64)
    else:
        found = [re.fullmatch(r"([0-9]{1,9})(?:-([0-9]{1,9}))?", p) for p in part.split(",")]
        if not all(found):
            others = [n for n in arrays if n not in {"x", "y"}]
            known = word_unknown(part, "array", others) if others else repr(part)
            raise ConfigError(
                f"{source}: {known}: expected numbers such as 0-99,120, or the name of an index "
                "array in the file"
            )
        spans = [(int(m[1]), int(m[2] or m[1])) for m in found if m]
        for span, (a, b) in zip(part.split(","), spans, strict=True):
            # Before the numbers are made: there may be too many of them.
            if not a <= b < count:
                raise ConfigError(f"{source}: {span}, the file has samples 0 to {count - 1}")
        numbers = np.concatenate([np.arange(a, b + 1, dtype=np.int64) for a, b in spans])
    if (wrong := numbers[(numbers < 0) | (numbers >= count)]).size:
        raise ConfigError(f"{source}: sample {wrong[0]}, the file has samples 0 to {count - 1}")
    return numbers


def _check_finite(source: str, x: Array) -> None:
    if x.dtype.kind != "f":
        return
    with np.errstate(over="ignore"):  # becomes infinite, which is refused by its place
        finite = np.isfinite(x.astype(np.float32, copy=False))
    if finite.all():
        return
    where = np.argwhere(~finite)[0].tolist()
    raise RecordingRefused(
        f"{source}: x{where}: {x[tuple(where)]}, expected a finite float32 number "
        f"({int((~finite).sum())} of {x.size} values are not)"
    )


def _prepared(source: str, x: Array, tensor: TensorSpec) -> list[Array]:
    """Return samples of the input's own shape, or say what is wrong with theirs."""
    found, wanted = tuple(x.shape[1:]), tensor.shape
    # A file may or may not spell out the batch of one.
    if found not in {wanted, _inner(wanted)}:
        raise RecordingRefused(
            f"{source}: x: samples of {_show(found)}, the model's input {tensor.name} takes "
            f"{_show(wanted)}{_other_layout(found, wanted)}"
        )
    kind = np.dtype(tensor.dtype)
    if kind.kind in "iub" and x.size:
        limits = np.iinfo(kind) if kind.kind != "b" else None
        with np.errstate(invalid="ignore"):  # what is too large for any code
            codes = x.astype(np.int64)
        if (codes != x).any() or (
            limits and (codes.min() < limits.min or codes.max() > limits.max)
        ):
            raise RecordingRefused(
                f"{source}: x: {x.dtype} values from {x.min()} to {x.max()}, the model's input "
                f"{tensor.name} takes {tensor.dtype}"
            )
    return [np.ascontiguousarray(sample, kind).reshape(wanted) for sample in x]


def _other_layout(found: tuple[int, ...], wanted: tuple[int, ...]) -> str:
    inner = wanted if len(found) == len(wanted) else _inner(wanted)
    if len(found) != len(inner) or len(found) > LAYOUT_RANK:
        return ""
    orders = [p for p in permutations(range(len(found))) if tuple(found[i] for i in p) == inner]
    if not orders:
        return ""
    # What people mix up moves the channels and keeps the others in their order.
    order = min(orders, key=lambda p: sum(b < a for a, b in pairwise(p)))
    names: dict[tuple[int, ...], str] = {(2, 0, 1): " (it looks like NHWC, the model is NCHW)"}
    names[1, 2, 0] = " (it looks like NCHW, the model is NHWC)"
    image = tuple(i - 1 for i in order[1:]) if len(order) == LAYOUT_RANK else order
    axes = (0, *(i + 1 for i in order))
    return f"{names.get(image, '')}: give np.transpose(x, {axes})"


def _inner(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return a shape without its batch of one."""
    return shape[1:] if shape[:1] == (1,) else shape


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def _fit(values: Array, tensor: TensorSpec) -> Array:
    """Return features in the shape of the model's input; their sizes were compared before."""
    return np.ascontiguousarray(values, tensor.dtype).reshape(tensor.shape)


def _show(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "scalars"


def _digest(sample: Array) -> bytes:
    # Adding zero makes -0.0 and 0.0 the same sample.
    same = sample + sample.dtype.type(0) if sample.dtype.kind == "f" else sample
    return hashlib.sha256(same.tobytes()).digest()
