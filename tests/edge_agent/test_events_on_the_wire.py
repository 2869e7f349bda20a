"""On a real broker: events are never retained, the state is, and is said again on a new one."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from paho.mqtt import client as paho

from edge_agent.config import load_config
from edge_agent.service import Service
from edge_bundle.archive import Bundle
from edge_bundle.decision.rules import Classification, Events
from edge_bundle.errors import ConfigError
from edge_wire.messages import Event, State
from tests.brokers import RunningBroker
from tests.edge_agent.subscriber import subscribed
from tests.edge_agent.whole_agent import Agent
from tests.edge_bundle.bundles import LABELS, RECORDING
from tests.simulators.operator import Operator, make_release

PATIENCE_S = 15.0


@dataclass
class Ears:
    """What a plain subscriber to one device's events and states heard."""

    events: list[Event] = field(default_factory=list)
    states: list[State] = field(default_factory=list)
    retained: list[str] = field(default_factory=list)
    """Topics of messages that the broker had kept."""

    def take(self, message: paho.MQTTMessage) -> None:
        kind = message.topic.split("/")[-3]
        if message.retain:
            self.retained.append(kind)
        if kind == "event":
            self.events.append(msgspec.json.decode(message.payload, type=Event))
        else:
            self.states.append(msgspec.json.decode(message.payload, type=State))

    def of(self, event: str) -> list[Event]:
        """Return what was said of one event, without repetitions by the broker."""
        return list({e.n: e for e in self.events if e.id == event}.values())

    def lived(self) -> set[str]:
        """Return the ids of events that began, went on and ended."""
        kinds = {(e.id, e.kind) for e in self.events}
        return {i for i, _ in kinds if {(i, k) for k in ("new", "update", "end")} <= kinds}

    def open_events(self) -> set[str]:
        """Return the ids of events that began and did not end."""
        began = {e.id for e in self.events if e.kind == "new"}
        return began - {e.id for e in self.events if e.kind == "end"}


@contextmanager
def listening(broker: RunningBroker, root: str) -> Iterator[Ears]:
    ears = Ears()
    topics = [f"{root}/dev/d1/{kind}/imu0/watch" for kind in ("event", "state")]
    with subscribed(broker, ears.take, *topics):
        yield ears


def eventually(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_wire.link.BACKOFF_S", (0.02, 0.3))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    events = Events(debounce=2, update_s=2.0)
    rule = Classification(LABELS, output="probabilities", events=events, predictions="changes")
    return make_release(tmp_path_factory.mktemp("release"), "1.0.0", decision=rule)


def test_events_reach_who_listens_and_the_state_whoever_comes_later(
    broker: RunningBroker, bundle: Bundle, tmp_path: Path
) -> None:
    with Operator(broker.url) as operator:
        root = operator.topics.root
        config = operator.enrol(tmp_path, model=f'bundle = "{bundle.path}"')
        with listening(broker, root) as ears:
            with Agent(config) as agent:
                eventually(lambda: len(ears.events) > 8 and ears.lived())
                with listening(broker, root) as late:
                    eventually(lambda: late.states)
                    assert set(late.retained) == {"state"}
                assert all(e.id.startswith(agent.boot) for e in ears.events)
            eventually(lambda: not ears.open_events())
            assert ears.retained == []
            numbers = [e.n for e in ears.events]
            assert list(dict.fromkeys(numbers)) == list(range(len(set(numbers))))
            told = ears.of(next(iter(ears.lived())))
            assert [e.kind for e in told] == ["new", *["update"] * (len(told) - 2), "end"]
            assert [e.n for e in told] == list(range(told[0].n, told[0].n + len(told)))
            durations = [e.duration_ms for e in told]
            assert durations == sorted(durations)
            assert all(b - a > 1999 for a, b in pairwise(durations[:-1])), "every two seconds"
            assert {(e.start, e.label) for e in told} == {(told[0].start, told[0].label)}
            assert {e.cause for e in ears.events if e.kind == "end"} <= {"over", "gap", "stopped"}
        eventually(lambda: operator.seen().availability[-1:] == ["stopped"])
        assert operator.seen().missing(agent.boot) == set(), "what is not published is no loss"


def test_state_is_said_again_to_a_broker_that_lost_it(
    broker: RunningBroker, bundle: Bundle, tmp_path: Path
) -> None:
    operator = Operator(broker.url)
    config = operator.enrol(tmp_path, model=f'bundle = "{bundle.path}"')
    # One exercise over and over: the label never changes again.
    config.write_text(config.read_text().replace(str(RECORDING), f"{RECORDING}#0"))
    root = operator.topics.root
    with Agent(config):
        with listening(broker, root) as before:
            eventually(lambda: before.states)
            label = before.states[-1].label
        broker.restart()
        with listening(broker, root) as after:
            eventually(lambda: after.states)
            assert {s.label for s in after.states} == {label}
            assert not [e for e in after.events if e.label != label]
        with listening(broker, root) as late:
            eventually(lambda: late.states)
            assert set(late.retained) == {"state"}


# --- thresholds of the configuration


def test_info_says_which_thresholds_are_the_configurations(
    embedded: RunningBroker, bundle: Bundle, tmp_path: Path
) -> None:
    with Operator(embedded.url) as operator:
        seen = operator.seen()
        more = f'bundle = "{bundle.path}"\nthresholds = {{ {LABELS[0]} = 1.0 }}'
        config = operator.enrol(tmp_path, model=more)
        with Agent(config):
            operator.wait_for(lambda: seen.infos)
            model = seen.infos[-1].models["watch"]
            assert (model.stream, model.thresholds) == ("imu0", {LABELS[0]: 1.0})
            operator.wait_for_more(3)
        high = [p for p in seen.predictions if p.top[0][0] == LABELS[0]]
        assert all(p.label == "unknown" for p in high if p.score < 1.0)


@pytest.mark.parametrize(
    ("thresholds", "why"),
    [
        ("{ RUN = 0.5 }", f"thresholds.RUN: no 'RUN'; the model has {', '.join(LABELS)}"),
        ("{ PEN = 1.5 }", "thresholds.PEN: 1.5, expected 0 to 1"),
        ("{ PEN = true }", "thresholds.PEN: true, expected a number"),
    ],
)
def test_threshold_that_the_model_has_not_is_refused_at_its_place(
    bundle: Bundle, tmp_path: Path, thresholds: str, why: str
) -> None:
    nobody = Operator("mqtt://127.0.0.1:1")
    more = f'bundle = "{bundle.path}"\nthresholds = {thresholds}'
    config = nobody.enrol(tmp_path, model=more)
    with pytest.raises(ConfigError) as refused:
        Service(load_config(config))
    assert str(refused.value).startswith(f"{config}:")
    assert str(refused.value).endswith(f": model[0].{why}")
