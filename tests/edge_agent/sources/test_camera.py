"""A camera: a video file that OpenCV wrote and reads, and drivers that are late, hang or end."""

import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from edge_agent import source_tables as tables
from edge_agent.assembly import make_feeds
from edge_agent.bell import Bell
from edge_agent.config import load_config
from edge_agent.fit import StreamShape
from edge_agent.ring import Chunk
from edge_agent.sources import camera
from edge_agent.sources.camera import NATIVE, Camera
from edge_agent.sources.source import Source, SourceFailed
from edge_bundle.errors import ConfigError
from tests.edge_agent.echo import echo, read
from tests.edge_agent.sources.given import Stop, open_table, running
from tests.edge_agent.test_feed import make_feed, work

FRAMES = 12
FPS = 50.0
WIDTH, HEIGHT = 32, 24


@pytest.fixture
def video(tmp_path: Path) -> str:
    """Make a video whose frame n is grey n * 20, but red in its left half."""
    writer = cv2.VideoWriter(
        str(tmp_path / "v.avi"), cv2.VideoWriter.fourcc(*"MJPG"), FPS, (WIDTH, HEIGHT)
    )
    assert writer.isOpened()
    for n in range(FRAMES):
        image = np.full((HEIGHT, WIDTH, 3), n * 20, np.uint8)
        image[:, : WIDTH // 2] = (0, 0, 200)  # blue, green, red
        writer.write(image)
    writer.release()
    return "v.avi"


def open_camera(folder: Path, device: str, table: str = f"rate_hz = {FPS}\n") -> Source:
    return open_table(
        folder, f'kind = "camera"\ndevice = "{device}"\nwidth = 16\nheight = 12\n{table}'
    )


def frame_number(chunk: Chunk) -> int:
    image = chunk.samples.reshape(12, 16, 3)
    return round(float(image[:, 10:].mean()) / 20)


def test_frames_come_resized_pixel_by_pixel_in_red_green_and_blue(
    tmp_path: Path, video: str
) -> None:
    source = open_camera(tmp_path, video)
    assert source.shape == StreamShape(FPS * 192, NATIVE, block=192)
    with running(source) as chunks:
        got = list(chunks)
    assert all(c.samples.shape == (192, 3) and c.samples.dtype == np.float32 for c in got)
    # Each frame came, or is counted where it is missing.
    at = -1
    for chunk in got:
        at += chunk.lost // 192 + 1
        assert frame_number(chunk) == at
        left = chunk.samples.reshape(12, 16, 3)[:, :6].mean(axis=(0, 1))
        assert left == pytest.approx([200, 0, 0], abs=8)
    assert at == FRAMES - 1
    assert not any(c.restart for c in got)


def test_video_goes_at_its_own_pace(tmp_path: Path, video: str) -> None:
    began = time.monotonic()
    with running(open_camera(tmp_path, video)) as chunks:
        last = list(chunks)[-1]
    assert time.monotonic() - began > (FRAMES - 2) / FPS
    assert began * 1e9 < last.end_ns <= time.monotonic_ns()


def test_frames_between_those_that_are_due_are_left_and_are_no_loss(
    tmp_path: Path, video: str
) -> None:
    with running(open_camera(tmp_path, video, "rate_hz = 10.0\n")) as chunks:
        got = list(chunks)
    assert 1 <= len(got) <= FRAMES // 2
    assert frame_number(got[0]) == 0


def test_second_run_of_a_video_begins_behind_a_break(tmp_path: Path, video: str) -> None:
    source = open_camera(tmp_path, video)
    for again in (False, True):
        with running(source) as chunks:
            assert [c.restart for c in chunks][:2] == [again, False]


# --- drivers


class Driver:
    """Frames as a test lets them come."""

    def __init__(self) -> None:
        self.given = 0
        self.more = threading.Semaphore(0)
        self.asked = threading.Semaphore(0)
        self.ending = False
        self.closed = threading.Event()

    def grab(self) -> bool:
        self.asked.release()
        self.more.acquire()
        self.given += 1
        return not self.ending

    def retrieve(self) -> npt.NDArray[np.uint8] | None:
        return np.full((2, 3, 3), self.given, np.uint8)

    def close(self) -> None:
        self.closed.set()


class Film(Driver):
    """Nine frames of a file, of which the third is late."""

    def grab(self) -> bool:
        self.given += 1
        if self.given == 3:
            time.sleep(0.3)
        return self.given <= 9


def test_frames_of_a_file_that_were_read_late_came_or_are_counted() -> None:
    shape, driver = StreamShape(50.0 * 6, NATIVE, block=6), Film()
    table = tables.Camera(name="a", rate_hz=50.0, device="v.avi", width=3, height=2)
    camera = Camera(shape, table, lambda: (driver, 0.02), lambda image, _size, **_: image)
    with running(camera) as chunks:
        at = sum(chunk.lost // 6 + 1 for chunk in chunks)
    assert at == 9


class Torn(Film):
    """A film of which a frame cannot be decoded."""

    def retrieve(self) -> npt.NDArray[np.uint8] | None:
        return None if self.given == 2 else super().retrieve()


def test_frame_that_cannot_be_decoded_is_lost_and_ends_nothing() -> None:
    shape, driver = StreamShape(50.0 * 6, NATIVE, block=6), Torn()
    table = tables.Camera(name="a", rate_hz=50.0, device="v.avi", width=3, height=2)
    camera = Camera(shape, table, lambda: (driver, 0.02), lambda image, _size, **_: image)
    with running(camera) as chunks:
        got = list(chunks)
    assert sum(chunk.lost // 6 + 1 for chunk in got) == 9
    assert 2 not in [chunk.samples[0, 0] for chunk in got]


def test_frame_that_opencv_cannot_decode_is_none() -> None:
    assert camera._OpenCvFrames(cv2.VideoCapture()).retrieve() is None


def camera_of(driver: Driver) -> Camera:
    return camera_from(lambda: driver)


def camera_from(opener: Callable[[], Driver]) -> Camera:
    table = tables.Camera(name="a", device=0, width=3, height=2, rate_hz=1e6)
    shape = StreamShape(6e6, NATIVE, block=6)
    return Camera(shape, table, lambda: (opener(), 0.0), cv2.resize)


def test_newest_frame_is_given_and_those_it_replaced_are_counted() -> None:
    driver = Driver()

    def four_frames() -> None:
        for _ in range(4):
            driver.asked.acquire()
            driver.more.release()
        driver.asked.acquire()

    with running(camera_of(driver), four_frames) as chunks:
        chunk = next(chunks)
        assert (chunk.samples[0, 0], chunk.lost) == (4, 3 * 6)
        driver.more.release()
        chunk = next(chunks)
        assert (chunk.samples[0, 0], chunk.lost) == (5, 0)
        driver.more.release()
    assert driver.closed.wait(10)


def test_camera_that_hangs_fails_and_is_left_promptly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camera, "SILENCE_S", 0.2)
    driver = Driver()
    with running(camera_of(driver)) as chunks:
        with pytest.raises(SourceFailed, match=r"camera 0: no frame for 0\.2 s"):
            next(chunks)
        began = time.monotonic()
    assert time.monotonic() - began < 1.0
    assert not driver.closed.is_set()
    driver.more.release()
    assert driver.closed.wait(10), "what hung is closed when it comes back"


def test_camera_that_hangs_is_not_opened_again_before_its_driver_returns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(camera, "SILENCE_S", 0.1)
    drivers: list[Driver] = []

    def opener() -> Driver:
        drivers.append(Driver())
        return drivers[-1]

    source = camera_from(opener)
    threads = threading.active_count()
    with pytest.raises(SourceFailed, match="no frame"), running(source) as chunks:
        next(chunks)
    for _ in range(3):
        with (
            pytest.raises(SourceFailed, match=r"its driver hangs, .*; unplug it"),
            running(source) as chunks,
        ):
            next(chunks)
    assert len(drivers) == 1
    assert threading.active_count() == threads + 1
    drivers[0].more.release()
    assert drivers[0].closed.wait(10)
    with pytest.raises(SourceFailed, match="no frame"), running(source) as chunks:
        next(chunks)
    assert len(drivers) == 2
    drivers[1].more.release()
    assert drivers[1].closed.wait(10)


def test_silent_camera_is_left_promptly() -> None:
    driver, end = Driver(), time.monotonic() + 0.3
    assert list(camera_of(driver).chunks(Stop(lambda: time.monotonic() > end))) == []
    assert time.monotonic() - end < 1.0
    driver.more.release()
    assert driver.closed.wait(10)


@pytest.mark.parametrize("why", ["it gives no more frames", "select timed out"])
def test_camera_that_ends_or_fails_says_so(why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = Driver()
    driver.ending = True
    driver.more.release()
    if why == "select timed out":
        monkeypatch.setattr(driver, "grab", lambda: (_ for _ in ()).throw(RuntimeError(why)))
    with (
        pytest.raises(SourceFailed, match=f"camera 0: {why}"),
        running(camera_of(driver)) as chunks,
    ):
        next(chunks)


# --- picamera2


class Picamera2:
    """The calls of picamera2 that are used."""

    opened = 0
    there = True

    def __init__(self) -> None:
        if not Picamera2.there:
            raise IndexError("list index out of range")
        Picamera2.opened += 1

    def create_video_configuration(self, **wanted: Any) -> dict[str, Any]:
        return wanted

    def configure(self, wanted: dict[str, Any]) -> None:
        assert wanted["main"] == {"size": (16, 12), "format": "RGB888"}
        assert wanted["controls"] == {"FrameRate": FPS}

    def start(self) -> None: ...

    def capture_array(self, name: str) -> npt.NDArray[np.uint8]:
        assert name == "main"
        time.sleep(0.01)
        return np.full((12, 16, 3), (1, 2, 3), np.uint8)

    def close(self) -> None:
        Picamera2.opened -= 1


def test_camera_module_gives_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "picamera2", SimpleNamespace(Picamera2=Picamera2))
    source = open_camera(tmp_path, "picamera2")
    with running(source) as chunks:
        assert next(chunks).samples[0].tolist() == [3, 2, 1]
    assert Picamera2.opened == 0
    monkeypatch.setattr(Picamera2, "there", False)
    with pytest.raises(SourceFailed, match="see rpicam-hello"), running(source) as chunks:
        next(chunks)


def test_picamera2_that_is_missing_is_named_with_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "picamera2", None)
    with pytest.raises(ConfigError, match="sudo apt install python3-picamera2"):
        open_camera(tmp_path, "picamera2")


# --- what is not there, and what is kept


def test_device_that_is_not_there_or_is_no_camera_fails(tmp_path: Path) -> None:
    with (
        pytest.raises(SourceFailed, match="/dev/video97: no such device"),
        running(open_camera(tmp_path, "/dev/video97")) as chunks,
    ):
        next(chunks)
    (tmp_path / "text.avi").write_text("no video")
    with (
        pytest.raises(SourceFailed, match=r"text\.avi: OpenCV cannot open it"),
        running(open_camera(tmp_path, "text.avi")) as chunks,
    ):
        next(chunks)


def test_library_that_is_missing_is_named_with_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(ConfigError, match=r"cv2 is not installed: pip install 'edgeward\[camera\]"):
        open_camera(tmp_path, "v.avi")


@pytest.mark.parametrize(
    ("table", "frames"),
    [("", 1), ("keep = 3\n", 3), ('policy = "drop_oldest"\n', 30 * int(FPS))],
)
def test_memory_holds_whole_frames(tmp_path: Path, table: str, frames: int) -> None:
    source = open_camera(tmp_path, "v.avi", f"rate_hz = {FPS}\n{table}")
    loaded = load_config(tmp_path / "edge.toml")
    feed = make_feeds(loaded, {"a": source.shape}, Bell())["a"]
    assert vars(feed)["_ring"].capacity == frames * 192


def test_model_that_is_late_has_the_newest_frame_whole_and_counts_the_others() -> None:
    pixels = 6
    feed = make_feed(pixels, "drop_oldest", echo(pixels, pixels))
    for n in range(3):
        feed.put(Chunk(np.full((pixels, 1), n, np.float32), (n + 1) * 6_000_000))
    [made] = work(feed)
    assert made.start == 2 * pixels
    told = read(made)
    assert (told.lost_samples, told.quality) == (2 * pixels, "gap")


def test_memory_of_large_frames_is_bounded(tmp_path: Path) -> None:
    table = 'rate_hz = 30.0\npolicy = "drop_oldest"\n'
    open_camera(tmp_path, "v.avi", table)
    loaded = load_config(tmp_path / "edge.toml")
    pixels = 640 * 480
    shape = StreamShape(30.0 * pixels, NATIVE, block=pixels)
    feed = make_feeds(loaded, {"a": shape}, Bell())["a"]
    assert vars(feed)["_ring"].capacity == 4 * pixels
