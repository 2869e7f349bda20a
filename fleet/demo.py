"""The main job from start to end on this machine, with real parts: what ``make demo`` runs.

Everything goes through the commands and topics that a user has; this file only starts them,
reads what they print, and makes sure that none is left behind.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from edge_bundle.errors import ConfigError
from fleet.display import columns
from fleet.errors import RolloutStopped

DEVICES: Final = {
    "pi-kitchen": "#0,3,6,9,12",
    "pi-workshop": "#1,4,7,10,13",
    "pi-garage": "#2,5,8,11",
}
CALIBRATION: Final = "#0-4,6,11"
EVALUATION: Final = "#5,7-10,12,13"
"""Both hold every exercise; what chose the ranges does not judge the result."""
MODEL: Final = "watch"
GROUP: Final = "demo"
VERSIONS: Final = ("1.0.0", "2.0.0")
MODELS: Final = ("watch_mlp.onnx", "watch_mlp_v2.onnx")
SETTLE_S: Final = 0.3
"""For the last messages to reach the subscriber."""
WATCH_S: Final = 4.0
"""How long each version is watched at work."""
MAX_PAYLOAD_BYTES: Final = 1 << 20

STEPS: Final = 6


class Say(Protocol):
    """Takes what a person reads."""

    def __call__(self, text: str, step: int | None = None) -> None:
        """Show a line; ``step`` is which of ``STEPS`` it begins."""


@dataclass(slots=True)
class Demo:
    """What the demo has made so far, and whom it must stop."""

    examples: Path
    folder: Path
    factor: float
    say: Say
    processes: list[subprocess.Popen[Any]] = field(default_factory=list)
    _guarded: bool = False
    _interrupted: bool = False

    def command(self, module: str, *arguments: str) -> dict[str, Any]:
        """Run one of the three commands with ``--json`` and return what it said.

        Raises: RolloutStopped: it did not end well.
        """
        command = [sys.executable, "-m", module, *arguments, "--json"]
        child = self.start(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        listener = self.listen(child)
        out = child.stdout.read() if child.stdout else ""
        child.wait()
        listener.join()
        self.processes.remove(child)
        if child.returncode:
            raise RolloutStopped(f"{module} {arguments[0]} ended with {child.returncode}")
        result: dict[str, Any] = json.loads(out)
        return result

    def start(self, command: list[str], **options: Any) -> "subprocess.Popen[Any]":
        """Start a process that Ctrl-C does not reach: it is stopped by us, in order."""
        with self.guard():
            child = subprocess.Popen(command, start_new_session=True, text=True, **options)
            self.processes.append(child)
        return child

    def listen(self, child: "subprocess.Popen[Any]") -> threading.Thread:
        """Say, indented, what a process writes on stderr; returns the thread that does."""

        def pass_on() -> None:
            for line in child.stderr or ():
                self.say(f"     {line.rstrip()}")

        thread = threading.Thread(target=pass_on, name="listener", daemon=True)
        thread.start()
        return thread

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Put an interrupt off to the end of a step that must not be left half done."""
        self._guarded = True
        yield
        self._guarded = False
        if self._interrupted:
            raise KeyboardInterrupt

    def interrupt(self, _number: int, _frame: object) -> None:
        """Take SIGINT or SIGTERM."""
        self._interrupted = True
        if not self._guarded:
            raise KeyboardInterrupt

    def stop(self, children: "list[subprocess.Popen[Any]]") -> None:
        """End processes politely, then not."""
        for child in children:
            if child.poll() is None:
                child.terminate()
        for child in children:
            try:
                child.wait(8)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
            if child in self.processes:
                self.processes.remove(child)

    def stop_all(self) -> None:
        """End all processes; a second Ctrl-C does not stop the stopping."""
        self._guarded = True
        self.stop(list(reversed(self.processes)))


