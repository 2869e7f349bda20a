"""One model's place on one stream: window by window, a prediction that says where it came from.

A change of model takes effect here, between two windows. Not thread-safe but for ``offer``:
``take`` is called under the feed's lock, everything else by the one worker.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from time import monotonic_ns
from typing import Final, Literal

import numpy as np
from msgspec import Struct

from edge_agent.branch import Branch, follow, key_of, release
from edge_agent.clock import WallClock
from edge_agent.ring import Ring
from edge_agent.schedule import Job, count_late
from edge_agent.sharing import Share, Sharing
from edge_agent.tally import Tally
from edge_agent.telling import Note, Teller
from edge_bundle.archive import Bundle
from edge_bundle.decision.outcome import Decision
from edge_bundle.drift import Drift
from edge_bundle.errors import ArtifactRefused
from edge_bundle.inference import Inference
from edge_bundle.manifest import Stream
from edge_bundle.tensor import Float32Array
from edge_bundle.window import Cursor
from edge_wire.messages import Latency, ModelId, Prediction, encode

NS_PER_MS: Final = 1e6
COST_SHARE: Final = 8
"""A window's time counts for one part in so many of the moving estimate."""

NOTHING_UNTOLD: Final = (0, False, 0)

Late = Literal["drop", "keep"]
Keep = Callable[[str, Stream, Float32Array, Decision, bool], None]


@dataclass(slots=True)
class Loaded:
    """A bundle whose model is in memory."""

    bundle: Bundle
    inference: Inference
    drift: Drift | None = None
    """None: nobody watches."""

    @property
    def stream(self) -> Stream:
        """What the model is to see; a bundle without it comes through no door of the agent."""
        return self.bundle.manifest.expect_stream()

    def identify(self) -> ModelId:
        manifest = self.bundle.manifest
        return ModelId(manifest.name, manifest.version, self.bundle.sha256[:8])


class Made(Struct, frozen=True):
    """A prediction, ready to send."""

    stream: str
    model: str
    seq: int
    """Of what is published; where this is not, of what will be next."""
    payload: bytes
    """Empty where the prediction is not published: see the bundle's ``decision.predictions``."""
    start: int
    """Position of the window's first sample."""
    decision: Decision
    notes: tuple[Note, ...] = ()
    """Events and states that came of it."""


