"""A sound card's input through PortAudio."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edge_agent import source_tables as tables
from edge_agent.config import LoadedConfig
from edge_agent.fit import StreamShape
from edge_agent.ring import Chunk
from edge_agent.sources.device import LOOK_S, fit_channels, need_library
from edge_agent.sources.source import SourceFailed
from edge_bundle.manifest import Channel

FULL_SCALE: Final = 32768
"""The code of int16 that would be 1.0."""
SILENCE_S: Final = 2.0
"""A stream that gives no block for so long has lost its device."""
PACKAGE: Final = "libportaudio2"

Block = tuple[npt.NDArray[np.int16], int, int]
"""int16 [frames, channels]; monotonic time of the last; how many were lost directly before."""


class Intake:
    """What PortAudio's thread leaves for ours: blocks, at most so many frames."""

    def __init__(self, rate_hz: float, max_frames: int) -> None:
        self.came = threading.Event()
        self._rate_hz = rate_hz
        self._max_frames = max_frames
        self._blocks: deque[Block] = deque()
        self._lock = threading.Lock()
        self._waiting = 0
        self._lost = 0
        self._expected_s: float | None = None

    def take_in(self, data: npt.NDArray[np.int16], frames: int, times: Any, status: Any) -> None:
        """Copy a block; PortAudio calls it, and reuses ``data`` afterwards.

        Args:
            data: int16 [frames, channels].
            frames: how many.
            times: ``inputBufferAdcTime`` of the first and ``currentTime``, s, on the stream's
                clock; some drivers leave the first 0.
            status: whether PortAudio itself lost some (``input_overflow``).
        """
        now_ns = time.monotonic_ns()
        begin_s = times.inputBufferAdcTime
        dropped = 0
        if status.input_overflow:
            # It does not say how many; where the clock does, we know.
            dropped = 1
            if begin_s > 0 and self._expected_s is not None:
                dropped = max(1, round((begin_s - self._expected_s) * self._rate_hz))
        self._expected_s = begin_s + frames / self._rate_hz if begin_s > 0 else None
        age_s = 0.0 if self._expected_s is None else times.currentTime - self._expected_s
        end_ns = now_ns - int(max(0.0, age_s) * 1e9)
        with self._lock:
            self._lost += dropped
            if self._waiting + frames > self._max_frames:
                self._lost += frames
            else:
                self._blocks.append((data.copy(), end_ns, self._lost))
                self._waiting += frames
                self._lost = 0
        self.came.set()

    def take_out(self) -> list[Block]:
        """Return the blocks that wait."""
        with self._lock:
            blocks = list(self._blocks)
            self._blocks.clear()
            self._waiting = 0
            self.came.clear()
        return blocks


class Microphone:
    """The input's samples: codes of int16, or those divided by 32768."""

    def __init__(
        self, shape: StreamShape, table: tables.Microphone, factors: list[float], library: Any
    ) -> None:
        """Describe the source; the device is opened when chunks are asked for.

        Args:
            shape: rate and channels.
            table: what the configuration says.
            factors: what brings samples in [-1, 1) to each channel's unit.
            library: the module ``sounddevice``.
        """
        self.shape = shape
        self._table = table
        self._library = library
        self._scale = np.array(factors, np.float32) / np.float32(FULL_SCALE)
        self._block = max(1, round(shape.rate_hz * table.block_ms / 1000))
        self._given = False

    def chunks(self, wait: Callable[[float], bool]) -> Iterator[Chunk]:
        """Yield blocks as they come: it wakes up once a block, 50 times a second with 20 ms.

        Raises: SourceFailed: there is no such input, it does not have the rate, or it was
            unplugged.
        """
        table, rate_hz = self._table, self.shape.rate_hz
        # Without room for one block nothing would ever come.
        intake = Intake(rate_hz, max(self._block, int(table.queue_s * rate_hz)))
        restart = self._given
        with self._running(intake):
            heard_ns = time.monotonic_ns()
            while not wait(0.0):
                if not intake.came.wait(LOOK_S):
                    if time.monotonic_ns() - heard_ns > SILENCE_S * 1e9:
                        raise SourceFailed(f"{self._name()}: no sound for {SILENCE_S:g} s")
                    continue
                heard_ns = time.monotonic_ns()
                for codes, end_ns, lost in intake.take_out():
                    yield Chunk(codes * self._scale, end_ns, lost, restart)
                    restart, self._given = False, True

    @contextmanager
    def _running(self, intake: Intake) -> Iterator[None]:
        """Let PortAudio call the intake."""
        table, rate_hz = self._table, self.shape.rate_hz
        stream = None
        try:
            try:
                stream = self._library.InputStream(
                    device=table.device,
                    samplerate=rate_hz,
                    blocksize=self._block,
                    channels=len(self.shape.channels),
                    dtype="int16",
                    callback=intake.take_in,
                )
                stream.start()
            except (self._library.PortAudioError, ValueError) as error:
                raise SourceFailed(f"{self._name()}: {error}; {self._inputs()}") from None
            yield
        finally:
            if stream is not None:
                stream.abort()  # stop() would wait for what is under way
                stream.close()

    def _inputs(self) -> str:
        there = (
            f"{i}: {d['name']}"
            for i, d in enumerate(self._library.query_devices())
            if d["max_input_channels"] > 0
        )
        return f"inputs there: {', '.join(there) or 'none; is the user in the group audio?'}"

    def _name(self) -> str:
        device = self._table.device
        return "default microphone" if device is None else f"microphone {device!r}"


def open_microphone(loaded: LoadedConfig, index: int, table: tables.Microphone) -> Microphone:
    """Open the source of a table.

    Raises: ConfigError: a unit that sound has not, or sounddevice or PortAudio is missing.
    """
    named = table.channels or (Channel("sound", "1"),)
    native = tuple(Channel(c.name, "1") for c in named)
    channels, factors = fit_channels(loaded, index, named, native)
    library = need_library(loaded, index, "sounddevice", "microphone", PACKAGE)
    return Microphone(StreamShape(table.rate_hz, channels), table, factors, library)
