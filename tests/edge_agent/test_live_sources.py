"""A whole agent on live sources: predictions arrive at a real broker, at the model's rate."""

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_agent.sources.host import UNITS
from edge_bundle.manifest import Channel, Stream
from edge_wire.broker import Broker
from edge_wire.link import Handlers, Link, Message
from tests.brokers import RunningBroker
from tests.edge_agent.test_service import Process
from tests.edge_bundle.bundles import write_watch_bundle

PATIENCE_S = 30.0
METRICS = [m for m in UNITS if m != "temperature"]


class Watcher:
    """Another client of the broker: hears what the device says, and feeds it."""

    def __init__(self, url: str) -> None:
        self.predictions: list[dict[str, Any]] = []
        self.streams: list[dict[str, Any]] = []
        handlers = Handlers(message=self._take)
        self.link = Link(Broker(url), "watcher", handlers)
        topics = ["edge/v1/dev/d1/pred/#", "edge/v1/dev/d1/info"]
        handlers.connected = lambda: self.link.subscribe(topics)
        self.link.start()
        self.link.wait(PATIENCE_S)

    def _take(self, topic: str, payload: bytes, _retained: bool) -> None:
        if topic.endswith("info"):
            self.streams.append(json.loads(payload)["streams"]["s0"])
        else:
            self.predictions.append(json.loads(payload))

    def until(self, count: int) -> None:
        """Wait for so many predictions."""
        deadline = time.monotonic() + PATIENCE_S
        while len(self.predictions) < count:
            assert time.monotonic() < deadline
            time.sleep(0.05)


@pytest.fixture
def watcher(embedded: RunningBroker) -> Iterator[Watcher]:
    one = Watcher(embedded.url)
    yield one
    one.link.stop()


def write_config(folder: Path, url: str, names: dict[str, str], source: str) -> Path:
    stream = Stream(
        rate_hz=50.0,
        channels=tuple(Channel(n, u) for n, u in names.items()),
        window=100,
        hop=50,
        resample="linear",
    )
    bundle = write_watch_bundle(folder, stream=stream)
    config = folder / "agent.toml"
    config.write_text(
        f'[device]\nid = "d1"\n[broker]\nurl = "{url}"\n[store]\npath = "store"\n'
        f'[[source]]\nname = "s0"\n{source}\n'
        f'[[model]]\nname = "watch"\nstream = "s0"\nbundle = "{bundle.path.name}"\n'
    )
    return config


def test_this_machine_is_a_stream_that_a_model_sees_at_its_own_rate(
    embedded: RunningBroker, watcher: Watcher, tmp_path: Path
) -> None:
    names: dict[str, str] = {m: UNITS[m] for m in METRICS}
    source = f'kind = "host"\nrate_hz = 10\nmetrics = {json.dumps(METRICS)}'
    with Process(write_config(tmp_path, embedded.url, names, source)) as agent:
        watcher.until(3)
        assert agent.end() == 0
    first = watcher.predictions[0]
    assert (first["stream"], first["window_ms"]) == ("s0", 2000.0)
    assert watcher.streams[-1]["source"] == "host"
    assert watcher.streams[-1]["rate_hz"] == 10


def test_samples_of_another_client_are_a_stream_and_what_is_wrong_with_them_is_told(
    embedded: RunningBroker, watcher: Watcher, tmp_path: Path
) -> None:
    names = dict.fromkeys("abcdef", "g")
    channels = ", ".join(f'{{name = "{n}", unit = "g"}}' for n in names)
    source = (
        f'kind = "mqtt"\ntopic = "plant"\nrate_hz = 100\npaths = ["$.v"]\nchannels = [{channels}]\n'
        'time = {path = "$.t", unit = "ms"}'
    )
    config = write_config(tmp_path, embedded.url, names, source)
    stopping = threading.Event()

    def publish() -> None:
        n = 0
        while not stopping.wait(0.05):
            n += 10
            rows = [[float(i)] * 6 for i in range(10)]
            lost = 500 if n > 400 else 0
            say = json.dumps({"t": (n + lost) * 10, "v": rows})
            watcher.link.publish(Message("plant", say.encode(), qos=0))
            watcher.link.publish(Message("plant", b"nonsense", qos=0))

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        with Process(config) as agent:
            deadline = time.monotonic() + PATIENCE_S
            while not any("no JSON" in s["detail"] for s in watcher.streams):
                assert time.monotonic() < deadline
                time.sleep(0.05)
            watcher.until(3)
            assert agent.end() == 0
    finally:
        stopping.set()
        thread.join()
    assert watcher.predictions[-1]["quality"] == "ok"
    assert "messages that are no JSON" in watcher.streams[-1]["detail"]


def test_source_that_is_away_is_told_in_info_and_the_agent_goes_on(
    embedded: RunningBroker, watcher: Watcher, tmp_path: Path
) -> None:
    names = dict.fromkeys("abcdef", "degC")
    channels = ", ".join(f'{{name = "{n}", unit = "degC"}}' for n in names)
    root = tmp_path / "sys"
    source = (
        f'kind = "hwmon"\nrate_hz = 100\nroot = "{root}"\nchannels = [{channels}]\n'
        'inputs = ["p/temp1", "p/temp2", "p/temp3", "p/temp4", "p/temp5", "p/temp6"]'
    )
    with Process(write_config(tmp_path, embedded.url, names, source)) as agent:
        deadline = time.monotonic() + PATIENCE_S
        while not any(s["state"] == "retrying" for s in watcher.streams):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert "no p/temp1" in watcher.streams[-1]["detail"]
        chip = root / "class" / "hwmon" / "hwmon0"
        chip.mkdir(parents=True)
        for n in range(1, 7):
            (chip / f"temp{n}_input").write_text("20000")
        (chip / "name").write_text("p")
        watcher.until(1)
        assert watcher.streams[-1]["state"] == "running"
        assert agent.end() == 0