def run_demo(examples: Path, folder: Path, factor: float, say: Say) -> dict[str, Any]:
    """Convert, run, push twice, roll back; return the facts that also go to ``summary.json``.

    Args:
        examples: folder with ``watch/`` and ``subscriber.py``.
        folder: where everything is made; an earlier demo there is removed.
        factor: how many times faster than the true rate the sensors are replayed.
        say: takes each line that a person reads.
    Raises: ConfigError: the examples or the embedded broker are not there.
        RolloutStopped: a step did not end well.
    """
    if not (examples / "watch" / "watch_mlp.onnx").is_file():
        raise ConfigError(f"{examples}: no watch/watch_mlp.onnx there; --examples names the folder")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    demo = Demo(examples, folder, factor, say)
    with ExitStack() as stack:
        for number in (signal.SIGINT, signal.SIGTERM):
            stack.callback(signal.signal, number, signal.signal(number, demo.interrupt))
        port = stack.enter_context(_broker(demo))
        stack.callback(demo.stop_all)
        summary = _do_main_job(demo, port)
    (folder / "summary.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    return summary


def show_summary(summary: dict[str, Any]) -> str:
    """Return the facts as tables for people."""
    moves = [
        (f"push {p['version']}", f"{p['seconds']:.2f}", f"{p['bytes_sent']:,}")
        for p in summary["pushes"]
    ]
    back = summary["rollback"]
    moves.append(("rollback", f"{back['seconds']:.2f}", f"{back['model_bytes']:,}"))
    devices = [
        (
            d["device"],
            " -> ".join(d["versions"]),
            d["predictions"],
            str(d["gaps"]),
            str(d["doubles"]),
            str(d["lost_samples"]),
        )
        for d in summary["devices"]
    ]
    head = ("DEVICE", "VERSIONS, AS SEEN", "PREDICTIONS", "GAPS", "DOUBLES", "LOST SAMPLES")
    return columns(("MOVE", "SECONDS", "MODEL BYTES SENT"), moves) + "\n\n" + columns(head, devices)


def _do_main_job(demo: Demo, port: int) -> dict[str, Any]:
    conversion = _convert(demo)
    subscriber = _subscribe(demo, port)
    agents = _start_agents(demo, port)
    pushes = []
    for version in VERSIONS:
        pushes.append(_push(demo, version))
        _watch(demo)
    before = _ask(subscriber)["chunk_bytes"]
    rollback = _roll_back(demo)
    _watch(demo)
    demo.say("\n6  The devices stop in order. What the subscriber counted:\n", 6)
    demo.stop(agents)
    time.sleep(SETTLE_S)
    seen = _ask(subscriber)
    return {
        "conversion": conversion,
        "devices": seen["devices"],
        "pushes": pushes,
        "rollback": {"seconds": rollback, "model_bytes": seen["chunk_bytes"] - before},
    }


def _convert(demo: Demo) -> dict[str, Any]:
    demo.say("1  Two float models, trained on smart-watch exercises, become int8 bundles.", 1)
    watch = demo.examples / "watch"
    results = []
    for version, model in zip(VERSIONS, MODELS, strict=True):
        result = demo.command(
            "convert", "build", str(watch / model),
            "--spec", str(watch / "stream.toml"),
            "--calibration", f"{watch / 'watch_example.npz'}{CALIBRATION}",
            "--evaluation", f"{watch / 'watch_example.npz'}{EVALUATION}",
            "--precision", "int8", "--name", MODEL, "--version", version,
            "--out", str(demo.folder / "bundles"),
        )  # fmt: skip
        results.append(result)
        demo.say(
            f"   {model}: {result['float_bytes']:,} -> {result['final_bytes']:,} bytes "
            f"({result['float_bytes'] / result['final_bytes']:.1f} times smaller), accuracy "
            f"{result['float_accuracy']:.1%} -> {result['final_accuracy']:.1%}"
        )
    demo.say(
        f"   (on {results[0]['evaluation_windows']} windows of one easy subject, which show what "
        "int8 costs, not how good\n   the models are: see examples/README.md)"
    )
    keys = ("float_bytes", "final_bytes", "float_accuracy", "final_accuracy")
    return {key: results[0][key] for key in keys}


@contextmanager
def _broker(demo: Demo) -> Iterator[int]:
    try:
        from iotcore import Broker
    except ImportError:
        raise ConfigError("the demo's broker is missing: pip install 'edgeward[demo]'") from None
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    broker = Broker(port=port, listen="127.0.0.1", max_payload_size=MAX_PAYLOAD_BYTES)
    try:
        with demo.guard():
            # What it starts inherits that Ctrl-C is ignored, and ends when we say so.
            before = signal.signal(signal.SIGINT, signal.SIG_IGN)
            broker.start()
            signal.signal(signal.SIGINT, before)
        yield port
    finally:
        broker.stop()


def _subscribe(demo: Demo, port: int) -> "subprocess.Popen[str]":
    demo.say(
        f"\n2  A real MQTT broker listens on 127.0.0.1:{port}, for this demo alone. A subscriber "
        "that knows\n   nothing of Edgeward but the topics counts what it sees.",
        2,
    )
    script = demo.examples / "subscriber.py"
    subscriber = demo.start(
        [sys.executable, str(script), "127.0.0.1", str(port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    demo.listen(subscriber)
    _ask(subscriber)
    return subscriber


def _ask(subscriber: "subprocess.Popen[str]") -> dict[str, Any]:
    if subscriber.stdin is None or subscriber.stdout is None:
        raise RolloutStopped("the subscriber has no pipes")
    try:
        subscriber.stdin.write("\n")
        subscriber.stdin.flush()
        answer: dict[str, Any] = json.loads(subscriber.stdout.readline())
    except (OSError, ValueError):
        raise RolloutStopped("the subscriber ended early") from None
    return answer


def _start_agents(demo: Demo, port: int) -> "list[subprocess.Popen[Any]]":
    url = f"mqtt://127.0.0.1:{port}"
    fleet = str(demo.folder / "fleet")
    demo.command("fleet", "--dir", fleet, "init", "--broker", url)
    demo.say(
        f"\n3  Three devices start; each replays recordings of a watch as its sensor, at "
        f"{demo.factor:g} times\n   the true rate. They trust the fleet's key; none has a model.",
        3,
    )
    agents = []
    for device, chosen in DEVICES.items():
        folder = demo.folder / "devices" / device
        folder.mkdir(parents=True)
        config = folder / "agent.toml"
        recording = f"{(demo.examples / 'watch' / 'watch_example.npz').resolve()}{chosen}"
        config.write_text(_agent_config(device, url, recording, demo.factor), encoding="utf-8")
        trust = [sys.executable, "-m", "edge_agent", "trust", str(config)]
        root = demo.folder / "fleet" / "root.json"
        subprocess.run([*trust, str(root)], check=True, stdout=subprocess.DEVNULL)
        with (folder / "agent.log").open("w", encoding="utf-8") as log:
            agents.append(
                demo.start(
                    [sys.executable, "-m", "edge_agent", "run", str(config)],
                    stdout=subprocess.DEVNULL,
                    stderr=log,
                )
            )
    _await_online(demo, agents)
    return agents


def _await_online(demo: Demo, agents: "list[subprocess.Popen[Any]]") -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        for agent, device in zip(agents, DEVICES, strict=True):
            if agent.poll() is not None:
                log = demo.folder / "devices" / device / "agent.log"
                raise RolloutStopped(f"{device} ended with {agent.returncode}: see {log}")
        status = demo.command("fleet", "--dir", str(demo.folder / "fleet"), "status")
        online = [d["device"] for d in status["devices"] if d["availability"] == "online"]
        if len(online) == len(DEVICES):
            demo.say(f"   online: {', '.join(sorted(online))}")
            return
    raise RolloutStopped("the devices did not come online within 20 s")


def _agent_config(device: str, url: str, recording: str, factor: float) -> str:
    # json.dumps writes strings that TOML reads as the same ones.
    return f"""\
[device]
id = {json.dumps(device)}
group = "{GROUP}"

[broker]
url = "{url}"

[store]
path = "store"

[[source]]
name = "watch0"
kind = "replay"
path = {json.dumps(recording)}
factor = {factor}
loop = true

[[model]]
name = "{MODEL}"
stream = "watch0"
"""


def _push(demo: Demo, version: str) -> dict[str, Any]:
    if version == VERSIONS[0]:
        demo.say(
            f"\n4  The operator pushes {MODEL} {version} to the group: one signed message, each "
            "chunk sent\n   once for all devices. Each proves it on itself before it runs.",
            4,
        )
    else:
        demo.say(f"\n   {MODEL} {version}, with other weights, follows while the first works.")
    bundle = demo.folder / "bundles" / f"{MODEL}-{version}-onnx-int8.bundle"
    result = demo.command(
        "fleet", "--dir", str(demo.folder / "fleet"), "push", str(bundle), "--to", GROUP, "--watch"
    )
    demo.say(
        f"   All {len(result['devices'])} run {version} after {result['seconds']:.1f} s; "
        f"{result['bytes_sent']:,} model bytes were sent."
    )
    return {key: result[key] for key in ("version", "seconds", "bytes_sent")}


def _watch(demo: Demo) -> None:
    demo.say("   The subscriber sees:")
    time.sleep(WATCH_S)


def _roll_back(demo: Demo) -> float:
    demo.say("\n5  The operator takes it back. The devices still hold the version before.", 5)
    result = demo.command(
        "fleet", "--dir", str(demo.folder / "fleet"), "rollback", MODEL, "--watch"
    )
    seconds: float = result["seconds"]
    demo.say(
        f"   All run {', '.join(result['groups'].values())} again {seconds:.2f} s after the "
        f"command; {result['model_bytes']} model bytes were sent."
    )
    return seconds


def find_examples() -> Path:
    """Return the examples of the checkout that this file is in, or of the present folder."""
    beside = Path(__file__).resolve().parent.parent / "examples"
    return beside if beside.is_dir() else Path(os.curdir) / "examples"
