"""What is told of windows: events and states that fit, and predictions that leave no false gap."""

from collections.abc import Iterator
from itertools import count, pairwise
from math import inf
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.clock import WallClock
from edge_agent.ring import Chunk, Ring
from edge_agent.slot import Made, Slot
from edge_agent.succession import Loaded
from edge_agent.telling import Note
from edge_bundle.archive import Bundle
from edge_bundle.decision.rules import (
    Classification,
    Detection,
    Events,
    Every,
    Quantity,
    Regression,
    Rule,
    Smoothing,
)
from edge_bundle.inference import Inference
from edge_bundle.manifest import Channel, Stream, Tensor, Tensors
from edge_bundle.tensor import Array, Float32Array, TensorSpec
from edge_wire.messages import Event, Prediction, State
from tests.edge_agent.echo import MS, RATE_HZ, EchoModel
from tests.edge_bundle.bundles import watch_manifest

WINDOW = 4


def loaded(
    version: str = "1.0.0", decision: Rule | None = None, rate_hz: float = RATE_HZ, **rule: Any
) -> Loaded:
    """Return a model whose scores are the first and the last sample of its window."""
    manifest = watch_manifest(
        name="echo",
        version=version,
        tensors=Tensors(
            inputs=(Tensor("X", (1, WINDOW), "float32"),),
            outputs=(Tensor("probabilities", (1, 2), "float32"),),
        ),
        stream=Stream(rate_hz=rate_hz, channels=(Channel("a", "g"),), window=WINDOW, hop=WINDOW),
        decision=decision or Classification(("first", "last"), output="probabilities", **rule),
    )
    bundle = Bundle(Path("echo.bundle"), f"{version:0<64}", 1, manifest)
    return Loaded(bundle, Inference(manifest, EchoModel(WINDOW, lambda _call: False)))


class BoxModel(EchoModel):
    """Gives the four samples of its window as a box, and one that nobody is sure of."""

    def __init__(self) -> None:
        super().__init__(WINDOW, lambda _call: False)
        self.outputs = (
            TensorSpec("boxes", (1, 2, 4), "float32"),
            TensorSpec("scores", (1, 2, 1), "float32"),
        )
        self._boxes = np.zeros((1, 2, 4), np.float32)
        self._scores = np.array([[[0.25], [0.75]]], np.float32)

    def invoke(self) -> None:
        self._boxes[0, 1] = self._input[0]

    def output(self, index: int) -> Array:
        return (self._boxes, self._scores)[index]


def loaded_detector() -> Loaded:
    """Return a detector of faces whose window is the box that it finds."""
    model = BoxModel()
    manifest = watch_manifest(
        name="echo",
        tensors=Tensors(
            inputs=(Tensor("X", (1, WINDOW), "float32"),),
            outputs=tuple(Tensor(o.name, o.shape, "float32") for o in model.outputs),
        ),
        stream=Stream(rate_hz=RATE_HZ, channels=(Channel("a", "g"),), window=WINDOW, hop=WINDOW),
        decision=Detection(("face",), "boxes", "scores"),
    )
    return Loaded(Bundle(Path("echo.bundle"), "1" * 64, 1, manifest), Inference(manifest, model))


