"""The manifest of a bundle: its types, its own consistency, its bytes. No file is opened here.

Field names are the contract in docs/bundle.md. Unknown fields are ignored, so that a newer lab can
speak to an older device; a wrong field is refused by its path.
"""

import re
from collections.abc import Sequence
from math import prod
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from edge_bundle.decision.fit import check_rule, outputs_read
from edge_bundle.decision.rules import LATER, Rule
from edge_bundle.errors import BundleRefused
from edge_bundle.features.steps import Form, Step, form_after

SCHEMA: Final = 1
MAX_MANIFEST_BYTES: Final = 1 << 20
RATE_TOLERANCE: Final = 0.02
"""Relative; what is further off than this from a stream's rate does not fit the stream."""
PREPARED: Final = frozenset(
    {"float32", "float16", "int8", "uint8", "int16", "int32", "int64", "bool"}
)
"""Types of a prepared tensor."""
OMITTED: Final = ("stream", "decision")
OMITTED_EMPTY: Final = ("state", "constants")
OMITTED_PROVENANCE: Final = ("metric", "holdout_windows", "plan_sha256", "runtime", "machine")
"""What is left out where it is None or empty, not null: it came later, and must not change the
bytes of earlier bundles."""

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


def encode(manifest: Manifest) -> bytes:
    """Return the manifest's bytes: the same for equal manifests."""
    document = msgspec.to_builtins(manifest)
    for table, names in ((document, OMITTED), (document["provenance"], OMITTED_PROVENANCE)):
        for name in names:
            if table[name] is None:
                del table[name]
    for name in OMITTED_EMPTY:
        if not document[name]:
            del document[name]
    for name, default in LATER.items() if manifest.decision else ():
        if document["decision"].get(name, ...) == default:
            del document["decision"][name]
    return msgspec.json.format(msgspec.json.encode(document, order="sorted"), indent=1) + b"\n"


def decode(data: bytes) -> Manifest:
    """Read a manifest and check that it does not contradict itself.

    Raises: BundleRefused: naming the field by its path.
    """
    if len(data) > MAX_MANIFEST_BYTES:
        raise BundleRefused(f"manifest.json: {len(data)} bytes, at most {MAX_MANIFEST_BYTES}")
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
    except msgspec.ValidationError as error:
        raise BundleRefused(f"manifest.json: {_by_path(str(error))}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BundleRefused(f"manifest.json: not JSON: {error}") from None
    check(manifest)
    return manifest


def check(manifest: Manifest) -> None:
    """Refuse a manifest whose parts do not fit each other.

    Raises: BundleRefused: naming the field, what was found and what was expected.
    """
    listed = {"model": manifest.model, "golden.file": manifest.golden.file}
    if manifest.reference:
        listed["reference.file"] = manifest.reference.file
    for path, name in listed.items():
        if name not in manifest.files:
            raise BundleRefused(f"manifest.json: {path}: {name} is not listed in files")
    _refuse_twice("tensors.outputs", [t.name for t in manifest.tensors.outputs])
    check_feedback(manifest)
    if manifest.decision:
        _check_decision(manifest, manifest.decision)
    if manifest.stream:
        _check_stream(manifest, manifest.stream)
    else:
        _check_prepared(manifest)


def check_feedback(manifest: Manifest) -> None:
    """Refuse state and constants that are not the model's, or leave no one input for the window.

    Raises: BundleRefused: naming the field.
    """
    inputs = {t.name: t for t in manifest.tensors.inputs}
    outputs = {t.name: t for t in manifest.tensors.outputs}
    filled = [*(s.input for s in manifest.state), *manifest.constants]
    _refuse_twice("state, constants", filled)
    _refuse_twice("state", [s.output for s in manifest.state])
    named = [("constants", name, inputs) for name in manifest.constants]
    for i, s in enumerate(manifest.state):
        named += [(f"state[{i}].input", s.input, inputs), (f"state[{i}].output", s.output, outputs)]
    for path, name, known in named:
        if name not in known:
            raise BundleRefused(
                f"manifest.json: {path}: {name!r}, the model has {', '.join(known)}"
            )
    for i, s in enumerate(manifest.state):
        to, of = inputs[s.input], outputs[s.output]
        if (to.shape, to.dtype) != (of.shape, of.dtype):
            raise BundleRefused(
                f"manifest.json: state[{i}]: {to.name} is {_describe(to)}, "
                f"{of.name} is {_describe(of)}"
            )
    if manifest.state and not manifest.stateful:
        raise BundleRefused("manifest.json: stateful: false, and there is state")
    if len(manifest.tensors.inputs) - len(filled) != 1:
        beside = " beside state and constants" if filled else ""
        raise BundleRefused(
            f"manifest.json: tensors.inputs: {_inputs(manifest.tensors)}, expected one{beside}"
        )
    if not manifest.given_outputs:
        raise BundleRefused("manifest.json: state: every output is fed back, expected scores")


def _check_decision(manifest: Manifest, decision: Rule) -> None:
    takes = _size(manifest.tensors.inputs[manifest.window_input])
    given = [manifest.tensors.outputs[i] for i in manifest.given_outputs]
    try:
        check_rule(decision, takes, {t.name: t.shape for t in given})
    except ValueError as error:
        raise BundleRefused(f"manifest.json: {error}") from None


def _check_stream(manifest: Manifest, stream: Stream) -> None:
    _refuse_twice("stream.channels", [c.name for c in stream.channels])
    try:
        given = form_after(manifest.features, stream.form)
    except ValueError as error:
        raise BundleRefused(f"manifest.json: {error}") from None
    if _size(manifest.tensors.inputs[manifest.window_input]) != given.rows * given.columns:
        raise BundleRefused(
            f"manifest.json: stream: windows of {given.rows} x {given.columns} give "
            f"{given.rows * given.columns} values, the model takes {_inputs(manifest.tensors)}"
        )


def _check_prepared(manifest: Manifest) -> None:
    if manifest.features:
        raise BundleRefused(
            "manifest.json: features: there is no stream; a prepared tensor is taken as it is"
        )
    index = manifest.window_input
    dtype = manifest.tensors.inputs[index].dtype
    if dtype not in PREPARED:
        raise BundleRefused(
            f"manifest.json: tensors.inputs[{index}].dtype: {dtype!r}, expected one of "
            f"{', '.join(sorted(PREPARED))}"
        )


def _refuse_twice(path: str, names: Sequence[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise BundleRefused(f"manifest.json: {path}: {name!r} stands there twice")
        seen.add(name)


def _size(tensor: Tensor) -> int:
    return prod(tensor.shape)


def _inputs(tensors: Tensors) -> str:
    return ", ".join(f"{t.name} {'x'.join(map(str, t.shape)) or 'scalar'}" for t in tensors.inputs)


def _describe(tensor: Tensor) -> str:
    return f"{tensor.dtype} {'x'.join(map(str, tensor.shape)) or 'scalar'}"


def _by_path(message: str) -> str:
    """Turn msgspec's ``what - at `$.a.b``` into ``a.b: what``."""
    found = re.fullmatch(r"(.*) - at `(?:key` in `)?\$\.?(.*)`", message, re.DOTALL)
    return f"{found[2] or 'document'}: {found[1]}" if found else message
