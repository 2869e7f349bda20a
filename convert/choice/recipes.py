"""Ways to make a model small, and the files that they give.

A recipe is all that its file depends on beside the float model and the ranges: the same recipe
gives the same bytes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import onnx
from msgspec import Struct

from convert.findings import Precision
from convert.onnx import quantization
from convert.ranges import Method, Ranges
from convert.targets import Target
from edge_bundle.errors import ModelRefused

Format = Literal["onnx", "tflite"]
TFLITE_WEIGHTED: Final = frozenset(
    {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV", "BATCH_MATMUL"}
)
"""What holds most weights and does most of the work."""


class Recipe(Struct, frozen=True):
    """One way to make a model small."""

    format: Format
    precision: Precision
    ranges: Method | None = None
    """Of static int8."""
    scope: quantization.Scope | None = None
    """Of static int8."""
    activations: quantization.Activations | None = None
    reduce_range: bool = False
    by_rows: bool = False
    """Of dynamic int8 in TFLite: convolutions along one dimension are matrix products."""
    float_nodes: tuple[str, ...] = ()
    """Nodes of the ONNX form (of a TFLite model: output tensors) that stay float."""

    @property
    def variant(self) -> str:
        """Such as ``onnx-int8``."""
        return f"{self.format}-{self.precision}"

    def words(self) -> str:
        """Return the recipe in full."""
        if self.precision == "float":
            return "float32"
        if self.precision == "fp16":
            return "float16 weights, computing in float32"
        if self.precision == "dynamic":
            rows = ", row by row" if self.by_rows else ""
            return f"int8 weights by channel, ranges of activations found as it runs{rows}"
        form = "static QDQ" if self.format == "onnx" else "static"
        codes = self.activations or "int8"
        parts = [
            f"{form} {codes} activations, int8 weights by channel",
            f"{self.ranges} ranges",
        ]
        if self.scope:
            parts.append(self.scope)
        if self.reduce_range:
            parts.append("7-bit weights")
        if self.float_nodes:
            parts.append(f"{len(self.float_nodes)} left in float")
        return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class FloatModel:
    """A float model in one format, and what a float pass made of it."""

    format: Format
    data: bytes
    ranges: Mapping[Method, Ranges]
    """Empty where nothing was calibrated."""
    tensors: Mapping[str, str]
    """Of TFLite: the output tensor that stands for a node of the plan. Empty for ONNX."""
    by_rows: bytes | None = None
    """Of TFLite: the same with convolutions along one dimension as matrix products, for ranges
    that are found as it runs; None where there are none."""

    @property
    def nodes(self) -> list[onnx.NodeProto]:
        """Nodes that int8 makes smaller; of ONNX alone."""
        return quantization.int8_nodes(self.data)


def static_recipes(model: FloatModel, target: Target) -> list[Recipe]:
    """Return the ways of static int8 that are worth trying for a target."""
    scopes: tuple[quantization.Scope, ...] = ("all operators", "weighted operators")
    if model.format == "tflite":
        return [Recipe("tflite", "int8", m, scope) for scope in scopes for m in model.ranges]
    return [
        Recipe("onnx", "int8", method, scope, target.activations, target.reduce_range)
        for scope in scopes
        for method in model.ranges
    ]


def emit(model: FloatModel, recipe: Recipe) -> bytes:
    """Return the file that a recipe makes of a float model.

    Raises: ModelRefused: where the emitter cannot. ConfigError: where it is not installed.
    """
    if recipe.format == "onnx":
        return _emit_onnx(model, recipe)
    from convert.tflite.compaction import compact

    narrow = recipe.precision in {"int8", "dynamic"}
    return compact(_emit_tflite(model, recipe), narrow=narrow)


def emit_only(model: FloatModel, recipe: Recipe, node: str) -> bytes:
    """Return a file in which one node alone is int8.

    Raises: as ``emit``.
    """
    if recipe.format == "onnx":
        ranges = _ranges(model, recipe)
        return quantization.quantize_static(model.data, ranges, _static(recipe), only=[node])
    from convert.tflite import quantization as tflite

    others = {name for of in (True, False) for name in _tflite_nodes(model.data, weighted=of)}
    return tflite.quantize_static(model.data, _ranges(model, recipe), others - {node})


def _emit_tflite(model: FloatModel, recipe: Recipe) -> bytes:
    from convert.tflite import quantization as tflite

    if recipe.precision == "float":
        return model.data
    if recipe.precision == "fp16":
        return tflite.quantize_weights_fp16(model.data)
    kept = {model.tensors.get(node, node) for node in recipe.float_nodes}
    if recipe.precision == "dynamic":
        by_rows = recipe.by_rows and model.by_rows
        return tflite.quantize_dynamic(by_rows or model.data, kept)
    if recipe.scope == "weighted operators":
        kept |= set(_tflite_nodes(model.data, weighted=False))
    return tflite.quantize_static(model.data, _ranges(model, recipe), kept)


def _tflite_nodes(data: bytes, *, weighted: bool) -> list[str]:
    """Return the output tensors of the operators with weights, or of the others."""
    from convert.tflite.source import operators

    return [o.output for o in operators(data) if (o.name in TFLITE_WEIGHTED) == weighted]


def _emit_onnx(model: FloatModel, recipe: Recipe) -> bytes:
    if recipe.precision == "float":
        return quantization.keep_weights(model.data)
    if recipe.precision == "fp16":
        return quantization.narrow_weights(model.data)
    if recipe.precision == "dynamic":
        return quantization.quantize_dynamic(model.data, recipe.float_nodes)
    return quantization.quantize_static(
        model.data, _ranges(model, recipe), _static(recipe), keep_float=recipe.float_nodes
    )


def _ranges(model: FloatModel, recipe: Recipe) -> Ranges:
    if recipe.ranges is None or recipe.ranges not in model.ranges:
        raise ModelRefused("static int8 needs ranges: give --calibration")
    return model.ranges[recipe.ranges]


def _static(recipe: Recipe) -> quantization.Static:
    assert recipe.activations is not None
    assert recipe.scope is not None
    return quantization.Static(recipe.activations, recipe.scope, recipe.reduce_range)
