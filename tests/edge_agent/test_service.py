import contextlib
import errno
import itertools
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent import download
from edge_agent.config import load_config
from edge_agent.service import Service
from edge_agent.store import Store
from edge_bundle.archive import Bundle
from edge_bundle.errors import ArtifactRefused, ConfigError
from edge_wire.link import Message
from edge_wire.messages import LossCause, Reason
from tests.brokers import RunningBroker, free_port
from tests.edge_agent.whole_agent import Agent, assert_unbroken, with_false_golden
from tests.edge_bundle.bundles import STREAM, write_small_bundle
from tests.edge_wire.link.owner import accept_client, eventually, stranger
from tests.simulators.operator import CHUNK_BYTES, MODEL_2, Operator, make_release

QUICK_S = 3.0
PUBLISH, UNSUBSCRIBE = 3, 10
"""Kinds of packets: the first four bits."""


def read_packets(client: socket.socket) -> Iterator[tuple[int, bytes]]:
    """Yield kind and body of what a client of MQTT sends, until it hangs up."""
    with client.makefile("rb") as stream:
        while head := stream.read(1):
            length = shift = 0
            while (part := stream.read(1)[0]) & 0x80:
                length, shift = length + ((part & 0x7F) << shift), shift + 7
            yield head[0] >> 4, stream.read(length + (part << shift))


class Process:
    """A real agent process; use as a context manager, which leaves none behind."""

    def __init__(self, config: Path) -> None:
        self._config = config
        self._said = config.with_suffix(f".{time.monotonic_ns()}.log")

    def __enter__(self) -> "Process":  # noqa: PYI034
        with self._said.open("wb") as said:
            command = [sys.executable, "-m", "edge_agent", "run", str(self._config)]
            self.child = subprocess.Popen(command, stderr=said)
        return self

    def __exit__(self, *_error: object) -> None:
        self.child.kill()
        self.child.wait()

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and return the exit code."""
        self.child.send_signal(number)
        return self.child.wait(10)

    def said(self) -> str:
        return self._said.read_text()


class Relay:
    """A network between a device and its broker, which can be down."""

    def __init__(self, to: int) -> None:
        self.port = free_port()
        self._to = to
        self._ends: list[socket.socket] = []
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> "Relay":  # noqa: PYI034
        return self

    def __exit__(self, *_error: object) -> None:
        self.down()

    def up(self) -> None:
        """Let connections through."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._ends = [self._listener]
        self._start(self._accept)

    def down(self) -> None:
        """End all connections, and take no new ones."""
        for end in self._ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for end in self._ends:
            end.close()
        self._ends, self._threads = [], []

    def _start(self, work: object, *args: object) -> None:
        thread = threading.Thread(target=work, args=args)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                ours, _ = self._listener.accept()
                theirs = socket.create_connection(("127.0.0.1", self._to))
                self._ends += [ours, theirs]
                self._start(self._copy, ours, theirs)
                self._start(self._copy, theirs, ours)

    def _copy(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)


