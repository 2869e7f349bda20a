"""Windows kept on this device's own disk, for whoever retrains the model: the unsure, the strange.

Nothing here leaves the device by itself. The worker copies a window and goes on; a thread writes
many at a time, as a recording that ``edge-convert`` and ``edge-agent replay`` read.
"""

import io
import logging
import re
import threading
from errno import EFBIG
from pathlib import Path
from time import monotonic
from typing import Final

import numpy as np
from msgspec import Struct

from edge_agent.config import CaptureTable
from edge_bundle.decision.outcome import Decision
from edge_bundle.disk import replace_file
from edge_bundle.manifest import Stream
from edge_bundle.tensor import Float32Array
from edge_wire.messages import CaptureFigures

BATCH: Final = 64
"""Windows that are written together, or more."""
MOST_WAITING: Final = 256
"""Windows in memory, over all models,"""
WAITING_BYTES: Final = 4 << 20
"""and no more than so large together, where it is more than one."""
PARTS: Final = 4
"""No file takes more than this part of the quota, unless a single window does: the oldest file
goes whole."""
BESIDE: Final = 12
"""Bytes that a window takes in a file beside its samples and its label,"""
CHARACTER: Final = 4
"""and those of a label's character, as long as the longest for each."""
FLUSH_S: Final = 600.0
"""What waits longer than this is written, however little it is: an SD card wears by the write."""
MINUTE_S: Final = 60.0
MODE: Final = 0o600
OURS: Final = re.compile(r"\d{6,}-[0-9a-f]+-\d{6,}-.+\.npz")
"""Boot, number, model: whatever else is in the folder is somebody's, and not removed."""

log = logging.getLogger(__name__)


class Kept(Struct, frozen=True):
    """A window that is to be written."""

    samples: Float32Array
    """float32 [window, channels], a copy."""
    label: str
    """What the model said."""
    score: float


class Rate:
    """Lets so many through in a minute, and at once after a quiet one. Pure."""

    def __init__(self, per_minute: float) -> None:
        self._most = self._left = max(1.0, per_minute)
        self._per_s = per_minute / MINUTE_S
        self._last_s: float | None = None

    def allow(self, now_s: float) -> bool:
        """Tell whether one more may pass at a monotonic time."""
        if self._last_s is not None:
            self._left = min(self._most, self._left + (now_s - self._last_s) * self._per_s)
        self._last_s = now_s
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True


