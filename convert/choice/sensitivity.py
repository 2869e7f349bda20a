"""What int8 does to the output when one node alone is int8."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Final

import numpy as np
import onnx
from onnx import numpy_helper

from convert.choice.recipes import TFLITE_WEIGHTED, FloatModel, Recipe, emit_only
from convert.findings import Damage
from convert.onnx.calibration import sqnr_db
from convert.parity import run_model
from convert.progress import Progress
from edge_bundle.errors import ModelRefused
from edge_bundle.tensor import Array, Float32Array

SHORT: Final = 4
"""Bytes that a float32 weight takes, of which int8 saves three."""


@dataclass(frozen=True, slots=True)
class Node:
    """Something that int8 makes smaller."""

    name: str
    operator: str
    bytes_saved: int


def find_nodes(model: FloatModel) -> list[Node]:
    """Return the nodes with weights in the order in which they run."""
    if model.format == "tflite":
        from convert.tflite.source import operators

        return [
            Node(o.output, o.name, o.weight_bytes * (SHORT - 1) // SHORT)
            for o in operators(model.data)
            if o.name in TFLITE_WEIGHTED
        ]
    weights = {
        t.name: numpy_helper.to_array(t).nbytes
        for t in onnx.load_model_from_string(model.data).graph.initializer
    }
    return [
        Node(n.name, n.op_type, max(weights.get(i, 0) for i in n.input) * (SHORT - 1) // SHORT)
        for n in model.nodes
    ]


def measure_damage(
    model: FloatModel,
    recipe: Recipe,
    inputs: Sequence[Array],
    expected: Sequence[Float32Array],
    progress: Progress,
) -> list[Damage]:
    """Return for each node with weights what it costs to make it int8, without labels.

    Args:
        model: calibrated.
        recipe: of static int8, with all nodes.
        inputs: samples to run.
        expected: what float gives for them, float32 [samples, ...] of each output.
    """
    found = []
    nodes = find_nodes(model)
    for number, node in enumerate(nodes):
        try:
            made = emit_only(model, recipe, node.name)
            db = quality(run_model(made, model.format, inputs), expected)
        except ModelRefused:  # this node has no int8 form by itself
            db = float("inf")
        decibels = round(db, 2) if isfinite(db) else None
        found.append(Damage(node.name, node.operator, decibels, node.bytes_saved, False))
        progress.advance(number + 1, len(nodes))
    return found


def quality(found: Sequence[Float32Array], expected: Sequence[Float32Array]) -> float:
    """Return the SQNR of a model's outputs in decibels, of the worst one."""
    return float(np.min([sqnr_db(e, f) for f, e in zip(found, expected, strict=True)]))
