"""What the device says of itself: birth, availability, and where each model stands."""

import threading
from collections.abc import Callable

from edge_agent.clock import WallClock
from edge_wire.errors import LinkError
from edge_wire.link import Ack, Link, Message
from edge_wire.messages import Accepted, Availability, Info, ModelReport, Reason, Reported, encode
from edge_wire.topics import Topics


class Reporter:
    """Publishes retained state, on change and after every connect. Called by any thread."""

    def __init__(self, link: Link, topics: Topics, info: Info, clock: WallClock) -> None:
        self._link = link
        self._topics = topics
        self._info = info
        self._clock = clock
        self._models: dict[str, ModelReport] = {}
        self._accepted: Accepted | None = None
        self._refused: tuple[Reason | None, str] = (None, "")
        self._n = 0
        self._lock = threading.Lock()

    def announce(self) -> None:
        """Say everything, as after a connect."""
        self.change_info(lambda info: info)
        self.say(Availability.ONLINE)
        self._report()

    def say(self, availability: Availability) -> Ack | None:
        """Publish the device's availability; return what confirms it, None where it cannot be."""
        return self._publish("availability", availability.value.encode())

    def change_info(self, change: Callable[[Info], Info]) -> None:
        """Change the birth message, and publish it."""
        with self._lock:
            self._info = change(self._info)
            self._publish("info", encode(self._info))

    def set_model(self, name: str, report: ModelReport) -> None:
        """Change where a model stands."""
        with self._lock:
            if self._models.get(name) == report:
                return
            self._models[name] = report
        self._report()

    def set_accepted(self, accepted: Accepted) -> None:
        """Acknowledge an assignment."""
        with self._lock:
            self._accepted = accepted
            self._refused = (None, "")
        self._report()

    def set_refused(self, reason: Reason, detail: str) -> None:
        """Say why a desired message was refused as a whole."""
        with self._lock:
            self._refused = (reason, detail)
        self._report()

    def _report(self) -> None:
        with self._lock:
            self._n += 1
            reason, detail = self._refused
            report = Reported(
                v=1,
                boot=self._info.boot,
                n=self._n,
                t=self._clock.now(),
                models=dict(self._models),
                accepted=self._accepted,
                reason=reason,
                detail=detail,
            )
            # Under the lock, or two threads could publish their reports in the wrong order.
            self._publish("reported", encode(report))

    def _publish(self, kind: str, payload: bytes) -> Ack | None:
        topic = self._topics.device(self._info.device, kind)
        try:
            return self._link.publish(Message(topic, payload, qos=1, retain=True))
        except LinkError:
            return None  # announce() says it all after the next connect
