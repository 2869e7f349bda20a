"""Every window is predicted once, says what was lost before it, and survives a change of model."""

import gc
import weakref
from collections.abc import Callable
from itertools import pairwise
from math import inf
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from edge_agent.clock import WallClock
from edge_agent.reader import Reader
from edge_agent.ring import MAX_BREAKS, Chunk, Ring
from edge_agent.slot import Late, Made, Slot
from edge_agent.succession import Loaded
from edge_bundle.archive import write_bundle
from edge_bundle.decision.rules import Score
from edge_bundle.errors import ModelRefused
from edge_bundle.features.steps import MicroFrontend
from edge_bundle.golden import pack_golden
from edge_bundle.inference import Inference
from edge_bundle.manifest import Channel, Stream
from edge_bundle.recording import read_recordings
from edge_bundle.runtimes.loader import load_model
from edge_bundle.tensor import Float32Array
from edge_bundle.window import window_starts
from tests.edge_agent.echo import MS, Bench, EchoModel, echo, read
from tests.edge_bundle.bundles import (
    RECORDING,
    STREAM,
    WAKE_WORD,
    prepared_manifest,
    write_watch_bundle,
)


def fails_always(_call: int) -> bool:
    return True


def model_of(loaded: Loaded) -> EchoModel:
    model = loaded.inference.model
    assert isinstance(model, EchoModel)
    return model


# --- windows

run = st.tuples(
    st.sampled_from(["restart", "lost", "invalid"]), st.integers(1, 5), st.integers(0, 40)
)
"""How a run of samples begins, how many were lost there, and how many follow."""


@given(
    window=st.integers(1, 12),
    hop=st.integers(1, 18),
    runs=st.lists(run, max_size=6),
    data=st.data(),
)
def test_any_chunking_with_any_breaks_gives_the_windows_of_the_converter(
    window: int, hop: int, runs: list[tuple[str, int, int]], data: st.DataObject
) -> None:
    bench = Bench(64, echo(window, hop))
    expected: list[tuple[int, int, int]] = []
    lost = 0
    for kind, dropped, count in runs:
        lost += 0 if kind == "restart" else dropped
        first = bench.next_value + (dropped if kind == "invalid" else 0)
        starts = window_starts(count, window, hop)
        expected += [(first + s, first + s + window - 1, lost) for s in starts]
        marks: dict[str, Any] = {kind: kind == "restart" or dropped}
        while True:
            piece = data.draw(st.integers(0, count))
            bench.push(piece, **marks)
            bench.work()
            marks, count = {}, count - piece  # noqa: PLW2901
            if not count:
                break
    predictions = bench.predictions
    assert bench.windows == [(first, last) for first, last, _ in expected]
    assert [p.seq for p in predictions] == list(range(len(expected)))
    totals = [0, *(total for _, _, total in expected)]
    assert [p.lost_samples for p in predictions] == [b - a for a, b in pairwise(totals)]


@given(
    window=st.integers(1, 10),
    hop=st.integers(1, 10),
    capacity=st.integers(10, 30),
    steps=st.lists(st.tuples(st.integers(0, 50), st.integers(0, 4)), max_size=30),
)
def test_overwritten_samples_are_counted_once_and_no_more(
    window: int, hop: int, capacity: int, steps: list[tuple[int, int]]
) -> None:
    hop = min(hop, window)  # so that every sample is wanted
    bench = Bench(capacity, echo(window, hop))
    covered, lost = 0, 0
    for count, windows in steps:
        bench.push(count)
        for made in bench.work(windows):
            prediction = read(made)
            end = made.start + window
            lost += prediction.lost_samples
            fresh = min(window, end - covered - lost)
            covered += fresh
            assert covered + lost == end
            assert prediction.quality == "gap" or prediction.lost_samples == 0
    assert bench.windows == [(m.start, m.start + window - 1) for m in bench.made]


