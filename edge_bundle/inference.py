"""The one path from a raw window to a decision, for converter and device alike."""

from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from time import monotonic_ns
from typing import TypeAlias

import numpy as np

from edge_bundle.archive import Bundle
from edge_bundle.decision.decider import Decider
from edge_bundle.decision.outcome import Decision
from edge_bundle.decision.thresholds import override
from edge_bundle.errors import BundleRefused
from edge_bundle.features.chain import compile_steps
from edge_bundle.features.runner import Fresh
from edge_bundle.feedback import Feedback
from edge_bundle.manifest import Manifest
from edge_bundle.runtimes.loader import load_model
from edge_bundle.runtimes.model import Model
from edge_bundle.tensor import Array, Coder, Float32Array, TensorSpec, dequantize

Prepare: TypeAlias = Callable[[Float32Array, Fresh], Float32Array]
Times: TypeAlias = tuple[int, int, int]
"""When a window was begun, in monotonic time, what its features took, and what its model took."""


class Inference:
    """A bundle ready to run. Not thread-safe: one thread at a time calls it."""

    def __init__(self, manifest: Manifest, model: Model) -> None:
        """Join a manifest and its loaded model.

        Raises: BundleRefused: if the model's tensors are not those of the manifest, or scores
            are complex.
        """
        _check_tensors(manifest, model)
        stream, decision = manifest.stream, manifest.decision
        self.manifest = manifest
        self.model = model
        self.chain = compile_steps(manifest.features, stream.form) if stream else None
        """The features; None for a prepared tensor."""
        self.prepare: Prepare | None = self.chain.run if self.chain else None
        """What works the features out, as ``Chain.run``: another may, that shares them."""
        self.decider = Decider(decision, manifest.scores_shapes) if decision else None
        """Judges the windows in turn; None where the bundle has no decision."""
        self._taken: Array | None = None
        """What the last window's model was given, in real values: its features, or where there are
        none and the decision asks for it, the window."""
        self._spec = model.inputs[manifest.window_input]
        self._input = model.input(manifest.window_input)
        self._encode = Coder(self._spec).encode
        self.window: Float32Array | None = None
        """The model's own memory, [window, channels], where it takes windows as they are: what is
        written there needs no copy. None also where the decision compares what the model gives with
        what it was given, which a runtime may overwrite."""
        plain = not manifest.features and self._spec.dtype == "float32"
        if stream is not None and plain and not (self.decider and self.decider.needs_input):
            self.window = self._input.reshape(stream.window, len(stream.channels))
        _refuse_complex(manifest, [model.outputs[i] for i in manifest.scores_outputs])
        coders = [(Coder(model.outputs[i]), model.output(i)) for i in manifest.scores_outputs]
        parts = [coder.decode(codes).reshape(-1) for coder, codes in coders]
        # Memory stays where it is: real outputs need nothing, and codes are decoded in place.
        self._coded = [(c.decode, codes) for c, codes in coders if c.decode(codes) is not codes]
        self._parts = parts if len(parts) > 1 else None
        self._scores = parts[0] if len(parts) == 1 else np.concatenate(parts)
        fed = manifest.state or manifest.constants
        self._feedback = Feedback(manifest, model) if fed else None
        self._stateful = manifest.stateful
        self._follows = bool(fed or self._coded or self._parts or self._stateful)
        """Whether a run leaves something to do."""
        self.began_ns = 0
        """When the last window was begun, in monotonic time."""
        self.pre_ns = 0
        """Time that the last window's features took."""
        self.infer_ns = 0
        """Time that the last window's model took."""

    @classmethod
    def open(cls, bundle: Bundle, threads: int = 1) -> "Inference":
        """Load a bundle's model.

        Raises: RuntimeMissing, ModelRefused, BundleRefused.
        """
        manifest = bundle.manifest
        model = load_model(bundle.model(), manifest.format, threads, manifest.shapes)
        return cls(manifest, model)

    def scores(self, window: Array, fresh: Fresh = None) -> Float32Array:
        """Run one window, or one prepared tensor where the bundle has no stream.

        Args:
            window: float32 [window, channels], in the stream's units; or of the model input's own
                shape and dtype, taken as it is.
            fresh: how many of its last samples are new, where it follows the window before without
                a break; None where it stands alone.
        Returns: float32, the real values of the outputs that the decision reads, or without one of
            all outputs, one after another; the next call overwrites it.
        Raises: ModelRefused: where the runtime fails.
        """
        self.began_ns = began = ready = monotonic_ns()
        if window is not self.window:
            self._put(window, fresh)
            ready = monotonic_ns()
        self.model.invoke()
        if self._follows:
            self._follow()
        self.pre_ns = ready - began
        self.infer_ns = monotonic_ns() - ready
        return self._scores

    def scores_of(
        self,
        windows: Sequence[Array],
        into: Sequence[Float32Array],
        times: list[Times],
        patience_ns: int,
        before: Callable[[int], None] | None = None,
    ) -> None:
        """Run windows one after another, each as ``scores`` does.

        When a large model has run, the processor remembers nothing else: all that is done in
        between comes from far away. So that is little, and in one place.

        Args:
            into: takes each window's scores, float32.
            times: takes each window's ``began_ns``, ``pre_ns`` and ``infer_ns``, once it was run.
            patience_ns: what the first may wait for the others; those that take longer are left
                out.
            before: called with each window's number before it.
        Raises: ModelRefused: where the runtime fails.
        """
        put, invoke, scores = self._put, self.model.invoke, self._scores
        follow = self._follow if self._follows else None
        began, until = monotonic_ns(), 0
        for number, window in enumerate(windows):
            if before is not None:
                before(number)
            put(window, None)
            ready = monotonic_ns()
            invoke()
            if follow is not None:
                follow()
            into[number][...] = scores
            ended = monotonic_ns()
            times.append((began, ready - began, ended - ready))
            until = until or ended + patience_ns
            if ended + (ended - began) > until:  # when the next one would be there
                return
            began = ended

    def decide(self, window: Array, fresh: Fresh = None) -> Decision:
        """Run and judge one window; the rest as ``scores``.

        Raises: BundleRefused: the bundle has no decision.
        """
        return self.judge(self.scores(window, fresh))

    def judge(self, scores: Float32Array) -> Decision:
        """Judge what ``scores`` gave, of one window after another.

        Where the decision compares it with what the model was given, before the next ``scores``.

        Raises: BundleRefused: the bundle has no decision.
        """
        decider = self.decider
        if decider is None:
            raise BundleRefused(
                f"{self.manifest.file_name}: it has no [decision]: nothing says what its scores "
                "mean; build it with --spec"
            )
        if decider.plain:
            return decider.judge(scores)
        return decider.decide(scores, self._taken)

    def override(self, thresholds: Mapping[str, float]) -> None:
        """Decide with other thresholds than the bundle's, by their labels.

        Raises: BundleRefused: the decision has no such threshold, or there is no decision.
        """
        rule = self.manifest.decision
        try:
            if rule is None or self.decider is None:
                raise ValueError("thresholds: there is no [decision]")
            self.decider = Decider(override(rule, thresholds), self.manifest.scores_shapes)
        except ValueError as error:
            raise BundleRefused(f"{self.manifest.file_name}: {error}") from None

    def reset(self) -> None:
        """Forget the stream: called where windows are not contiguous."""
        self.reset_model()
        self.reset_decision()

    def reset_model(self) -> None:
        """Forget what the model and its features remember: before its ``scores``."""
        self.model.reset()
        if self._feedback is not None:
            self._feedback.reset()

    def reset_decision(self) -> None:
        """Forget what the decision remembers: before its ``judge``."""
        if self.decider is not None:
            self.decider.reset()

    def close(self) -> None:
        """Give the runtime's memory back."""
        self.model.close()

    def _put(self, window: Array, fresh: Fresh) -> None:
        """Write what the model is to be given of a window."""
        if self.window is not None:
            if window.shape != self.window.shape:  # NumPy would repeat what is too small
                raise ValueError(f"a window {window.shape}, expected {self.window.shape}")
            self.window[...] = window
        elif self.prepare is None:
            _copy_prepared(window, self._input)
            if self.decider is not None and self.decider.needs_input:
                # Not of what the runtime was given, which it may overwrite.
                self._taken = dequantize(window, self._spec)
        else:
            self._taken = self.prepare(window, fresh)
            self._encode(self._taken, self._input)

    def _follow(self) -> None:
        """Do what a run is followed by: state goes back in unless it is spoilt, codes become real
        values.
        """
        if self._feedback is not None:
            self._feedback.carry()
        for decode, codes in self._coded:
            decode(codes)
        if self._parts is not None:
            np.concatenate(self._parts, out=self._scores)
        # What is not finite would be in the state of all that follow. A sum of squares that
        # overflows is finite in its parts.
        scores = self._scores
        if self._stateful and not isfinite(scores.dot(scores)) and not np.isfinite(scores).all():
            self.reset_model()