class Slot:
    """Makes the predictions of one model on one stream."""

    def __init__(
        self,
        model: str,
        stream: str,
        boot: str,
        clock: WallClock,
        unhealthy: Callable[["Slot", Loaded, str], None] = lambda _slot, _loaded, _why: None,
        healthy: Callable[["Slot", Loaded], None] = lambda _slot, _loaded: None,
        numbers: Iterator[int] | None = None,
    ) -> None:
        """Make a place, in which nothing runs yet.

        Args:
            model: its name.
            stream: name of the stream.
            boot: which boot this is.
            clock: what tells the time on the wire.
            unhealthy: told of a model that failed, and why.
            healthy: told of each window of a trial that went well.
            numbers: where the numbers of events come from, which no two of a boot share.
        """
        self.model = model
        self.stream = stream
        self.late: Late | None = None
        """What becomes of windows past due; None: as the stream and the model suggest."""
        self.live = False
        """Whether samples come whether or not the model keeps up."""
        self.cost_ns = 0
        """Moving estimate of what a window takes."""
        self.tally = Tally()
        self.keep: Keep | None = None
        """Told of every window that was decided: model, stream, the window itself until the next
        one, the decision, and whether the model has drifted."""
        self.sharing = Sharing()
        """Of the stream, with the other models on it."""
        self._share: Share | None = None
        self._skipped = 0
        self._finished_ns = 0
        self.seq = 0
        """Of the next prediction."""
        self._boot = boot
        self._clock = clock
        self._unhealthy = unhealthy
        self._healthy = healthy
        self._offered: tuple[Loaded, bool, Loaded | None] | None = None
        self._running: Loaded | None = None
        self._fallback: Loaded | None = None
        self._trial = False
        self._identity = ModelId("", "", "")
        self._cursor: Cursor | None = None
        self._source: Ring | None = None
        """The stream's own ring, of which this may follow a branch at another rate."""
        self._branch: Branch | None = None
        self._window = np.empty((0, 0), np.float32)
        self._window_ms = 0.0
        self._taken = False
        self._start = 0
        self._end_ns = 0
        self._covered = 0
        self._covered_before = 0
        self._breaks_seen = 0
        self._lost_seen = 0
        self._lost = 0
        self._gap = False
        self._untold = NOTHING_UNTOLD
        """Of the windows since the last prediction that was published: samples lost, whether there
        was a gap, and windows skipped."""
        self._teller = Teller(model, stream, boot, clock, numbers or count())
        self._stale = False
        """Whether what runs may remember another part of the stream."""

    @property
    def running(self) -> Loaded | None:
        """What makes the predictions now."""
        return self._running

    def needs(self, ring: Ring) -> int:
        """Return the position of the oldest sample that is still needed, or the ring's head."""
        ring, cursor = self._at(ring), self._cursor
        if cursor is None:
            return ring.head
        # With a hop larger than the window, a break brings the next window forward.
        start = cursor.start if ring.breaks == self._breaks_seen else self._covered
        return min(start, cursor.start, ring.head)

    def room(self, ring: Ring) -> int:
        """Return how many samples the stream may still take before one is lost that is needed."""
        at = self._at(ring)
        free = at.capacity - (at.head - self.needs(ring))
        return free if self._branch is None else self._branch.room(free)

    def idle(self, ring: Ring) -> bool:
        """Tell whether there is no whole window to do."""
        if self._offered is not None:
            return False
        ring = self._at(ring)
        cursor = self._cursor
        if cursor is None:
            return True
        next_start = cursor.start + (cursor.hop if self._taken else 0)
        return ring.breaks == self._breaks_seen and next_start + cursor.window > ring.head

    def job(self, ring: Ring) -> Job:
        """Return the next window as the schedule sees it."""
        idle, ring = self.idle(ring), self._at(ring)
        cursor, hop_ns = self._cursor, 0
        if cursor is not None:
            hop_ns = int(cursor.hop * ring.period_ns)
        deadline_ns = None
        if not idle:
            # Where a break or another model moves the window it is due no later than this.
            last = ring.head - 1
            if cursor is not None:
                start = cursor.start + (cursor.hop if self._taken else 0)
                last = min(last, max(start, ring.tail) + cursor.window - 1)
            end_ns = ring.time_ns(last) if last >= 0 else 0
            deadline_ns = end_ns + hop_ns + ring.span_ns
        # What nobody has measured yet may take long.
        cost_ns = self.cost_ns or hop_ns
        return Job(deadline_ns, hop_ns, cost_ns, self._finished_ns, self.live)

    def offer(self, loaded: Loaded, trial: bool = False, fallback: Loaded | None = None) -> None:
        """Let another model go on from the next window. Called by any thread.

        Args:
            loaded: what is to run.
            trial: keep the present one to fall back to, until ``settle``, and say of each window
                whether it went well.
            fallback: what to fall back to, where it is not the present one.
        """
        pending = self._offered
        if pending is not None and fallback is None:
            # What was offered before never ran, but is what would run now.
            fallback = pending[2] if pending[1] else pending[0]
        self._offered = (loaded, trial, fallback)

    def settle(self) -> None:
        """End the trial well: the model kept to fall back to is given up. Called by any thread."""
        self._trial = False
        self._fallback = None

    def take(self, ring: Ring) -> bool:
        """Copy the next window out of the ring; tell whether there was one."""
        if self._taken and self._cursor is not None:
            # Only now: until its prediction is made a window may be needed by another model.
            self._cursor.advance()
            self._taken = False
        self._source = ring
        if self._offered is not None:
            self._change(ring)
        ring, cursor = self._at(ring), self._cursor
        if cursor is None:
            return False
        if ring.breaks != self._breaks_seen or cursor.start < ring.tail:
            self._catch_up(ring, cursor)
        if not cursor.ready(ring.head):
            return False
        if self._drops_late:
            self._skip_late(ring, cursor)
        ring.copy(cursor.start, self._window)
        self._taken = True
        self._start = cursor.start
        self._covered_before, self._covered = self._covered, cursor.start + cursor.window
        self._end_ns = ring.time_ns(self._covered - 1)
        return True

    @property
    def _drops_late(self) -> bool:
        if self.late is not None:
            return self.late == "drop"
        # What a stateful model remembers is worth more than being in time.
        running = self._running
        return self.live and running is not None and not running.bundle.manifest.stateful

    def _skip_late(self, ring: Ring, cursor: Cursor) -> None:
        """Go on to the first window that is not past due, or the last whole one before a break."""
        end_ns, hop_ns = ring.time_ns(cursor.start + cursor.window - 1), cursor.hop * ring.period_ns
        behind_ns = monotonic_ns() - (end_ns + int(hop_ns) + ring.span_ns)
        late = count_late(behind_ns, max(1, int(hop_ns)))
        if not late:
            return
        breaks = ring.breaks_since(self._breaks_seen)
        whole = (breaks[0][1] if breaks else ring.head) - cursor.start - cursor.window
        count = min(late, whole // cursor.hop)
        cursor.start += count * cursor.hop
        self._skipped += count
        self.tally.late += count

    def _catch_up(self, ring: Ring, cursor: Cursor) -> None:
        """Go on behind what was overwritten, and behind the breaks in the next window."""
        while True:
            self._pass_breaks(ring, cursor)
            if cursor.start >= ring.tail:
                return
            self._lost += max(0, ring.tail - max(cursor.start, self._covered))
            self._gap = True
            self._covered = max(self._covered, ring.tail)
            cursor.start = ring.tail

    def _pass_breaks(self, ring: Ring, cursor: Cursor) -> None:
        for number, position, lost in ring.breaks_since(self._breaks_seen):
            # Where a number is missing, nobody knows any more where that break was.
            known = number == self._breaks_seen + 1
            if known and position >= cursor.start + cursor.window:
                break
            self._lost += lost - self._lost_seen
            self._breaks_seen, self._lost_seen = number, lost
            self._gap = True
            cursor.start = max(position, self._covered)

    def predict(self) -> Made | None:
        """Run the window that ``take`` copied.

        Returns: None where the model failed and there was none to fall back to.
        """
        began_ns = monotonic_ns()
        decision = self._decide()
        self._finished_ns = monotonic_ns()
        took_ns = self._finished_ns - began_ns
        self.cost_ns += (took_ns - self.cost_ns) // COST_SHARE if self.cost_ns else took_ns
        if decision is None or self._running is None:
            self.tally.failed += 1
            return None
        inference = self._running.inference
        e2e_ns = monotonic_ns() - self._end_ns
        self.tally.windows += 1
        self.tally.infer.add(inference.infer_ns)
        self.tally.e2e.add(e2e_ns)
        lost, gap, skipped = self._untold
        lost, gap, skipped = lost + self._lost, gap or self._gap, skipped + self._skipped
        seq = self.seq
        notes: tuple[Note, ...] = ()
        if not self._teller.quiet:
            notes = self._teller.push(decision, self._end_ns, self._gap)
        self._lost, self._gap, self._skipped = 0, False, 0
        if not (self._teller.quiet or self._teller.publishes(decision, self._end_ns)):
            self._untold = lost, gap, skipped
            return Made(self.stream, self.model, seq, b"", self._start, decision, notes)
        self._untold = NOTHING_UNTOLD
        self.seq += 1
        payload = encode(
            Prediction(
                v=1,
                boot=self._boot,
                seq=seq,
                t=self._clock.utc(self._end_ns),
                window_ms=self._window_ms,
                clock=self._clock.state(),
                stream=self.stream,
                model=self._identity,
                label=decision.label,
                score=decision.score,
                top=decision.top,
                lat_ms=Latency(
                    queue=_ms(began_ns - self._end_ns),
                    pre=_ms(inference.pre_ns),
                    infer=_ms(inference.infer_ns),
                    e2e=_ms(e2e_ns),
                ),
                lost_samples=lost,
                quality="gap" if gap else "ok",
                skipped_windows=skipped,
                values=decision.values,
                boxes=decision.boxes,
            )
        )
        return Made(self.stream, self.model, seq, payload, self._start, decision, notes)

    def end(self) -> tuple[Note, ...]:
        """Return the ends of the events that go on, as no window will follow."""
        return self._teller.end()

    def _decide(self) -> Decision | None:
        while self._running is not None:
            try:
                manifest, stream = self._running.bundle.manifest, self._running.stream
                new = stream.hop * (1 + self._skipped)
                broken = self._gap or self._stale or (manifest.stateful and self._skipped > 0)
                if broken:
                    self._running.inference.reset()
                if self._share is not None:
                    self._share.start = self._start
                fresh = None if broken or new > stream.window else new
                decision = self._running.inference.decide(self._window, fresh)
            except Exception as error:  # whatever a model does, the other models go on
                refused = isinstance(error, ArtifactRefused)
                why = str(error) if refused else f"{type(error).__name__}: {error}"
                if not self._fall_back(why):
                    return None
            else:
                self._stale = False
                if self._running.drift is not None:
                    self._running.drift.push(self._window, decision.score)
                if self.keep is not None:
                    drift = self._running.drift
                    drifted = drift is not None and drift.drifted
                    self.keep(self.model, stream, self._window, decision, drifted)
                if self._trial:
                    self._healthy(self, self._running)
                return decision
        return None

    def _fall_back(self, why: str) -> bool:
        """Leave a model that failed; tell whether the same window can be run by the one before."""
        failed, fallback, trial = self._running, self._fallback, self._trial
        if failed is None:
            return False
        self._trial, self._fallback = False, None
        same = fallback is not None and _shape(fallback) == self._window.shape
        if fallback is not None:
            if self._install(fallback):
                same = False
            elif not same:
                self._taken, self._covered = False, self._covered_before
        else:
            self._gap = True  # no prediction is made of this window
            if trial:
                self._running = self._cursor = None
                self._taken = False
        self._unhealthy(self, failed, why)
        return same

    def _change(self, ring: Ring) -> None:
        offered, self._offered = self._offered, None
        if offered is None:
            return
        loaded, trial, fallback = offered
        if self._cursor is None:
            self._cursor = Cursor(1, 1)
            self._stand(self._cursor, ring)
            self._gap = self.seq > 0  # nothing ran since the prediction before
        wanted, kept = loaded.stream.window, self._kept(ring, loaded)
        if wanted > kept:
            why = f"a window of {wanted} samples; {kept} are kept of this stream"
            if self._running is None and fallback is not None:
                self._install(fallback)
            elif self._running is None:
                self._cursor = None
            self._unhealthy(self, loaded, why)
            return
        if not trial:
            self._fallback = None
        elif fallback is not None:
            self._fallback = fallback
        elif not self._trial:
            self._fallback = self._running
        self._trial = trial
        self._install(loaded)
        if self._fallback is not None:
            follow(ring, self._fallback.stream)  # now: later is not under the feed's lock
        used = [m.stream for m in (loaded, self._fallback) if m is not None]
        release(ring, id(self), used)

    def _install(self, loaded: Loaded) -> bool:
        """Let a model run from the next window; tell whether that is at another place."""
        stream = loaded.stream
        moved = False
        if self._cursor is not None and self._source is not None:
            self._cursor.change(stream.window, stream.hop)
            branch = follow(self._source, stream)
            moved = branch is not self._branch
            if moved:
                self._branch = branch
                self._stand(self._cursor, self._at(self._source))
                self._taken = False
                self._gap = self._gap or self.seq > 0
        if self._window.shape != _shape(loaded):
            self._window = np.empty(_shape(loaded), np.float32)
        self._window_ms = round(stream.window / stream.rate_hz * 1000, 3)
        self._identity = loaded.identify()
        if self._share is not None:
            self.sharing.leave(self._share)
        rate = None if self._source is None else key_of(self._source, stream)
        self._share = self.sharing.join(loaded.inference, rate)
        self._running = loaded
        self._stale = True
        self.cost_ns = 0
        if loaded.inference.decider is not None:
            self._teller.begin(loaded.inference.decider, self._identity)
        return moved

    def _at(self, ring: Ring) -> Ring:
        """Return the ring that the cursor is on."""
        return ring if self._branch is None else self._branch.ring

    def _stand(self, cursor: Cursor, ring: Ring) -> None:
        """Begin with the ring's next sample."""
        # The head last: a break that comes meanwhile is then one not seen yet.
        self._breaks_seen, self._lost_seen = ring.breaks, ring.lost
        cursor.start = self._covered = self._covered_before = ring.head

    @staticmethod
    def _kept(ring: Ring, loaded: Loaded) -> int:
        """Return the largest window that there is room for at a model's rate."""
        branch = follow(ring, loaded.stream)
        return ring.capacity if branch is None else branch.most


def _shape(loaded: Loaded) -> tuple[int, int]:
    return loaded.stream.window, len(loaded.stream.channels)


def _ms(ns: int) -> float:
    return round(ns / NS_PER_MS, 3)