@given(
    window=st.integers(1, 8),
    hop=st.integers(1, 12),
    steps=st.lists(
        st.tuples(st.integers(0, 30), st.integers(0, 3), st.integers(0, 2), st.integers(0, 3)),
        max_size=30,
    ),
)
def test_no_window_spans_a_break_however_far_the_model_is_behind(
    window: int, hop: int, steps: list[tuple[int, int, int, int]]
) -> None:
    bench = Bench(16, echo(window, hop))
    lost_before: dict[int, int] = {}
    total, reported = 0, 0
    for count, lost, invalid, windows in steps:
        bench.push(count, lost=lost, invalid=invalid)
        total += lost + invalid
        if lost or invalid:
            lost_before[bench.ring.head - count] = total
        for made in bench.work(windows):
            first, last = made.start, made.start + window - 1
            assert not any(first < p <= last for p in lost_before)
            reported += read(made).lost_samples
            by_source = max((n for p, n in lost_before.items() if p <= first), default=0)
            assert by_source <= reported <= by_source + first
    assert [read(m).seq for m in bench.made] == list(range(len(bench.made)))


def test_no_window_spans_breaks_that_nobody_remembers() -> None:
    bench = Bench(4 * MAX_BREAKS, echo(10, 10))
    for _ in range(MAX_BREAKS + 100):
        bench.push(2, lost=1)
    bench.push(30)
    (made, *_), last_break = bench.work(), 2 * (MAX_BREAKS + 100) - 2
    assert (made.start, read(made).lost_samples) == (last_break, MAX_BREAKS + 100)
    assert read(made).quality == "gap"


def test_break_brings_the_next_window_forward_where_the_hop_is_larger() -> None:
    bench = Bench(64, echo(10, 50))
    bench.push(20)
    bench.work()
    bench.push(10, restart=True)
    assert bench.slot.room(bench.ring) <= 64 - 10
    assert not bench.slot.idle(bench.ring)
    bench.work()
    assert bench.windows == [(0, 9), (20, 29)]


def test_positions_beyond_32_bits_lose_nothing() -> None:
    bench = Bench(64)
    bench.ring.head = (1 << 32) - 25
    bench.slot.offer(echo(10, 10))
    bench.work()
    for _ in range(10):
        bench.push(7)
        bench.work()
    assert [m.start for m in bench.made] == [(1 << 32) - 25 + 10 * i for i in range(7)]
    assert bench.windows == [(10 * i, 10 * i + 9) for i in range(7)]
    assert {p.lost_samples for p in bench.predictions} == {0}


@given(chunk=st.integers(1, 23))
def test_time_of_a_window_is_that_of_its_last_sample_across_wrap_around(chunk: int) -> None:
    at_zero = WallClock(lambda: True, monotonic_ns=lambda: 0, wall_ns=lambda: 0)
    slot, ring = Slot("echo", "s", "boot", at_zero), Ring(31, 1, 1000.0)
    slot.offer(echo(8, 5))
    slot.take(ring)
    times = []
    for end in range(chunk, 120, chunk):
        values = np.arange(end - chunk, end, dtype=np.float32).reshape(-1, 1)
        ring.append(Chunk(values, end * MS))
        while slot.take(ring):
            made = slot.predict()
            assert made is not None
            times.append((made.start, read(made).t))
    assert times == [(5 * i, f"1970-01-01T00:00:00.{5 * i + 8:03d}Z") for i in range(len(times))]


def test_samples_before_the_first_model_are_not_its_loss() -> None:
    bench = Bench(64)
    bench.push(30, lost=9)
    assert bench.slot.room(bench.ring) == 64
    assert bench.slot.idle(bench.ring)
    bench.slot.offer(echo(10, 10))
    assert not bench.slot.idle(bench.ring)
    bench.work()
    bench.push(10)
    bench.work()
    assert bench.windows == [(30, 39)]
    assert bench.predictions[0].lost_samples == 0


# --- the real model


