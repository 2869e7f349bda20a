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
import textwrap
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from edge_bundle.errors import ConfigError
from edge_bundle.interrupts import INTERRUPTS
from fleet.crew import Crew, Say
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
WIDTH: Final = 79


@dataclass(frozen=True, slots=True)
class Demo:
    """What the steps share."""

    examples: Path
    folder: Path
    factor: float
    crew: Crew

    def say(self, text: str) -> None:
        """Show a line below the present step's."""
        self.crew.say(f"   {text}")

    def begin(self, step: int, text: str) -> None:
        """Show what a step is about."""
        lines = textwrap.wrap(f"{step}  {text}", WIDTH, subsequent_indent="   ")
        gap = "\n" if step > 1 else ""
        self.crew.say(gap + "\n".join(lines), step)

    def fleet(self, *arguments: str) -> dict[str, Any]:
        """Run one of the operator's commands."""
        return self.crew.command("fleet", "--dir", str(self.folder / "fleet"), *arguments)


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
    crew = Crew(say)
    with ExitStack() as stack:
        port = stack.enter_context(_broker())
        stack.callback(crew.stop_all)
        summary = _do_main_job(Demo(examples, folder, factor, crew), port)
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
    demo.begin(6, "The devices stop in order. What the subscriber counted:")
    demo.crew.say("")
    demo.crew.stop(agents)
    time.sleep(SETTLE_S)
    seen = _ask(subscriber)
    return {
        "conversion": conversion,
        "devices": seen["devices"],
        "pushes": pushes,
        "rollback": {"seconds": rollback, "model_bytes": seen["chunk_bytes"] - before},
    }


def _convert(demo: Demo) -> dict[str, Any]:
    demo.begin(1, "Two float models, trained on smart-watch exercises, become int8 bundles.")
    watch = demo.examples / "watch"
    results = []
    for version, model in zip(VERSIONS, MODELS, strict=True):
        result = demo.crew.command(
            "convert", "build", str(watch / model),
            "--spec", str(watch / "stream.toml"),
            "--calibration", f"{watch / 'watch_example.npz'}{CALIBRATION}",
            "--evaluation", f"{watch / 'watch_example.npz'}{EVALUATION}",
            "--precision", "int8", "--name", MODEL, "--version", version,
            "--out", str(demo.folder / "bundles"),
        )  # fmt: skip
        results.append(result)
        demo.say(
            f"{model}: {result['float_bytes']:,} -> {result['final_bytes']:,} bytes "
            f"({result['float_bytes'] / result['final_bytes']:.1f} times smaller), "
            f"accuracy {result['float_accuracy']:.1%} -> {result['final_accuracy']:.1%}"
        )
    demo.say(
        f"({results[0]['evaluation_windows']} windows of one easy subject: they show what int8 "
        "costs, not how\n   good the models are; for that see examples/README.md)"
    )
    keys = ("float_bytes", "final_bytes", "float_accuracy", "final_accuracy")
    return {key: results[0][key] for key in keys}


@contextmanager
def _broker() -> Iterator[int]:
    try:
        from iotcore import Broker
    except ImportError:
        raise ConfigError("the demo's broker is missing: pip install 'edgeward[demo]'") from None
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    broker = Broker(port=port, listen="127.0.0.1", max_payload_size=MAX_PAYLOAD_BYTES)
    try:
        with INTERRUPTS.put_off():
            # What it starts inherits that Ctrl-C is blocked, and ends when we say so; ours waits.
            before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            try:
                broker.start()
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
        yield port
    finally:
        broker.stop()


def _subscribe(demo: Demo, port: int) -> "subprocess.Popen[str]":
    demo.begin(
        2,
        f"A real MQTT broker listens on 127.0.0.1:{port}, for this demo alone. A subscriber that "
        "knows nothing of Edgeward but the topics counts what it sees.",
    )
    script = demo.examples / "subscriber.py"
    subscriber = demo.crew.start(
        [sys.executable, str(script), "127.0.0.1", str(port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    demo.crew.listen(subscriber)
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
    demo.fleet("init", "--broker", url)
    demo.begin(
        3,
        "Three devices start; each replays recordings of a watch as its sensor, at "
        f"{demo.factor:g} times the true rate. They trust the fleet's key; none has a model.",
    )
    agents = []
    for device, chosen in DEVICES.items():
        folder = demo.folder / "devices" / device
        folder.mkdir(parents=True)
        config = folder / "agent.toml"
        recording = f"{(demo.examples / 'watch' / 'watch_example.npz').resolve()}{chosen}"
        config.write_text(_agent_config(device, url, recording, demo.factor), encoding="utf-8")
        demo.crew.run("edge_agent", "trust", str(config), str(demo.folder / "fleet" / "root.json"))
        with (folder / "agent.log").open("w", encoding="utf-8") as log:
            agents.append(
                demo.crew.start(
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
        status = demo.fleet("status")
        online = [d["device"] for d in status["devices"] if d["availability"] == "online"]
        if len(online) == len(DEVICES):
            demo.say(f"online: {', '.join(sorted(online))}")
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
        demo.begin(
            4,
            f"The operator pushes {MODEL} {version} to the group: one signed message, each chunk "
            "sent once for all devices. Each proves it on itself before it runs.",
        )
    else:
        demo.crew.say("")
        demo.say(f"{MODEL} {version}, with other weights, follows while the first works.")
    bundle = demo.folder / "bundles" / f"{MODEL}-{version}-onnx-int8.bundle"
    result = demo.fleet("push", str(bundle), "--to", GROUP, "--watch")
    demo.say(
        f"All {len(result['devices'])} run {version} after {result['seconds']:.1f} s; "
        f"{result['bytes_sent']:,} model bytes were sent."
    )
    return {key: result[key] for key in ("version", "seconds", "bytes_sent")}


def _watch(demo: Demo) -> None:
    demo.say("The subscriber sees:")
    time.sleep(WATCH_S)


def _roll_back(demo: Demo) -> float:
    demo.begin(5, "The operator takes it back. The devices still hold the version before.")
    result = demo.fleet("rollback", MODEL, "--watch")
    seconds: float = result["seconds"]
    demo.say(
        f"All run {', '.join(result['groups'].values())} again {seconds:.2f} s after the "
        f"command; {result['model_bytes']} model bytes were sent."
    )
    return seconds


def find_examples() -> Path:
    """Return the examples of the checkout that this file is in, or of the present folder."""
    beside = Path(__file__).resolve().parent.parent / "examples"
    return beside if beside.is_dir() else Path(os.curdir) / "examples"
