"""One plain form of a float model, reached by steps that change no score.

Each step takes a model that onnx's checker accepts and gives another; ``parity`` proves on real
windows that its scores are those of the input model.
"""

from collections.abc import Callable
from functools import partial
from typing import Final

import numpy as np
import onnx
from onnx import checker, helper, inliner, numpy_helper, shape_inference, version_converter

from convert.parity import Parity
from convert.source import DEFAULT_DOMAINS, first_line
from edge_bundle.errors import ModelRefused

ML: Final = "ai.onnx.ml"
MAX_IR: Final = 10
MIN_OPSET, MAX_OPSET = 13, 21
"""Per-channel codes came with opset 13; onnxruntime 1.20, our oldest, knows IR 10 and opset 21."""
FAILURES: Final = (
    *(checker.ValidationError, shape_inference.InferenceError, version_converter.ConvertError),
    *(ModelRefused, RuntimeError, ValueError),
)
"""How a step says that it cannot; anything else is a bug of ours."""

Step = Callable[[onnx.ModelProto], onnx.ModelProto]


def canonicalise(parity: Parity) -> bytes:
    """Return the canonical form of the input model: one input, one output, static shapes.

    Raises: ModelRefused: where a step fails, or changes the scores.
    """
    source = parity.source
    steps: dict[str, Step] = {
        "inline-functions": inline_functions,
        "lift-constants": lift_constants,
        "keep-scores": partial(keep_scores, output=parity.output),
        "lower-scalers": lower_scalers,
        "fix-shapes": partial(fix_shapes, taken=source.input_shape, given=parity.shape),
        "bound-versions": bound_versions,
    }
    data = source.data
    for name, step in steps.items():
        try:
            model = step(onnx.load_model_from_string(data))
            checker.check_model(model)
        except FAILURES as error:
            raise ModelRefused(f"{source.path}: step {name}: {first_line(error)}") from None
        changed = to_bytes(model)
        if changed != data:
            parity.check(changed, name)
            data = changed
    return data


def to_bytes(model: onnx.ModelProto) -> bytes:
    """Return a model's bytes: the same for equal models."""
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def inline_functions(model: onnx.ModelProto) -> onnx.ModelProto:
    """Put the model's own functions where they are called."""
    return inliner.inline_local_functions(model) if model.functions else model


def lift_constants(model: onnx.ModelProto) -> onnx.ModelProto:
    """Turn constant nodes into initializers: only these are quantized as weights."""
    for node in list(model.graph.node):
        value = next((a for a in node.attribute if a.name == "value"), None)
        if node.op_type == "Constant" and node.domain in DEFAULT_DOMAINS and value is not None:
            tensor = model.graph.initializer.add()
            tensor.CopyFrom(value.t)
            tensor.name = node.output[0]
            model.graph.node.remove(node)
    return model


def keep_scores(model: onnx.ModelProto, output: str) -> onnx.ModelProto:
    """Keep only what leads to one output; notes of the exporter go as well."""
    graph = model.graph
    needed = {output}
    kept = []
    for node in reversed(graph.node):  # a checked graph is sorted
        if needed.intersection(node.output):
            needed.update(node.input)
            node.ClearField("doc_string")
            node.ClearField("metadata_props")
            kept.append(node)
    weights = [t for t in graph.initializer if t.name in needed]
    names = {t.name for t in weights}
    inputs = [i for i in graph.input if i.name in needed and i.name not in names]
    outputs = [o for o in graph.output if o.name == output]
    if not inputs:
        raise ModelRefused(f"output {output} does not depend on the input")
    sparse = [t for t in graph.sparse_initializer if t.values.name in needed]
    slim = helper.make_graph(
        kept[::-1], graph.name, inputs, outputs, weights, sparse_initializer=sparse
    )
    domains = {"" if n.domain in DEFAULT_DOMAINS else n.domain for n in kept} | {""}
    opsets = {
        "" if o.domain in DEFAULT_DOMAINS else o.domain: o.version for o in model.opset_import
    }
    imports = [helper.make_opsetid(d, opsets[d]) for d in sorted(domains & opsets.keys())]
    # Weights that are no inputs came with IR 4.
    ir = min(max(model.ir_version, 4), MAX_IR)
    return helper.make_model(slim, opset_imports=imports, ir_version=ir, producer_name="edgeward")


def lower_scalers(model: onnx.ModelProto) -> onnx.ModelProto:
    """Say ai.onnx.ml's Scaler, (x - offset) * scale, in operators that every runtime has."""
    graph = model.graph
    scalers = [n for n in graph.node if n.domain == ML and n.op_type == "Scaler"]
    if not scalers:
        return model
    nodes = []
    for node in graph.node:
        if node not in scalers:
            nodes.append(node)
            continue
        (taken,), (given,) = node.input, node.output
        values = {"offset": [0.0], "scale": [1.0]}
        values |= {a.name: list(a.floats) for a in node.attribute}
        for name, floats in values.items():
            array = np.asarray(floats, np.float32)
            graph.initializer.append(numpy_helper.from_array(array, f"{given}_{name}"))
        nodes += [
            helper.make_node("Sub", [taken, f"{given}_offset"], [f"{given}_centred"]),
            helper.make_node("Mul", [f"{given}_centred", f"{given}_scale"], [given]),
        ]
    del graph.node[:]
    graph.node.extend(nodes)
    opsets = {o.domain: o.version for o in model.opset_import}
    opsets.setdefault("", MIN_OPSET)
    if not any(n.domain == ML for n in nodes):
        opsets.pop(ML, None)
    del model.opset_import[:]
    model.opset_import.extend(helper.make_opsetid(d, v) for d, v in sorted(opsets.items()))
    return model


def fix_shapes(
    model: onnx.ModelProto, taken: tuple[int, ...], given: tuple[int, ...]
) -> onnx.ModelProto:
    """Write the shapes for one window into the input and the output."""
    for value, shape in ((model.graph.input[0], taken), (model.graph.output[0], given)):
        del value.type.tensor_type.shape.dim[:]
        for size in shape:
            value.type.tensor_type.shape.dim.add().dim_value = size
    return model


def bound_versions(model: onnx.ModelProto) -> onnx.ModelProto:
    """Bring the opset to what devices and the quantizer know."""
    found = next((o.version for o in model.opset_import if o.domain == ""), MIN_OPSET)
    target = min(max(found, MIN_OPSET), MAX_OPSET)
    if found != target:
        model = version_converter.convert_version(model, target)
        model.ir_version = min(model.ir_version, MAX_IR)
    return model
