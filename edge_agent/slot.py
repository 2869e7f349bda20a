"""One model's place on one stream: what runs there, and what it falls back to.

A change of model takes effect here, between two windows. Not thread-safe but for ``offer``:
``take`` is called under the feed's lock, everything else by the one worker.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import count
from time import monotonic_ns
from typing import Final, Literal

from msgspec import Struct

from edge_agent.branch import follow, key_of, release
from edge_agent.clock import WallClock
from edge_agent.reader import Reader, Taken
from edge_agent.ring import Ring
from edge_agent.schedule import Job
from edge_agent.sharing import Share, Sharing
from edge_agent.succession import Loaded, Offer, Succession
from edge_agent.tally import Tally
from edge_agent.telling import Note, Teller
from edge_bundle.decision.certainty import rate_certainty
from edge_bundle.decision.outcome import Decision
from edge_bundle.errors import ArtifactRefused
from edge_bundle.inference import Times
from edge_bundle.manifest import Stream
from edge_bundle.tensor import Float32Array

COST_SHARE: Final = 8
"""A window's time counts for one part in so many of the moving estimate."""

STARVING: Final = 10
"""So many windows' samples without a whole window are worth a word."""
Late = Literal["drop", "keep"]
Keep = Callable[[str, Stream, Float32Array, Decision, float | None, bool], None]


