"""Real brokers on free loopback ports: the embedded one that the demo uses, and mosquitto."""

import contextlib
import importlib.util
import os
import random
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.parts import require

READY_S = 10.0
MAX_PAYLOAD_BYTES = 1 << 20
PORTS = range(12_000, 32_000)
"""Below those that the kernel gives to clients: one that knocks at a closed port of theirs may be
given that very port, and then talks to itself and keeps the broker from it."""


class RunningBroker:
    """A broker process that a test may stop and start again on the same port."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind = kind
        self.port = free_port()
        self._folder = folder
        self._embedded: Any = None
        self._mosquitto: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and wait until it listens."""
        if self.kind == "embedded":
            import iotcore

            self._embedded = iotcore.Broker(
                port=self.port, listen="127.0.0.1", max_payload_size=MAX_PAYLOAD_BYTES
            )
            self._embedded.start()
            return
        config = self._folder / "mosquitto.conf"
        config.write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous true\npersistence false\n"
            "log_dest none\nuser root\n"
        )
        # It ends with the process that runs the tests, however that ends; iotcore does so itself.
        tether = ["setpriv", "--pdeathsig", "TERM"] if shutil.which("setpriv") else []
        command = [*tether, find_mosquitto() or "", "-c", str(config)]
        self._mosquitto = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + READY_S
        while not listens(self.port):
            if self._mosquitto.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"mosquitto did not come up: {self._mosquitto.returncode}")
            time.sleep(0.02)

    def stop(self) -> None:
        """End it and wait until its port is free. Safe to call twice."""
        if self._embedded is not None:
            self._embedded.stop()
            self._embedded = None
        if self._mosquitto is not None:
            self._mosquitto.terminate()
            try:
                self._mosquitto.wait(5)
            except subprocess.TimeoutExpired:
                self._mosquitto.kill()
                self._mosquitto.wait()
            self._mosquitto = None

    def kill(self) -> None:
        """End it without its last words, which take mosquitto a tenth of a second."""
        if self._mosquitto is not None:
            self._mosquitto.kill()
        self.stop()

    def restart(self) -> None:
        """Stop it, losing all that it held, and start it on the same port."""
        self.stop()
        self.start()


def free_port() -> int:
    """Return a loopback port that nobody listens on."""
    while True:
        # Not the tests' own randomness, or two of their processes would draw the same ports.
        port = random.SystemRandom().choice(PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def listens(port: int) -> bool:
    """Tell whether somebody listens on a loopback port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def find_mosquitto() -> str | None:
    """Return where Debian's package puts the broker, which need not be on a user's PATH."""
    return shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


@contextlib.contextmanager
def run_broker(kind: str, folder: Path) -> Iterator[RunningBroker]:
    """Run one broker, and leave no process behind."""
    if kind == "mosquitto":
        require("mosquitto", find_mosquitto() is not None, "apt-get install mosquitto")
    else:
        there = importlib.util.find_spec("iotcore") is not None
        require("iotcore", there, "pip install edgeward[demo]")
    broker = RunningBroker(kind, folder)
    try:
        broker.start()
        yield broker
    finally:
        broker.kill()


@pytest.fixture(params=["embedded", "mosquitto"])
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RunningBroker]:
    """Both brokers in turn."""
    with run_broker(request.param, tmp_path) as running:
        yield running


@pytest.fixture(scope="module", params=["embedded", "mosquitto"])
def shared_broker(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningBroker]:
    """Both brokers in turn, for tests that neither stop theirs nor leave something retained."""
    with run_broker(request.param, tmp_path_factory.mktemp("broker")) as running:
        yield running


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[RunningBroker]:
    """The broker that needs nothing installed by hand."""
    with run_broker("embedded", tmp_path) as running:
        yield running
