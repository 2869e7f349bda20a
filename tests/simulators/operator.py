"""An operator's side in memory: signs assignments, serves chunks as well or badly as told.

Everything crosses a real broker by the real link; only what stands behind it is made up.
"""

import itertools
import json
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TypeVar

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge_agent.records import Proof
from edge_agent.store import Store
from edge_bundle import VERSION
from edge_bundle.archive import Bundle, write_bundle
from edge_bundle.golden import pack_golden
from edge_bundle.inference import Inference
from edge_bundle.runtimes.loader import load_model, runtime_version
from edge_wire import trust
from edge_wire.assignment import (
    Assignment,
    Candidate,
    Encoding,
    ModelAssignment,
    Ref,
    Requires,
    Variant,
)
from edge_wire.blob import encode_blob
from edge_wire.broker import Broker
from edge_wire.chunks import count_chunks, from_bitmap, make_index
from edge_wire.errors import LinkError
from edge_wire.link import Handlers, Link, Message
from edge_wire.messages import Info, Loss, ModelReport, Prediction, Reported, Want, decode
from edge_wire.topics import Topics
from tests.edge_bundle.bundles import MODEL, RECORDING, watch_manifest, watch_windows

MODEL_2 = MODEL.with_name("watch_mlp_v2.onnx")
CHUNK_BYTES = 4 << 10
"""Less than a file's usual buffer, so that what stays in one shows."""
PATIENCE_S = 20.0
T = TypeVar("T")
_NUMBERS = itertools.count()


def make_release(
    folder: Path,
    version: str,
    model: Path = MODEL,
    more: Mapping[str, bytes] = MappingProxyType({}),
    **changes: Any,
) -> Bundle:
    """Write a bundle of the watch example whose golden vectors are true for its weights.

    Args:
        more: files of the bundle besides the model and the golden vectors.
        changes: of the manifest.
    """
    manifest = watch_manifest(version=version, **changes)
    inference = Inference(manifest, load_model(model.read_bytes(), "onnx"))
    files = {
        "model.onnx": model.read_bytes(),
        "golden.npz": pack_golden(inference, watch_windows()),
        **more,
    }
    inference.close()
    return write_bundle(folder, manifest, files)


def prove(store: Store, *bundles: Bundle) -> None:
    """Let bundles pass without a staging child, which tests of staging are for."""
    for bundle in bundles:
        runtime = runtime_version(bundle.manifest.format)
        store.save_proof(Proof(bundle.sha256, runtime, VERSION))


@dataclass
class Faults:
    """What goes wrong with chunks on their way; each applies to the first times of a chunk."""

    lose: set[int] = field(default_factory=set)
    corrupt: set[int] = field(default_factory=set)
    duplicate: bool = False
    shuffle: random.Random | None = None
    withhold: Callable[[int], bool] = lambda _number: False
    """Chunks that are not sent at all while this is so."""


@dataclass
class Seen:
    """What one device was seen to publish, in order."""

    predictions: list[Prediction] = field(default_factory=list)
    losses: list[Loss] = field(default_factory=list)
    reports: list[Reported] = field(default_factory=list)
    infos: list[Info] = field(default_factory=list)
    availability: list[str] = field(default_factory=list)
    wants: list[set[int]] = field(default_factory=list)

    def model(self, name: str = "watch") -> ModelReport | None:
        """Return where a model stands by the last report."""
        return self.reports[-1].models.get(name) if self.reports else None

    def states(self, name: str = "watch") -> list[str]:
        """Return the states that a model was reported in, without repetitions."""
        states = [r.models[name].state for r in self.reports if name in r.models]
        return [s for i, s in enumerate(states) if not i or states[i - 1] != s]

    def versions(self) -> list[str]:
        """Return the versions that predicted, in order, without repetitions."""
        found = [p.model.version for p in self.predictions]
        return [v for i, v in enumerate(found) if not i or found[i - 1] != v]

    def missing(self, boot: str) -> set[int]:
        """Return the numbers up to the last one that were neither delivered nor announced."""
        delivered = {p.seq for p in self.predictions if p.boot == boot}
        lost = {n for x in self.losses if x.boot == boot for n in range(x.first, x.last + 1)}
        return set(range(max(delivered | lost, default=-1) + 1)) - delivered - lost


