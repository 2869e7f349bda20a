"""From the start of the process to its first prediction: the agent ÷ a bare script.

Both run in turns, each in a process of its own. The clock runs from before the process is made to
when a subscriber on the same machine has the prediction, so both also connect to the broker. The
samples of the first window are there at once: no sensor is waited for. The script imports the same
runtime, NumPy and paho, loads the same model, and runs and publishes the same window.

The agent has started before, as on every day but the first: it has proven the model. What the very
first start takes, with the proof in a process of its own, is told beside it, without a bound.

    python -m benchmarks.start [--formats onnx,tflite] [--rounds 15]

Exits 1 where the agent takes more than 1.5 times as long.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.bare import RUNTIMES, run_sides
from benchmarks.checks import at_most, finish, tell
from benchmarks.rig import (
    PREDICTIONS,
    Listener,
    run_process,
)

BOUND = 1.5
WINDOW = 100


def measure(command: Sequence[str], port: int, topic: str, log: Path) -> float:
    """Return the seconds to the first prediction."""
    listener = Listener(port, topic)
    try:
        began_ns = time.monotonic_ns()
        with run_process(command, log):
            return (listener.next().at_ns - began_ns) / 1e9
    finally:
        listener.close()


def compare(form: str, folder: Path, rounds: int) -> list[dict[str, object]]:
    """Return the checks of one format."""
    ours, bare = [], []
    with run_sides(form, folder, WINDOW, 'factor = "max"', 0.0, 1) as (port, agent, script):
        measure(script, port, "bare/pred", folder / "bare.log")  # its byte code is compiled
        first = measure(agent, port, PREDICTIONS, folder / "agent.log")
        measure(agent, port, PREDICTIONS, folder / "agent.log")
        for number in range(rounds):
            ours.append(measure(agent, port, PREDICTIONS, folder / "agent.log"))
            bare.append(measure(script, port, "bare/pred", folder / "bare.log"))
            tell(f"{form} round {number}: agent {ours[-1]:.3f} s, bare {bare[-1]:.3f} s")
    ours_s, bare_s = statistics.median(ours), statistics.median(bare)
    check = at_most(f"start_ratio_{form}", ours_s / bare_s, BOUND)
    check |= {"agent_s": round(ours_s, 3), "bare_s": round(bare_s, 3)}
    return [check, at_most(f"first_start_s_{form}", first, None)]


def main() -> None:
    """Measure in turns, and print one JSON line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--formats", type=lambda text: text.split(","), default=list(RUNTIMES))
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    checks = []
    for form in options.formats:
        with tempfile.TemporaryDirectory() as name:
            checks += compare(form, Path(name), options.rounds)
    finish(checks)


if __name__ == "__main__":
    main()
