"""The manifest of a bundle: its types, and what follows from them.

Field names are the contract in docs/bundle.md. ``document`` writes and reads its bytes.
"""

from math import prod
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from edge_bundle.decision.fit import outputs_read
from edge_bundle.decision.rules import Rule
from edge_bundle.errors import BundleRefused
from edge_bundle.features.steps import Form, Step

SCHEMA: Final = 1
RATE_TOLERANCE: Final = 0.02
"""Relative; what is further off than this from a stream's rate does not fit the stream."""
PREPARED: Final = frozenset(
    {"float32", "float16", "int8", "uint8", "int16", "int32", "int64", "bool"}
)
"""Types of a prepared tensor."""

# Python's ``$`` also matches before a line's end, and its ``\d`` is any script's digit.
Name = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$(?!\n)")]
Version = Annotated[
    str,
    Meta(
        pattern=r"^(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)(-[0-9A-Za-z.-]+)?$(?!\n)",
        max_length=64,
    ),
]
FileName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$(?!\n)")]
Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$(?!\n)")]
Positive = Annotated[int, Meta(ge=1)]
PositiveFloat = Annotated[float, Meta(gt=0)]
Fraction = Annotated[float, Meta(ge=0, le=1)]


class Channel(Struct, frozen=True):
    """One column of a stream."""

    name: str
    unit: str


class Stream(Struct, frozen=True):
    """What the model was trained to see of a sensor."""

    rate_hz: PositiveFloat
    channels: Annotated[tuple[Channel, ...], Meta(min_length=1)]
    window: Positive
    """Samples in one window."""
    hop: Positive
    """Samples from the start of one window to the start of the next."""
    gap: Literal["restart"] = "restart"
    """What a gap does: windows that would span it are not made."""
    resample: Literal["refuse", "linear", "polyphase"] = "refuse"
    """What another sample rate does: see ``resampling``."""

    @property
    def form(self) -> Form:
        """What a window is before the features."""
        return Form(self.window, len(self.channels), self.rate_hz)


class Tensor(Struct, frozen=True):
    """A tensor of the model file; free dimensions are 1."""

    name: str
    shape: Annotated[tuple[Positive, ...], Meta(max_length=16)]
    dtype: str
    scale: float | None = None
    zero_point: int | None = None


class Tensors(Struct, frozen=True):
    """What goes into the model file and what comes out."""

    inputs: Annotated[tuple[Tensor, ...], Meta(min_length=1)]
    outputs: Annotated[tuple[Tensor, ...], Meta(min_length=1)]


class State(Struct, frozen=True):
    """A tensor that the model gives, and is given again with the next window; zeros at first."""

    input: str
    output: str


class Requires(Struct, frozen=True):
    """What a device must have before it fetches a byte."""

    agent: str = "0.1.0"
    """Least version of the agent."""
    profiles: tuple[str, ...] = ()
    """Device profiles that it is for; empty for all."""


class Golden(Struct, frozen=True):
    """Raw windows and the scores that the converter saw."""

    file: FileName
    tolerance: PositiveFloat
    """Largest difference of a score from the recorded one, absolute."""


class Reference(Struct, frozen=True):
    """Summary of the calibration windows, for drift."""

    file: FileName


class Limits(Struct, frozen=True):
    """What the model may cost, by device profile (``default`` for the others)."""

    memory_bytes: dict[str, Positive] = {}
    latency_ms: dict[str, PositiveFloat] = {}


class Provenance(Struct, frozen=True):
    """Where the model came from, and what was measured."""

    source_sha256: Sha256
    recipe: str
    calibration_sha256: Sha256 | None = None
    evaluation_sha256: Sha256 | None = None
    evaluation_windows: int = 0
    float_accuracy: Fraction | None = None
    final_accuracy: Fraction | None = None
    metric: str | None = None
    """What the figures are: ``accuracy``, ``agreement with float``, ``module:function``, …"""
    holdout_windows: int | None = None
    """Of the evaluation's, those that chose nothing and gave the figures; None for all."""
    plan_sha256: Sha256 | None = None
    """Of the plan that emits the same model again."""
    runtime: str | None = None
    """Name and version of what ran the golden vectors."""
    machine: str | None = None
    """Architecture of what ran them, such as ``x86_64``."""


class Member(Struct, frozen=True):
    """A file of the bundle beside the manifest."""

    sha256: Sha256
    length: Annotated[int, Meta(ge=0)]


class Manifest(Struct, frozen=True, kw_only=True):
    """All that a device must know of a bundle."""

    schema: Literal[1] = SCHEMA
    name: Name
    version: Version
    variant: Name
    format: Literal["onnx", "tflite"]
    model: FileName
    files: dict[FileName, Member]
    tensors: Tensors
    stateful: bool = False
    state: tuple[State, ...] = ()
    """What is fed back; of the same shapes in and out."""
    constants: dict[str, int | float] = {}
    """Inputs, by name, that are always filled with one number."""
    requires: Requires = Requires()
    stream: Stream | None = None
    """None: the model takes prepared tensors as they are."""
    features: tuple[Step, ...] = ()
    decision: Rule | None = None
    """None: all outputs are given as they are."""
    golden: Golden
    reference: Reference | None = None
    limits: Limits = Limits()
    provenance: Provenance

    @property
    def file_name(self) -> str:
        """``NAME-VERSION-VARIANT.bundle``."""
        return f"{self.name}-{self.version}-{self.variant}.bundle"

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of every input and output, by name: what fixes a model's free dimensions."""
        return {t.name: t.shape for t in (*self.tensors.inputs, *self.tensors.outputs)}

    @property
    def window_input(self) -> int:
        """Which of the model's inputs takes the window: the one that nothing else fills."""
        filled = {s.input for s in self.state} | set(self.constants)
        free = (i for i, t in enumerate(self.tensors.inputs) if t.name not in filled)
        return next(free, 0)

    @property
    def given_outputs(self) -> tuple[int, ...]:
        """Which of the model's outputs say something of the window: those that are no state."""
        state = {s.output for s in self.state}
        return tuple(i for i, t in enumerate(self.tensors.outputs) if t.name not in state)

    @property
    def scores_outputs(self) -> tuple[int, ...]:
        """Which of the model's outputs a window's scores are, one after another."""
        given = self.given_outputs
        if self.decision is None:
            return given
        read = outputs_read(self.decision, [self.tensors.outputs[i].name for i in given])
        return tuple(given[i] for i in read)

    @property
    def scores_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of these outputs."""
        return tuple(self.tensors.outputs[i].shape for i in self.scores_outputs)

    @property
    def scores_count(self) -> int:
        """How many values one window gives: those that the decision reads, else all."""
        return sum(prod(shape) for shape in self.scores_shapes)

    @property
    def window_shape(self) -> tuple[int, ...]:
        """[samples, channels] of a raw window, else the shape of the prepared tensor."""
        if self.stream:
            return self.stream.window, len(self.stream.channels)
        return self.tensors.inputs[self.window_input].shape

    @property
    def window_dtype(self) -> str:
        """NumPy's name of the type of a window."""
        return "float32" if self.stream else self.tensors.inputs[self.window_input].dtype

    def expect_stream(self) -> Stream:
        """Return the stream of a bundle that runs on live samples.

        Raises: BundleRefused: it takes prepared tensors, or does not say what its scores mean.
        """
        if self.stream is None:
            raise BundleRefused(
                f"{self.file_name} takes prepared tensors: it has no [stream]; build it with --spec"
            )
        if self.decision is None:
            raise BundleRefused(
                f"{self.file_name} gives bare scores: it has no [decision]; build it with --spec"
            )
        return self.stream