@pytest.fixture(scope="module")
def watch(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    bundle = write_watch_bundle(tmp_path_factory.mktemp("watch"))
    return Loaded(bundle, Inference.open(bundle))


@pytest.mark.parametrize("seed", range(3))
def test_real_model_predicts_the_same_however_its_recording_is_cut(
    watch: Loaded, seed: int
) -> None:
    samples = read_recordings(f"{RECORDING}#3", STREAM)[0].samples
    decisions = [
        watch.inference.decide(samples[s : s + STREAM.window])
        for s in window_starts(len(samples), STREAM.window, STREAM.hop)
    ]
    rng = np.random.default_rng(seed)
    cuts = np.unique(rng.integers(1, len(samples), 20))
    ring, slot = Ring(256, 6, STREAM.rate_hz), Slot("watch", "imu0", "boot", WallClock())
    slot.offer(watch)
    slot.take(ring)
    made: list[Made] = []
    for piece in np.split(samples, cuts):
        ring.append(Chunk(piece, MS))
        while slot.take(ring):
            one = slot.predict()
            assert one is not None
            made.append(one)
    assert [m.decision for m in made] == decisions
    prediction = read(made[0])
    assert (prediction.stream, prediction.window_ms, prediction.boot) == ("imu0", 2000.0, "boot")
    assert prediction.model.name == "watch"
    assert prediction.model.sha == watch.bundle.sha256[:8]
    assert prediction.label == decisions[0].label
    assert prediction.lat_ms.infer > 0


def load_listener(folder: Path) -> Loaded:
    """Load the wake word, TFLite, with features that are shared."""
    manifest = prepared_manifest(
        stream=Stream(16000.0, (Channel("sound", "1"),), 800, 480),
        features=(MicroFrontend(),),
        decision=Score(("other", "jarvis"), 0.5),
    )
    model = WAKE_WORD.read_bytes()
    inference = Inference(manifest, load_model(model, "tflite"))
    golden = pack_golden(inference, np.zeros((2, 800, 1), np.float32))
    bundle = write_bundle(folder, manifest, {manifest.model: model, "golden.npz": golden})
    return Loaded(bundle, inference)


def load_watch(folder: Path) -> Loaded:
    bundle = write_watch_bundle(folder)
    return Loaded(bundle, Inference.open(bundle))


@pytest.mark.parametrize("load", [load_watch, load_listener])
def test_model_that_runs_no_more_is_gone_without_a_search_for_garbage(
    load: Callable[[Path], Loaded], tmp_path: Path
) -> None:
    """What the start made is never searched."""
    loaded = load(tmp_path)
    stream = loaded.stream
    gone: list[weakref.ref[Any]] = [weakref.ref(loaded.inference)]
    gone.append(weakref.ref(loaded.inference.model))
    ring = Ring(4 * stream.window, len(stream.channels), stream.rate_hz)
    slot = Slot(loaded.bundle.manifest.name, "s", "boot", WallClock())
    gc.collect()
    gc.disable()
    try:
        for _ in range(2):
            slot.offer(loaded, trial=True)
            slot.take(ring)
            ring.append(Chunk(np.zeros((stream.window, len(stream.channels)), np.float32), MS))
            assert slot.take(ring)
            assert slot.predict() is not None
            slot.settle()
            loaded = load(tmp_path)
        assert not any(ref() for ref in gone)
    finally:
        gc.enable()


# --- a change of model


@given(
    window=st.integers(1, 12),
    hop=st.integers(1, 12),
    other_window=st.integers(1, 12),
    other_hop=st.integers(1, 12),
    before=st.integers(0, 40),
    chunk=st.integers(1, 9),
)
def test_change_between_two_windows_loses_no_sample_and_no_seq(
    window: int, hop: int, other_window: int, other_hop: int, before: int, chunk: int
) -> None:
    hop, other_hop = min(hop, window), min(other_hop, other_window)
    bench = Bench(64, echo(window, hop))
    for at in range(0, 90, chunk):
        if before <= at < before + chunk:
            bench.slot.offer(echo(other_window, other_hop, "2.0.0"), trial=True)
        bench.push(chunk)
        bench.work()
    starts = [m.start for m in bench.made]
    versions = [p.model.version for p in bench.predictions]
    old = versions.count("1.0.0")
    assert versions == ["1.0.0"] * old + ["2.0.0"] * (len(versions) - old)
    assert starts[: old + 1] == [hop * i for i in range(old + 1)]
    assert starts[old:] == [hop * old + other_hop * i for i in range(len(starts) - old)]
    assert [p.seq for p in bench.predictions] == list(range(len(starts)))
    assert {(p.lost_samples, p.quality) for p in bench.predictions} == {(0, "ok")}


@given(
    window=st.integers(1, 12),
    hop=st.integers(1, 12),
    other_window=st.integers(1, 12),
    other_hop=st.integers(1, 24),
    good=st.integers(0, 3),
    chunk=st.integers(1, 60),
)
def test_model_that_fails_on_trial_costs_no_sample_and_no_seq(
    window: int, hop: int, other_window: int, other_hop: int, good: int, chunk: int
) -> None:
    hop, other_hop = min(hop, window), min(other_hop, other_window)
    bench = Bench(256, echo(window, hop))
    bench.push(20)
    bench.work()
    old = len(bench.made)
    second = echo(other_window, other_hop, "2.0.0", lambda call: call > good)
    bench.slot.offer(second, trial=True)
    for _ in range(0, 100, chunk):
        bench.push(chunk)
        bench.work()
    assert bench.unhealthy == [("2.0.0", "the runtime failed")]
    assert bench.healthy == ["2.0.0"] * good
    starts = [m.start for m in bench.made]
    change = hop * old
    back = change + other_hop * good
    rest = len(starts) - old - good
    assert rest > 0
    assert starts[old:] == [
        *(change + other_hop * i for i in range(good)),
        *(back + hop * i for i in range(rest)),
    ]
    assert [p.seq for p in bench.predictions] == list(range(len(starts)))
    assert {(p.lost_samples, p.quality) for p in bench.predictions} == {(0, "ok")}
    assert bench.windows == [
        (s, s + (other_window if old <= i < old + good else window) - 1)
        for i, s in enumerate(starts)
    ]


def test_whatever_a_model_raises_is_its_failure() -> None:
    def crash(_call: int) -> bool:
        raise ZeroDivisionError("inside the model")

    bench = Bench(64, echo(10, 10))
    bench.slot.offer(echo(10, 10, "2.0.0", crash), trial=True)
    bench.push(10)
    bench.work()
    assert bench.unhealthy == [("2.0.0", "ZeroDivisionError: inside the model")]
    assert bench.predictions[0].model.version == "1.0.0"


def test_first_model_that_fails_on_trial_leaves_nothing_running() -> None:
    bench = Bench(64)
    bench.slot.offer(echo(10, 10, fails=fails_always), trial=True)
    bench.work()
    bench.push(30)
    assert bench.work() == []
    assert bench.slot.running is None
    assert bench.slot.room(bench.ring) == 64
    assert bench.slot.idle(bench.ring)
    bench.slot.offer(echo(10, 10, "2.0.0"))
    bench.work()
    bench.push(10)
    bench.work()
    assert (bench.windows, bench.predictions[0].seq) == ([(30, 39)], 0)


def test_what_was_lost_before_the_first_prediction_is_told_by_none() -> None:
    bench = Bench(64)
    bench.slot.offer(echo(10, 10, fails=fails_always), trial=True)
    bench.work()
    bench.push(5)
    bench.push(20, lost=7)
    bench.work()
    bench.slot.offer(echo(10, 10, "2.0.0"), trial=True)
    bench.work()
    bench.push(30)
    bench.work()
    assert [(p.lost_samples, p.quality) for p in bench.predictions] == [(0, "ok")] * 3


def test_model_that_comes_after_nothing_ran_says_that_there_is_a_gap() -> None:
    bench = Bench(64)
    bench.slot.offer(echo(10, 10, fails=lambda call: call > 1), trial=True)
    bench.work()
    bench.push(30)
    bench.work()
    bench.slot.offer(echo(10, 10, "2.0.0"))
    bench.work()
    bench.push(10)
    bench.work()
    assert [(p.seq, p.quality) for p in bench.predictions] == [(0, "ok"), (1, "gap")]


def test_settled_model_is_not_left_by_itself_and_its_failed_window_is_a_gap() -> None:
    bench = Bench(64, echo(10, 10))
    bench.slot.offer(echo(10, 10, "2.0.0", lambda call: call == 3), trial=True)
    bench.push(20)
    bench.work()
    bench.slot.settle()
    bench.push(20)
    bench.work()
    assert bench.slot.running is not None
    assert bench.healthy == ["2.0.0", "2.0.0"]
    assert [v for v, _ in bench.unhealthy] == ["2.0.0"]
    assert bench.windows == [(0, 9), (10, 19), (30, 39)]
    assert [(p.seq, p.quality) for p in bench.predictions] == [(0, "ok"), (1, "ok"), (2, "gap")]


def test_trial_that_is_superseded_falls_back_on_the_last_proven_model() -> None:
    bench = Bench(64, echo(10, 10))
    bench.slot.offer(echo(10, 10, "2.0.0"), trial=True)
    bench.push(10)
    bench.work()
    bench.slot.offer(echo(10, 10, "3.0.0", lambda call: call > 1), trial=True)
    bench.push(30)
    bench.work()
    assert [p.model.version for p in bench.predictions] == ["2.0.0", "3.0.0", "1.0.0", "1.0.0"]
    assert bench.windows == [(10 * i, 10 * i + 9) for i in range(4)]


def test_of_two_offers_before_a_window_the_later_one_runs() -> None:
    bench = Bench(64, echo(10, 10))
    bench.slot.offer(echo(10, 10, "2.0.0"), trial=True)
    bench.slot.offer(echo(10, 10, "3.0.0", lambda call: call > 1), trial=True)
    bench.push(20)
    bench.work()
    assert [p.model.version for p in bench.predictions] == ["3.0.0", "1.0.0"]


def test_trial_offered_before_the_proven_model_ran_still_falls_back_on_it() -> None:
    bench = Bench(64)
    bench.slot.offer(echo(10, 10))
    bench.slot.offer(echo(10, 10, "2.0.0"), trial=True)
    bench.slot.offer(echo(10, 10, "3.0.0", fails_always), trial=True)
    bench.work()
    bench.push(10)
    bench.work()
    assert [p.model.version for p in bench.predictions] == ["1.0.0"]


def test_trial_after_a_restart_falls_back_on_what_ran_before_it() -> None:
    bench = Bench(64)
    bench.slot.offer(echo(10, 10, "2.0.0", fails_always), trial=True, fallback=echo(10, 5))
    bench.work()
    bench.push(15)
    bench.work()
    assert bench.windows == [(0, 9), (5, 14)]


def test_model_that_comes_back_forgets_what_it_saw_before() -> None:
    first, second = echo(10, 10), echo(10, 10, "2.0.0", lambda call: call > 1)
    bench = Bench(64, first)
    bench.push(10)
    bench.work()
    resets = model_of(first).resets
    bench.slot.offer(second, trial=True)
    bench.push(30)
    bench.work()
    assert model_of(first).resets == resets + 1


@pytest.mark.parametrize("trial", [True, False])
def test_window_larger_than_the_memory_is_refused_and_the_running_model_runs_on(
    trial: bool,
) -> None:
    bench = Bench(64, echo(10, 10))
    bench.slot.offer(echo(65, 10, "2.0.0"), trial=trial)
    bench.push(20)
    bench.work()
    assert bench.unhealthy == [("2.0.0", "a window of 65 samples; 64 are kept of this stream")]
    assert [p.model.version for p in bench.predictions] == ["1.0.0", "1.0.0"]


def test_window_larger_than_the_memory_leaves_nothing_running_where_nothing_ran() -> None:
    bench = Bench(64, echo(65, 10))
    bench.push(20)
    assert bench.work() == []
    assert bench.slot.running is None
    bench.slot.offer(echo(65, 10), trial=True, fallback=echo(10, 10))
    bench.work()
    bench.push(10)
    assert len(bench.work()) == 1


def test_model_that_is_refused_leaves_nothing_that_goes_on_resampling() -> None:
    bench = Bench(64, echo(10, 10, rate_hz=500.0, resample="linear"))
    running = set(bench.ring.followers)
    bench.slot.offer(echo(33, 10, "2.0.0", rate_hz=250.0, resample="linear"), trial=True)
    bench.push(20)
    bench.work()
    assert [v for v, _ in bench.unhealthy] == ["2.0.0"]
    assert set(bench.ring.followers) == running


@pytest.mark.parametrize("trial", [True, False])
def test_change_that_breaks_off_is_taken_back(trial: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(64, echo(10, 10))
    change = Reader.change

    def fail_once(reader: Reader, stream: Stream, window: Float32Array | None) -> bool:
        change(reader, stream, window)
        monkeypatch.setattr(Reader, "change", change)
        raise MemoryError("no room for its windows")

    bench.push(10)
    bench.work()
    monkeypatch.setattr(Reader, "change", fail_once)
    other = echo(20, 20, "2.0.0", rate_hz=500.0, resample="linear")
    bench.slot.offer(other, trial=trial)
    bench.work()
    assert bench.unhealthy == [("2.0.0", "MemoryError: no room for its windows")]
    assert not bench.ring.followers
    bench.push(20)
    bench.work()
    assert [p.model.version for p in bench.predictions] == ["1.0.0"] * 3
    assert bench.windows[0] == (0, 9)
    assert all(last - first == 9 for first, last in bench.windows)


def test_first_model_whose_change_breaks_off_leaves_nothing_running(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(_reader: Reader, _stream: Stream, _window: Float32Array | None) -> bool:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(Reader, "change", fail)
        bench = Bench(64, echo(10, 10))
    bench.push(20)
    assert bench.work() == []
    assert bench.slot.running is None
    assert bench.slot.idle(bench.ring)
    assert len(bench.unhealthy) == 1


def test_refusal_raised_by_the_owner_comes_through() -> None:
    def refuse(_slot: Slot, _loaded: Loaded, why: str) -> None:
        raise ModelRefused(why)

    slot, ring = Slot("echo", "s", "boot", WallClock(), refuse), Ring(64, 1, 1000.0)
    slot.offer(echo(4, 4, fails=fails_always))
    slot.take(ring)
    ring.append(Chunk(np.zeros((4, 1), np.float32), MS))
    assert slot.take(ring)
    with pytest.raises(ModelRefused, match="the runtime failed"):
        slot.predict()


# --- windows past due


def test_late_windows_are_dropped_up_to_the_newest_and_counted() -> None:
    bench = Bench(loaded=echo(10, 10))
    bench.slot.late = "drop"
    bench.push(95)  # at a time long past
    bench.work()
    assert bench.windows == [(80, 89)]
    assert bench.predictions[0].skipped_windows == bench.slot.tally.late == 8
    assert (bench.predictions[0].quality, bench.predictions[0].lost_samples) == ("ok", 0)
    bench.push(5)
    bench.work()
    assert bench.windows[1:] == [(90, 99)]
    assert bench.predictions[1].skipped_windows == 0


def test_late_windows_are_not_dropped_over_a_break() -> None:
    bench = Bench(loaded=echo(10, 5))
    bench.slot.late = "drop"
    bench.push(33)
    bench.push(20, restart=True)
    bench.work()
    assert bench.windows == [(20, 29), (43, 52)]
    assert [p.skipped_windows for p in bench.predictions] == [4, 2]
    assert [p.quality for p in bench.predictions] == ["ok", "gap"]


@pytest.mark.parametrize(("late", "live"), [("keep", True), (None, False)])
def test_late_windows_are_kept_where_that_is_said_or_the_source_waits(
    late: Late | None, live: bool
) -> None:
    bench = Bench(loaded=echo(10, 10))
    bench.slot.late, bench.slot.live = late, live
    bench.push(40)
    assert len(bench.work()) == 4
    assert bench.slot.tally.late == 0


def test_window_that_was_overwritten_does_not_put_off_when_a_model_is_due() -> None:
    # Or whoever has a memory of its newest frame alone would never come before one with a backlog.
    bench = Bench(10, echo(10, 10))
    bench.push(10)
    due_ns = bench.slot.job(bench.ring).deadline_ns
    assert due_ns is not None
    for _ in range(5):
        bench.push(10)
        assert bench.slot.job(bench.ring).deadline_ns == due_ns


def test_window_of_a_stream_that_comes_as_fast_as_it_is_taken_is_never_late() -> None:
    bench = Bench(loaded=echo(10, 10), speed=inf)
    bench.slot.late = "drop"
    bench.push(40)
    assert len(bench.work()) == 4
    assert bench.slot.tally.late == 0


@pytest.mark.parametrize(("stateful", "windows"), [(False, 1), (True, 4)])
def test_live_stream_drops_late_windows_unless_the_model_remembers(
    stateful: bool, windows: int
) -> None:
    loaded = echo(10, 10)
    manifest = msgspec.structs.replace(loaded.bundle.manifest, stateful=stateful)
    loaded.bundle = replace(loaded.bundle, manifest=manifest)
    bench = Bench(loaded=loaded)
    bench.slot.live = True
    bench.push(40)
    assert len(bench.work()) == windows


def test_stateful_model_forgets_where_windows_were_dropped() -> None:
    loaded = echo(10, 10)
    manifest = msgspec.structs.replace(loaded.bundle.manifest, stateful=True)
    loaded.bundle = replace(loaded.bundle, manifest=manifest)
    bench = Bench(loaded=loaded)
    bench.slot.late = "drop"
    model = model_of(loaded)
    for count, resets in ((10, 1), (10, 1), (30, 2)):
        bench.push(count)
        bench.work()
        assert model.resets == resets


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 60), st.booleans()), min_size=1, max_size=20))
def test_every_window_is_run_or_counted(chunks: list[tuple[int, bool]]) -> None:
    kept, dropping = Bench(loaded=echo(7, 3)), Bench(loaded=echo(7, 3))
    dropping.slot.late = "drop"
    for count, restart in chunks:
        for bench in (kept, dropping):
            bench.push(count, restart=restart and bench.ring.head > 0)
            bench.work()
    ran = sum(1 + p.skipped_windows for p in dropping.predictions)
    assert ran == len(kept.windows)
    assert set(dropping.windows) <= set(kept.windows)
    assert dropping.windows[-1:] == kept.windows[-1:]


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 60), st.booleans(), st.integers(0, 3)), min_size=1, max_size=20
    ),
    st.sampled_from(["keep", "drop"]),
)
def test_windows_overwritten_before_they_were_run_are_counted(
    chunks: list[tuple[int, bool, int]], late: Late
) -> None:
    quick, slow = Bench(loaded=echo(7, 3)), Bench(24, loaded=echo(7, 3))
    slow.slot.late = late
    slow.slot.live = True
    for count, restart, windows in chunks:
        for bench in (quick, slow):
            bench.push(count, restart=restart and bench.ring.head > 0)
        quick.work()
        slow.work(windows)
    slow.work()
    told = slow.predictions
    counted = sum(1 + p.skipped_windows for p in told) + slow.slot.reader.skipped
    # Behind each overrun the windows begin anew, up to a hop off those that there would have been.
    begun_anew = 1 + sum(p.quality == "gap" for p in told) + sum(c[1] for c in chunks)
    assert abs(counted - len(quick.windows)) <= begun_anew
    assert slow.slot.tally.late == counted - len(told)