class Operator:
    """Use as a context manager: connected inside."""

    def __init__(self, url: str, group: str = "g") -> None:
        self.url = url
        self.group = group
        self.key = trust.make_key()
        self.faults = Faults()
        self.sent: list[int] = []
        """Chunk numbers, in the order in which they were sent, of any blob."""
        # A root of its own, for what another test left retained is not for this one.
        self.topics = Topics(f"test{next(_NUMBERS)}/v1")
        self._blobs: dict[str, tuple[bytes, Encoding]] = {}
        self._seen: dict[str, Seen] = {}
        self._issued = 0
        self._last_issued = ""
        self._changed = threading.Condition()
        self._ready = threading.Event()
        handlers = Handlers(message=self._on_message, connected=self._on_connected)
        self._link = Link(Broker(url), f"operator-{self.topics.root[:-3]}", handlers)

    def __enter__(self) -> "Operator":  # noqa: PYI034
        self._link.start()
        self._link.wait(PATIENCE_S)
        assert self._ready.wait(PATIENCE_S)
        return self

    def __exit__(self, *_error: object) -> None:
        self._link.stop()

    # --- what a test tells it

    def root(self) -> bytes:
        """Return the root of trust that a device must have to follow."""
        return msgspec.json.encode(trust.make_root(self.key))

    def enrol(
        self,
        folder: Path,
        device: str = "d1",
        *,
        factor: float | Literal["max"] = 40.0,
        loop: bool = True,
        trusted: bool = True,
        source: str = "",
        model: str = "",
        more: str = "",
        runs: Bundle | None = None,
    ) -> Path:
        """Write the configuration of a device that replays the example; return its file.

        Args:
            folder: where the file and the store ``DEVICE-store`` are.
            device: its name.
            factor: how many times faster than true the recording runs; or as fast as it is taken.
            loop: whether it begins anew at its end.
            trusted: whether the device is given the operator's root.
            source: further lines of the source's table.
            model: further lines of the model's table.
            more: further tables.
            runs: bundle that its configuration names, and that has passed staging on it before.
        """
        if trusted:
            store = folder / f"{device}-store" / "trust"
            store.mkdir(parents=True, exist_ok=True)
            (store / "root.json").write_bytes(self.root())
        if runs is not None:
            prove(Store(folder / f"{device}-store", runs.length), runs)
            model = f'bundle = "{runs.path}"\n{model}'
        file = folder / f"{device}.toml"
        file.write_text(
            f"""
[device]
id = "{device}"
group = "{self.group}"
[broker]
url = "{self.url}"
root = "{self.topics.root}"
[store]
path = "{device}-store"
[[source]]
name = "imu0"
kind = "replay"
path = "{RECORDING}"
factor = {json.dumps(factor)}
loop = {str(loop).lower()}
{source}
[[model]]
name = "watch"
stream = "imu0"
{model}
{more}
"""
        )
        return file

    def ref(
        self,
        bundle: Bundle,
        attempt: int = 1,
        requires: Requires | None = None,
        sha256: str | None = None,
        length: int | None = None,
    ) -> Ref:
        """Return how an assignment names a bundle, or what it says instead of it."""
        manifest = bundle.manifest
        variant = Variant(
            manifest.variant,
            requires or Requires(formats=(manifest.format,)),
            sha256 or bundle.sha256,
            length or bundle.length,
        )
        return Ref(manifest.version, attempt, (variant,))

    def assign(
        self,
        bundle: Bundle,
        *,
        candidate: Candidate | None = None,
        key: Ed25519PrivateKey | None = None,
        issued: str | None = None,
        group: str | None = None,
        wire: bytes | None = None,
        **ref: Any,
    ) -> bytes:
        """Sign what the group is to run, publish it retained; return the message.

        Args:
            bundle: what is named as stable.
            candidate: named beside it.
            key: instead of the operator's own.
            issued: instead of a later time than the last.
            group: that the assignment names, instead of the operator's own.
            wire: what the blob holds, instead of the bundle.
            ref: see ``ref``.
        """
        self._issued += 1
        self._last_issued = issued or f"2026-01-01T00:00:00.{self._issued:06d}Z"
        stable = self.ref(bundle, **ref)
        encoding = self.offer(wire if wire is not None else bundle.path.read_bytes())
        assignment = Assignment(
            group=group or self.group,
            issued=self._last_issued,
            rollout="r1",
            models={bundle.manifest.name: ModelAssignment(stable, candidate)},
            encodings={stable.variants[0].sha256: (encoding,)},
        )
        message = trust.sign(assignment, key or self.key)
        self.desire(message)
        return message

    def desire(self, message: bytes) -> None:
        """Publish a desired message as it is, retained."""
        self._link.publish(Message(self.topics.desired(self.group), message, retain=True))

    def offer(self, data: bytes) -> Encoding:
        """Be ready to serve the chunks of a bundle."""
        blob, encoding = encode_blob(data, CHUNK_BYTES)
        self._blobs[encoding.blob_sha256] = (blob, encoding)
        return encoding

    def blob(self, encoding: Encoding) -> bytes:
        """Return a blob's bytes."""
        return self._blobs[encoding.blob_sha256][0]

    # --- what a test sees

    def seen(self, device: str = "d1") -> Seen:
        """Return what a device published so far."""
        return self._seen.setdefault(device, Seen())

    def wait_for(self, what: Callable[[], T], timeout_s: float = PATIENCE_S) -> T:
        """Wait until something is true of what was seen, and return it."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while not (found := what()):
                left = deadline - time.monotonic()
                assert left > 0, f"not within {timeout_s} s; last: {self._last()}"
                self._changed.wait(min(left, 0.05))  # a test may look at the disk as well
        return found

    def wait_for_state(self, state: str, bundle: Bundle, device: str = "d1") -> ModelReport:
        """Wait until a device reports a state with a bundle as its target or what it runs."""

        def found() -> ModelReport | None:
            report = self.seen(device).model()
            if report is None or report.state != state:
                return None
            running = report.running.sha256 if report.running else None
            return report if (report.target or running) == bundle.sha256 else None

        report = self.wait_for(found)
        assert report is not None
        return report

    def wait_for_accepted(self, device: str = "d1") -> None:
        """Wait until a device says that it accepted the last assignment."""

        def found() -> bool:
            reports = self.seen(device).reports
            accepted = reports[-1].accepted if reports else None
            return accepted is not None and accepted.issued == self._last_issued

        self.wait_for(found)

    def wait_for_more(self, count: int, device: str = "d1") -> None:
        """Wait for so many further predictions."""
        seen = self.seen(device)
        goal = len(seen.predictions) + count
        self.wait_for(lambda: len(seen.predictions) >= goal)

    def _last(self) -> dict[str, Reported | None]:
        return {d: s.reports[-1] if s.reports else None for d, s in self._seen.items()}

    # --- the wire

    def _on_connected(self) -> None:
        self._link.subscribe([f"{self.topics.root}/dev/#"])
        self._ready.set()

    def _on_message(self, topic: str, payload: bytes, retained: bool) -> None:
        device, kind = self.topics.read_device(topic)
        with self._changed:
            if not retained:
                self._note(self.seen(device), kind, payload)
            self._changed.notify_all()
        if kind == "want":
            self._serve(decode(payload, Want))

    def _note(self, seen: Seen, kind: str, payload: bytes) -> None:
        if kind == "pred":
            seen.predictions.append(decode(payload, Prediction))
        elif kind == "loss":
            seen.losses.append(decode(payload, Loss))
        elif kind == "reported":
            seen.reports.append(decode(payload, Reported))
        elif kind == "info":
            seen.infos.append(decode(payload, Info))
        elif kind == "availability":
            seen.availability.append(payload.decode())
        elif kind == "want":
            want = decode(payload, Want)
            seen.wants.append(from_bitmap(want.missing, self._chunks(want.blob)))

    def _chunks(self, blob: str) -> int:
        data, encoding = self._blobs[blob]
        return count_chunks(len(data), encoding.chunk_bytes) + 1

    def _serve(self, want: Want) -> None:
        faults = self.faults
        numbers = sorted(from_bitmap(want.missing, self._chunks(want.blob)))
        if faults.shuffle:
            faults.shuffle.shuffle(numbers)
        for number in numbers:
            if faults.withhold(number):
                continue
            data = self._chunk(want.blob, number)
            if number in faults.lose:
                faults.lose.discard(number)
                continue
            if number in faults.corrupt:
                faults.corrupt.discard(number)
                data = bytes([data[0] ^ 1]) + data[1:]
            for _ in range(2 if faults.duplicate else 1):
                self.sent.append(number)
                try:
                    self._link.publish(Message(self.topics.chunk(want.blob, number), data))
                except LinkError:
                    return

    def _chunk(self, blob: str, number: int) -> bytes:
        data, encoding = self._blobs[blob]
        if number == 0:
            return make_index(data, encoding.chunk_bytes)
        at = (number - 1) * encoding.chunk_bytes
        return data[at : at + encoding.chunk_bytes]