def processes_of(config: Path) -> list[str]:
    """Return the command lines of what still runs of an agent, its staging children included."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            command = (entry / "cmdline").read_text().replace("\0", " ")
            if str(config.parent) in command:
                found.append(command)
    return found


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_wire.link.BACKOFF_S", (0.02, 0.3))


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_release(tmp_path_factory.mktemp("releases"), "1.0.0")


@pytest.fixture(scope="module")
def second(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_release(tmp_path_factory.mktemp("releases"), "2.0.0", MODEL_2)


# --- the end of a process


def test_a_device_says_how_it_ended_and_how_far_it_had_come(
    broker: RunningBroker, first: Bundle, tmp_path: Path
) -> None:
    with Operator(broker.url) as operator:
        seen = operator.seen()
        config = operator.enrol(tmp_path, model=f'bundle = "{first.path}"')
        with Process(config) as process:
            operator.wait_for_more(5)
            began = time.monotonic()
            assert process.end() == 0, process.said()
            assert time.monotonic() - began < QUICK_S
        operator.wait_for(lambda: seen.availability[-1] == "stopped")
        boot = seen.infos[-1].boot
        assert_unbroken(operator, boot)
        last = max(p.seq for p in seen.predictions)
        with Process(config) as process:
            operator.wait_for(lambda: seen.predictions[-1].boot != boot)
            assert seen.availability[-1] == "online"
            previous = seen.infos[-1].previous
            assert previous is not None
            assert (previous.boot, previous.clean) == (boot, True)
            assert previous.last_seq == {"imu0/watch": last}
            boot = seen.infos[-1].boot
            assert process.end(signal.SIGKILL) == -signal.SIGKILL
        operator.wait_for(lambda: seen.availability[-1] == "offline")
        with Process(config) as process:
            operator.wait_for(lambda: seen.infos[-1].boot != boot)
            previous = seen.infos[-1].previous
            assert previous is not None
            assert (previous.boot, previous.clean) == (boot, False)
            assert process.end(signal.SIGINT) == 0
        assert [i.boot[:6] for i in seen.infos if i.streams["imu0"].state == "running"][-1] == (
            "000003"
        )


@pytest.mark.parametrize("state", ["downloading", "verified"])
def test_an_agent_stops_at_once_in_the_midst_of_an_update_and_leaves_no_process(
    operator: Operator, first: Bundle, second: Bundle, tmp_path: Path, state: str
) -> None:
    config = operator.enrol(tmp_path, runs=first)
    if state == "downloading":
        operator.faults.withhold = lambda number: number > 2
    operator.assign(second)
    with Process(config) as process:
        operator.wait_for(lambda: state in operator.seen().states())
        began = time.monotonic()
        assert process.end() == 0, process.said()
        assert time.monotonic() - began < QUICK_S
        assert "Traceback" not in process.said()
    assert processes_of(config) == []
    operator.wait_for(lambda: operator.seen().availability[-1] == "stopped")
    assert_unbroken(operator, operator.seen().infos[-1].boot)


def test_many_signals_at_once_end_it_once(
    operator: Operator, first: Bundle, tmp_path: Path
) -> None:
    config = operator.enrol(tmp_path, runs=first)
    with Process(config) as process:
        operator.wait_for_more(1)
        began, number = time.monotonic(), itertools.cycle((signal.SIGINT, signal.SIGTERM))
        while process.child.poll() is None:  # to its very end
            assert time.monotonic() - began < QUICK_S + 2
            process.child.send_signal(next(number))
            time.sleep(0.0005)
        assert process.child.returncode == 0, process.said()


# --- interrupted at every state


def kill_when(operator: Operator, config: Path, state: str, target: Bundle | None) -> None:
    """Run an agent until it says that it is in a state, and kill it then."""
    reports = operator.seen().reports
    before = len(reports)
    wanted = (state, target.sha256 if target else None)
    with Process(config) as process:
        operator.wait_for(
            lambda: (
                wanted in [(r.state, r.target) for x in reports[before:] for r in x.models.values()]
            )
        )
        process.end(signal.SIGKILL)


def test_an_update_that_is_killed_in_every_state_still_ends_on_the_new_model(
    operator: Operator, first: Bundle, second: Bundle, tmp_path: Path
) -> None:
    seen = operator.seen()
    config = operator.enrol(tmp_path, runs=first, factor=4)
    half = 6
    operator.faults.withhold = lambda number: number >= half
    message = operator.assign(second)
    partials = tmp_path / "d1-store" / "partial"

    def half_is_there() -> bool:
        return any(f.stat().st_size == (half - 1) * CHUNK_BYTES for f in partials.glob("*.blob"))

    with Process(config) as process:
        operator.wait_for(half_is_there)
        process.end(signal.SIGKILL)
    asked = len(seen.wants)
    operator.faults.withhold = lambda _number: False
    for state in ("verified", "staged", "trial"):
        kill_when(operator, config, state, second)
    kill_when(operator, config, "committed", None)
    again = set[int]().union(*seen.wants[asked:])
    assert again
    assert min(again) == half, "what was fetched before the kill is not fetched again"
    operator.desire(message)
    with Process(config) as process:
        operator.wait_for_state("committed", second)
        operator.wait_for_more(1)
        assert seen.predictions[-1].model.version == "2.0.0"
        assert process.end() == 0
    assert "rejected" not in seen.states()
    assert "rolled_back" not in seen.states()
    assert processes_of(config) == []


# --- the network


def test_without_a_broker_it_infers_and_every_number_is_delivered_or_announced_later(
    broker: RunningBroker, first: Bundle, tmp_path: Path
) -> None:
    with Operator(broker.url) as operator, Relay(broker.port) as relay:
        operator.url = f"mqtt://127.0.0.1:{relay.port}"
        seen = operator.seen()
        config = operator.enrol(
            tmp_path,
            factor=80,
            runs=first,
            more="[outbox]\nmax_bytes = 20000",
        )
        with Agent(config) as agent:
            slot = agent.service._updater._places["watch"].slot
            operator.wait_for(lambda: slot.seq > 60)
            assert seen.predictions == []
            relay.up()
            operator.wait_for(lambda: len(seen.predictions) > 70)
            relay.down()
            operator.wait_for(lambda: seen.availability[-1] == "offline")
            reached = slot.seq
            operator.wait_for(lambda: slot.seq > reached + 60)
            relay.up()
            operator.wait_for(lambda: max(p.seq for p in seen.predictions) > reached + 60)
            operator.wait_for(lambda: seen.availability[-1] == "online")
        operator.wait_for(lambda: seen.availability[-1] == "stopped")
        assert seen.missing(agent.boot) == set()
        assert {loss.cause for loss in seen.losses} == {LossCause.OUTBOX_FULL}
        assert max(p.seq for p in seen.predictions) == slot.seq - 1
        assert sum(p.lost_samples for p in seen.predictions) == 0


@pytest.mark.parametrize("max_bytes", [0, 20000])
def test_replay_as_fast_as_it_is_taken_waits_for_the_broker_and_loses_nothing(
    broker: RunningBroker, first: Bundle, tmp_path: Path, max_bytes: int
) -> None:
    with Operator(broker.url) as operator, Relay(broker.port) as relay:
        operator.url = f"mqtt://127.0.0.1:{relay.port}"
        seen = operator.seen()
        config = operator.enrol(
            tmp_path, factor="max", runs=first, more=f"[outbox]\nmax_bytes = {max_bytes}"
        )
        with Agent(config) as agent:
            slot = agent.service._updater._places["watch"].slot
            operator.wait_for(lambda: agent.service._outbox.tight)
            reached = slot.seq
            time.sleep(0.2)
            assert slot.seq <= reached + 1  # the one that was at it
            relay.up()
            operator.wait_for(lambda: len(seen.predictions) > 20 * reached)
        operator.wait_for(lambda: seen.availability[-1] == "stopped")
        assert {loss.cause for loss in seen.losses} <= {LossCause.STOPPED}
        assert seen.missing(agent.boot) == set()


def test_an_agent_whose_broker_never_comes_still_stops_at_once(
    first: Bundle, tmp_path: Path
) -> None:
    nobody = Operator(f"mqtt://127.0.0.1:{free_port()}")
    config = nobody.enrol(tmp_path, runs=first)
    with Process(config) as process:
        nobody.wait_for(lambda: "running as d1" in process.said())
        began = time.monotonic()
        assert process.end() == 0
        assert time.monotonic() - began < QUICK_S
        assert "Traceback" not in process.said()


def test_a_device_that_is_called_offline_while_it_fetches_says_that_it_is_there(
    operator: Operator, first: Bundle, second: Bundle, tmp_path: Path
) -> None:
    config = operator.enrol(tmp_path, runs=first)
    operator.faults.withhold = lambda _number: True
    operator.assign(second)
    with Agent(config):
        operator.wait_for_state("downloading", second)
        topic = operator.topics.device("d1", "availability")
        operator._link.publish(Message(topic, b"offline", retain=True))
        operator.wait_for(lambda: operator.seen().availability[-2:] == ["offline", "online"])


def test_a_device_that_is_called_offline_while_it_stops_stays_stopped(tmp_path: Path) -> None:
    topic = b"edge/v1/dev/d1/availability"
    late = len(topic).to_bytes(2, "big") + topic + b"\0offline"
    said: list[bytes] = []

    def serve(client: socket.socket) -> None:
        accept_client(client)
        for kind, body in read_packets(client):
            if kind == PUBLISH:
                after = 2 + int.from_bytes(body[:2], "big")
                said.extend([body[after + 3 :]] if body[2:after] == topic else [])
                client.sendall(b"\x40\x02" + body[after : after + 2])
            elif kind == UNSUBSCRIBE:  # it crosses with the will of an earlier connection
                client.sendall(bytes([0x30, len(late)]) + late)
                client.sendall(b"\xb0\x04" + body[:2] + b"\0\0")

    with stranger(serve) as url:
        (tmp_path / "edge.toml").write_text(
            f'[device]\nid = "d1"\n[store]\npath = "store"\n[broker]\nurl = "{url}"\n'
        )
        with Agent(tmp_path / "edge.toml"):
            eventually(lambda: b"online" in said)
    assert said[-1] == b"stopped"


def test_the_network_thread_waits_for_nobody(
    operator: Operator,
    first: Bundle,
    second: Bundle,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = operator.enrol(tmp_path, runs=first)
    release = threading.Event()
    with Agent(config) as agent:
        operator.wait_for_more(1)
        monkeypatch.setattr(agent.service._updater, "_accept", lambda _m: release.wait(20))
        try:
            operator.assign(second)
            operator.wait_for_more(20)
            topic = operator.topics.desired("g")
            began = time.monotonic()
            for _ in range(100):
                agent.service._on_message(topic, b"x" * 1000, False)
            assert time.monotonic() - began < 0.5
        finally:
            monkeypatch.undo()
            release.set()


def test_the_desired_message_is_asked_for_again_and_again(
    broker: RunningBroker, first: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_agent.service.REFRESH_S", 0.1)
    with Operator(broker.url) as operator:
        config = operator.enrol(tmp_path, runs=first)
        operator.assign(first)
        with Agent(config) as agent:
            heard: list[bytes] = []

            def hear(message: bytes) -> None:
                heard.append(message)
                desire(message)

            desire = agent.service._updater.desire
            monkeypatch.setattr(agent.service._updater, "desire", hear)
            operator.wait_for(lambda: len(heard) > 3)
            operator.wait_for_more(3)
            assert set(operator.seen().states()) == {"committed"}
            assert_unbroken(operator, agent.boot)


def test_the_same_message_once_more_cancels_no_fetch(
    operator: Operator,
    first: Bundle,
    second: Bundle,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Rarer than the fetch's own connection takes to come up.
    monkeypatch.setattr("edge_agent.service.REFRESH_S", 0.2)
    monkeypatch.setattr(download, "PATIENCE_S", (0.3, 0.3))
    config = operator.enrol(tmp_path, runs=first)
    ends = time.monotonic() + 1.5
    operator.faults.withhold = lambda number: number > 2 and time.monotonic() < ends
    operator.assign(second)
    with Agent(config):
        operator.wait_for_state("committed", second)
    assert operator.seen().states().count("downloading") == 1


# --- the source


def test_a_recording_that_ends_is_said_and_the_agent_stays(
    operator: Operator, first: Bundle, tmp_path: Path
) -> None:
    config = operator.enrol(tmp_path, runs=first, loop=False, factor=200)
    with Agent(config) as agent:
        operator.wait_for(
            lambda: (i := operator.seen().infos) and i[-1].streams["imu0"].state == "ended"
        )
        info = operator.seen().infos[-1]
        assert info.streams["imu0"].rate_hz == 50.0
        assert [c.name for c in info.streams["imu0"].channels] == [c.name for c in STREAM.channels]
        assert agent._thread.is_alive()
        # The whole recording, from its first sample on: of 14 parts each gives 9 windows.
        operator.wait_for(lambda: len(operator.seen().predictions) == 14 * 9)
    assert_unbroken(operator, agent.boot)


# --- the worker

BREAKS = """
import itertools, sys
from edge_agent import __main__, worker
turn, turns = worker.Worker._turn, itertools.count()
worker.Worker._turn = lambda self: turn(self) if next(turns) < 100 else 1 / 0
sys.argv = ["edge-agent", "run", sys.argv[1]]
__main__.main()
"""


def test_agent_that_can_infer_no_more_ends_so_that_it_is_started_anew(
    operator: Operator, first: Bundle, tmp_path: Path
) -> None:
    config = operator.enrol(tmp_path, model=f'bundle = "{first.path}"')
    command = [sys.executable, "-c", BREAKS, str(config)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert "ZeroDivisionError" in ended.stderr
    assert "RuntimeError: the worker ended, and nothing is inferred" in ended.stderr
    operator.wait_for(lambda: operator.seen().availability[-1:] == ["offline"])
    with Agent(config) as agent:
        operator.wait_for(lambda: agent.boot in {i.boot for i in operator.seen().infos})
        previous = operator.seen().infos[-1].previous
        assert previous is not None
        assert not previous.clean


# --- how much is kept


def test_a_configured_bundle_has_room_for_its_windows(
    operator: Operator, first: Bundle, tmp_path: Path
) -> None:
    config = operator.enrol(tmp_path, model=f'bundle = "{first.path}"', source="keep_s = 0.1")
    with Agent(config) as agent:
        operator.wait_for_more(5)
    assert_unbroken(operator, agent.boot)


def test_a_window_that_is_longer_than_what_is_kept_is_refused_with_the_key(
    operator: Operator, second: Bundle, tmp_path: Path
) -> None:
    with Agent(operator.enrol(tmp_path, source="keep_s = 1.9")):
        operator.assign(second)
        operator.wait_for(lambda: "rejected" in operator.seen().states())
        report = operator.seen().model()
        assert report is not None
        assert (report.running, report.reason) == (None, Reason.STREAM_MISMATCH)
        assert report.detail == (
            "the model's window is 2 s of the stream, of which 1.9 s are kept: "
            "say more with keep_s in its [[source]]"
        )


def test_what_ran_before_a_restart_has_room_after_it(
    operator: Operator, second: Bundle, tmp_path: Path
) -> None:
    with Agent(operator.enrol(tmp_path)):
        operator.assign(second)
        operator.wait_for_state("committed", second)
    with Agent(operator.enrol(tmp_path, source="keep_s = 0.1")) as agent:
        operator.wait_for(lambda: any(p.boot == agent.boot for p in operator.seen().predictions))


def test_memory_that_is_not_there_is_told_by_its_key(tmp_path: Path) -> None:
    table = """
