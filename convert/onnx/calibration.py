"""One float pass over the calibration samples: what every tensor's values are like."""

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import prod
from typing import Final

import numpy as np
import onnx
import onnxruntime
from onnx import helper, shape_inference

from convert.given.source import first_line
from convert.onnx.canonical import to_bytes
from convert.parity import SILENT
from convert.ranges import Seen
from edge_bundle.errors import ModelRefused
from edge_bundle.tensor import Array, Float32Array

SEED: Final = 0
"""Of the values that are kept, beside the tensor's name."""
RESERVOIR: Final = 16384
"""Values kept of one tensor."""
GROUP_BYTES: Final = 64 << 20
"""Of tensors that one session gives at once."""

Report = Callable[[int, int], None]
"""Called with how many of how many are done."""


class Statistics:
    """What is kept of one tensor while samples go by; bounded, whatever the tensor's size."""

    def __init__(self, name: str, samples: int) -> None:
        self._name, self._added = name, 0
        self._rng = np.random.default_rng((SEED, zlib.crc32(name.encode())))
        self._each = max(1, RESERVOIR // samples)
        self._kept: list[Float32Array] = []
        self._low, self._high = np.inf, -np.inf

    def add(self, values: Array) -> None:
        """Take in the next sample's tensor, of any shape.

        Raises: ModelRefused: where it is not finite.
        """
        if not np.isfinite(values).all():
            raise ModelRefused(
                f"tensor {self._name} is not finite on calibration sample {self._added}"
            )
        self._added += 1
        if not values.size:
            return
        flat = values.reshape(-1)
        self._low = min(self._low, float(flat.min()))
        self._high = max(self._high, float(flat.max()))
        if flat.size > self._each:
            flat = flat[self._rng.integers(0, flat.size, self._each)]
        self._kept.append(flat.astype(np.float32))

    def result(self) -> Seen:
        """Return what was seen; zeros of a tensor that never had a value."""
        if not self._kept:
            return Seen(0.0, 0.0, np.zeros(1, np.float32))
        ends = np.asarray([self._low, self._high], np.float32)
        return Seen(self._low, self._high, np.concatenate([*self._kept, ends]))


def observe_onnx(
    data: bytes, inputs: Sequence[Array], report: Report = lambda _done, _of: None
) -> dict[str, Seen]:
    """Run a float ONNX model and return what was seen of its float tensors, by name.

    Args:
        data: in canonical form, of one input.
        inputs: as the model takes them, at least one.
    Raises: ModelRefused: where it does not run, or a tensor is not finite.
    """
    model = shape_inference.infer_shapes(onnx.load_model_from_string(data), data_prop=True)
    name = model.graph.input[0].name
    sizes = _float_tensors(model)
    gathered = {tensor: Statistics(tensor, len(inputs)) for tensor in sizes}
    groups = list(_groups(sizes))
    for number, group in enumerate(groups):
        session = _session(model, group)
        for i, sample in enumerate(inputs):
            for tensor, values in zip(group, session.run(group, {name: sample}), strict=True):
                gathered[tensor].add(values)
            report(number * len(inputs) + i + 1, len(groups) * len(inputs))
    if inputs[0].dtype == np.float32:
        gathered[name] = Statistics(name, len(inputs))
        for sample in inputs:
            gathered[name].add(sample)
    return {tensor: statistics.result() for tensor, statistics in gathered.items()}


def sqnr_db(reference: Array, found: Array) -> float:
    """Return the ratio of signal to quantization noise in decibels.

    Infinite without noise; minus infinite without a signal, and where what was found is not finite.

    Args:
        reference: what float gives, any shape.
        found: what the model gives, same shape.
    Source: 10 log10(sum r^2 / sum (r - f)^2).
    """
    signal = float(np.square(reference, dtype=np.float64).sum())
    noise = float(np.square(reference.astype(np.float64) - found).sum())
    if not noise:
        return np.inf
    if not signal or not np.isfinite(noise):
        return -np.inf
    return float(10 * np.log10(signal / noise))


def _float_tensors(model: onnx.ModelProto) -> dict[str, int]:
    """Return bytes by name of every float tensor that a node gives."""
    known: Mapping[str, onnx.ValueInfoProto] = {
        v.name: v for v in (*model.graph.value_info, *model.graph.output)
    }
    sizes = {}
    for node in model.graph.node:
        for tensor in node.output:
            kind = known[tensor].type.tensor_type if tensor in known else None
            if kind is not None and kind.elem_type == onnx.TensorProto.FLOAT:
                sizes[tensor] = 4 * prod(max(1, d.dim_value) for d in kind.shape.dim)
    return sizes


def _groups(sizes: Mapping[str, int]) -> Iterator[list[str]]:
    group: list[str] = []
    held = 0
    for name, size in sizes.items():
        if group and held + size > GROUP_BYTES:
            yield group
            group, held = [], 0
        group.append(name)
        held += size
    if group:
        yield group


def _session(model: onnx.ModelProto, tensors: Sequence[str]) -> onnxruntime.InferenceSession:
    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    del shown.graph.output[:]
    shown.graph.output.extend(
        helper.make_tensor_value_info(t, onnx.TensorProto.FLOAT, None) for t in tensors
    )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = SILENT
    try:
        return onnxruntime.InferenceSession(
            to_bytes(shown), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # onnxruntime's own classes share no base
        raise ModelRefused(f"onnxruntime: {first_line(error)}") from None