class Bench:
    """A slot whose model says what it is fed, window by window, of 4 ms."""

    def __init__(
        self, first: Loaded, numbers: Iterator[int] | None = None, speed: float = 1.0
    ) -> None:
        at_zero = WallClock(lambda: True, monotonic_ns=lambda: 0, wall_ns=lambda: 0)
        self.slot = Slot("echo", "s", "boot", at_zero, numbers=numbers)
        self.ring = Ring(64, 1, RATE_HZ, speed)
        self.made: list[Made] = []
        self.slot.offer(first)
        self.slot.take(self.ring)

    def say(self, *answers: str, restart: bool = False, lost: int = 0) -> None:
        """Feed a window for each answer: ``first``, ``last``; ``restart`` is before the first."""
        for answer in answers:
            values = (1.0, 0.0) if answer == "first" else (0.0, 1.0)
            self.measure(*values, restart=restart, lost=lost)
            restart, lost = False, 0

    def measure(self, first: float, last: float, restart: bool = False, lost: int = 0) -> None:
        """Feed a window with these values."""
        window = np.zeros((WINDOW, 1), np.float32)
        window[0], window[-1] = first, last
        self.feed(window, restart, lost)

    def feed(self, window: Float32Array, restart: bool = False, lost: int = 0) -> None:
        """Feed a window, float32 [4, 1]."""
        end_ns = int((self.ring.head + self.ring.lost + lost + WINDOW) * self.ring.period_ns)
        self.ring.append(Chunk(window, end_ns, restart=restart, lost=lost))
        assert self.slot.take(self.ring)
        made = self.slot.predict()
        assert made is not None
        self.made.append(made)

    @property
    def notes(self) -> list[Note]:
        return [note for made in self.made for note in made.notes]

    @property
    def events(self) -> list[Event]:
        return events(self.notes)

    @property
    def states(self) -> list[State]:
        return [msgspec.json.decode(n.payload, type=State) for n in self.notes if n.kind == "state"]

    @property
    def predictions(self) -> list[Prediction]:
        return [msgspec.json.decode(m.payload, type=Prediction) for m in self.made if m.payload]


def events(notes: "list[Note] | tuple[Note, ...]") -> list[Event]:
    return [msgspec.json.decode(n.payload, type=Event) for n in notes if n.kind == "event"]


def test_peak_of_a_quantity_that_is_low_is_its_lowest_and_of_one_that_is_high_its_highest() -> None:
    water = Quantity("water", "°C", low=5.0, high=60.0)
    rule = Regression((water, Quantity("flow", "l/min", low=1.0)), events=Events())
    bench = Bench(loaded(decision=rule))
    for value in (20.0, 4.0, -3.0, 2.0, 20.0, 61.0, 75.0, 70.0, 20.0):
        bench.measure(value, 5.0)
    ends = [(e.label, e.score, e.peak) for e in bench.events if e.kind == "end"]
    assert ends == [("low", 2.0, -3.0), ("high", 70.0, 75.0)]


def test_event_of_the_second_quantity_tells_its_values() -> None:
    rule = Regression(
        (Quantity("water", "°C"), Quantity("flow", "l/min", low=1.0)), events=Events()
    )
    bench = Bench(loaded(decision=rule))
    for value in (5.0, 0.5, 0.25, 0.75, 5.0):
        bench.measure(20.0, value)
    told = [(e.kind, e.label, e.score, e.peak) for e in bench.events]
    assert told == [("new", "low", 0.5, 0.5), ("end", "low", 0.75, 0.25)]


def test_without_events_in_the_bundle_nothing_but_predictions_is_told() -> None:
    bench = Bench(loaded())
    bench.say("first", "last", "last")
    assert (bench.notes, bench.slot.end(), len(bench.predictions)) == ([], (), 3)
    assert b"values" not in bench.made[0].payload
    assert b"boxes" not in bench.made[0].payload


def test_prediction_of_a_regression_has_every_value_with_its_name_and_unit() -> None:
    rule = Regression((Quantity("water", "°C", high=60.0), Quantity("flow", "l/min")))
    bench = Bench(loaded(decision=rule))
    bench.measure(61.5, 0.25)
    (prediction,) = bench.predictions
    assert prediction.values == [("water", 61.5, "°C"), ("flow", 0.25, "l/min")]
    assert (prediction.label, prediction.score) == ("high", 61.5)
    assert b"boxes" not in bench.made[0].payload


def test_prediction_of_a_detection_has_the_boxes_it_is_sure_of() -> None:
    bench = Bench(loaded_detector())
    for box in ([0.125, 0.25, 0.5, 0.75], [0.0625, 0.125, 0.25, 0.375]):
        bench.feed(np.array(box, np.float32).reshape(WINDOW, 1))
    first, second = bench.predictions
    assert first.boxes == [("face", 0.75, 0.125, 0.25, 0.5, 0.75)]
    assert second.boxes == [("face", 0.75, 0.0625, 0.125, 0.25, 0.375)]
    assert (first.label, first.score) == ("face", 0.75)
    assert b"values" not in bench.made[0].payload


