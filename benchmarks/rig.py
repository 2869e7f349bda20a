"""What the benchmarks of the whole agent stand on: a real broker, processes, and the last line.

The agent and what it is compared to run in processes of their own, beside a real mosquitto, and are
looked at from outside: by what a subscriber hears, and by what the kernel says of them.
"""

import contextlib
import json
import os
import queue
import select
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from benchmarks.models import CHANNELS, make_noise
from edge_bundle.archive import Bundle, read_bundle

ROOT = Path(__file__).resolve().parents[1]
WATCH = ROOT / "examples" / "watch"
DEVICE = "bench"
PREDICTIONS = f"edge/v1/dev/{DEVICE}/pred/#"
READY_S = 30.0
LOOK_S = 0.2
KIB_PER_MIB = 1024
LEAVE_S = 15.0
RATE_HZ = 50.0
"""Of the streams, where nothing else is said."""


@dataclass(frozen=True, slots=True)
class Heard:
    """A message, as a subscriber on the same machine got it."""

    topic: str
    payload: bytes
    at_ns: int
    """Monotonic time at which it could be read: before the subscriber's own work. That clock is
    one for all processes of the machine."""

    def read(self) -> Any:
        """Return what the JSON says."""
        return json.loads(self.payload)


class Listener:
    """A subscriber; what it hears waits in order."""

    def __init__(self, port: int, *topics: str) -> None:
        """Subscribe.

        Raises: SystemExit: the broker does not answer.
        """
        self._heard: queue.SimpleQueue[Heard] = queue.SimpleQueue()
        self._at_ns = 0
        self._closing = False
        there: queue.SimpleQueue[None] = queue.SimpleQueue()
        client = self._client = paho.Client(CallbackAPIVersion.VERSION2)
        client.on_connect = lambda c, *_: c.subscribe([(t, 0) for t in topics])
        client.on_subscribe = lambda *_: there.put(None)
        client.on_message = lambda _client, _data, m: self._heard.put(
            Heard(m.topic, bytes(m.payload), self._at_ns)
        )
        client.connect("127.0.0.1", port)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        try:
            there.get(timeout=READY_S)
        except queue.Empty:
            raise SystemExit("the broker does not answer") from None

    def next(self, timeout_s: float = READY_S) -> Heard:
        """Return the next message.

        Raises: SystemExit: none within the time.
        """
        try:
            return self._heard.get(timeout=timeout_s)
        except queue.Empty:
            raise SystemExit(f"nothing was heard within {timeout_s:g} s") from None

    def close(self) -> None:
        """End it."""
        self._closing = True
        self._thread.join()
        self._client.disconnect()

    def _run(self) -> None:
        while not self._closing and (sock := self._client.socket()) is not None:
            if select.select([sock], [], [], LOOK_S)[0]:
                self._at_ns = time.monotonic_ns()
                self._client.loop_read()
            while self._client.want_write():
                self._client.loop_write()
            self._client.loop_misc()


@contextlib.contextmanager
def run_broker(folder: Path) -> Iterator[int]:
    """Run mosquitto, and give its port."""
    # Debian puts it where a user's PATH does not look.
    program = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        raise SystemExit("mosquitto is missing: sudo apt install mosquitto")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    config = folder / "mosquitto.conf"
    config.write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\n"
        "max_queued_messages 0\nset_tcp_nodelay true\nlog_dest none\nuser root\n"
    )
    with run_process([program, "-c", str(config)], folder / "mosquitto.log") as broker:
        deadline = time.monotonic() + READY_S
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            if broker.poll() is not None or time.monotonic() > deadline:
                raise SystemExit("mosquitto did not come up")
            time.sleep(0.02)
        yield port


@contextlib.contextmanager
def run_process(command: Sequence[str], log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a process, and end it in order."""
    # As it is where a package was installed: compiled once, not at every start.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out
        )
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(LEAVE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def read_memory(process: "subprocess.Popen[bytes]") -> dict[str, float]:
    """Return what the kernel says of a process, in MiB: resident, and its own of that."""
    lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()[1:]
    kib = {words[0].rstrip(":"): int(words[1]) for words in map(str.split, lines)}
    own = kib["Private_Dirty"] + kib["Private_Clean"]
    return {
        "rss": kib["Rss"] / KIB_PER_MIB,
        "pss": kib["Pss"] / KIB_PER_MIB,
        "private": own / KIB_PER_MIB,
        "anonymous": kib["Anonymous"] / KIB_PER_MIB,
    }


def convert_watch(folder: Path, form: str) -> Bundle:
    """Return the int8 bundle that ``edge-convert`` makes of the committed model.

    Args:
        form: ``onnx`` or ``tflite``.
    """
    recording = WATCH / "watch_example.npz"
    command = [sys.executable, "-m", "convert", "build", str(WATCH / "watch_mlp.onnx")]
    command += ["--spec", str(WATCH / "stream.toml"), "--precision", "int8", "--to", form]
    command += ["--calibration", f"{recording}#0-4,6,11"]
    command += ["--evaluation", f"{recording}#5,7-10,12,13"]
    command += ["--name", "watch", "--version", "1.0.0", "--out", str(folder), "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr.strip())
    return read_bundle(next(folder.glob(f"watch-1.0.0-{form}-*.bundle")))


def write_recording(file: Path, samples: int, rate_hz: float = RATE_HZ) -> Path:
    """Write a recording of noise with the six channels that the benchmarks' models see."""
    values = make_noise(samples)
    names = np.array(["ax", "ay", "az", "wx", "wy", "wz"][:CHANNELS])
    np.savez(file, values=values, channels=names, rate_hz=rate_hz)
    return file


def write_config(
    file: Path, port: int, bundle: Bundle, source: str, telemetry_s: float = 60.0
) -> list[str]:
    """Write an agent's configuration, and return the command that runs it.

    Args:
        source: further lines of its one source, which replays.
    """
    name = bundle.manifest.name
    file.write_text(
        f'[device]\nid = "{DEVICE}"\n'
        f'[broker]\nurl = "mqtt://127.0.0.1:{port}"\n'
        f'[store]\npath = "{file.stem}"\n'
        f"[telemetry]\nevery_s = {telemetry_s}\n"
        f'[[source]]\nname = "imu"\nkind = "replay"\n{source}\n'
        f'[[model]]\nname = "{name}"\nstream = "imu"\nbundle = "{bundle.path}"\n'
    )
    # What the installed command does, from this checkout.
    return [sys.executable, "-c", "from edge_agent.__main__ import main; main()", "run", str(file)]