def test_a_model_that_is_to_run_all_windows_says_which_it_could_not() -> None:
    bench = Bench(40, loaded=echo(20, 5))
    bench.slot.late, bench.slot.live = "keep", True
    bench.push(20)
    bench.work()
    bench.push(100)  # windows from 5 on to 100; those that begin before 80 are overwritten
    assert [m.start for m in bench.work()] == [80, 85, 90, 95, 100]
    told = bench.predictions[1]
    assert (told.skipped_windows, told.quality, told.lost_samples) == (15, "gap", 60)
    assert bench.slot.tally.late == 15


def test_what_could_not_be_told_is_told_with_the_next_window(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = Bench(64, echo(4, 4))
    bench.push(4)
    bench.work()
    bench.push(4, lost=9)
    tell = Slot.tell

    def fail(*_args: Any) -> Made:
        raise OSError("no memory for the message")

    monkeypatch.setattr(Slot, "tell", fail)
    assert bench.slot.take(bench.ring)
    with pytest.raises(OSError, match="no memory"):
        bench.slot.predict()
    bench.slot.fail("no memory for the message")
    monkeypatch.setattr(Slot, "tell", tell)
    bench.push(4)
    (made,) = bench.work()
    assert (read(made).lost_samples, read(made).quality) == (9, "gap")
