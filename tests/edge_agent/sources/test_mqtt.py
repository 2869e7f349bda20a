"""Messages of a real broker become samples; wrong ones are counted and end nothing."""

import threading
import time
from collections.abc import Callable, Iterator
from itertools import count, pairwise
from pathlib import Path

import numpy as np
import pytest

from edge_agent.ring import Chunk
from edge_agent.sources import inbox
from edge_agent.sources.mqtt import Mqtt
from edge_bundle.errors import ConfigError
from edge_wire.broker import Broker
from edge_wire.errors import LinkError
from edge_wire.link import Handlers, Link, Message
from tests.brokers import RunningBroker, free_port
from tests.edge_agent.sources.test_replay import open_one

PATIENCE_S = 15.0
CHANNELS = 'channels = [{name = "ax", unit = "g"}, {name = "ay", unit = "g"}]\n'


def table(port: int, text: str) -> str:
    return (
        f'kind = "mqtt"\nrate_hz = 100\ntopic = "plant/imu"\n{CHANNELS}{text}\n'
        f'broker = {{url = "mqtt://127.0.0.1:{port}"}}\n'
    )


class Listening:
    """A source in a thread, as a capture runs it."""

    def __init__(self, source: Mqtt) -> None:
        self.source = source
        self.chunks: list[Chunk] = []
        self.failed: list[Exception] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Listening":  # noqa: PYI034
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop.set()
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        try:
            for chunk in self.source.chunks(self._stop.wait):
                self.chunks.append(chunk)
        except LinkError as error:
            self.failed.append(error)

    @property
    def samples(self) -> list[list[float]]:
        rows: list[list[float]] = np.concatenate([c.samples for c in self.chunks]).tolist()
        return rows


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def say(broker: RunningBroker) -> Iterator[Callable[..., None]]:
    acked = threading.Event()
    link = Link(Broker(broker.url), "sensor", Handlers(ack=lambda _ack: acked.set()))
    link.start()
    link.wait(PATIENCE_S)

    def publish(payload: bytes | str, topic: str = "plant/imu", retain: bool = False) -> None:
        acked.clear()
        raw = payload.encode() if isinstance(payload, str) else payload
        link.publish(Message(topic, raw, retain=retain))
        assert acked.wait(PATIENCE_S)

    yield publish
    link.stop()


def heard(listening: Listening, say: Callable[..., None], hello: bytes | str) -> None:
    """Say something until it is heard: a subscription takes a moment."""
    deadline = time.monotonic() + PATIENCE_S
    while not listening.chunks:
        assert time.monotonic() < deadline
        say(hello)
        time.sleep(0.05)


def open_mqtt(folder: Path, port: int, text: str) -> Mqtt:
    source = open_one(folder, table(port, text), kind=None)
    assert isinstance(source, Mqtt)
    return source


def test_messages_are_samples_and_wrong_ones_are_counted_and_are_gaps(
    broker: RunningBroker, say: Callable[..., None], tmp_path: Path
) -> None:
    say('{"ax": -1, "ay": -1}', retain=True)  # from before: not a sample of now
    source = open_mqtt(tmp_path, broker.port, 'paths = ["$.ax", "$.ay"]')
    with Listening(source) as listening:
        heard(listening, say, '{"ax": 0, "ay": 0}')
        began = len(listening.chunks)
        say('{"ax": 1, "ay": 2}')
        say("{ax: 1}")
        say('{"ax": 1}')
        say('{"ax": [3, 5], "ay": [4, 6]}')
        say("x" * 70_000)
        say('{"ax": 7, "ay": 8}')
        until(lambda: listening.samples[-1:] == [[7.0, 8.0]])
        assert [r for r in listening.samples if r[0] > 0] == [[1, 2], [3, 4], [5, 6], [7, 8]]
        assert [-1, -1] not in listening.samples
        good, behind_two, behind_large = (c for c in listening.chunks[began:] if c.samples[0, 0])
        assert (good.lost, good.restart) == (0, False)
        assert behind_two.restart
        assert behind_two.lost >= 2
        assert behind_large.restart
        assert behind_large.lost >= 1
        ends = [c.end_ns for c in listening.chunks]
        assert ends == sorted(ends)
    problems = listening.source.problems()
    assert "1 messages that are no JSON" in problems
    assert "1 messages without a value where the path says" in problems
    assert "1 messages of more than 65536 bytes" in problems
    assert listening.failed == []


@pytest.mark.parametrize(
    ("form", "code", "numbers"),
    [("int16", "<i2", [2, 4, -32768, 32767]), ("float32", "<f4", [0.5, -3e9, 1e-6, 2.0])],
)
def test_raw_samples_are_little_endian_one_after_another(
    broker: RunningBroker,
    say: Callable[..., None],
    tmp_path: Path,
    form: str,
    code: str,
    numbers: list[float],
) -> None:
    source = open_mqtt(tmp_path, broker.port, f'format = "{form}"\nscale = 0.5')
    with Listening(source) as listening:
        heard(listening, say, np.zeros(2, code).tobytes())
        began = len(listening.chunks)
        say(np.array(numbers, code).tobytes()[:-1])
        say(np.array(numbers, code).tobytes())
        until(lambda: any(len(c.samples) == 2 for c in listening.chunks[began:]))
        samples = listening.chunks[-1].samples
        assert samples.dtype == np.float32
        assert samples.tolist() == (np.array(numbers, np.float32) / 2).reshape(2, 2).tolist()
        assert listening.chunks[-1].restart, "what is no whole number of samples is a gap"
    assert source.problems().startswith("1 messages ")