def test_an_event_says_when_it_began_by_which_model_and_why_it_ended() -> None:
    bench = Bench(loaded(events=Events(("last",), debounce=2)), count(7))
    bench.say("first", "last", "last", "first", "first")
    new, end = bench.events
    assert (new.kind, new.id, new.n, new.label) == ("new", "boot-7", 0, "last")
    assert (new.t, new.start) == ("1970-01-01T00:00:00.012Z", "1970-01-01T00:00:00.008Z")
    assert (new.duration_ms, end.duration_ms) == (4.0, 12.0)
    assert (end.kind, end.id, end.n, end.cause) == ("end", "boot-7", 1, "over")
    assert (new.stream, new.model.name, new.model.version) == ("s", "echo", "1.0.0")
    assert b"cause" not in bench.notes[0].payload


def test_state_is_told_on_change_alone() -> None:
    bench = Bench(loaded(events=Events((), debounce=2)))
    bench.say(*["first"] * 3, "last", "first", *["last"] * 4)
    assert [(s.label, s.t[-5:-1]) for s in bench.states] == [(("first"), ".008"), ("last", ".028")]
    assert bench.events == []


@pytest.mark.parametrize("speed", [1.0, 10.0, inf])
def test_durations_are_the_streams_own_however_fast_it_is_replayed(speed: float) -> None:
    rule = Events(("last",), minimum_s=0.008, refractory_s=0.02, update_s=0.008)
    bench = Bench(loaded(events=rule, predictions=Every(0.012)), speed=speed)
    bench.say(*["last"] * 6, "first", *["last"] * 2)
    bench.say(*["last"] * 9, restart=True, lost=20)
    assert [m.start for m in bench.made if m.payload] == [0, 12, 24, 36, 48, 60]
    assert [(e.kind, e.duration_ms, e.cause or "") for e in bench.events] == [
        ("new", 8.0, ""),
        ("update", 16.0, ""),
        ("end", 24.0, "over"),
        ("new", 8.0, ""),
        ("update", 16.0, ""),
        ("update", 24.0, ""),
        ("update", 32.0, ""),
    ]
    assert len({(e.id, e.start) for e in bench.events}) == 2, "each began once"


@pytest.mark.parametrize("speed", [0.01, 0.1, 1.0, 4.0])
def test_times_of_an_event_are_those_of_its_predictions_however_fast_it_is_replayed(
    speed: float,
) -> None:
    rule = Events(("last",), debounce=2, minimum_s=0.01, update_s=0.004)
    bench = Bench(loaded(events=rule), speed=speed)
    bench.say("first", *["last"] * 5)
    bench.say(*["last"] * 5, restart=True, lost=200)
    bench.slot.end()
    told = [p.t for p in bench.predictions]
    assert [(e.kind, told.index(e.start), told.index(e.t)) for e in bench.events] == [
        ("new", 1, 4),
        ("update", 1, 5),
        ("end", 1, 5),
        ("new", 6, 9),
        ("update", 6, 10),
    ]


def test_event_of_a_stream_a_little_faster_than_its_model_begins_where_it_did() -> None:
    rule = Events(("last",), minimum_s=1.0)
    bench = Bench(loaded(events=rule, rate_hz=RATE_HZ / 1.02), speed=4.0)
    bench.say("first", *["last"] * 252)
    (new,) = bench.events
    assert new.start == bench.predictions[1].t


def test_windows_before_an_event_are_not_remembered_one_by_one() -> None:
    bench = Bench(loaded(events=Events(("last",), minimum_s=1e6)), speed=4.0)
    bench.say(*["last"] * 50)
    assert len(vars(vars(bench.slot)["_teller"])["_ends"]) == 1


def test_event_ends_at_a_gap_and_another_may_begin_behind_it() -> None:
    bench = Bench(loaded(events=Events(("last",))))
    bench.say("last", "last")
    bench.say("last", restart=True, lost=3)
    assert [(e.kind, e.id) for e in bench.events] == [
        ("new", "boot-0"),
        ("end", "boot-0"),
        ("new", "boot-1"),
    ]
    end = bench.events[1]
    assert (end.cause, end.t) == ("gap", "1970-01-01T00:00:00.008Z")
    assert [s.label for s in bench.states] == ["last"], "the state outlives a gap"


