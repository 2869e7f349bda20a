"""What the agent's pipeline costs beside the model: windows a second, ours ÷ a bare loop.

Both in one process and one run, alternating, on the same windows and the same session options:
ours is ring, window, model, decision and the encoded prediction, without features; the bare loop
is onnxruntime's ``run`` on prepared windows and nothing else.

    python -m benchmarks.agent_overhead [--rounds 15]
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime

from benchmarks.models import CHANNELS, HOP, WINDOW, make_bundle, make_mlp, make_samples
from edge_agent.clock import WallClock
from edge_agent.ring import Chunk, Ring
from edge_agent.slot import Loaded, Slot
from edge_bundle.inference import Inference

MODELS = {"60us": ((1280,), 400, 0.85), "1ms": ((4096, 1536), 40, 0.99)}
"""Hidden layers, windows in a round, and the ratio that is aimed at."""
CHUNK = 50


def time_bare(session: onnxruntime.InferenceSession, windows: "list[np.ndarray]") -> float:
    """Return the seconds that the bare loop takes over all windows."""
    began = time.perf_counter()
    for window in windows:
        session.run(None, {"x": window})
    return time.perf_counter() - began


def time_ours(slot: Slot, ring: Ring, samples: np.ndarray, windows: int) -> float:
    """Return the seconds that the pipeline takes over the same windows."""
    made = 0
    began = time.perf_counter()
    for at in range(0, len(samples), CHUNK):
        ring.append(Chunk(samples[at : at + CHUNK], time.monotonic_ns(), restart=at == 0))
        while slot.take(ring):
            made += slot.predict() is not None
    seconds = time.perf_counter() - began
    if made != windows:
        raise SystemExit(f"the pipeline made {made} predictions of {windows} windows")
    return seconds


def measure(name: str, hidden: tuple[int, ...], count: int, rounds: int) -> dict[str, float]:
    """Return the median ratio over rounds, and what one window takes in either."""
    data = make_mlp(hidden)
    samples = make_samples(count * HOP // WINDOW + 1)[: (count - 1) * HOP + WINDOW]
    starts = range(0, len(samples) - WINDOW + 1, HOP)
    windows = [np.ascontiguousarray(samples[s : s + WINDOW]).reshape(1, -1) for s in starts]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    with tempfile.TemporaryDirectory() as folder:
        bundle = make_bundle(Path(folder), f"mlp-{name}", data)
        slot = Slot("mlp", "bench", "bench", WallClock())
        slot.offer(Loaded(bundle, Inference.open(bundle)))
        ring = Ring(WINDOW + CHUNK, CHANNELS, 50.0)
        slot.take(ring)
        time_bare(session, windows)
        time_ours(slot, ring, samples, count)
        bare, ours = [], []
        for _ in range(rounds):
            bare.append(time_bare(session, windows))
            ours.append(time_ours(slot, ring, samples, count))
    return {
        "ratio": statistics.median(b / o for b, o in zip(bare, ours, strict=True)),
        "bare_us": statistics.median(bare) / count * 1e6,
        "ours_us": statistics.median(ours) / count * 1e6,
    }


def main() -> None:
    """Measure both models and print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    checks = []
    for name, (hidden, count, goal) in MODELS.items():
        found = measure(name, hidden, count, rounds)
        sys.stderr.write(
            f"{name}: bare {found['bare_us']:.1f} us, ours {found['ours_us']:.1f} us a window, "
            f"ratio {found['ratio']:.3f} (goal {goal})\n"
        )
        # No bound yet: the issue on real sensor streams sets the goals as bounds.
        checks.append(
            {
                "name": f"ratio_{name}",
                "value": round(found["ratio"], 4),
                "bound": None,
                "ok": True,
                "goal": goal,
                "bare_us": round(found["bare_us"], 1),
                "ours_us": round(found["ours_us"], 1),
            }
        )
    ratio = {name: check["value"] for name, check in zip(MODELS, checks, strict=True)}
    print(json.dumps({"ratio": ratio, "checks": checks}))


if __name__ == "__main__":
    main()
