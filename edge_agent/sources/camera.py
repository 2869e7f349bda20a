"""Frames of a camera, one sample for each pixel, row by row.

A stream is numbers at a rate; so a frame of height x width pixels is that many samples of three
channels, and comes as one chunk. A window of height * width samples, with such a hop, is one frame:
losses and breaks stand between frames, and the memory holds whole ones.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from edge_agent import source_tables as tables
from edge_agent.config import LoadedConfig
from edge_agent.fit import StreamShape
from edge_agent.ring import Chunk
from edge_agent.sources.device import LOOK_S, fit_channels, need_library
from edge_agent.sources.source import SourceFailed
from edge_bundle.manifest import Channel
from edge_bundle.tensor import Float32Array

NATIVE: Final = tuple(Channel(name, "") for name in ("red", "green", "blue"))
"""0 to 255."""
SILENCE_S: Final = 5.0
"""A camera that gives no frame for so long is gone."""
END_S: Final = 0.2
PICAMERA: Final = "picamera2"
INTER_AREA: Final = 3
"""OpenCV's number for it."""

Image = npt.NDArray[np.uint8]
"""uint8 [height, width, 3], blue, green, red, as OpenCV has it."""


class Frames(Protocol):
    """What gives images."""

    def grab(self) -> bool:
        """Wait for the next frame; false where there is none any more."""

    def retrieve(self) -> Image | None:
        """Return the frame that was grabbed; None where it cannot be decoded."""

    def close(self) -> None: ...


class _Newest:
    """A thread that grabs every frame, and of those that are due keeps the newest."""

    def __init__(self, frames: Frames, rate_hz: float, pace_s: float) -> None:
        """Begin to grab.

        Args:
            frames: closed at the end.
            rate_hz: how many frames a second are kept; those between are grabbed and left.
            pace_s: from one frame to the next of a file; 0 for what has a pace of its own.
        """
        self.came = threading.Event()
        self.ended = False
        self.failure = ""
        self.may_end = pace_s > 0
        """Whether it is a file."""
        self._frames = frames
        self._period_s = 1 / rate_hz
        self._pace_s = pace_s
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._held: tuple[Image, int] | None = None
        self._replaced = self._torn = 0
        self._thread = threading.Thread(target=self._run, name="camera", daemon=True)
        self._thread.start()

    def take(self) -> tuple[Image, int, int] | None:
        """Return the newest frame, its monotonic time, and how many before it were replaced or
        could not be decoded.
        """
        with self._lock:
            held, self._held = self._held, None
            replaced = self._replaced
            if held is not None:
                self._replaced = 0
                self.came.clear()
        return None if held is None else (*held, replaced)

    def stop(self) -> bool:
        """End the thread; tell whether it hangs in its driver, and is left to end by itself."""
        self._stopping.set()
        self._thread.join(END_S)
        return self._thread.is_alive()

    def _run(self) -> None:
        due = time.monotonic()
        paced = due
        try:
            while not self._stopping.is_set() and self._frames.grab():
                now_ns = time.monotonic_ns()
                # A file's frames have times of their own, however late they are read.
                now = paced if self._pace_s else now_ns / 1e9
                # A quarter early counts: a camera at just this rate is never quite in time.
                if now >= due - self._period_s / 4:
                    due = max(due + self._period_s, now - self._period_s)
                    self._keep(self._frames.retrieve(), now_ns)
                if self._pace_s:
                    paced += self._pace_s
                    self._stopping.wait(max(0.0, paced - time.monotonic()))
        except Exception as error:  # whatever a driver raises, the source says it and is retried
            self.failure = str(error) or type(error).__name__
        finally:
            self.ended = True
            self.came.set()
            self._frames.close()

    def _keep(self, image: Image | None, now_ns: int) -> None:
        with self._lock:
            if image is None:
                self._torn += 1
                return
            self._replaced += self._torn + (self._held is not None)
            self._torn = 0
            self._held = (image, now_ns)
            self.came.set()