def test_senders_times(broker: RunningBroker, say: Callable[..., None], tmp_path: Path) -> None:
    text = 'paths = ["$.v"]\ntime = {path = "$.t", unit = "ms"}'
    with Listening(open_mqtt(tmp_path, broker.port, text)) as listening:
        heard(listening, say, '{"t": 5000, "v": [0, 0]}')
        say('{"t": 5010, "v": [1, 1]}')
        say('{"t": 5010, "v": [1, 1]}')
        say('{"t": 5070, "v": [2, 2]}')
        say('{"t": 1000, "v": [3, 3]}')
        until(lambda: listening.samples[-1:] == [[3.0, 3.0]])
        told = [(c.samples[0, 0], c.lost, c.restart) for c in listening.chunks[-3:]]
        assert told == [(1.0, 0, False), (2.0, 5, True), (3.0, 0, True)]
    problems = listening.source.problems()
    assert "messages delivered twice" in problems
    assert "1 times the sender's clock was set" in problems


def test_numbers_that_are_not_finite_are_told_and_lost_alone(
    broker: RunningBroker, say: Callable[..., None], tmp_path: Path
) -> None:
    with Listening(open_mqtt(tmp_path, broker.port, 'paths = ["$.v"]')) as listening:
        heard(listening, say, '{"v": [0, 0]}')
        say('{"v": [[1, 1], [NaN, 2], [3, 3]]}')
        say('{"v": [4, 1e999]}')
        say('{"v": [5, 5]}')
        until(lambda: listening.samples[-1:] == [[5.0, 5.0]])
    assert [len(c.samples) for c in listening.chunks[-3:]] == [3, 1, 1]
    problems = listening.source.problems()
    assert problems == "2 messages with values that are null, NaN or infinite"


def test_messages_that_come_faster_than_they_are_read_are_a_gap(
    broker: RunningBroker,
    say: Callable[..., None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(inbox, "WAITING", 2)
    source = open_mqtt(tmp_path, broker.port, 'paths = ["$.v"]')
    free, ended = threading.Event(), threading.Event()
    chunks: list[Chunk] = []

    def slowly() -> None:
        for chunk in source.chunks(lambda _seconds: ended.is_set()):
            chunks.append(chunk)
            free.wait(PATIENCE_S)

    thread = threading.Thread(target=slowly)
    thread.start()
    for number in count():
        say(f'{{"v": [{number}, 0]}}')
        if not free.is_set() and "came faster" in source.problems():
            free.set()
            overrun = number
        if free.is_set() and chunks and chunks[-1].samples[0, 0] > overrun:
            break
    ended.set()
    thread.join(PATIENCE_S)
    told = [(b.samples[0, 0] - a.samples[0, 0] - 1, b.lost, b.restart) for a, b in pairwise(chunks)]
    assert any(missing for missing, _, _ in told)
    assert all(lost >= missing and restart == (missing > 0) for missing, lost, restart in told)


def test_broker_that_goes_away_fails_the_source_and_is_found_again(
    broker: RunningBroker, say: Callable[..., None], tmp_path: Path
) -> None:
    source = open_mqtt(tmp_path, broker.port, 'paths = ["$.v"]')
    with Listening(source) as listening:
        heard(listening, say, '{"v": [0, 0]}')
        broker.stop()
        until(lambda: bool(listening.failed))
    assert f"broker mqtt://127.0.0.1:{broker.port}" in str(listening.failed[0])


def test_broker_that_is_not_there_is_a_failure_of_the_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_agent.sources.mqtt.CONNECT_S", 0.2)
    with Listening(open_mqtt(tmp_path, free_port(), 'paths = ["$.v"]')) as listening:
        until(lambda: bool(listening.failed))
    assert "refused" in str(listening.failed[0])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('paths = ["$.v"]\ntopic = "a/#"', "topic: 'a/#': one topic, without + or #"),
        ('paths = ["v"]', "paths: 'v': expected a path such as $.imu.ax"),
        ('paths = ["$.a", "$.b", "$.c"]', "paths: 3 of them, expected one for each of 2"),
        ("", "paths: 0 of them"),
        ('paths = ["$"]\ntime = {path = "t"}', "time: 't': expected a path"),
        ('format = "int8"', "format: "),
        ('paths = ["$"]\nmax_bytes = 0', "max_bytes: 0, expected a whole number >= 1"),
        ('paths = ["$"]\nbroker = {url = "http://x"}', "broker.url: 'http://x': expected mqtt://"),
        ('paths = ["$"]\nbroker = {urk = "x"}', "broker.urk: unknown key; did you mean 'url'?"),
    ],
)
def test_table_that_cannot_be_is_refused_by_its_key(
    tmp_path: Path, text: str, message: str
) -> None:
    head = 'kind = "mqtt"\nrate_hz = 100\n' + CHANNELS
    head += "" if "topic" in text else 'topic = "t"\n'
    with pytest.raises(ConfigError) as refused:
        open_one(tmp_path, head + text + "\n", kind=None)
    assert message in str(refused.value)
    assert "edge.toml:" in str(refused.value)
