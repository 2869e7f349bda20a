"""A device tells what its models come to and what it takes, through a real broker."""

import threading
from pathlib import Path

import numpy as np
import pytest

from edge_agent.bell import Bell
from edge_agent.clock import WallClock
from edge_agent.feed import Feed
from edge_agent.process import read_process
from edge_agent.telemetry import TelemetryThread
from edge_bundle.drift import BATCH, LEARNED, PSI_DRIFTED, Drift, ScoreChanges, StabilityIndex
from edge_wire.broker import Broker
from edge_wire.link import Handlers, Link
from edge_wire.messages import DriftReport, StreamFigures, Telemetry, decode, encode
from edge_wire.topics import Topics
from tests.brokers import RunningBroker
from tests.edge_agent.echo import Bench, echo
from tests.edge_agent.test_reporter import Wire
from tests.edge_agent.whole_agent import Agent
from tests.simulators.operator import Operator, make_release

PATIENCE_S = 20.0


def teller(bench: Bench) -> TelemetryThread:
    feed = Feed("s", bench.ring, "block", Bell())
    feed.add(bench.slot)
    return TelemetryThread(Wire(), Topics(), "d1", "000001-ab", WallClock(), [feed], 60.0)


def test_counts_grow_from_message_to_message_and_spreads_are_of_the_period() -> None:
    bench = Bench(loaded=echo(10, 10, fails=lambda call: call == 3))
    telling = teller(bench)
    bench.push(50)
    bench.work()
    first = telling.describe().models["echo"]
    assert (first.windows, first.failed, first.late) == (4, 1, 0)
    assert first.infer_ms is not None
    assert first.infer_ms.p99 >= first.infer_ms.mean > 0
    bench.slot.late = "drop"
    bench.push(30)
    bench.work()
    second = telling.describe().models["echo"]
    assert (second.windows, second.failed, second.late) == (5, 1, 2)
    third = telling.describe()
    assert third.n == 3
    assert third.models["echo"].infer_ms is None
    assert third.models["echo"].windows == 5
    assert decode(encode(third), Telemetry) == third


def test_samples_are_counted_where_no_window_is_whole() -> None:
    bench = Bench(loaded=echo(10, 10))
    telling = teller(bench)
    for _ in range(20):
        bench.push(9, lost=2)
    assert not bench.work()
    told = telling.describe()
    assert told.streams == {"s": StreamFigures(samples=180, lost=40, breaks=20)}
    assert told.models["echo"].windows == 0


def test_drift_of_what_a_model_sees_is_told() -> None:
    loaded = echo(10, 10)
    # Its windows were built on samples between 0 and 640, as many of each.
    index = StabilityIndex(np.arange(64.0, 640.0, 64.0).reshape(1, 9), np.full((1, 10), 64))
    loaded.drift = Drift(("a",), index, ScoreChanges())
    bench = Bench(loaded=loaded)
    telling = teller(bench)

    def push(count: int) -> DriftReport:
        bench.push(count)  # each sample's value is its number
        bench.work()
        drift = telling.describe().models["echo"].drift
        assert drift is not None
        return drift

    assert push(600).psi is None  # too few to say
    as_built = push(60)
    assert as_built.psi is not None
    assert as_built.psi < 0.01
    assert (as_built.channel, as_built.drifted) == ("a", False)
    above = push(1280)
    assert above.psi is not None
    assert above.psi > PSI_DRIFTED
    assert (above.channel, above.drifted) == ("a", True)


def test_drift_of_how_sure_a_model_is_is_told() -> None:
    loaded = echo(10, 10)
    loaded.drift = Drift(("a",), None, ScoreChanges())
    bench = Bench(loaded=loaded)
    telling = teller(bench)
    told = []
    for _ in range(60):  # the scores are the samples, which grow: surer and surer
        bench.push(BATCH * 10)
        bench.work()
        told.append(telling.describe().models["echo"].drift)
    statistics = [drift.score_statistic for drift in told if drift is not None]
    assert len(statistics) == 60
    assert statistics[LEARNED - 2] == 0.0
    assert max(statistics) > 1.0
    assert told[0] is not None
    assert not told[0].drifted
    assert told[-1] is not None
    assert told[-1].drifted


def test_drift_is_told_and_nothing_is_where_nothing_runs() -> None:
    loaded = echo(10, 10)
    loaded.drift = Drift(("a",), None, ScoreChanges())
    bench = Bench(loaded=loaded)
    bench.push(20)
    bench.work()
    told = teller(bench).describe().models["echo"]
    assert told.drift is not None
    assert (told.drift.psi, told.drift.channel, told.drift.drifted) == (None, "", False)
    assert loaded.drift.scores.statistic == pytest.approx(told.drift.score_statistic, abs=1e-4)
    empty = teller(Bench()).describe().models["echo"]
    assert (empty.model, empty.drift, empty.windows) == (None, None, 0)


def test_process_is_read_from_the_kernels_files(tmp_path: Path) -> None:
    (tmp_path / "statm").write_text("100 50 0 0 0 0 0\n")
    for zone, text in (("thermal_zone0", "48250\n"), ("thermal_zone1", "51000\n")):
        (tmp_path / zone).mkdir()
        (tmp_path / zone / "temp").write_text(text)
    (tmp_path / "thermal_zone2").mkdir()
    (tmp_path / "thermal_zone2" / "temp").write_text("asleep")
    found = read_process(tmp_path / "statm", tmp_path)
    assert found.rss_bytes % 50 == 0
    assert found.celsius == 51.0
    assert found.cpu_s > 0
    nothing = read_process(tmp_path / "none", tmp_path / "none")
    assert (nothing.rss_bytes, nothing.celsius) == (0, None)
    assert read_process().rss_bytes > 1 << 20


def test_an_agent_tells_through_a_broker(broker: RunningBroker, tmp_path: Path) -> None:
    release = make_release(tmp_path, "1.0.0")
    told: list[tuple[Telemetry, bool]] = []
    enough = threading.Event()

    def hear(topic: str, payload: bytes, retained: bool) -> None:
        if topic.endswith("/telemetry"):
            told.append((decode(payload, Telemetry), retained))
            if told[-1][0].models["watch"].windows:
                enough.set()

    with Operator(broker.url) as operator:
        config = operator.enrol(tmp_path, model=f'bundle = "{release.path}"')
        config.write_text(config.read_text() + "\n[telemetry]\nevery_s = 0.2\n")
        watcher = Link(Broker(broker.url), "watcher", Handlers(message=hear))
        watcher.start()
        watcher.wait(PATIENCE_S)
        watcher.subscribe(["#"])
        with Agent(config) as agent:
            assert enough.wait(PATIENCE_S)
        watcher.stop()
    figures, retained = told[-1]
    assert not retained
    assert figures.boot == agent.boot
    assert [t.n for t, _ in told] == sorted({t.n for t, _ in told})
    assert figures.models["watch"].stream == "imu0"
    assert figures.models["watch"].e2e_ms is not None
    assert figures.process.rss_bytes > 1 << 20