class Collection:
    """Chooses, holds and writes; ``offer`` is called by the worker, ``describe`` by any thread."""

    def __init__(self, table: CaptureTable, folder: Path, boot: str) -> None:
        """Make the folder.

        Raises: OSError: it cannot be made.
        """
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for part in folder.glob(".*.part"):  # a power cut left it
            part.unlink()
        self._table = table
        self._folder = folder
        self._boot = boot
        self._rates: dict[str, Rate] = {}
        self._waiting: dict[tuple[str, Stream], list[Kept]] = {}
        """By model and stream: another version's may be another."""
        self._count = self._held_bytes = 0
        self._written = self._dropped = self._files = 0
        self._bytes = sum(f.stat().st_size for f in self._recordings())
        self._error = ""
        self._lock = threading.Lock()
        self._full = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="collection", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def stop(self) -> None:
        """Write what is held, and end the thread."""
        self._stopping = True
        self._full.set()
        if self._thread.is_alive():
            self._thread.join()

    def offer(
        self,
        model: str,
        stream: Stream,
        window: Float32Array,
        decision: Decision,
        certainty: float | None,
        drifted: bool,
    ) -> None:
        """Keep a window where it is one of those wanted; it is copied.

        Args:
            model: that saw it.
            stream: as the model sees it.
            window: float32 [window, channels], in the stream's units.
            certainty: how sure the decision is, in [0, 1]; None where that cannot be said.
            drifted: whether the model has.
        """
        below = self._table.uncertain_below
        unsure = below is not None and certainty is not None and certainty < below
        if not unsure and not (drifted and self._table.drifted):
            return
        rate = self._rates.setdefault(model, Rate(self._table.per_minute))
        if not rate.allow(monotonic()):
            return
        with self._lock:
            held_bytes = self._held_bytes + window.nbytes
            if self._count and (self._count >= MOST_WAITING or held_bytes > WAITING_BYTES):
                self._dropped += 1
                return
            kept = self._waiting.setdefault((model, stream), [])
            kept.append(Kept(window.copy(), decision.label, decision.score))
            self._count += 1
            self._held_bytes = held_bytes
            many = self._count >= MOST_WAITING // 2 or held_bytes >= WAITING_BYTES // 2
            if many or len(kept) >= BATCH:
                self._full.set()

    def describe(self) -> CaptureFigures:
        """Return what came of it since the boot."""
        with self._lock:
            return CaptureFigures(
                windows=self._written,
                waiting=self._count,
                dropped=self._dropped,
                bytes=self._bytes,
                error=self._error,
            )

    def _run(self) -> None:
        while not self._stopping:
            self._full.wait(FLUSH_S)
            self._full.clear()
            self.flush()
        self.flush()  # what came while the last batch was written

    def flush(self) -> None:
        """Write all that is held."""
        with self._lock:
            waiting, self._waiting = self._waiting, {}
            self._count = self._held_bytes = 0
        for (model, stream), kept in waiting.items():
            size = kept[0].samples.nbytes + BESIDE + CHARACTER * max(len(k.label) for k in kept)
            windows = max(1, self._table.max_bytes // PARTS // size)
            for begin in range(0, len(kept), windows):
                self._try_to_write(model, stream, kept[begin : begin + windows])

    def _try_to_write(self, model: str, stream: Stream, kept: list[Kept]) -> None:
        try:
            self._write(model, stream, kept)
        except OSError as error:  # a full disk costs these windows, and nothing else
            why = f"{error.filename or self._folder}: {error.strerror or error}"
            log.warning("capture: %s", why)
            with self._lock:
                self._dropped += len(kept)
                self._error = why
        else:
            with self._lock:
                self._written += len(kept)
                self._error = ""

    def _write(self, model: str, stream: Stream, kept: list[Kept]) -> None:
        data = pack_windows(stream, kept)
        if len(data) > self._table.max_bytes:
            raise OSError(
                EFBIG,
                f"a window of {model} takes {len(data)} bytes, and capture.max_bytes is "
                f"{self._table.max_bytes}: make that larger",
            )
        held = [(file, file.stat().st_size) for file in self._recordings()]
        self._bytes = sum(size for _, size in held)  # whoever fetches files may take them away
        for oldest, size in held:
            if self._bytes + len(data) <= self._table.max_bytes:
                break
            oldest.unlink()
            self._bytes -= size
        self._files += 1
        name = f"{self._boot}-{self._files:06d}-{model}.npz"
        replace_file(self._folder / name, data, mode=MODE)
        self._bytes += len(data)

    def _recordings(self) -> list[Path]:
        """Return our files, the oldest first: a boot's name begins with its number."""
        return sorted(f for f in self._folder.glob("*.npz") if OURS.fullmatch(f.name))


def pack_windows(stream: Stream, kept: list[Kept]) -> bytes:
    """Return a recording of windows: unlabelled, with what the model said of each beside it.

    Args:
        stream: that they are of.
        kept: at least one, all of one shape.
    """
    buffer = io.BytesIO()
    np.savez(
        buffer,
        values=np.concatenate([k.samples for k in kept]),
        lengths=np.asarray([len(k.samples) for k in kept]),
        channels=np.asarray([c.name for c in stream.channels]),
        rate_hz=np.asarray(stream.rate_hz),
        said=np.asarray([k.label for k in kept]),
        score=np.asarray([k.score for k in kept], np.float32),
    )
    return buffer.getvalue()
