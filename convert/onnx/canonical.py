"""One plain form of a float model, reached by steps that change no score.

Each step takes a model that onnx's checker accepts and gives another; ``parity`` proves on real
windows that its scores are those of the input model.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
import onnx
from onnx import checker, helper, inliner, numpy_helper, shape_inference, version_converter

from convert.given.source import DEFAULT_DOMAINS, ML, first_line
from convert.onnx.folding import fold_batch_norm, gather_embeddings, simplify
from convert.parity import BOUND, FOLDED, Parity
from edge_bundle.errors import ModelRefused

FLOAT: Final = onnx.TensorProto.FLOAT
MAX_IR: Final = 10
MIN_OPSET, MAX_OPSET = 13, 21
"""Per-channel codes came with opset 13; onnxruntime 1.20, our oldest, knows IR 10 and opset 21."""
FAILURES: Final = (
    *(checker.ValidationError, shape_inference.InferenceError, version_converter.ConvertError),
    *(ModelRefused, RuntimeError, ValueError),
)
"""How a step says that it cannot; anything else is a bug of ours."""

OPTIONAL: Final = frozenset({"simplify", "gather-embeddings", "fold-batch-norm"})
"""They make a model smaller or faster; one that they break is taken as it was."""

Step = Callable[[onnx.ModelProto], onnx.ModelProto]


@dataclass(frozen=True, slots=True)
class Canonical:
    """A model in plain form."""

    data: bytes
    notes: tuple[str, ...]
    """Steps that were left out, each in a sentence."""
    left_out: tuple[str, ...]
    """Their names."""


def canonicalise(parity: Parity) -> Canonical:
    """Return the canonical form of the input model: one input, static shapes, nothing needless.

    Raises: ModelRefused: where a step fails, or changes the outputs.
    """
    source = parity.source
    shapes = dict(zip(parity.outputs, parity.shapes, strict=True))
    steps: dict[str, tuple[Step, float]] = {
        "inline-functions": (inline_functions, BOUND),
        # Before constants become weights: in files of IR 3 each of these is an input as well.
        "keep-outputs": (partial(keep_outputs, outputs=parity.outputs), BOUND),
        "lift-constants": (lift_constants, BOUND),
        "lower-scalers": (lower_scalers, BOUND),
        "fix-shapes": (partial(fix_shapes, taken=source.input.shape, given=shapes), BOUND),
        "bound-versions": (bound_versions, BOUND),
        "simplify": (simplify, FOLDED),
        "gather-embeddings": (gather_embeddings, FOLDED),
        "fold-batch-norm": (fold_batch_norm, FOLDED),
        "drop-unused": (partial(keep_outputs, outputs=parity.outputs), BOUND),
        "name-nodes": (name_nodes, BOUND),
    }
    data, allowed = source.data, BOUND
    notes: dict[str, str] = {}
    for name, (step, bound) in steps.items():
        try:
            model = step(onnx.load_model_from_string(data))
            checker.check_model(model)
            changed = to_bytes(model)
            if changed != data:
                # Against the input model, so with what the steps before were allowed.
                parity.check(changed, name, max(bound, allowed))
                data, allowed = changed, max(bound, allowed)
        except FAILURES as error:
            why = first_line(error).removeprefix(f"{source.path}: ")
            why = why.removeprefix(f"step {name} ")
            if name not in OPTIONAL:
                raise ModelRefused(f"{source.path}: step {name}: {why}") from None
            notes[name] = f"Step {name} was left out: {why}."
    return Canonical(data, tuple(notes.values()), tuple(notes))


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


def keep_outputs(model: onnx.ModelProto, outputs: tuple[str, ...]) -> onnx.ModelProto:
    """Keep only what leads to some outputs; notes of the exporter go as well."""
    graph = model.graph
    needed = set(outputs)
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
    kept_outputs = {o.name: o for o in graph.output}
    if not inputs:
        raise ModelRefused(f"output {', '.join(outputs)} does not depend on the input")
    sparse = [t for t in graph.sparse_initializer if t.values.name in needed]
    slim = helper.make_graph(
        kept[::-1],
        graph.name,
        inputs,
        [kept_outputs[name] for name in outputs],
        weights,
        sparse_initializer=sparse,
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
    known = shape_inference.infer_shapes(model).graph
    kinds = {v.name: v.type.tensor_type.elem_type for v in (*known.input, *known.value_info)}
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
        if kinds.get(taken, FLOAT) != FLOAT:
            nodes.append(helper.make_node("Cast", [taken], [f"{given}_float"], to=FLOAT))
            taken = f"{given}_float"
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
    model: onnx.ModelProto, taken: tuple[int, ...], given: Mapping[str, tuple[int, ...]]
) -> onnx.ModelProto:
    """Write the shapes for one sample into the input and the outputs."""
    values = [(model.graph.input[0], taken), *((o, given[o.name]) for o in model.graph.output)]
    for value, shape in values:
        value.type.tensor_type.elem_type = value.type.tensor_type.elem_type or FLOAT
        del value.type.tensor_type.shape.dim[:]
        for size in shape:
            value.type.tensor_type.shape.dim.add().dim_value = size
    # They may still speak of a free batch.
    del model.graph.value_info[:]
    return model


def bound_versions(model: onnx.ModelProto) -> onnx.ModelProto:
    """Bring the opset to what devices and the quantizer know."""
    found = next((o.version for o in model.opset_import if o.domain == ""), MIN_OPSET)
    target = min(max(found, MIN_OPSET), MAX_OPSET)
    if found != target:
        model = version_converter.convert_version(model, target)
        model.ir_version = min(model.ir_version, MAX_IR)
    return model


def name_nodes(model: onnx.ModelProto) -> onnx.ModelProto:
    """Give every node a name of its own; the quantizer and the report call nodes by it."""
    taken: set[str] = set()
    for number, node in enumerate(model.graph.node):
        if not node.name or node.name in taken:
            node.name = f"{node.op_type}_{number}"
        while node.name in taken:
            node.name += "_"
        taken.add(node.name)
    return model