def _copy_prepared(window: Array, target: Array) -> None:
    # NumPy would convert and broadcast, and so change what was prepared.
    if (window.shape, window.dtype) != (target.shape, target.dtype):
        raise ValueError(
            f"a prepared tensor {window.dtype} {list(window.shape)}, "
            f"expected {target.dtype} {list(target.shape)}"
        )
    target[...] = window


def _check_tensors(manifest: Manifest, model: Model) -> None:
    for kind, stated, found in (
        ("inputs", manifest.tensors.inputs, model.inputs),
        ("outputs", manifest.tensors.outputs, model.outputs),
    ):
        specs = tuple(TensorSpec(t.name, t.shape, t.dtype, t.scale, t.zero_point) for t in stated)
        if [_key(t) for t in specs] != [_key(t) for t in found]:
            raise BundleRefused(
                f"{manifest.file_name}: tensors.{kind}: the manifest says "
                f"{_show(specs)}, the model file has {_show(found)}"
            )


def _refuse_complex(manifest: Manifest, scores: Sequence[TensorSpec]) -> None:
    """Refuse what NumPy would halve: it leaves the imaginary part out, and goes on."""
    for spec in scores:
        if spec.dtype.startswith("complex"):
            raise BundleRefused(
                f"{manifest.file_name}: output {spec.name}: {spec.dtype}, expected real numbers; "
                "let the model give the magnitude"
            )


def _key(spec: TensorSpec) -> tuple[str, tuple[int, ...], str]:
    return spec.name, spec.shape, spec.dtype


def _show(specs: tuple[TensorSpec, ...]) -> str:
    return ", ".join(f"{t.name} {t.dtype} {'x'.join(map(str, t.shape))}" for t in specs)
