"""From the decisions of one model on one stream to what is told of them.

A prediction of every window, or of those that are to be published; events with one id from their
beginning to their end; the confirmed state. Used by the worker alone; time comes in with the
windows.
"""

from collections.abc import Iterator
from itertools import count
from typing import Final, Literal

from msgspec import UNSET, Struct

from edge_agent.clock import WallClock
from edge_agent.reader import Taken
from edge_bundle.decision.decider import Decider
from edge_bundle.decision.events import NO_SCORE, Action, Cause, Tracker
from edge_bundle.decision.outcome import Decision
from edge_bundle.decision.pace import Pace
from edge_bundle.decision.rules import event_labels, falling_labels
from edge_bundle.manifest import Stream
from edge_wire.messages import Event, Latency, ModelId, Prediction, State, encode

NS_PER_MS: Final = 1e6
NOTHING_UNTOLD: Final = (0, False, 0)


class Note(Struct, frozen=True, gc=False):
    """A message beside the predictions, ready to send."""

    kind: Literal["event", "state"]
    n: int
    """Of an event: which message of its model's it is."""
    payload: bytes


class Teller:
    """Tells of one model after another, on one stream."""

    def __init__(
        self, model: str, stream: str, boot: str, clock: WallClock, numbers: Iterator[int]
    ) -> None:
        """Take the place's names, and where the numbers of its device's events come from."""
        self._model = model
        self._stream = stream
        self._boot = boot
        self._clock = clock
        self._numbers = numbers
        self._counted = count()
        self._pace: Pace | None = None
        self._tracker: Tracker | None = None
        self._decider: Decider | None = None
        self._identity = ModelId("", "", "")
        self._window_ms = 0.0
        self._state: str | None = None
        self._last_ns = self._last_end_ns = 0
        """End of the window told last, in the stream's own time, and in monotonic time."""
        self._ends: dict[int, int] = {}
        """The same of the windows that an event may have begun with, by the former, where both
        differ."""
        self._starts: dict[int, str] = {}
        """When the events that go on began, by their numbers."""
        self._pending: list[Note] = []
        self.seq = 0
        """Of the next prediction."""
        self._untold = NOTHING_UNTOLD
        """Of the windows since the last prediction that was published: samples lost, whether there
        was a gap, and windows skipped."""
        self._quiet = True
        """Whether every prediction is published, and nothing beside; nor is anything pending."""

    def begin(self, decider: Decider, identity: ModelId, stream: Stream) -> None:
        """Go on with another model: what the one before had going ends."""
        self._pending += self._break_off("model")
        rule = decider.rule
        self._decider, self._identity, self._state = decider, identity, None
        pace = Pace(rule)
        self._pace = None if pace.all else pace
        self._window_ms = round(stream.window / stream.rate_hz * 1000, 3)
        self._quiet = False
        self._tracker = None
        if rule.events:
            self._tracker = Tracker(
                rule.events, event_labels(rule), self._numbers, falling_labels(rule)
            )

    def tell(
        self, decision: Decision, window: Taken, ended_ns: int
    ) -> tuple[int, bytes, tuple[Note, ...]]:
        """Tell of the next window.

        Args:
            decision: of the model that ``begin`` was told of last.
            window: what was decided, and what is missing before it.
            ended_ns: when, in monotonic time.
        Returns: ``seq`` of its prediction, or of the next one where it is not published and the
            second is empty; the prediction, encoded; events and states that came of it.
        """
        end_ns, seq = window.end_ns, self.seq
        lost, gap, skipped = window.lost, window.gap, window.skipped
        notes: tuple[Note, ...] = ()
        if not self._quiet:
            at_ns = window.at_ns
            notes = self._push(decision, at_ns, end_ns, gap)
            before = self._untold
            lost, gap, skipped = before[0] + lost, before[1] or gap, before[2] + skipped
            if self._pace is not None and not self._pace.wants(at_ns, decision.label):
                self._untold = lost, gap, skipped
                return seq, b"", notes
            self._untold = NOTHING_UNTOLD
            self._quiet = self._pace is None and self._tracker is None
        self.seq = seq + 1
        t, clock = self._clock.stamp(end_ns)
        latency = Latency(  # in ms, to the µs
            (window.began_ns - end_ns) // 1000 / 1000,
            window.pre_ns // 1000 / 1000,
            window.infer_ns // 1000 / 1000,
            (ended_ns - end_ns) // 1000 / 1000,
        )
        # In the fields' order: by their names it takes four times as long.
        prediction = Prediction(
            1,
            self._boot,
            seq,
            t,
            self._window_ms,
            clock,
            self._stream,
            self._identity,
            decision.label,
            decision.score,
            decision.top,
            latency,
            lost,
            "gap" if gap else "ok",
            skipped,
            False,
            decision.values,
            decision.boxes,
        )
        return seq, encode(prediction), notes

    def _push(self, decision: Decision, at_ns: int, end_ns: int, broken: bool) -> tuple[Note, ...]:
        """Return the events and states that a window makes.

        Args:
            at_ns: time of the window's end, in the stream's own time.
            end_ns: the same in monotonic time.
            broken: the window does not follow the one before.
        """
        tracker, decider = self._tracker, self._decider
        if tracker is None or decider is None:
            return self._take_pending() if self._pending else ()
        notes = self._break_off("gap") if broken else []
        self._last_ns, self._last_end_ns = at_ns, end_ns
        if at_ns != end_ns:
            self._ends[at_ns] = end_ns
        for action in tracker.push(at_ns, decision.label, decider.level):
            notes.append(self._note(action))
        if self._ends:
            rising = tracker.rising_ns
            self._ends = {at: end for at, end in self._ends.items() if at in rising}
        if tracker.state is not None and tracker.state != self._state:
            self._state = tracker.state
            notes.append(self._note_state(decision))
        return (*self._take_pending(), *notes) if notes or self._pending else ()

    def end(self) -> tuple[Note, ...]:
        """Let no window follow; return the ends of what went on."""
        self._pending += self._break_off("stopped")
        return self._take_pending()

    def _take_pending(self) -> tuple[Note, ...]:
        pending, self._pending = tuple(self._pending), []
        return pending

    def _break_off(self, cause: Cause) -> list[Note]:
        if self._tracker is None:
            return []
        return [self._note(a) for a in self._tracker.break_off(self._last_ns, cause)]

    def _note(self, action: Action) -> Note:
        n = next(self._counted)
        start = self._starts.get(action.number)
        if start is None:
            # The time of a replay at another speed moves against the clock.
            began_ns = self._ends.get(action.start_ns, action.start_ns)
            start = self._starts[action.number] = self._clock.utc(began_ns)
        if action.kind == "end":
            del self._starts[action.number]
        event = Event(
            v=1,
            boot=self._boot,
            id=f"{self._boot}-{action.number}",
            n=n,
            kind=action.kind,
            t=self._clock.utc(self._last_end_ns),
            start=start,
            duration_ms=round((action.at_ns - action.start_ns) / NS_PER_MS, 3),
            clock=self._clock.state(),
            stream=self._stream,
            model=self._identity,
            label=action.label,
            score=action.score,
            peak=action.peak,
            cause=action.cause or UNSET,
        )
        return Note("event", n, encode(event))

    def _note_state(self, decision: Decision) -> Note:
        label, score = self._state or "", decision.score
        if label != decision.label and self._decider is not None:  # an event of it goes on
            level = self._decider.level(label)
            score = level if level > NO_SCORE else 0.0
        state = State(
            v=1,
            boot=self._boot,
            t=self._clock.utc(self._last_end_ns),
            clock=self._clock.state(),
            stream=self._stream,
            model=self._identity,
            label=label,
            score=score,
        )
        return Note("state", 0, encode(state))
