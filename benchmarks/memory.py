"""Resident memory: the agent ÷ a bare script with the same runtime, NumPy, paho and model.

Both run in turns, each in a process of its own, see a window a second and publish what the model
says to a real mosquitto with QoS 1. Resident memory is what counts, not the proportional share: how
much of a library's pages another process happens to share is no merit of ours. It is read after
some windows, when what is made only then is there.

    python -m benchmarks.memory [--formats onnx,tflite] [--rounds 3] [--windows 10]

Exits 1 where the agent takes more than 1.15 times as much.
"""

import argparse
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.bare import RUNTIMES, run_sides
from benchmarks.checks import at_most, finish, tell
from benchmarks.rig import (
    PREDICTIONS,
    Listener,
    read_memory,
    run_process,
)

BOUND = 1.15
RECORDING = 3000


def measure(
    command: Sequence[str], port: int, topic: str, windows: int, log: Path
) -> dict[str, float]:
    """Run one side until it has published some windows, and return what it takes then."""
    listener = Listener(port, topic)
    try:
        with run_process(command, log) as process:
            for _ in range(windows):
                listener.next()
            return read_memory(process)
    finally:
        listener.close()


def main() -> None:
    """Measure in turns, and print one JSON line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--formats", type=lambda text: text.split(","), default=list(RUNTIMES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--windows", type=int, default=10)
    options = parser.parse_args()
    checks = []
    for form in options.formats:
        with tempfile.TemporaryDirectory() as name:
            checks.append(compare(form, Path(name), options.rounds, options.windows))
    finish(checks)


def compare(form: str, folder: Path, rounds: int, windows: int) -> dict[str, object]:
    """Return the check of one format."""
    ours, bare = [], []
    with run_sides(form, folder, RECORDING, "loop = true", 1.0) as (port, agent, script):
        for number in range(rounds):
            ours.append(measure(agent, port, PREDICTIONS, windows, folder / "agent.log"))
            bare.append(measure(script, port, "bare/pred", windows, folder / "bare.log"))
            tell(f"{form} round {number}: agent {show(ours[-1])}; bare {show(bare[-1])}")
    ours_mib, bare_mib = (statistics.median(f["rss"] for f in found) for found in (ours, bare))
    check = at_most(f"rss_ratio_{form}", ours_mib / bare_mib, BOUND)
    return check | {"agent_mib": round(ours_mib, 2), "bare_mib": round(bare_mib, 2)}


def show(found: dict[str, float]) -> str:
    """Return figures as words."""
    return ", ".join(f"{name} {value:.2f}" for name, value in found.items()) + " MiB"


if __name__ == "__main__":
    main()