def test_event_ends_with_its_model_and_the_next_tells_its_state_anew() -> None:
    bench = Bench(loaded(events=Events(("last",))))
    bench.say("last")
    bench.slot.offer(loaded("2.0.0", events=Events(("last",))))
    bench.say("last")
    assert [(e.kind, e.cause, e.model.version) for e in bench.events] == [
        ("new", msgspec.UNSET, "1.0.0"),
        ("end", "model", "1.0.0"),
        ("new", msgspec.UNSET, "2.0.0"),
    ]
    assert [s.model.version for s in bench.states] == ["1.0.0", "2.0.0"]


def test_event_of_a_model_that_knew_them_ends_where_the_next_knows_none() -> None:
    bench = Bench(loaded(events=Events(("last",))))
    bench.say("last")
    bench.slot.offer(loaded("2.0.0"))
    bench.say("last", "last")
    assert [e.kind for e in bench.events] == ["new", "end"]
    assert bench.slot.end() == ()


def test_event_ends_at_the_stop() -> None:
    bench = Bench(loaded(events=Events()))
    bench.say("last")
    (end,) = events(bench.slot.end())
    assert (end.kind, end.cause, end.n) == ("end", "stopped", 1)
    assert bench.slot.end() == ()


def test_smoothing_is_forgotten_at_a_gap() -> None:
    bench = Bench(loaded(smoothing=Smoothing("mean", 2)))
    bench.say("last", "last")
    bench.say("first", "first", restart=True)
    assert [p.label for p in bench.predictions] == ["unknown", "last", "unknown", "first"]


runs = st.lists(
    st.tuples(st.sampled_from(["first", "last"]), st.integers(0, 3), st.booleans()), max_size=40
)


@given(runs, st.sampled_from(["changes", Every(0.009)]))
def test_predictions_that_are_not_published_leave_no_gap_in_seq_and_hide_no_loss(
    windows: list[tuple[str, int, bool]], predictions: Any
) -> None:
    bench = Bench(loaded(predictions=predictions))
    for label, lost, restart in windows:
        bench.say(label, lost=lost, restart=restart)
    told = bench.predictions
    assert [p.seq for p in told] == list(range(len(told)))
    assert [m.seq for m in bench.made if m.payload] == list(range(len(told)))
    labels = [m.decision.label for m in bench.made]
    if predictions == "changes":
        assert [p.label for p in told] == [
            label for i, label in enumerate(labels) if not i or labels[i - 1] != label
        ]
    lost, broken, at = 0, False, iter(told)
    for (_, missing, restart), made in zip(windows, bench.made, strict=True):
        lost, broken = lost + missing, broken or bool(missing) or restart
        if made.payload:
            prediction = next(at)
            assert (prediction.lost_samples, prediction.quality) == (
                lost,
                "gap" if broken else "ok",
            )
            lost, broken = 0, False


@given(runs, st.integers(1, 3), st.sampled_from([0.0, 0.008]))
def test_every_event_that_is_told_begins_and_ends_and_n_counts_its_messages(
    windows: list[tuple[str, int, bool]], debounce: int, update_s: float
) -> None:
    rule = Events(debounce=debounce, update_s=update_s)
    bench = Bench(loaded(events=rule))
    for label, lost, restart in windows:
        bench.say(label, lost=lost, restart=restart)
    told = [*bench.events, *events(bench.slot.end())]
    assert [e.n for e in told] == list(range(len(told)))
    by_id: dict[str, list[str]] = {}
    for event in told:
        by_id.setdefault(event.id, []).append(event.kind)
    for kinds in by_id.values():
        assert (kinds[0], kinds[-1]) == ("new", "end")
        assert set(kinds[1:-1]) <= {"update"}
    assert all(one.label != other.label for one, other in pairwise(bench.states))


@pytest.mark.parametrize("threshold", [0.5, 1.0])
def test_thresholds_of_the_configuration_hold_instead_of_the_bundles(threshold: float) -> None:
    one = loaded()
    one.inference.override({"last": threshold})
    bench = Bench(one)
    window = np.array([[0], [0], [0], [0.75]], np.float32)
    bench.ring.append(Chunk(window, WINDOW * MS))
    assert bench.slot.take(bench.ring)
    made = bench.slot.predict()
    assert made is not None
    assert made.decision.label == ("last" if threshold <= 0.75 else "unknown")