class Made(Struct, frozen=True, gc=False):
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
        """Told of every window that was decided: model, its stream, the window itself until the
        next one, the decision, how sure that is, and whether the model has drifted."""
        self.reader = Reader()
        """Takes the windows."""
        self.models = Succession()
        """What runs here, and what may."""
        self.sharing = Sharing()
        """Of the stream, with the other models on it."""
        self._share: Share | None = None
        self._teller = Teller(model, stream, boot, clock, numbers or count())
        self._finished_ns = 0
        self._unhealthy = unhealthy
        self._healthy = healthy
        self._stateful = False
        """Whether what runs remembers the windows before."""
        self._stale = False
        """Whether what runs may remember another part of the stream."""

    @property
    def running(self) -> Loaded | None:
        """What makes the predictions now."""
        return self.models.running

    @property
    def seq(self) -> int:
        """Of the next prediction."""
        return self._teller.seq

    def room(self, ring: Ring) -> int:
        """Return how many samples the stream may still take before one is lost that is needed."""
        return self.reader.room(ring)

    def idle(self, ring: Ring) -> bool:
        """Tell whether there is no whole window to do."""
        return self.models.offered is None and self.reader.idle(ring)

    def starved(self, ring: Ring) -> bool:
        """Tell whether there never was a whole window."""
        return self.running is not None and self.reader.end_ns == 0 and self.idle(ring)

    def starving(self, ring: Ring) -> int:
        """Return in how many samples, or more, there was no whole window; 0 where all is well."""
        running = self.models.running
        if running is None:
            return 0
        many = STARVING * max(running.stream.window, running.stream.hop)
        return many if self.reader.waited(ring) >= many else 0

    def wants(self, ring: Ring) -> bool:
        """Tell whether a model runs, and has had a whole window lately, or may still have one."""
        return self.running is not None and not self.starving(ring)

    def job(self, ring: Ring) -> Job:
        """Return the next window as the schedule sees it."""
        reader = self.reader
        hop_ns = reader.hop_ns(ring)
        deadline_ns = None if self.idle(ring) else reader.deadline_ns(ring)
        # What nobody has measured yet may take long.
        cost_ns = self.cost_ns or hop_ns
        return Job(deadline_ns, hop_ns, cost_ns, self._finished_ns)

    def offer(self, loaded: Loaded, trial: bool = False, fallback: Loaded | None = None) -> None:
        """Let another model go on from the next window. Called by any thread.

        Args:
            loaded: what is to run.
            trial: keep the present one to fall back to, until ``settle``, and say of each window
                whether it went well.
            fallback: what to fall back to, where it is not the present one.
        """
        self.models.offer(Offer(loaded, trial, fallback))

    def settle(self) -> None:
        """End the trial well: the model kept to fall back to is given up. Called by any thread."""
        self.models.settle()

    def take(self, ring: Ring) -> bool:
        """Copy the next window out of the ring; tell whether there was one."""
        reader = self.reader
        if self.models.offered is not None:
            reader.move_on()
            self._change(ring)
        late = self.late
        # What a stateful model remembers is worth more than being in time.
        drops = self.live and not self._stateful if late is None else late == "drop"
        # Of a stream that comes as fast as it is taken nothing is ever late.
        now_ns = monotonic_ns() if drops and ring.period_ns else None
        before = reader.skipped
        taken = reader.take(ring, now_ns)
        self.tally.late += reader.skipped - before
        return taken

    def predict(self) -> Made | None:
        """Run and judge the window that ``take`` copied, and tell of it.

        Returns: None where the model failed and there was none to fall back to.
        """
        began_ns, reader = monotonic_ns(), self.reader
        while (running := self.models.running) is not None:
            taken = self.begin()
            try:
                self.run(taken)
                decision = self.judge(taken)
                break
            except Exception as error:  # whatever a model does, the other models go on
                if not self._fall_back(explain(error)):
                    running = None
                    break
        if running is not None and (running.drift or self.keep or self.models.trial):
            self._watch(running, decision)
        ended_ns = self._finished_ns = monotonic_ns()
        took_ns = ended_ns - began_ns
        self.cost_ns += (took_ns - self.cost_ns) // COST_SHARE if self.cost_ns else took_ns
        if running is None:
            self.tally.failed += 1
            return None
        made = self.tell(taken, decision, ended_ns)
        reader.settle()  # not before: where that fails, the next window tells it
        return made

    # --- its steps, which ``Batch`` does for many windows one after another

    @property
    def patient(self) -> bool:
        """Whether a window may be judged after others were run.

        Nobody looks at the window then, nor at what the model was given.
        """
        running = self.models.running
        if running is None or running.drift or self.keep or self.models.trial:
            return False
        decider = running.inference.decider
        return decider is not None and not decider.needs_input

    def begin(self) -> Taken:
        """Begin with the window that ``take`` copied; return what there is to say of it."""
        reader = self.reader
        broken = reader.gap or self._stale or (reader.skipped > 0 and self._stateful)
        self._stale = False
        return reader.describe(broken)

    def run(self, taken: Taken) -> None:
        """Let the model run on a window; in the order in which they were taken.

        Raises: whatever the model does.
        """
        running = self.models.running
        assert running is not None
        inference = running.inference
        self._place(taken)
        taken.scores = inference.scores(taken.window)
        taken.began_ns = inference.began_ns
        taken.pre_ns, taken.infer_ns = inference.pre_ns, inference.infer_ns

    def run_all(
        self, run: Sequence[Taken], into: Sequence[Float32Array], patience_ns: int
    ) -> tuple[int, Exception | None]:
        """Let the model run on windows in the order in which they were taken.

        Args:
            into: memory for the scores of each.
            patience_ns: what the first may wait for the others, once it was run.
        Returns: how many were run, and what the model failed with on the one after them.
        """
        running, failure = self.models.running, None
        assert running is not None
        placed = self._share is not None or any(t.broken for t in run)
        times: list[Times] = []
        try:
            running.inference.scores_of(
                [t.window for t in run],
                into,
                times,
                patience_ns,
                (lambda number: self._place(run[number])) if placed else None,
            )
        except Exception as error:  # whatever a model does
            failure = error
        for taken, scores, (began, pre, infer) in zip(run, into, times, strict=False):
            taken.scores, taken.began_ns, taken.pre_ns, taken.infer_ns = scores, began, pre, infer
        return len(times), failure

    def judge(self, taken: Taken) -> Decision:
        """Return the decision of a window that was run; in their order.

        Raises: whatever the decision does.
        """
        running = self.models.running
        assert running is not None
        inference = running.inference
        if taken.broken:
            inference.reset_decision()
        return inference.judge(taken.scores)

    def tell(self, taken: Taken, decision: Decision, ended_ns: int) -> Made:
        """Tell of a window that was decided, and when it was, in monotonic time."""
        self.tally.add(taken.infer_ns, ended_ns - taken.end_ns)
        seq, payload, notes = self._teller.tell(decision, taken, ended_ns)
        return Made(self.stream, self.model, seq, payload, taken.start, decision, notes)

    def fail(self, why: str) -> None:
        """Give up a window where something other than the model failed.

        That, too, ends the trial of a model: whatever nobody thought of goes back to what ran.
        """
        self.tally.failed += 1
        self._finished_ns = monotonic_ns()
        self.reader.gap = True
        if self.models.trial:
            self._fall_back(why)

    def end(self) -> tuple[Note, ...]:
        """Return the ends of the events that go on, as no window will follow."""
        return self._teller.end()

    def _place(self, taken: Taken) -> None:
        """Tell what remembers the stream where in it a window is."""
        if taken.broken and self.models.running is not None:
            self.models.running.inference.reset_model()
        if self._share is not None:
            self._share.start, self._share.breaks = taken.start, taken.breaks

    def _watch(self, running: Loaded, decision: Decision) -> None:
        """Let those who watch a model look at a window that it decided."""
        drift, window = running.drift, self.reader.window
        certainty = rate_certainty(running.bundle.manifest.decision, decision)
        if drift is not None:
            drift.push(window, decision.score if certainty is None else certainty)
        if self.keep is not None:
            drifted = drift is not None and drift.drifted
            self.keep(self.model, running.stream, window, decision, certainty, drifted)
        if self.models.trial:
            self._healthy(self, running)

    def _fall_back(self, why: str) -> bool:
        """Leave a model that failed; tell whether the same window can be run by the one before."""
        failed = self.models.running
        if failed is None:
            return False
        reader, fallback = self.reader, self.models.fail()
        same = fallback is not None and _shape(fallback) == reader.window.shape
        if fallback is not None:
            if self._install(fallback):
                same = False
            elif not same:
                reader.give_back()
        else:
            reader.gap = True  # no prediction is made of this window
            if self.models.running is None:
                reader.leave()
        self._unhealthy(self, failed, why)
        return same

    def _change(self, ring: Ring) -> None:
        models, reader = self.models, self.reader
        offer = models.draw()
        if offer is None:
            return
        if not reader.stands:
            reader.enter(ring)
            reader.gap = self.seq > 0  # nothing ran since the prediction before
        try:
            why = self._enter(ring, offer)
        except Exception as error:  # such as no memory for its windows
            why = f"{type(error).__name__}: {error}"
            self._resume(models.break_off(offer))
        used = [m.stream for m in (models.running, models.fallback) if m is not None]
        release(ring, id(self), used)
        if why:
            self._unhealthy(self, offer.loaded, why)

    def _enter(self, ring: Ring, offer: Offer) -> str:
        """Let another model run from the next window; return why it does not."""
        loaded, models = offer.loaded, self.models
        wanted, kept = loaded.stream.window, _kept(ring, loaded)
        if wanted > kept:
            if models.running is None:
                self._resume(models.refuse(offer))
            return f"a window of {wanted} samples; {kept} are kept of this stream"
        models.admit(offer)
        self._install(loaded)
        if models.fallback is not None:
            follow(ring, models.fallback.stream)  # now: later is not under the feed's lock
        return ""

    def _resume(self, before: Loaded | None) -> None:
        """Run what is to run in place of a model that does not."""
        if before is None:
            self.reader.leave()
        else:
            self._install(before)

    def _install(self, loaded: Loaded) -> bool:
        """Let a model run from the next window; tell whether that is at another place."""
        stream, reader = loaded.stream, self.reader
        moved = reader.change(stream, loaded.inference.window)
        if moved:
            reader.gap = reader.gap or self.seq > 0
        if self._share is not None:
            self.sharing.leave(self._share)
            self._share = None
        rate = None if reader.source is None else key_of(reader.source, stream)
        self._share = self.sharing.join(loaded.inference, rate)
        self.models.running = loaded
        self._stateful = loaded.bundle.manifest.stateful
        self._stale = True
        self.cost_ns = 0
        if loaded.inference.decider is not None:
            self._teller.begin(loaded.inference.decider, loaded.identify(), stream)
        return moved


def explain(error: Exception) -> str:
    """Return why a model failed: in our own words, or with the name of what was raised."""
    if isinstance(error, ArtifactRefused):
        return str(error)
    return f"{type(error).__name__}: {error}"


def _kept(ring: Ring, loaded: Loaded) -> int:
    """Return the largest window that there is room for at a model's rate."""
    branch = follow(ring, loaded.stream)
    return ring.capacity if branch is None else branch.most


def _shape(loaded: Loaded) -> tuple[int, int]:
    return loaded.stream.window, len(loaded.stream.channels)
