"""What a subscriber of everything hears of a whole agent on a real broker, and what it does not."""

import io
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
import pytest

from edge_agent.replay import Replay
from edge_agent.store import Store
from edge_bundle.archive import Bundle, write_bundle
from edge_bundle.decision.rules import Classification, Events, Score
from edge_bundle.features.steps import MicroFrontend
from edge_bundle.golden import pack_golden
from edge_bundle.inference import Inference
from edge_bundle.manifest import Channel, Reference, Stream
from edge_bundle.recording import read_recordings
from edge_bundle.runtimes.loader import load_model
from edge_bundle.window import window_starts
from edge_wire.messages import (
    Availability,
    CaptureFigures,
    Event,
    Info,
    Loss,
    ModelInfo,
    Prediction,
    Reported,
    State,
    Telemetry,
    decode,
    encode,
)
from tests.brokers import RunningBroker
from tests.edge_agent.subscriber import subscribed
from tests.edge_agent.whole_agent import Agent
from tests.edge_bundle.bundles import LABELS, RECORDING, STREAM, WAKE_WORD, prepared_manifest
from tests.parts import require_module
from tests.simulators.operator import MODEL_2, Operator, make_release, prove

T = TypeVar("T")
PATIENCE_S = 20.0
CLIP = WAKE_WORD.with_suffix(".wav")