class Camera:
    """The newest frame, whenever there is one."""

    def __init__(
        self,
        shape: StreamShape,
        table: tables.Camera,
        opener: Callable[[], tuple[Frames, float]],
        resize: Callable[..., Any],
    ) -> None:
        """Describe the source; the device is opened when chunks are asked for.

        Args:
            shape: its rate is that of pixels: frames a second times height times width.
            table: what the configuration says.
            opener: opens the device; gives a pace, s, for what has none of its own.
            resize: OpenCV's.
        """
        self.shape = shape
        self._table = table
        self._opener = opener
        self._resize = resize
        self._given = False
        self._hanging: _Newest | None = None
        """What did not end when it was stopped."""

    def chunks(self, wait: Callable[[float], bool]) -> Iterator[Chunk]:
        """Yield a frame as soon as there is one; wakes up once a frame.

        Frames that a newer one replaced before they were asked for count as lost, pixel by pixel,
        as those that cannot be decoded; those between two that are due at ``rate_hz`` do not.
        Raises: SourceFailed: there is no such camera, it was unplugged, or a try before this one
            still hangs in the driver.
        """
        table = self._table
        pixels = table.width * table.height
        restart = self._given
        with self._newest() as newest:
            heard = time.monotonic()
            while not wait(0.0):
                newest.came.wait(LOOK_S)
                ended = newest.ended  # before: the last frame comes first
                taken = newest.take()
                if taken is not None:
                    heard = time.monotonic()
                    image, at_ns, replaced = taken
                    yield Chunk(self._samples(image), at_ns, replaced * pixels, restart)
                    restart, self._given = False, True
                elif ended:
                    if newest.may_end:
                        return
                    why = newest.failure or "it gives no more frames"
                    raise SourceFailed(f"camera {table.device}: {why}")
                elif time.monotonic() - heard > SILENCE_S:
                    raise SourceFailed(f"camera {table.device}: no frame for {SILENCE_S:g} s")

    @contextmanager
    def _newest(self) -> Iterator[_Newest]:
        # Each try would leave a thread and an open device more.
        if self._hanging is not None and self._hanging.stop():
            raise SourceFailed(
                f"camera {self._table.device}: its driver hangs, and it is opened again when that "
                "ends; unplug it, or restart the agent"
            )
        self._hanging = None
        frames, pace_s = self._opener()
        newest = _Newest(frames, self._table.rate_hz, pace_s)
        try:
            yield newest
        finally:
            self._hanging = newest if newest.stop() else None

    def _samples(self, image: Image) -> Float32Array:
        size = (self._table.width, self._table.height)
        if image.shape[1::-1] != size:
            # Averages over the pixels that become one, so that fine patterns do not flicker.
            image = self._resize(image, size, interpolation=INTER_AREA)
        samples: Float32Array = image[:, :, ::-1].reshape(-1, 3).astype(np.float32)
        return samples


def open_camera(loaded: LoadedConfig, index: int, table: tables.Camera) -> Camera:
    """Open the source of a table.

    Raises: ConfigError: channels that are not red, green and blue, or a library is missing.
    """
    channels, _ = fit_channels(loaded, index, table.channels, NATIVE)
    cv2 = need_library(loaded, index, "cv2", "camera")
    pixels = table.width * table.height
    shape = StreamShape(table.rate_hz * pixels, channels, block=pixels)
    if table.device == PICAMERA:
        from edge_agent.sources.picamera import PicameraFrames, need_picamera

        picamera = need_picamera(loaded, index)
        return Camera(shape, table, lambda: (PicameraFrames(picamera, table), 0.0), cv2.resize)
    device = table.device
    if isinstance(device, str) and not device.startswith("/dev/"):
        device = str(loaded.resolve(device))
    return Camera(shape, table, lambda: _open_device(cv2, device, table), cv2.resize)


class _OpenCvFrames:
    """A V4L2 device, or a video file."""

    def __init__(self, capture: Any) -> None:
        self._capture = capture

    def grab(self) -> bool:
        return bool(self._capture.grab())

    def retrieve(self) -> Image | None:
        decoded, image = self._capture.retrieve()
        return np.asarray(image) if decoded else None

    def close(self) -> None:
        self._capture.release()


def _open_device(cv2: Any, device: str | int, table: tables.Camera) -> tuple[Frames, float]:
    path = Path(f"/dev/video{device}" if isinstance(device, int) else device)
    if not path.exists():
        there = ", ".join(str(p) for p in sorted(Path("/dev").glob("video*")))
        raise SourceFailed(f"{path}: no such device; there: {there or 'none'}")
    capture = cv2.VideoCapture(str(path))
    if not capture.isOpened():
        raise SourceFailed(
            f"{path}: OpenCV cannot open it; is it a camera, and the user in the group video?"
        )
    if path.is_file():
        rate = capture.get(cv2.CAP_PROP_FPS)
        return _OpenCvFrames(capture), 1 / rate if rate > 0 else 1 / table.rate_hz
    for key, value in (
        (cv2.CAP_PROP_BUFFERSIZE, 1),  # what waits in the driver is old
        (cv2.CAP_PROP_FRAME_WIDTH, table.width),
        (cv2.CAP_PROP_FRAME_HEIGHT, table.height),
        (cv2.CAP_PROP_FPS, table.rate_hz),
    ):
        with suppress(cv2.error):  # a wish: the driver takes what is nearest
            capture.set(key, value)
    return _OpenCvFrames(capture), 0.0
