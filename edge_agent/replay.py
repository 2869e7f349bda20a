"""Runs a bundle over recordings without a broker, through the same ring and slot as the agent."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf
from pathlib import Path
from time import monotonic_ns, perf_counter
from typing import Final, NoReturn

import numpy as np

from edge_agent.clock import WallClock
from edge_agent.ring import Chunk, Ring
from edge_agent.slot import Ahead, Loaded, Made, Slot, explain
from edge_agent.telling import Note
from edge_bundle.archive import read_bundle
from edge_bundle.errors import ConfigError, ModelRefused
from edge_bundle.inference import Inference
from edge_bundle.recording import Recording, read_recordings
from edge_bundle.tensor import Float32Array

CHUNK: Final = 1024
"""Samples pushed at once, or a hop where that is more."""

TOGETHER: Final = 64
"""Windows that are taken, run and judged together, at most. While a model runs, the processor
forgets whatever else it knew: so it is brought back once for all of them."""
TOGETHER_BYTES: Final = 1 << 20
"""Of memory for them."""
PATIENCE_NS: Final = 100_000_000
"""No prediction waits longer for the windows after it."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What a replay came to."""

    windows: int
    labelled_windows: int
    accuracy: float | None
    """Of the labelled windows; None where there are none."""
    seconds: float
    windows_per_second: float
    gaps: int
    """Places that no window spans, the ends of recordings aside."""
    lost_samples: int
    duplicates: int
    """Samples with the time stamp of the one before."""


class Replay:
    """One bundle and the recordings that it is run over."""

    def __init__(self, bundle: Path, recording: str, threads: int = 1) -> None:
        """Open both.

        Raises: ConfigError: a file that is not there. ArtifactRefused: one that cannot be used.
        """
        try:
            opened = read_bundle(bundle)
            self._recordings = read_recordings(recording, opened.manifest.expect_stream())
        except OSError as error:
            told = f"{error.filename}: {error.strerror}" if error.filename else str(error)
            raise ConfigError(told) from None
        self._loaded = Loaded(opened, Inference.open(opened, threads))
        self._windows = self._labelled = self._right = 0
        self._seconds = 0.0
        self._memory: list[Float32Array] = []
        """For the windows that are run together; none where they are not."""
        self.last_notes: tuple[Note, ...] = ()
        """The ends of the events that went on at the end of the last recording."""

    def run(self) -> Iterator[Made]:
        """Yield the predictions, as fast as the reader takes them.

        Raises: ModelRefused: the model fails on a window.
        """
        stream = self._loaded.stream
        slot = Slot(self._loaded.bundle.manifest.name, "replay", "replay", WallClock(), _refuse)
        slot.offer(self._loaded)
        chunk = max(CHUNK, stream.hop)
        ring = Ring(stream.window + chunk, len(stream.channels), stream.rate_hz, inf)
        slot.take(ring)
        shape = stream.window, len(stream.channels)
        most = min(TOGETHER, TOGETHER_BYTES // (4 * shape[0] * shape[1]))
        if slot.patient and most > 1:
            self._memory = list(np.empty((most, *shape), np.float32))
        began = perf_counter()
        for recording in self._recordings:
            yield from self._replay(recording, ring, slot, chunk)
        self._seconds = perf_counter() - began
        self.last_notes = slot.end()

    @property
    def inference(self) -> Inference:
        """What runs."""
        return self._loaded.inference

    def summary(self) -> Summary:
        """Return what came of it, after ``run`` has ended."""
        timings = [r.timing for r in self._recordings]
        return Summary(
            self._windows,
            self._labelled,
            self._right / self._labelled if self._labelled else None,
            round(self._seconds, 6),
            round(self._windows / self._seconds, 1) if self._seconds else 0.0,
            sum(len(t.breaks) for t in timings),
            sum(t.lost for t in timings),
            sum(t.duplicates for t in timings),
        )

    def _replay(self, recording: Recording, ring: Ring, slot: Slot, chunk: int) -> Iterator[Made]:
        samples, first = recording.samples, ring.head
        ahead: list[Ahead] = []
        for at, end, lost, restart in _pieces(recording, chunk):
            begins = restart or (at == 0 and first > 0)
            ring.append(Chunk(samples[at:end], monotonic_ns(), lost, begins))
            for made in self._predict(slot, ring, ahead):
                yield self._count(recording, made, first)
        for made in self._finish(slot, ahead):
            yield self._count(recording, made, first)

    def _predict(self, slot: Slot, ring: Ring, ahead: list[Ahead]) -> Iterator[Made]:
        """Yield the predictions of windows that are in the ring, but of the last few ``ahead``."""
        if not self._memory:
            while slot.take(ring):
                made = slot.predict()
                if made is not None:
                    yield made
            return
        while (window := slot.take_ahead(ring, self._memory[len(ahead)])) is not None:
            ahead.append(window)
            if len(ahead) == len(self._memory):
                yield from self._finish(slot, ahead)

    def _finish(self, slot: Slot, ahead: list[Ahead]) -> Iterator[Made]:
        """Yield the predictions of windows that were taken."""
        waiting = iter(ahead)
        while True:
            run, failure = self._run(slot, waiting)
            for window in run:
                try:
                    made = slot.finish(window)
                except Exception as error:  # whatever a decision does
                    _refuse(slot, self._loaded, explain(error))
                yield made
            if failure is not None:
                _refuse(slot, self._loaded, explain(failure))
            if not run:
                break
        ahead.clear()

    def _run(self, slot: Slot, waiting: Iterator[Ahead]) -> tuple[list[Ahead], Exception | None]:
        """Run windows until the first has waited long enough; return which, and what failed."""
        run: list[Ahead] = []
        until_ns = monotonic_ns() + PATIENCE_NS
        try:
            for window in waiting:
                slot.run(window)
                run.append(window)
                if monotonic_ns() > until_ns:
                    break
        except Exception as error:  # whatever a model does
            return run, error
        return run, None

    def _count(self, recording: Recording, made: Made, first: int) -> Made:
        self._windows += 1
        if recording.labels:
            self._judge(recording, made, made.start - first)
        return made

    def _judge(self, recording: Recording, made: Made, start: int) -> None:
        label = recording.label(start, start + self._loaded.stream.window)
        if label is not None:
            self._labelled += 1
            self._right += label == made.decision.label


def _pieces(recording: Recording, chunk: int) -> Iterator[tuple[int, int, int, bool]]:
    """Yield start and end of pieces, samples lost before them, and whether a break is there."""
    lost = {b.position: b.lost for b in recording.timing.breaks}
    for start, stop in recording.runs():
        for at in range(start, stop, chunk):
            begins = at == start and at in lost
            yield at, min(at + chunk, stop), lost[at] if begins else 0, begins


def _refuse(_slot: Slot, loaded: Loaded, why: str) -> NoReturn:
    raise ModelRefused(f"{loaded.bundle.path}: {why}")
