"""The last steps on an ONNX file: what costs bytes and says nothing to a runtime goes."""

from collections.abc import Iterator
from typing import Final

import numpy as np
import onnx
from onnx import helper, numpy_helper

from convert.given.source import QUANTIZED

FP16_LEAST: Final = 64
"""Values; a smaller weight costs more as a node than it saves."""
FP16_MAX: Final = float(np.finfo(np.float16).max)
ALPHABET: Final = "0123456789abcdefghijklmnopqrstuvwxyz"


def compact(model: onnx.ModelProto) -> onnx.ModelProto:
    """Merge equal weights, name everything inside as shortly as can be, drop what is inferred.

    In a small quantized model the names of tensors are a fifth of the file.
    """
    graph = model.graph
    del graph.value_info[:]
    graph.ClearField("doc_string")
    model.ClearField("metadata_props")
    # A weight that no node takes any more still costs its bytes.
    used = {name for node in graph.node for name in node.input} | {o.name for o in graph.output}
    shown = {v.name for v in (*graph.input, *graph.output)}
    kept, twins = [], {}
    seen: dict[bytes, str] = {}
    for tensor in graph.initializer:
        if tensor.name not in used:
            continue
        content = onnx.TensorProto()
        content.CopyFrom(tensor)
        content.ClearField("name")
        content.ClearField("doc_string")
        first = seen.setdefault(content.SerializeToString(deterministic=True), tensor.name)
        if tensor.name in shown:
            first = tensor.name
        twins[tensor.name] = first
        if first == tensor.name:
            kept.append(tensor)
    names = _short_names(shown)
    short: dict[str, str] = {name: name for name in (*shown, "")}

    def rename(name: str) -> str:
        name = twins.get(name, name)
        if name not in short:
            short[name] = next(names)
        return short[name]

    for node in graph.node:
        node.ClearField("name")
        node.ClearField("doc_string")
        node.input[:] = [rename(name) for name in node.input]
        node.output[:] = [rename(name) for name in node.output]
    weights = []
    for tensor in kept:
        copy = onnx.TensorProto()
        copy.CopyFrom(tensor)
        copy.name = rename(tensor.name)
        copy.ClearField("doc_string")
        weights.append(copy)
    del graph.initializer[:]
    graph.initializer.extend(weights)
    return model


def store_fp16(model: onnx.ModelProto) -> onnx.ModelProto:
    """Store float weights in 16 bits; a runtime widens them once, when it loads the file.

    Weights that 16 bits cannot hold stay as they are.
    """
    graph = model.graph
    kept = {o.name for o in graph.output}
    # Scales are as exact as they were measured.
    kept |= {i for n in graph.node if n.op_type in QUANTIZED for i in n.input[1:]}
    stored, casts = [], []
    for tensor in graph.initializer:
        values = numpy_helper.to_array(tensor)
        small = values.size < FP16_LEAST
        if (
            small
            or tensor.name in kept
            or values.dtype != np.float32
            or np.abs(values).max() > FP16_MAX
        ):
            stored.append(tensor)
            continue
        half = f"{tensor.name}/fp16"
        stored.append(numpy_helper.from_array(values.astype(np.float16), half))
        casts.append(helper.make_node("Cast", [half], [tensor.name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    weights = [_copy(t) for t in stored]
    del graph.initializer[:], graph.node[:]
    graph.initializer.extend(weights)
    graph.node.extend(nodes)
    return model


def own_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Give every use of a shared weight a copy of its own.

    onnxruntime's quantizer makes an invalid graph of a weight that two nodes take
    (microsoft/onnxruntime#24705).
    """
    graph = model.graph
    weights = {t.name: t for t in graph.initializer}
    taken: set[str] = set()
    for number, node in enumerate(graph.node):
        for place, name in enumerate(node.input):
            if name not in weights:
                continue
            if name in taken:
                copy = graph.initializer.add()
                copy.CopyFrom(weights[name])
                copy.name = f"{name}/{number}.{place}"
                node.input[place] = copy.name
            taken.add(name)
    return model


def _copy(tensor: onnx.TensorProto) -> onnx.TensorProto:
    copy = onnx.TensorProto()
    copy.CopyFrom(tensor)
    return copy


def _short_names(taken: set[str]) -> Iterator[str]:
    number = 0
    while True:
        name, rest = "", number
        while True:
            rest, digit = divmod(rest, len(ALPHABET))
            name = ALPHABET[digit] + name
            if not rest:
                break
        number += 1
        if name not in taken:
            yield name
