"""A simulated model that says which window it was shown, behind the real path to a decision."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from edge_agent.clock import WallClock
from edge_agent.ring import Chunk, Ring
from edge_agent.slot import Made, Slot
from edge_agent.succession import Loaded
from edge_bundle.archive import Bundle
from edge_bundle.decision.rules import Classification
from edge_bundle.errors import ModelRefused
from edge_bundle.inference import Inference
from edge_bundle.manifest import Channel, Stream, Tensor, Tensors
from edge_bundle.tensor import Array, TensorSpec
from edge_wire.messages import Prediction
from tests.edge_bundle.bundles import watch_manifest

RATE_HZ = 1000.0
MS = 1_000_000


class EchoModel:
    """Gives the first and the last sample of its window as the scores of two labels."""

    def __init__(self, values: int, fails: Callable[[int], bool]) -> None:
        self.inputs: tuple[TensorSpec, ...] = (TensorSpec("X", (1, values), "float32"),)
        self.outputs: tuple[TensorSpec, ...] = (TensorSpec("probabilities", (1, 2), "float32"),)
        self.stateful = False
        self.resets = 0
        self.calls = 0
        self._fails = fails
        self._input = np.zeros((1, values), np.float32)
        self._output = np.zeros((1, 2), np.float32)

    def input(self, index: int) -> Array:
        return (self._input,)[index]

    def invoke(self) -> None:
        self.calls += 1
        if self._fails(self.calls):
            raise ModelRefused("the runtime failed")
        self._output[0] = self._input[0, 0], self._input[0, -1]

    def output(self, index: int) -> Array:
        return (self._output,)[index]

    def reset(self) -> None:
        self.resets += 1

    def close(self) -> None:
        """Hold nothing."""


def echo(
    window: int,
    hop: int,
    version: str = "1.0.0",
    fails: Callable[[int], bool] = lambda _call: False,
    **stream: Any,
) -> Loaded:
    """Return a model of one channel for windows of any size; ``fails`` is told the call, from 1.

    ``stream`` changes what it wants to see.
    """
    wanted: dict[str, Any] = {"rate_hz": RATE_HZ, "channels": (Channel("a", "g"),)} | stream
    manifest = watch_manifest(
        name="echo",
        version=version,
        tensors=Tensors(
            inputs=(Tensor("X", (1, window), "float32"),),
            outputs=(Tensor("probabilities", (1, 2), "float32"),),
        ),
        stream=Stream(window=window, hop=hop, **wanted),
        decision=Classification(labels=("first", "last"), output="probabilities", top=2),
    )
    model = EchoModel(window, fails)
    bundle = Bundle(Path("echo.bundle"), f"{version:0<64}", 1, manifest)
    return Loaded(bundle, Inference(manifest, model))


class Bench:
    """A ring and a slot, driven without threads; every sample's value is its number."""

    def __init__(
        self, capacity: int = 4096, loaded: Loaded | None = None, speed: float = 1.0
    ) -> None:
        self.ring = Ring(capacity, 1, RATE_HZ, speed)
        self.healthy: list[str] = []
        self.unhealthy: list[tuple[str, str]] = []
        self.slot = Slot(
            "echo",
            "s",
            "boot",
            WallClock(),
            lambda _slot, left, why: self.unhealthy.append((_version(left), why)),
            lambda _slot, ran: self.healthy.append(_version(ran)),
        )
        self.made: list[Made] = []
        self.next_value = 0
        if loaded is not None:
            self.slot.offer(loaded)
            assert not self.slot.take(self.ring)

    def push(self, count: int, lost: int = 0, restart: bool = False, invalid: int = 0) -> None:
        """Append ``invalid`` samples that are not finite, then ``count`` good ones."""
        first = self.next_value
        values = np.arange(first, first + invalid + count, dtype=np.float32).reshape(-1, 1)
        values[:invalid] = np.nan
        self.next_value += invalid + count
        end_ns = self.next_value * MS
        self.ring.append(Chunk(values, end_ns, lost=lost, restart=restart))

    def work(self, most: int = 1 << 30) -> list[Made]:
        """Make the predictions that can be made."""
        made = []
        while most and self.slot.take(self.ring):
            most -= 1
            if (one := self.slot.predict()) is not None:
                made.append(one)
        self.made += made
        return made

    @property
    def predictions(self) -> list[Prediction]:
        return [read(m) for m in self.made]

    @property
    def windows(self) -> list[tuple[int, int]]:
        """Values of the first and the last sample of every window that was predicted."""
        return [seen(m) for m in self.made]


def read(made: Made) -> Prediction:
    """Return a prediction as a subscriber reads it."""
    return msgspec.json.decode(made.payload, type=Prediction)


def seen(made: Made) -> tuple[int, int]:
    """Return which window the model saw: its first and its last sample."""
    scores = dict(made.decision.top)
    return int(scores["first"]), int(scores["last"])


def _version(loaded: Loaded) -> str:
    return loaded.bundle.manifest.version
