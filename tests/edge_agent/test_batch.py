"""Windows that are run together come to what they do one by one."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent import batch as b
from edge_agent.batch import Batch
from edge_agent.clock import WallClock
from edge_agent.ring import Chunk, Ring
from edge_agent.slot import Made, Slot
from edge_agent.succession import Loaded
from edge_bundle import inference as i
from edge_bundle.archive import Bundle
from edge_bundle.decision.rules import Anomaly, Classification, Events, Every, Rule, Smoothing
from edge_bundle.drift import Drift
from edge_bundle.errors import ModelRefused
from edge_bundle.features.steps import Spectrogram
from edge_bundle.inference import Inference
from edge_bundle.manifest import Channel, Stream, Tensor, Tensors
from tests.edge_agent.echo import RATE_HZ, EchoModel, read
from tests.edge_bundle.bundles import watch_manifest

LABELS = ("first", "last")
WINDOW = 6
SIZE = 4 * (WINDOW + 2)
"""Bytes of a window and its scores."""
MAJORITY = Classification(LABELS, output="probabilities", smoothing=Smoothing("majority", 3))


class Time:
    """Nanoseconds that pass when somebody lets them."""

    def __init__(self) -> None:
        self.ns = 0

    def __call__(self) -> int:
        return self.ns


class CountingModel(EchoModel):
    """Adds to a window's first sample how many windows it saw since it was told to forget."""

    def __init__(
        self, fails: Any = lambda _call: False, time: "Time | None" = None, takes_ns: int = 0
    ) -> None:
        super().__init__(WINDOW, fails)
        self.stateful = True
        self._seen = 0
        self._time = time or Time()
        self._takes_ns = takes_ns

    def invoke(self) -> None:
        super().invoke()
        self._time.ns += self._takes_ns
        self._seen += 1
        self._output[0, 0] += self._seen

    def reset(self) -> None:
        super().reset()
        self._seen = 0


def loaded(rule: Rule, hop: int, model: "EchoModel | None" = None, **more: Any) -> Loaded:
    manifest = watch_manifest(
        name="echo",
        tensors=Tensors(
            inputs=(Tensor("X", (1, WINDOW), "float32"),),
            outputs=(Tensor("probabilities", (1, 2), "float32"),),
        ),
        stream=Stream(RATE_HZ, (Channel("a", "g"),), window=WINDOW, hop=hop),
        decision=rule,
        stateful=True,
        **more,
    )
    bundle = Bundle(Path("echo.bundle"), f"{'1':0<64}", 1, manifest)
    return Loaded(bundle, Inference(manifest, model or CountingModel()))


def refuse(_slot: Slot, _loaded: Loaded, why: str) -> None:
    raise ModelRefused(why)


class Bench:
    """A stream of samples between 0 and 1, whose windows go one by one or together."""

    def __init__(self, model: Loaded, together: bool, most: int = b.WINDOWS) -> None:
        at_zero = WallClock(lambda: True, monotonic_ns=lambda: 0, wall_ns=lambda: 0)
        self.model = model
        self.slot = Slot("echo", "s", "boot", at_zero, refuse)
        self.ring = Ring(256, 1, RATE_HZ)
        self.slot.offer(model)
        self.slot.take(self.ring)
        self._batch = Batch(self.slot, model.bundle.manifest, most) if together else None
        self._values = np.random.default_rng(0)

    def push(self, count: int, lost: int = 0, restart: bool = False) -> Iterator[Made]:
        values = self._values.random((count, 1), np.float32)
        end_ns = int((self.ring.head + self.ring.lost + lost + count) * self.ring.period_ns)
        self.ring.append(Chunk(values, end_ns, lost, restart))
        if self._batch is not None:
            yield from self._batch.predict(self.ring)
            return
        while self.slot.take(self.ring):
            made = self.slot.predict()
            assert made is not None
            yield made

    def finish(self) -> Iterator[Made]:
        if self._batch is not None:
            yield from self._batch.finish()


def told(made: Made) -> tuple[Any, ...]:
    """Return all that is told of a window but how long it took."""
    said = read(made) if made.payload else None
    rest = said and (said.seq, said.t, said.lost_samples, said.quality, said.skipped_windows)
    return made.seq, made.start, made.decision, made.notes, rest


pushes = st.lists(
    st.tuples(st.integers(1, 40), st.integers(0, 3), st.booleans()), min_size=1, max_size=12
)
rules = st.sampled_from(
    [
        MAJORITY,
        Classification(LABELS, output="probabilities", smoothing=Smoothing("mean", 4)),
        Classification(LABELS, output="probabilities", events=Events(("first",), debounce=2)),
        Classification(LABELS, output="probabilities", predictions=Every(0.01)),
    ]
)


