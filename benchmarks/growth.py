"""Whether the agent's memory grows: a million windows, as fast as they are taken.

The real agent in a process of its own: replay, feed, worker, slot, outbox and link, with QoS 1
to a real mosquitto, and telemetry twice a second. Resident memory is read from outside whenever
telemetry says how many windows there were. The slope is the straight line of least squares through
the second half of the windows; the first half is for what is filled once, such as the rings.

A day's worth of windows is what the stream's own rate gives: 50 Hz, a window every 50 samples,
so one a second: 86,400. The slope is told in MiB for so many windows.

As fast as possible the pipeline makes more predictions than the broker confirms, and waits while
the outbox is half full. Were one dropped all the same, its share is told.

    python -m benchmarks.growth [--windows 1000000]

Exits 1 where the slope is 1 MiB a day's worth or more.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
from msgspec.structs import replace

from benchmarks.checks import at_most, finish, tell
from benchmarks.models import MOTION, make_bundle, make_mlp
from benchmarks.rig import (
    DEVICE,
    RATE_HZ,
    Listener,
    read_memory,
    run_broker,
    run_process,
    write_config,
    write_recording,
)

BOUND_MIB = 1.0
HIDDEN = (8,)
HOP = 50
DAY_WINDOWS = int(24 * 3600 * RATE_HZ / HOP)
TELEMETRY_S = 0.5
RECORDING = 50_000
LINES = 10
"""Of progress."""


def record(folder: Path, windows: int) -> list[tuple[int, float, int]]:
    """Return windows so far, resident MiB, and predictions lost so far, again and again."""
    bundle = make_bundle(
        folder, "mlp", make_mlp(HIDDEN), stream=replace(MOTION, rate_hz=RATE_HZ, hop=HOP)
    )
    recording = write_recording(folder / "noise.npz", RECORDING)
    found: list[tuple[int, float, int]] = []
    with run_broker(folder) as port:
        topics = (f"edge/v1/dev/{DEVICE}/{name}" for name in ("telemetry", "loss"))
        listener = Listener(port, *topics)
        source = f'path = "{recording}"\nfactor = "max"\nloop = true'
        command = write_config(folder / "agent.toml", port, bundle, source, TELEMETRY_S)
        lost = 0
        try:
            with run_process(command, folder / "agent.log") as process:
                while not found or found[-1][0] < windows:
                    heard = listener.next()
                    told = heard.read()
                    if heard.topic.endswith("loss"):
                        lost += told["to"] - told["from"] + 1
                        continue
                    count = told["models"]["mlp"]["windows"]
                    found.append((count, read_memory(process)["rss"], lost))
                    before = found[-2][0] if len(found) > 1 else 0
                    if count * LINES // windows > before * LINES // windows:
                        tell(f"{count} windows: {found[-1][1]:.2f} MiB, {lost} lost")
        finally:
            listener.close()
    return found


def slope_mib(found: list[tuple[int, float, int]], windows: int) -> float:
    """Return the slope of the second half, in MiB for a day's worth of windows."""
    half = [(count, rss) for count, rss, _ in found if count >= windows // 2]
    counts, rss = np.array(half, np.float64).T
    return float(np.polyfit(counts / DAY_WINDOWS, rss, 1)[0])


def main() -> None:
    """Measure, and print one JSON line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--windows", type=int, default=1_000_000)
    windows = parser.parse_args().windows
    with tempfile.TemporaryDirectory() as name:
        found = record(Path(name), windows)
    count, rss, lost = found[-1]
    check = at_most("growth_mib_per_day", slope_mib(found, windows), BOUND_MIB)
    check |= {"windows": count, "day_windows": DAY_WINDOWS, "samples": len(found)}
    check |= {"first_mib": round(found[0][1], 2), "last_mib": round(rss, 2)}
    check["lost_share"] = round(lost / count, 4)
    finish([check])


if __name__ == "__main__":
    main()