class Ears:
    """All that anybody said, in order: topic and payload."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, bytes]] = []
        self._changed = threading.Condition()

    def take(self, topic: str, payload: bytes) -> None:
        with self._changed:
            self.heard.append((topic, payload))
            self._changed.notify_all()

    def of(self, kind: type[T], ending: str) -> list[T]:
        """Return the messages of every topic that ends so."""
        return [decode(p, kind) for topic, p in list(self.heard) if topic.endswith(ending)]

    def wait_for(self, what: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        with self._changed:
            while not what():
                assert time.monotonic() < deadline, self.heard[-3:]
                self._changed.wait(0.1)


@contextmanager
def hearing_all(broker: RunningBroker) -> Iterator[Ears]:
    ears = Ears()
    with subscribed(broker, lambda m: ears.take(m.topic, bytes(m.payload)), "#"):
        yield ears


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_wire.link.BACKOFF_S", (0.02, 0.3))


# --- several streams and several models


def write_wake_word(folder: Path) -> Bundle:
    stream = Stream(16000.0, (Channel("sound", "1"),), window=800, hop=480)
    rule = Score(labels=("nothing", "hey_jarvis"), threshold=0.97)
    manifest = prepared_manifest(stream=stream, features=(MicroFrontend(),), decision=rule)
    model = WAKE_WORD.read_bytes()
    inference = Inference(manifest, load_model(model, "tflite"))
    (clip,) = read_recordings(CLIP, stream)
    golden = pack_golden(inference, clip.samples[None, : stream.window])
    inference.close()
    return write_bundle(folder, manifest, {"model.tflite": model, "golden.npz": golden})


def said_alone(bundle: Bundle, recording: Path) -> list[tuple[int, str, float]]:
    """Return number, label and score of what a model says that has the device to itself."""
    made = Replay(bundle.path, str(recording), together=1).run()
    return [(p.seq, p.label, p.score) for p in (decode(m.payload, Prediction) for m in made)]


def test_each_of_three_models_on_two_streams_says_all_that_it_says_alone(
    broker: RunningBroker, tmp_path: Path
) -> None:
    require_module("ai_edge_litert")
    often = Stream(STREAM.rate_hz, STREAM.channels, STREAM.window, hop=25)
    bundles = {
        "watch": make_release(tmp_path, "1.0.0"),
        "closer": make_release(tmp_path, "2.0.0", MODEL_2, name="closer", stream=often),
        "jarvis": write_wake_word(tmp_path),
    }
    streams = {"watch": "imu0", "closer": "imu0", "jarvis": "mic0"}
    recordings = {"imu0": RECORDING, "mic0": CLIP}
    expected = {name: said_alone(b, recordings[streams[name]]) for name, b in bundles.items()}
    counts = {name: len(said) for name, said in expected.items()}
    assert len(set(counts.values())) == 3, "or one model's could be taken for another's"

    more = "[telemetry]\nevery_s = 0.1\n"
    more += f'[[source]]\nname = "mic0"\nkind = "replay"\npath = "{CLIP}"\nfactor = "max"\n'
    for name in ("closer", "jarvis"):
        table = f'name = "{name}"\nstream = "{streams[name]}"\nbundle = "{bundles[name].path}"'
        more += f"[[model]]\n{table}\n"
    operator = Operator(broker.url)
    first = f'bundle = "{bundles["watch"].path}"'
    config = operator.enrol(tmp_path, factor="max", loop=False, model=first, more=more)
    prove(Store(tmp_path / "d1-store", 1 << 20), *bundles.values())

    with hearing_all(broker) as ears:

        def over() -> bool:
            told, infos = ears.of(Telemetry, "/telemetry"), ears.of(Info, "/info")
            counted = [{n: m.windows for n, m in t.models.items()} for t in told[-1:]] == [counts]
            return counted and {s.state for s in infos[-1].streams.values()} == {"ended"}

        with Agent(config):
            ears.wait_for(over)
        ears.wait_for(lambda: ears.heard[-1][1] == b"stopped")

        by_topic: dict[str, list[Prediction]] = {}
        for topic, payload in ears.heard:
            if "/pred/" in topic:
                by_topic.setdefault(topic, []).append(decode(payload, Prediction))
        device = f"{operator.topics.root}/dev/d1"
        assert set(by_topic) == {f"{device}/pred/{s}/{name}" for name, s in streams.items()}
        for name, stream in streams.items():
            said = by_topic[f"{device}/pred/{stream}/{name}"]
            assert {(p.stream, p.model.name, p.model.sha) for p in said} == {
                (stream, name, bundles[name].sha256[:8])
            }
            assert [(p.seq, p.label, p.score) for p in said] == expected[name]
            assert sum(p.lost_samples + p.skipped_windows for p in said) == 0

        info = ears.of(Info, "/info")[-1]
        assert {n: s.rate_hz for n, s in info.streams.items()} == {"imu0": 50.0, "mic0": 16000.0}
        assert info.models == {name: ModelInfo(stream) for name, stream in streams.items()}
        told = ears.of(Telemetry, "/telemetry")[-1]
        assert {name: m.stream for name, m in told.models.items()} == streams
        samples = {
            s: sum(len(r.samples) for r in read_recordings(f, None)) for s, f in recordings.items()
        }
        assert {n: s.samples for n, s in told.streams.items()} == samples


# --- windows for retraining

WINDOWS = {
    w.tobytes()
    for r in read_recordings(RECORDING, STREAM)
    for w in (r.samples[i : i + STREAM.window] for i in window_starts(len(r.samples), 100, 50))
}
WINDOW_BYTES = 4 * STREAM.window * len(STREAM.channels)
QUOTA = 100_000
ENOUGH = 130
"""Windows: two batches of those that are written together, three times what the quota takes."""
MESSAGES: dict[str, Any] = {
    "pred": Prediction,
    "event": Event,
    "state": State,
    "info": Info,
    "reported": Reported,
    "telemetry": Telemetry,
    "loss": Loss,
}
"""By kind of topic: all that a device says in JSON while nothing is fetched."""


@pytest.fixture(scope="module")
def watch(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    rule = Classification(LABELS, output="probabilities", events=Events(debounce=2))
    return make_release(tmp_path_factory.mktemp("release"), "1.0.0", decision=rule)


def holds_a_window(data: bytes) -> bool:
    """Tell whether bytes are, in part, the beginning of a window that the model was shown."""
    return any(window[:48] in data for window in WINDOWS)


def files_with_windows(folder: Path, bundle: Bundle) -> set[Path]:
    """Return the files that hold windows; a bundle has its golden ones."""
    files = {f: f.read_bytes() for f in folder.rglob("*") if f.is_file()}
    golden = bundle.path.read_bytes()
    return {f for f, data in files.items() if data != golden and holds_a_window(data)}


def assert_only_the_contract(ears: Ears, operator: Operator) -> None:
    """Check that every topic and every field heard is known, and that no window is among them."""
    kinds = set()
    for topic, payload in ears.heard:
        device, kind = operator.topics.read_device(topic)
        assert device == "d1"
        kinds.add(kind)
        assert len(payload) < WINDOW_BYTES
        assert not holds_a_window(payload)
        if kind == "availability":
            assert payload.decode() in set(Availability)
        else:
            known = encode(decode(payload, MESSAGES[kind]))
            assert msgspec.json.decode(payload) == msgspec.json.decode(known)
    assert kinds - {"loss"} == {*MESSAGES, "availability"} - {"loss"}


def test_windows_that_are_kept_fill_the_quota_and_nothing_of_them_is_published(
    broker: RunningBroker, watch: Bundle, tmp_path: Path
) -> None:
    operator, kept = Operator(broker.url), tmp_path / "kept"
    more = f'[capture]\npath = "kept"\nmax_bytes = {QUOTA}\nuncertain_below = 1\n'
    more += "per_minute = 1e6\n[telemetry]\nevery_s = 0.1"
    config = operator.enrol(tmp_path, factor=200.0, runs=watch, more=more)

    def written() -> list[CaptureFigures]:
        told = [t.capture for t in ears.of(Telemetry, "/telemetry")]
        assert None not in told
        return [c for c in told if c is not None and c.windows >= ENOUGH]

    with hearing_all(broker) as ears:
        with Agent(config):
            ears.wait_for(lambda: bool(written()))
        ears.wait_for(lambda: ears.heard[-1][1] == b"stopped")
    assert_only_the_contract(ears, operator)
    assert {c.error for c in written()} == {""}
    assert all(QUOTA // 2 < c.bytes <= QUOTA for c in written())

    files = set(kept.iterdir())
    assert files_with_windows(tmp_path, watch) == files
    assert QUOTA // 2 < sum(f.stat().st_size for f in files) <= QUOTA
    recordings = [r.samples for f in files for r in read_recordings(f, STREAM)]
    assert {samples.tobytes() for samples in recordings} <= WINDOWS


def test_no_window_is_kept_where_the_configuration_has_no_capture(
    embedded: RunningBroker, watch: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # what is written by no path of the configuration is found too
    operator = Operator(embedded.url)
    more = "[telemetry]\nevery_s = 0.1"
    config = operator.enrol(tmp_path, factor=200.0, runs=watch, more=more)

    def seen_enough() -> bool:
        told = ears.of(Telemetry, "/telemetry")
        return bool(told) and told[-1].models["watch"].windows >= ENOUGH

    with hearing_all(embedded) as ears:
        with Agent(config):
            ears.wait_for(seen_enough)
        ears.wait_for(lambda: ears.heard[-1][1] == b"stopped")
    assert_only_the_contract(ears, operator)
    assert {t.capture for t in ears.of(Telemetry, "/telemetry")} == {None}
    assert files_with_windows(tmp_path, watch) == set()


def pack_reference(shift: float) -> bytes:
    """Write the population of the recording's own samples, as if all had been so much larger."""
    samples = np.concatenate([r.samples for r in read_recordings(RECORDING, STREAM)]) + shift
    deciles = np.quantile(samples, np.arange(1, 10) / 10, axis=0).T
    bins = [np.searchsorted(d, c, "right") for d, c in zip(deciles, samples.T, strict=True)]
    counts = np.array([np.bincount(b, minlength=10) for b in bins])
    with io.BytesIO() as file:
        np.savez(file, deciles=deciles, decile_counts=counts)
        return file.getvalue()