@given(pushes, rules, st.integers(1, 9), st.integers(2, 9), st.booleans())
def test_windows_together_come_to_what_they_do_one_by_one(
    pushed: list[tuple[int, int, bool]], rule: Rule, hop: int, most: int, with_features: bool
) -> None:
    # Whose frames are worked out once where windows overlap by whole steps: six values, too.
    steps: dict[str, Any] = {"features": (Spectrogram(4, 2),)} if with_features else {}
    alone = Bench(loaded(rule, hop, **steps), together=False)
    together = Bench(loaded(rule, hop, **steps), together=True, most=most)
    expected = [told(m) for p in pushed for m in alone.push(*p)]
    found = [told(m) for p in pushed for m in together.push(*p)]
    found += [told(m) for m in together.finish()]
    assert found == expected
    assert together.slot.tally.windows == len(expected)
    assert together.slot.end() == alone.slot.end()
    models = [bench.model.inference.model for bench in (alone, together)]
    assert [(m.calls, m.resets) for m in models if isinstance(m, EchoModel)] == [
        (len(expected), models[0].resets)  # type: ignore[attr-defined]
    ] * 2


def test_predictions_before_a_failure_are_given_and_then_it_is_raised() -> None:
    model = CountingModel(lambda call: call == 4)
    bench = Bench(loaded(MAJORITY, WINDOW, model), together=True)
    assert not list(bench.push(6 * WINDOW))
    made = bench.finish()
    assert [next(made).seq for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ModelRefused, match=r"^the runtime failed$"):
        next(made)


def test_a_decision_that_fails_refuses_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(loaded(MAJORITY, WINDOW), together=True)
    monkeypatch.setattr(bench.model.inference, "judge", lambda _scores: 1 / 0)
    assert not list(bench.push(2 * WINDOW))
    with pytest.raises(ModelRefused, match=r"^ZeroDivisionError: division by zero$"):
        next(bench.finish())


def test_windows_that_were_told_are_not_told_again() -> None:
    failing = Bench(loaded(MAJORITY, WINDOW, CountingModel(lambda call: call == 2)), together=True)
    assert not list(failing.push(3 * WINDOW))
    with pytest.raises(ModelRefused):
        list(failing.finish())
    closed = Bench(loaded(MAJORITY, WINDOW), together=True)
    assert not list(closed.push(3 * WINDOW))
    some = closed.finish()
    assert next(some).seq == 0
    some.close()  # type: ignore[attr-defined]
    for bench in (failing, closed):
        assert not list(bench.finish())


@pytest.mark.parametrize(
    ("takes_ns", "patience_ns", "told_after"),
    [(5, 15, [4, 4, 4, 4, 7, 7, 7]), (5, 4, [1, 2, 3, 4, 5, 6, 7]), (5, 99, [7] * 7)],
    ids=["some fit", "slower than the patience", "all fit"],
)
def test_no_window_that_was_run_waits_longer_than_it_may(
    takes_ns: int, patience_ns: int, told_after: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    time = Time()
    monkeypatch.setattr(i, "monotonic_ns", time)
    monkeypatch.setattr(b, "PATIENCE_NS", patience_ns)
    model = CountingModel(time=time, takes_ns=takes_ns)
    bench = Bench(loaded(MAJORITY, WINDOW, model), together=True)
    assert not list(bench.push(7 * WINDOW))
    assert [model.calls for _ in bench.finish()] == told_after


def test_a_prediction_says_what_its_own_window_took(monkeypatch: pytest.MonkeyPatch) -> None:
    time = Time()
    monkeypatch.setattr(i, "monotonic_ns", time)
    for together in (False, True):
        time.ns = 50_000_000
        model = CountingModel(time=time, takes_ns=2_000_000)
        bench = Bench(loaded(MAJORITY, WINDOW, model), together)
        made = [*bench.push(3 * WINDOW), *bench.finish()]
        latencies = [read(m).lat_ms for m in made]
        assert [lat.infer for lat in latencies] == [2.0] * 3
        assert [lat.queue for lat in latencies] == [50 - 6, 52 - 12, 54 - 18]


def test_as_many_windows_are_taken_as_there_is_memory_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(b, "BYTES", 2 * SIZE)
    bench = Bench(loaded(MAJORITY, WINDOW), together=True)
    assert [m.seq for m in bench.push(5 * WINDOW)] == [0, 1, 2, 3]
    assert [m.seq for m in bench.finish()] == [4]


def test_windows_go_one_by_one_where_one_alone_fills_the_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(b, "BYTES", 2 * SIZE - 1)
    bench = Bench(loaded(MAJORITY, WINDOW), together=True)
    assert [m.seq for m in bench.push(3 * WINDOW)] == [0, 1, 2]


def test_windows_go_one_by_one_where_somebody_looks_at_each() -> None:
    def keep(*_args: Any) -> None:
        """Look."""

    assert Bench(loaded(MAJORITY, WINDOW), together=False).slot.patient
    kept = Bench(loaded(MAJORITY, WINDOW), together=False)
    kept.slot.keep = keep
    assert not kept.slot.patient
    reconstruction = Anomaly(threshold=0.5, output="probabilities")
    assert not Bench(loaded(reconstruction, WINDOW), together=False).slot.patient
    trial = Bench(loaded(MAJORITY, WINDOW), together=False)
    trial.slot.offer(loaded(MAJORITY, WINDOW), trial=True)
    trial.slot.take(trial.ring)
    assert not trial.slot.patient
    watched = loaded(MAJORITY, WINDOW)
    watched.drift = cast("Drift", object())
    assert not Bench(watched, together=False).slot.patient
