"""The demo does the main job on real parts, and leaves nothing behind however it ends."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-m", "fleet", "demo"]


def left_behind(folder: Path) -> list[str]:
    """Return the command lines of processes that name the folder or work in it."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if str(folder) in line or str((entry / "cwd").readlink()).startswith(str(folder)):
                found.append(line)
        except OSError:
            continue  # it ended while we looked
    return found


def check_summary(summary: dict[str, object]) -> None:
    conversion, rollback = summary["conversion"], summary["rollback"]
    assert isinstance(conversion, dict)
    assert isinstance(rollback, dict)
    assert conversion["float_bytes"] >= 2.4 * conversion["final_bytes"]
    assert 0 < conversion["final_accuracy"] <= 1
    devices, pushes = summary["devices"], summary["pushes"]
    assert isinstance(devices, list)
    assert isinstance(pushes, list)
    assert len(devices) == 3
    for device in devices:
        assert device["versions"] == ["1.0.0", "2.0.0", "1.0.0"]
        assert (device["gaps"], device["doubles"], device["lost_samples"]) == (0, 0, 0)
        assert device["predictions"] > 50
    assert [p["version"] for p in pushes] == ["1.0.0", "2.0.0"]
    assert all(p["bytes_sent"] > 0 for p in pushes)
    assert rollback["model_bytes"] == 0


def interrupt(folder: Path, after: "float | str") -> str:
    """Start the demo, send Ctrl-C after some seconds or words, and return what it said."""
    # A terminal sends Ctrl-C to the whole process group, so the demo gets a group of its own.
    with subprocess.Popen(
        COMMAND,
        cwd=folder,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as demo:
        said = ""
        if isinstance(after, str):
            assert demo.stdout is not None
            for line in demo.stdout:
                said += line
                if after in line:
                    break
        else:
            time.sleep(after)
        os.killpg(demo.pid, signal.SIGINT)
        said += demo.communicate(timeout=20)[0]
    assert demo.returncode == 6, said
    assert "Traceback" not in said
    return said


def break_off(folder: Path, after: "float | str") -> None:
    """Interrupt the demo, and look for what it left: processes, and a port that listens."""
    said = interrupt(folder, after)
    assert left_behind(folder) == []
    port = said.partition("127.0.0.1:")[2].partition(",")[0]
    if port:
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", int(port))) != 0


def test_the_demo_moves_three_devices_forth_and_back_also_after_one_that_was_broken_off(
    tmp_path: Path,
) -> None:
    break_off(tmp_path, ": downloading")
    done = subprocess.run(
        [*COMMAND, "--json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    written = json.loads((tmp_path / "build" / "demo" / "summary.json").read_text())
    assert json.loads(done.stdout) == written
    check_summary(written)
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize("after_s", [0.7, 3.0])
def test_ctrl_c_leaves_no_process_and_no_port(tmp_path: Path, after_s: float) -> None:
    break_off(tmp_path, after_s)


AT_THE_BROKERS_START = """
import os, signal, sys
import iotcore
from fleet.__main__ import main

begin = iotcore.Broker.start

def start(broker):
    os.killpg(0, signal.SIGINT)
    return begin(broker)

iotcore.Broker.start, sys.argv = start, ["edge-fleet", "demo"]
main()
"""


def test_ctrl_c_while_the_broker_starts_is_not_lost(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", AT_THE_BROKERS_START],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
        start_new_session=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (6, "", "edge-fleet: interrupted\n")
    assert left_behind(tmp_path) == []
