"""The thread that tells how the device is: counts of streams and models, what the process takes."""

import threading
from collections.abc import Callable, Iterable
from time import monotonic
from typing import Final

from edge_agent.clock import WallClock
from edge_agent.feed import Feed
from edge_agent.process import read_process
from edge_agent.slot import Slot
from edge_agent.tally import Histogram
from edge_bundle.drift import Drift
from edge_wire.errors import LinkError
from edge_wire.link import Link, Message
from edge_wire.messages import (
    CaptureFigures,
    DriftReport,
    ModelTelemetry,
    Spread,
    Telemetry,
    encode,
)
from edge_wire.topics import Topics

NS_PER_MS: Final = 1e6
P99: Final = 0.99


class TelemetryThread:
    """Publishes telemetry at intervals; what is not heard is not said again."""

    def __init__(
        self,
        link: Link,
        topics: Topics,
        device: str,
        boot: str,
        clock: WallClock,
        feeds: Iterable[Feed],
        every_s: float,
        captured: Callable[[], CaptureFigures | None] = lambda: None,
    ) -> None:
        self._link = link
        self._topic = topics.device(device, "telemetry")
        self._boot = boot
        self._clock = clock
        self._feeds = list(feeds)
        self._every_s = every_s
        self._captured = captured
        self._n = 0
        self._began_s = self._last_s = monotonic()
        self._before: dict[str, tuple[Histogram, Histogram]] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="telemetry", daemon=True)

    def start(self) -> None:
        """Begin to tell; the first time after one interval."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopping.set()
        if self._thread.is_alive():  # it may never have been started
            self._thread.join()

    def describe(self) -> Telemetry:
        """Return the present figures; spreads are of the time since the call before."""
        now_s = monotonic()
        self._n += 1
        told = Telemetry(
            v=1,
            boot=self._boot,
            n=self._n,
            t=self._clock.now(),
            uptime_s=round(now_s - self._began_s, 3),
            period_s=round(now_s - self._last_s, 3),
            models={slot.model: self._describe(slot) for f in self._feeds for slot in f.slots},
            process=read_process(),
            capture=self._captured(),
            streams={feed.name: feed.figures() for feed in self._feeds},
        )
        self._last_s = now_s
        return told

    def _describe(self, slot: Slot) -> ModelTelemetry:
        tally, running = slot.tally, slot.running
        before = self._before.get(slot.model, (Histogram(), Histogram()))
        infer, e2e = self._before[slot.model] = tally.read()
        return ModelTelemetry(
            stream=slot.stream,
            model=running.identify() if running else None,
            windows=tally.windows,
            late=tally.late,
            failed=tally.failed,
            infer_ms=_spread(infer.since(before[0])),
            e2e_ms=_spread(e2e.since(before[1])),
            drift=_describe_drift(running.drift) if running and running.drift else None,
        )

    def _run(self) -> None:
        while not self._stopping.wait(self._every_s):
            payload = encode(self.describe())
            try:
                self._link.publish(Message(self._topic, payload, qos=0, retain=False))
            except LinkError:
                continue  # the next one says more


def _describe_drift(drift: Drift) -> DriftReport:
    values = drift.index.values if drift.index is not None else []
    worst = max(range(len(values)), key=values.__getitem__, default=None)
    return DriftReport(
        psi=None if worst is None else round(values[worst], 4),
        channel="" if worst is None else drift.channels[worst],
        score_statistic=round(drift.scores.statistic, 4),
        score_changes=drift.scores.changes,
        drifted=drift.drifted,
    )


def _spread(counted: Histogram) -> Spread | None:
    if not any(counted.counts):
        return None
    mean, p99 = counted.mean_ns(), counted.quantile_ns(P99)
    return Spread(round(mean / NS_PER_MS, 3), round(p99 / NS_PER_MS, 3))
