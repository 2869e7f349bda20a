"""Operators that put values elsewhere and compute nothing."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from convert.tflite.assembly import Assembly, Unable, fixed
from convert.tflite.layout import Value
from convert.tflite.onnx_graph import Node
from convert.tflite.operators.lowering import Lowering, Operands, axis_of, first, optional, present


def _reshape(job: Assembly, node: Node, operands: Operands) -> list[Value]:
    return [job.reshaped(first(operands), node.outputs[0], node.given[0].shape)]


def _transpose(job: Assembly, node: Node, operands: Operands) -> list[Value]:
    value = first(operands)
    order = node.attributes.get("perm", range(len(value.axes))[::-1])
    return [job.transposed(value, node.outputs[0], order)]


def _concat(job: Assembly, node: Node, operands: Operands) -> list[Value]:
    values, name = present(operands), node.outputs[0]
    axis = axis_of(values[0], node.attributes["axis"])
    order = job.natural(values)
    shape = list(values[0].shape)
    shape[axis] = sum(value.shape[axis] for value in values)
    made = job.tensor(name, [shape[n] for n in order], values[0].dtype)
    tensors = [job.lay(value, order) for value in values]
    job.operate("CONCATENATION", tensors, [made], axis=order.index(axis))
    return [job.give(name, shape, made, order)]


def _split(job: Assembly, node: Node, operands: Operands) -> list[Value]:
    value = first(operands)
    axis, order = axis_of(value, node.attributes.get("axis", 0)), job.natural([value])
    ports = node.given
    made = [job.tensor(p.name, [p.shape[n] for n in order], value.dtype) for p in ports]
    sizes = [port.shape[axis] for port in ports]
    taken, place = job.lay(value, order), job.constant(order.index(axis), np.int32)
    if len(set(sizes)) == 1:
        job.operate("SPLIT", [place, taken], made, numSplits=len(made))
    else:
        counts = job.constant(sizes, np.int32)
        job.operate("SPLIT_V", [taken, counts, place], made, numSplits=len(made))
    return [
        job.give(port.name, port.shape, tensor, order)
        for port, tensor in zip(ports, made, strict=True)
    ]


def _slice(job: Assembly, node: Node, operands: Operands) -> list[Value]:
    value, name = first(operands), node.outputs[0]
    starts, ends = (fixed(v, "bounds").reshape(-1).tolist() for v in operands[1:3])
    rank, axes, steps = len(value.axes), optional(operands, 3), optional(operands, 4)
    along = range(rank) if axes is None else fixed(axes, "axes").reshape(-1).tolist()
    by = [1] * len(starts) if steps is None else fixed(steps, "steps").reshape(-1).tolist()
    slices = [slice(None)] * rank
    for axis, start, end, step in zip(along, starts, ends, by, strict=False):
        slices[axis_of(value, axis)] = slice(start, end, step)
    order = job.natural([value])
    begin, stop, stride, mask = [], [], [], 0
    for place, axis in enumerate(order):
        first_, last, step = slices[axis].indices(value.shape[axis])
        begin.append(first_)
        stop.append(last)
        stride.append(step)
        # Backwards to the first element: -1 would mean the last.
        mask |= (last < 0) << place
    shape = node.given[0].shape
    made = job.tensor(name, [shape[n] for n in order], value.dtype)
    bounds = [job.constant(values, np.int32) for values in (begin, stop, stride)]
    job.operate("STRIDED_SLICE", [job.lay(value, order), *bounds], [made], endMask=mask)
    return [job.give(name, shape, made, order)]


def _gather(job: Assembly, node: Node, operands: Operands) -> list[Value]:
    value, indices = present(operands)
    name, shape = node.outputs[0], node.given[0].shape
    axis = axis_of(value, node.attributes.get("axis", 0))
    order = tuple(range(len(value.axes))) if value.constant is not None else job.natural([value])
    place, count = order.index(axis), len(indices.axes)
    if indices.constant is not None:
        chosen = indices.constant % value.shape[axis]
        taken = job.constant(chosen, np.int32)
    elif indices.dtype.name not in {"int32", "int64"}:
        raise Unable(f"{indices.dtype.name} indices")
    else:
        taken = job.plain(indices)
    # The indices' dimensions stand where the axis stood.
    moved = {old: old if old < axis else old + count - 1 for old in order if old != axis}
    given: list[int] = []
    for old in order:
        given += range(axis, axis + count) if old == axis else [moved[old]]
    made = job.tensor(name, [shape[n] for n in given], value.dtype)
    job.operate("GATHER", [job.lay(value, order), taken], [made], axis=place)
    return [job.give(name, shape, made, given)]


def _pad(job: Assembly, node: Node, operands: Operands) -> list[Value]:
    value, name, mode = first(operands), node.outputs[0], node.attributes.get("mode", "constant")
    rank, axes, filler = len(value.axes), optional(operands, 3), optional(operands, 2)
    amounts = fixed(operands[1], "amounts").reshape(2, -1).T
    along = range(rank) if axes is None else fixed(axes, "axes").reshape(-1).tolist()
    pads = np.zeros((rank, 2), np.int32)
    for axis, amount in zip(along, amounts, strict=True):
        pads[axis_of(value, axis)] = amount
    if pads.min(initial=0) < 0:
        raise Unable("negative amounts")
    order = job.natural([value])
    zero = filler is None or not fixed(filler, "a value").any()
    same = mode == "constant" and zero
    shape = node.given[0].shape
    taken, sizes = job.lay(value, order), [shape[n] for n in order]
    made = job.tensor(name, sizes, value.dtype)
    placed = job.constant(pads[list(order)], np.int32)
    if same:
        job.operate("PAD", [taken, placed], [made])
    elif mode == "constant" and filler is not None:
        held = job.constant(fixed(filler, "a value").reshape(()))
        job.operate("PADV2", [taken, placed, held], [made])
    elif mode == "reflect":
        job.operate("MIRROR_PAD", [taken, placed], [made], mode=0)
    else:
        raise Unable(f"mode {mode}")
    return [job.give(name, shape, made, order)]


def _expand(job: Assembly, node: Node, operands: Operands) -> list[Value]:
    value, name, shape = first(operands), node.outputs[0], node.given[0].shape
    wide = job.reshaped(value, name, (1,) * (len(shape) - len(value.axes)) + value.shape)
    if wide.shape == shape:
        return [wide]
    order = job.natural([wide])
    return [_spread(job, "BROADCAST_TO", wide, name, shape, order)]


def _tile(job: Assembly, node: Node, operands: Operands) -> list[Value]:
    value, name, shape = first(operands), node.outputs[0], node.given[0].shape
    fixed(operands[1], "repeats")
    return [_spread(job, "TILE", value, name, shape, job.natural([value]))]


def _spread(
    job: Assembly, kind: str, value: Value, name: str, shape: Sequence[int], order: Sequence[int]
) -> Value:
    made = job.tensor(name, [shape[n] for n in order], value.dtype)
    repeats = [shape[n] // value.shape[n] for n in order]
    wanted = job.constant(repeats if kind == "TILE" else made.shape, np.int32)
    job.operate(kind, [job.lay(value, order), wanted], [made])
    return job.give(name, shape, made, order)


def _depth_to_space(job: Assembly, node: Node, operands: Operands) -> list[Value]:
    """Regroup: the channels hold a block of height and width before, or after, what is left."""
    value, name, block = first(operands), node.outputs[0], node.attributes["blocksize"]
    batch, channels, height, width = value.shape
    rest = channels // block**2
    if node.attributes.get("mode", "DCR") == "DCR":
        parts, order = (batch, block, block, rest, height, width), (0, 3, 4, 1, 5, 2)
    else:
        parts, order = (batch, rest, block, block, height, width), (0, 1, 4, 2, 5, 3)
    turned = job.transposed(job.reshaped(value, name, parts), name, order)
    return [job.reshaped(turned, name, node.given[0].shape)]


TABLE: Final[dict[str, Lowering]] = {
    "Concat": _concat,
    "DepthToSpace": _depth_to_space,
    "Expand": _expand,
    "Flatten": _reshape,
    "Gather": _gather,
    "Pad": _pad,
    "Reshape": _reshape,
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _reshape,
    "Tile": _tile,
    "Transpose": _transpose,
    "Unsqueeze": _reshape,
}
