"""The latency's benchmark takes times from the agent, and believes only those that can be."""

import json
import time
from datetime import datetime, timezone

import numpy as np
import pytest

from benchmarks.latency import FACTOR, HOP, RATE_HZ, measure
from benchmarks.rig import Heard

COUNT = 400
INFER_MS = 0.2


def hear(told_late_ms: float = 0.0) -> list[Heard]:
    """Return predictions that are heard 0.9 ms after their windows end, and decided after 0.5 ms.

    Args:
        told_late_ms: how much later than they were the ends are said to be.
    """
    period_ns = HOP / RATE_HZ / FACTOR * 1e9
    offset_ns = time.time_ns() - time.monotonic_ns()
    found = []
    for seq in range(COUNT):
        end_ns = 10_000_000_000 + round(seq * period_ns)
        told_ms = (end_ns + offset_ns) // 1_000_000 + told_late_ms
        stamp = datetime.fromtimestamp(told_ms / 1e3, timezone.utc).isoformat()
        lat_ms = {"infer": INFER_MS, "e2e": 0.5 - told_late_ms}
        payload = json.dumps({"seq": seq, "t": stamp, "lat_ms": lat_ms}).encode()
        found.append(Heard("pred", payload, end_ns + 900_000))
    return found


def test_latency_is_what_is_left_of_the_time_to_the_subscriber_without_the_inference() -> None:
    heard_ms, decided_ms = measure(hear())
    np.testing.assert_allclose(heard_ms, 0.9 - INFER_MS, atol=0.1)
    np.testing.assert_allclose(decided_ms, 0.5 - INFER_MS)


def test_window_that_is_said_to_end_after_it_was_decided_is_no_latency() -> None:
    sample_ms = 1e3 / RATE_HZ
    with pytest.raises(SystemExit, match=r"9\.70 ms before its end"):
        measure(hear(told_late_ms=sample_ms))
