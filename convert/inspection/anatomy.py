"""What a model file is made of, whatever its format: plain types, filled without running it."""

from collections.abc import Iterable
from typing import Final, Literal

from msgspec import Struct

Format = Literal["onnx", "tflite"]
NONE_HEAVY: Final = "no weights to multiply"


class TensorFacts(Struct, frozen=True):
    """An input or an output."""

    name: str
    shape: tuple[int | str, ...] | None
    """A free dimension is its name, or ``?``; None where the file states no shape."""
    dtype: str
    """NumPy's name of the type, or the format's own where NumPy has none."""
    scale: float | None = None
    zero_point: int | None = None


class Operator(Struct, frozen=True):
    """A kind of operator, with how often it occurs in all graphs of the file."""

    name: str
    """With its domain where that is not ONNX's own: ``com.microsoft.QGemm``."""
    count: int


class Anatomy(Struct, frozen=True, kw_only=True):
    """What a model file is made of."""

    format: Format
    ir: int | None = None
    """ONNX's file format; None for TFLite."""
    opsets: dict[str, int] = {}
    """By domain, ``ai.onnx`` for ONNX's own; empty for TFLite."""
    producer: str
    """Program that wrote it, empty where the file does not say."""
    inputs: tuple[TensorFacts, ...]
    outputs: tuple[TensorFacts, ...]
    operators: tuple[Operator, ...]
    """The most frequent first."""
    parameters: int
    """Constant values that take part in arithmetic: no shapes, axes or indices."""
    weight_bytes: dict[str, int]
    """Bytes of all constants, by type."""
    arithmetic: dict[str, int]
    """How many of the operators with weights compute how: ``float32``, ``float16``, ``int8``,
    ``int8 weights`` (activations in float), ``dynamic int8``, ``int16 activations``."""
    stateful: tuple[str, ...] = ()
    """What remembers something between calls, such as ``12 VAR_HANDLE``."""
    control_flow: tuple[str, ...] = ()
    """Operators that choose or repeat graphs."""
    custom: tuple[str, ...] = ()
    """Operators that are not of the format itself."""
    external: tuple[str, ...] = ()
    """Other files that hold weights."""
    multiply_accumulates: int = 0
    """Of one run with every free dimension 1, by the operators that ``uncounted`` does not name."""
    uncounted: tuple[str, ...] = ()
    """Operators that multiply as well, with unknown sizes or in a graph that may not run."""

    @property
    def precision(self) -> str:
        """One word for ``arithmetic``, or ``mixed`` with its parts."""
        parts = [f"{count} {kind}" for kind, count in sorted(self.arithmetic.items())]
        if len(parts) > 1:
            return f"mixed: {', '.join(parts)}"
        return next(iter(self.arithmetic), NONE_HEAVY)

    @property
    def is_quantized(self) -> bool:
        """Whether any operator with weights computes or stores codes."""
        return any("int" in kind for kind in self.arithmetic)


def count_operators(names: Iterable[str]) -> tuple[Operator, ...]:
    """Return how often each name occurs, the most frequent first."""
    counts: dict[str, int] = {}
    for name in names:
        counts[name] = counts.get(name, 0) + 1
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return tuple(Operator(name, count) for name, count in ordered)