[[source]]
name = "s"
kind = "mqtt"
topic = "t"
paths = ["$"]
rate_hz = 1e12
keep_s = 600000
channels = [{ name = "a", unit = "g" }]
"""
    config = Operator("mqtt://127.0.0.1:1").enrol(tmp_path, more=table)
    with pytest.raises(ConfigError, match=r"keep_s: no memory for 6\d* samples of 's'") as refused:
        Service(load_config(config))
    assert "source[1]" in str(refused.value)


# --- what is wrong from the beginning


def test_a_configured_bundle_runs_only_where_it_has_proven_itself(
    operator: Operator, tmp_path: Path
) -> None:
    false = with_false_golden(tmp_path / "false")
    config = operator.enrol(tmp_path, model=f'bundle = "{false.path}"')
    with Agent(config):
        operator.wait_for(lambda: operator.seen().model() is not None)
        report = operator.seen().model()
        assert report is not None
        assert (report.running, report.held) == (None, (false.sha256,))
    assert operator.seen().predictions == []


def test_two_agents_on_one_store_are_refused_with_one_line(
    operator: Operator, first: Bundle, tmp_path: Path
) -> None:
    config = operator.enrol(tmp_path, runs=first)
    with Agent(config):
        with Process(config) as other:
            assert other.child.wait(10) == 2
        assert other.said().count("\n") == 1
        assert f"{config}:" in other.said()
        assert "store.path" in other.said()
        assert "another agent uses this store" in other.said()
        operator.wait_for_more(1)
    with Agent(config):
        operator.wait_for_more(1)


def test_a_start_that_failed_keeps_no_store(first: Bundle, tmp_path: Path) -> None:
    nobody = Operator("mqtt://127.0.0.1:1")
    config = nobody.enrol(tmp_path, model='bundle = "nowhere.bundle"')
    with pytest.raises(ConfigError):
        Service(load_config(config))
    nobody.enrol(tmp_path, runs=first)
    Service(load_config(config))


def test_a_configured_bundle_that_cannot_be_used_is_told_by_its_key(
    first: Bundle, tmp_path: Path
) -> None:
    nobody = Operator("mqtt://127.0.0.1:1")
    damaged = tmp_path / "damaged.bundle"
    damaged.write_bytes(first.path.read_bytes()[:-10])
    other = write_small_bundle(tmp_path, name="other")
    misfit = write_small_bundle(
        tmp_path, stream=type(STREAM)(100.0, STREAM.channels, STREAM.window, STREAM.hop)
    )
    prepared = write_small_bundle(tmp_path / "prepared", stream=None)
    undecided = write_small_bundle(tmp_path / "undecided", decision=None)
    for path, kind, why in (
        (prepared.path, ArtifactRefused, r"takes prepared tensors: it has no \[stream\]"),
        (undecided.path, ArtifactRefused, r"gives bare scores: it has no \[decision\]"),
        (tmp_path / "nowhere.bundle", ConfigError, "No such file"),
        (damaged, ArtifactRefused, "whole bundle|sha256|ZIP"),
        (other.path, ConfigError, "is of model 'other'"),
        (misfit.path, ArtifactRefused, "wants 100 Hz"),
    ):
        config = nobody.enrol(tmp_path, model=f'bundle = "{path}"')
        with pytest.raises(kind, match=why) as refused:
            Service(load_config(config))
        assert str(refused.value).startswith(f"{config}:")
        assert "model" in str(refused.value)
        assert "bundle" in str(refused.value)


def test_a_store_that_cannot_be_written_is_told_by_its_key(tmp_path: Path) -> None:
    nobody = Operator("mqtt://127.0.0.1:1")
    config = nobody.enrol(tmp_path, trusted=False)
    (tmp_path / "d1-store").write_text("a file")
    with pytest.raises(ConfigError, match=r"store\.path: .*d1-store: is a file, expected a folder"):
        Service(load_config(config))


def test_a_configured_model_that_does_not_load_leaves_the_slot_empty_and_the_agent_running(
    operator: Operator, second: Bundle, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    broken = write_small_bundle(tmp_path)
    config = operator.enrol(tmp_path, model=f'bundle = "{broken.path}"')
    with Agent(config):
        operator.wait_for(lambda: operator.seen().reports)
        report = operator.seen().model()
        assert report is not None
        assert report.running is None
        assert "onnxruntime" in caplog.text
        operator.assign(second)
        operator.wait_for_state("committed", second)
        operator.wait_for_more(1)


def fill_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)


def test_a_disk_that_is_full_does_not_keep_an_agent_from_ending_in_order(
    operator: Operator,
    first: Bundle,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    config = operator.enrol(tmp_path, runs=first)
    with monkeypatch.context() as patch, Agent(config):
        operator.wait_for_more(1)
        fill_disk(patch)
    operator.wait_for(lambda: operator.seen().availability[-1] == "stopped")
    assert f"{tmp_path / 'd1-store'}: No space left on device" in caplog.text
    with Agent(config):
        operator.wait_for(lambda: operator.seen().infos[-1].boot.startswith("000002"))
        previous = operator.seen().infos[-1].previous
        assert previous is not None
        assert not previous.clean


def test_a_disk_that_is_full_at_the_start_is_told_by_its_key(
    operator: Operator, first: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = operator.enrol(tmp_path, runs=first)
    with Agent(config):
        pass
    fill_disk(monkeypatch)
    with pytest.raises(ConfigError, match=r"store\.path: .*d1-store: No space left on device"):
        Service(load_config(config))


def test_the_store_is_free_again_when_the_service_has_ended(first: Bundle, tmp_path: Path) -> None:
    nobody = Operator(f"mqtt://127.0.0.1:{free_port()}")
    config = nobody.enrol(tmp_path, runs=first)
    with Agent(config):
        pass
    store = Store(tmp_path / "d1-store", 1)
    store.lock()
    store.unlock()
    assert store.begin_boot()[0].startswith("000002")