@pytest.mark.parametrize(("shift", "drifted"), [(0.0, False), (5.0, True)])
def test_stream_that_is_not_what_the_model_was_built_on_is_told_and_its_windows_are_kept(
    embedded: RunningBroker, tmp_path: Path, shift: float, drifted: bool
) -> None:
    files = {"reference.npz": pack_reference(shift)}
    bundle = make_release(tmp_path, "1.0.0", more=files, reference=Reference("reference.npz"))
    more = '[capture]\npath = "kept"\nmax_bytes = 100000\ndrifted = true\nper_minute = 1e6\n'
    more += "[telemetry]\nevery_s = 0.1"
    operator = Operator(embedded.url)
    config = operator.enrol(tmp_path, factor=400.0, loop=False, runs=bundle, more=more)

    def last() -> Telemetry | None:
        return next(iter(ears.of(Telemetry, "/telemetry")[-1:]), None)

    def over() -> bool:
        infos, told = ears.of(Info, "/info"), last()
        ended = bool(infos) and {s.state for s in infos[-1].streams.values()} == {"ended"}
        return ended and told is not None and told.models["watch"].windows >= len(WINDOWS)

    with hearing_all(embedded) as ears:
        with Agent(config):
            ears.wait_for(over)
        ears.wait_for(lambda: ears.heard[-1][1] == b"stopped")
        told = last()
    assert told is not None
    drift, capture = told.models["watch"].drift, told.capture
    assert drift is not None
    assert capture is not None
    assert drift.drifted is drifted
    assert (capture.windows + capture.waiting > 0) is drifted
    kept = [r.samples for f in (tmp_path / "kept").iterdir() for r in read_recordings(f, STREAM)]
    assert bool(kept) is drifted
    assert {samples.tobytes() for samples in kept} <= WINDOWS
