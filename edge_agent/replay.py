"""Runs a bundle over recordings without a broker, through the same ring and slot as the agent."""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from math import inf
from pathlib import Path
from time import monotonic_ns, perf_counter
from typing import Final

from edge_agent.batch import WINDOWS, Batch
from edge_agent.clock import WallClock
from edge_agent.ring import Chunk, Ring
from edge_agent.slot import Made, Slot
from edge_agent.succession import Loaded
from edge_agent.telling import Note
from edge_bundle.archive import read_bundle
from edge_bundle.errors import ConfigError, ModelRefused
from edge_bundle.inference import Inference
from edge_bundle.recording import Recording, read_recordings

CHUNK: Final = 1024
"""Samples pushed at once, or a hop where that is more, of what there is."""


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

    def __init__(
        self, bundle: Path, recording: str, threads: int = 1, together: int = WINDOWS
    ) -> None:
        """Open both.

        Args:
            bundle: its path.
            recording: as ``read_recordings`` takes it.
            threads: of the model's runtime.
            together: how many windows may be run together; with 1 they go as a sensor's do.
        Raises: ConfigError: a file that is not there. ArtifactRefused: one that cannot be used.
        """
        try:
            opened = read_bundle(bundle)
            self._recordings = read_recordings(recording, opened.manifest.expect_stream())
        except OSError as error:
            told = f"{error.filename}: {error.strerror}" if error.filename else str(error)
            raise ConfigError(told) from None
        self._loaded = Loaded(opened, Inference.open(opened, threads))
        self._together = together
        longest = max(len(r.samples) for r in self._recordings)
        self._chunk = max(CHUNK, min(self._loaded.stream.hop, longest))
        self._firsts: list[int] = []
        """Position of each recording's first sample, so far."""
        self._windows = self._labelled = self._right = 0
        self._seconds = 0.0
        self.last_notes: tuple[Note, ...] = ()
        """The ends of the events that went on at the end of the last recording."""

    def run(self) -> Iterator[Made]:
        """Yield the predictions, as fast as the reader takes them.

        Raises: ModelRefused: the model fails on a window.
        """
        stream, bundle = self._loaded.stream, self._loaded.bundle
        slot = Slot(bundle.manifest.name, "replay", "replay", WallClock(), _refuse)
        ring = Ring(stream.window + self._chunk, len(stream.channels), stream.rate_hz, inf)
        self._firsts, self._labelled, self._right = [], 0, 0
        slot.offer(self._loaded)
        began = perf_counter()
        try:
            slot.take(ring)
            predictions = self._predict(slot, ring)
            if any(recording.labels for recording in self._recordings):
                yield from map(self._compare, predictions)
            else:
                yield from predictions
        except ModelRefused as error:
            raise ModelRefused(f"{bundle.path}: {error}") from None
        finally:
            self._seconds = perf_counter() - began
            self._windows = slot.tally.windows
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

    def _predict(self, slot: Slot, ring: Ring) -> Iterator[Made]:
        batch = Batch(slot, self._loaded.bundle.manifest, self._together)
        for recording in self._recordings:
            samples = recording.samples
            self._firsts.append(ring.head)
            for at, end, lost, restart in _pieces(recording, self._chunk):
                begins = restart or (at == 0 and ring.head > 0)
                ring.append(Chunk(samples[at:end], monotonic_ns(), lost, begins))
                yield from batch.predict(ring)
        yield from batch.finish()

    def _compare(self, made: Made) -> Made:
        """Compare a prediction with the label of its window, where there is one."""
        number = bisect_right(self._firsts, made.start) - 1
        recording, start = self._recordings[number], made.start - self._firsts[number]
        label = recording.label(start, start + self._loaded.stream.window)
        if label is not None:
            self._labelled += 1
            self._right += label == made.decision.label
        return made


def _pieces(recording: Recording, chunk: int) -> Iterator[tuple[int, int, int, bool]]:
    """Yield start and end of pieces, samples lost before them, and whether a break is there."""
    lost: dict[int, int] = {}
    for b in recording.timing.breaks:  # two in one place, where nothing is left between them
        lost[b.position] = lost.get(b.position, 0) + b.lost
    for start, stop in recording.runs():
        for at in range(start, stop, chunk):
            begins = at == start and at in lost
            yield at, min(at + chunk, stop), lost[at] if begins else 0, begins


def _refuse(_slot: Slot, _loaded: Loaded, why: str) -> None:
    raise ModelRefused(why)
