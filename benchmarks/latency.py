"""From a sample to its prediction, less the inference: 100 Hz, 6 channels, the real agent.

A window ends with its newest sample. The clock runs from when that sample was due until a
subscriber on the same machine has the prediction: the wake-up of the source, both threads of the
pipeline, the link, mosquitto and the subscriber are all in it; what the model itself took
(``lat_ms.infer``) is taken off. A prediction says when its window ended in whole milliseconds. So
the recording is replayed 0.07 % too fast, and the ends, a straight line, wander through all
fractions of a millisecond: the mean of the cut-off times and half a millisecond is where the line
is, to some 10 microseconds.

    python -m benchmarks.latency [--seconds 60]

Exits 1 where half of the predictions take 1 ms or more, or one in a hundred 10 ms or more.
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
from msgspec.structs import replace

from benchmarks.checks import at_most, finish, tell
from benchmarks.models import MOTION, WINDOW, make_bundle, make_mlp
from benchmarks.rig import (
    PREDICTIONS,
    Heard,
    Listener,
    run_broker,
    run_process,
    write_config,
    write_recording,
)

RATE_HZ = 100.0
HOP = 5
FACTOR = 1.0007
HIDDEN = (64,)
P50_MS, P99_MS = 1.0, 10.0
SETTLE_S = 3.0
"""The agent has just started: what it says in the meantime does not count."""
CHECK_US = 200.0
"""What is found of the ends must not be further off than this, or a clock was set meanwhile."""


def record(folder: Path, seconds: float) -> list[Heard]:
    """Return the predictions of some seconds of the stream."""
    bundle = make_bundle(
        folder, "mlp", make_mlp(HIDDEN), stream=replace(MOTION, rate_hz=RATE_HZ, hop=HOP)
    )
    samples = int((seconds + SETTLE_S) * RATE_HZ) + WINDOW
    recording = write_recording(folder / "noise.npz", samples, RATE_HZ)
    with run_broker(folder) as port:
        listener = Listener(port, PREDICTIONS)
        command = write_config(
            folder / "agent.toml", port, bundle, f'path = "{recording}"\nfactor = {FACTOR}'
        )
        heard: list[Heard] = []
        try:
            with run_process(command, folder / "agent.log"):
                first = listener.next()
                while len(heard) < seconds * RATE_HZ / HOP:
                    found = listener.next()
                    if found.at_ns - first.at_ns > SETTLE_S * 1e9:
                        heard.append(found)
        finally:
            listener.close()
    return heard


def read_time_ms(text: str) -> float:
    """Return a prediction's time since 1970."""
    # Python 3.10 does not know Z.
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() * 1e3


def measure(heard: Sequence[Heard]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return for each prediction, in milliseconds, how old its window's end was when it was heard,
    less the inference; and what the agent says of that, which ends with the decision.

    Raises: SystemExit: one is missing, or the ends cannot be told from the cut-off times, or are
        later than what was decided of them.
    """
    told = [h.read() for h in heard]
    seq = np.array([t["seq"] for t in told], np.float64)
    if not np.all(np.diff(seq) == 1):
        raise SystemExit("predictions are missing")
    wall_ms = np.array([read_time_ms(t["t"]) for t in told])
    # Both clocks are this machine's, and the agent compares them once a second.
    offset_ms = (time.time_ns() - time.monotonic_ns()) / 1e6
    period_ms = HOP / RATE_HZ / FACTOR * 1e3
    cut_ms = wall_ms - offset_ms - seq * period_ms
    first_ms = cut_ms.mean() + 0.5
    # Each time is cut off by less than a millisecond from the line.
    off_us = max(first_ms - cut_ms.min() - 1.0, cut_ms.max() - first_ms) * 1e3
    if off_us > CHECK_US:
        raise SystemExit(f"the windows' ends are {off_us:.0f} us off a line: was the clock set?")
    end_ms = first_ms + seq * period_ms
    infer_ms = np.array([t["lat_ms"]["infer"] for t in told])
    e2e_ms = np.array([t["lat_ms"]["e2e"] for t in told])
    inside_ms = e2e_ms - infer_ms
    if inside_ms.min() < 0:  # else an end that is told too late would be a short latency
        raise SystemExit(f"a window was decided {-inside_ms.min():.2f} ms before its end")
    return np.array([h.at_ns / 1e6 for h in heard]) - end_ms - infer_ms, inside_ms


def main() -> None:
    """Measure, and print one JSON line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        heard = record(Path(name), options.seconds)
    latency_ms, inside_ms = measure(heard)
    shares = (50, 90, 99, 100)
    for what, values in (("heard", latency_ms), ("decided", inside_ms)):
        spread = zip(shares, np.percentile(values, shares), strict=True)
        tell(f"{what}: " + ", ".join(f"p{p} {value:.3f}" for p, value in spread) + " ms")
    # ``decided`` is earlier by the way to the subscriber, or the ends were found wrong.
    tell(f"from decided to heard: at least {(latency_ms - inside_ms).min():.3f} ms")
    checks = []
    for share, bound in ((50, P50_MS), (99, P99_MS)):
        check = at_most(f"p{share}_ms", float(np.percentile(latency_ms, share)), bound)
        check["decided_ms"] = round(float(np.percentile(inside_ms, share)), 4)
        checks.append(check)
    finish([c | {"windows": len(heard)} for c in checks])


if __name__ == "__main__":
    main()
