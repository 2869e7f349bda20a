"""The windows that were asked for are kept, within bounds, where they can be read again."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent import collection
from edge_agent.collection import Collection, Rate
from edge_agent.config import CaptureTable
from edge_agent.replay import Replay
from edge_bundle.decision.outcome import Decision
from edge_bundle.manifest import Stream
from edge_bundle.recording import read_recordings
from edge_bundle.tensor import Float32Array
from tests.edge_agent.echo import Bench, echo
from tests.edge_bundle.bundles import (
    STREAM,
    watch_windows,
    write_watch_bundle,
)

MANY = 10**9


def opened(folder: Path, boot: str = "000001-ab", **table: float | bool) -> Collection:
    return Collection(CaptureTable(str(folder), **{"per_minute": MANY} | table), folder, boot)  # type: ignore[arg-type]


def offer(
    to: Collection,
    score: float,
    window: Float32Array | None = None,
    drifted: bool = False,
    stream: Stream = STREAM,
) -> None:
    window = np.full((100, 6), score, np.float32) if window is None else window
    to.offer("watch", stream, window, Decision("ROW", score, []), score, drifted)


def test_unsure_windows_are_kept_and_can_be_read_again(tmp_path: Path) -> None:
    keeping = opened(tmp_path / "kept", uncertain_below=0.6)
    windows = watch_windows(5)
    for score, window in zip((0.9, 0.5, 0.6, 0.1, 0.2), windows, strict=True):
        offer(keeping, score, window)
    keeping.flush()
    (file,) = (tmp_path / "kept").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    recordings = read_recordings(file, STREAM)
    np.testing.assert_array_equal([r.samples for r in recordings], windows[[1, 3, 4]])
    with np.load(file, allow_pickle=False) as arrays:
        assert arrays["said"].tolist() == ["ROW"] * 3
        np.testing.assert_allclose(arrays["score"], [0.5, 0.1, 0.2])
    replay = Replay(write_watch_bundle(tmp_path).path, str(file))
    assert len(list(replay.run())) == 3
    told = keeping.describe()
    assert (told.windows, told.waiting, told.dropped) == (3, 0, 0)
    assert (told.bytes, told.error) == (file.stat().st_size, "")


def test_window_is_copied(tmp_path: Path) -> None:
    keeping = opened(tmp_path, uncertain_below=0.6)
    window = watch_windows(1)[0]
    offer(keeping, 0.1, window)
    before = window.copy()
    window[...] = 0
    keeping.flush()
    (recording,) = read_recordings(next(tmp_path.iterdir()), STREAM)
    np.testing.assert_array_equal(recording.samples, before)


@pytest.mark.parametrize(("wanted", "kept"), [(True, 1), (False, 0)])
def test_drifted_windows_are_kept_where_that_is_said(
    tmp_path: Path, wanted: bool, kept: int
) -> None:
    keeping = opened(tmp_path, drifted=wanted)
    offer(keeping, 0.99, drifted=True)
    offer(keeping, 0.01, drifted=False)
    assert keeping.describe().waiting == kept


def test_quota_lets_the_oldest_go_first_over_boots(tmp_path: Path) -> None:
    size = 0
    for number in range(1, 6):
        keeping = opened(
            tmp_path, f"{number:06d}-ab", uncertain_below=2, max_bytes=2 * size or MANY
        )
        offer(keeping, number / 10)
        keeping.flush()
        size = size or keeping.describe().bytes
        assert keeping.describe().bytes == sum(f.stat().st_size for f in tmp_path.iterdir())
    assert [f.name[:6] for f in sorted(tmp_path.iterdir())] == ["000004", "000005"]


def test_recordings_of_others_in_the_folder_are_left_alone(tmp_path: Path) -> None:
    for name in ("000-walking.npz", "walking.npz"):
        (tmp_path / name).write_bytes(b"a day's work" * 1000)
    keeping = opened(tmp_path, uncertain_below=1)
    offer(keeping, 0.1)
    keeping.flush()
    keeping = opened(tmp_path, "000002-cd", uncertain_below=1, max_bytes=keeping.describe().bytes)
    offer(keeping, 0.1)
    keeping.flush()
    names = [f.name for f in sorted(tmp_path.iterdir())]
    assert names == ["000-walking.npz", "000002-cd-000001-watch.npz", "walking.npz"]


def test_file_larger_than_the_quota_is_not_written(tmp_path: Path) -> None:
    keeping = opened(tmp_path, uncertain_below=1, max_bytes=100)
    offer(keeping, 0.1)
    keeping.flush()
    told = keeping.describe()
    assert (told.dropped, told.windows, list(tmp_path.iterdir())) == (1, 0, [])
    assert "capture.max_bytes is 100" in told.error


def test_windows_that_fill_the_quota_go_into_files_that_fit(tmp_path: Path) -> None:
    quota = 10 * watch_windows(1)[0].nbytes
    keeping = opened(tmp_path, uncertain_below=1, max_bytes=quota)
    for _ in range(30):
        offer(keeping, 0.1)
    keeping.flush()
    told = keeping.describe()
    assert (told.windows, told.dropped, told.error) == (30, 0, "")
    files = sorted(tmp_path.iterdir())
    assert told.bytes == sum(f.stat().st_size for f in files) <= quota
    held = sum(len(read_recordings(f, STREAM)) for f in files)
    assert held >= 5  # half of the quota, and not what is left of a file with all


def test_windows_smaller_than_their_label_go_into_files_that_fit(tmp_path: Path) -> None:
    keeping = opened(tmp_path, uncertain_below=1, max_bytes=16000)
    for _ in range(100):
        decision = Decision("a label as long as thirty-two.", 0.1, [])
        keeping.offer("watch", STREAM, np.zeros((1, 6), np.float32), decision, 0.1, False)
    keeping.flush()
    told = keeping.describe()
    assert (told.windows, told.dropped, told.error) == (100, 0, "")


def test_files_that_somebody_took_away_make_room(tmp_path: Path) -> None:
    keeping = opened(tmp_path, uncertain_below=1)
    offer(keeping, 0.1)
    keeping.flush()
    keeping = opened(tmp_path, uncertain_below=1, max_bytes=2 * keeping.describe().bytes)
    for _ in range(3):
        for file in tmp_path.iterdir():
            file.unlink()
        for _ in range(2):
            offer(keeping, 0.1)
            keeping.flush()
        assert len(list(tmp_path.iterdir())) == 2
    told = keeping.describe()
    assert told.bytes == sum(f.stat().st_size for f in tmp_path.iterdir())
    assert (told.windows, told.dropped, told.error) == (6, 0, "")


def test_large_windows_wait_by_their_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size = watch_windows(1)[0].nbytes
    keeping = opened(tmp_path, uncertain_below=1)
    monkeypatch.setattr(collection, "WAITING_BYTES", 3 * size)
    for _ in range(5):
        offer(keeping, 0.1)
    assert (keeping.describe().waiting, keeping.describe().dropped) == (3, 2)
    keeping.flush()
    monkeypatch.setattr(collection, "WAITING_BYTES", size - 1)
    for _ in range(2):  # one alone may be as large as it is
        offer(keeping, 0.1)
    assert (keeping.describe().waiting, keeping.describe().dropped) == (1, 3)


def test_full_disk_costs_windows_and_is_told_until_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeping = opened(tmp_path, uncertain_below=1)
    with monkeypatch.context() as full:

        def fsync(_handle: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        full.setattr(os, "fsync", fsync)
        offer(keeping, 0.1)
        keeping.flush()
    told = keeping.describe()
    assert (told.dropped, told.windows) == (1, 0)
    assert told.error.endswith("No space left on device")
    assert list(tmp_path.iterdir()) == []
    offer(keeping, 0.1)
    keeping.flush()
    told = keeping.describe()
    assert (told.dropped, told.windows, told.error) == (1, 1, "")


def test_windows_of_another_stream_go_into_a_file_of_their_own(tmp_path: Path) -> None:
    keeping = opened(tmp_path, uncertain_below=1)
    other = Stream(rate_hz=25.0, channels=STREAM.channels, window=50, hop=25)
    offer(keeping, 0.1)
    offer(keeping, 0.1, np.zeros((50, 6), np.float32), stream=other)
    keeping.flush()
    first, second = sorted(tmp_path.iterdir())
    assert len(read_recordings(first, STREAM)) == len(read_recordings(second, other)) == 1


def test_memory_is_bounded(tmp_path: Path) -> None:
    keeping = opened(tmp_path, uncertain_below=1)
    for _ in range(collection.MOST_WAITING + 5):
        offer(keeping, 0.1)
    assert keeping.describe().waiting == collection.MOST_WAITING
    assert keeping.describe().dropped == 5


def test_thread_writes_a_batch_at_once_and_the_rest_when_it_stops(tmp_path: Path) -> None:
    keeping = opened(tmp_path, uncertain_below=1)
    keeping.start()
    for _ in range(collection.BATCH + 3):
        offer(keeping, 0.1)
    keeping.stop()
    assert keeping.describe().windows == collection.BATCH + 3
    assert 1 <= len(list(tmp_path.iterdir())) <= 2


def test_windows_of_which_nothing_says_how_sure_they_are_are_not_unsure(tmp_path: Path) -> None:
    keeping = opened(tmp_path, uncertain_below=1)
    decision = Decision("normal", 0.01, [])
    keeping.offer("watch", STREAM, watch_windows(1)[0], decision, None, False)
    assert keeping.describe().waiting == 0


def test_what_a_power_cut_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".x.part").write_bytes(b"half")
    opened(tmp_path, uncertain_below=1)
    assert list(tmp_path.iterdir()) == []


def test_slot_offers_what_it_decided(tmp_path: Path) -> None:
    bench = Bench(loaded=echo(10, 10))
    keeping = opened(tmp_path, uncertain_below=50)
    bench.slot.keep = keeping.offer
    bench.push(100)  # the score of a window is its last sample
    bench.work()
    keeping.flush()
    recordings = read_recordings(next(tmp_path.iterdir()), None)
    assert [int(r.samples[-1, 0]) for r in recordings] == [9, 19, 29, 39, 49]


@given(
    per_minute=st.floats(0.01, 1000),
    steps=st.lists(st.floats(0, 30), min_size=1, max_size=100),
)
def test_no_more_pass_than_the_rate_allows(per_minute: float, steps: list[float]) -> None:
    rate, now, passed = Rate(per_minute), 0.0, 0
    for step in steps:
        now += step
        passed += rate.allow(now)
    assert 1 <= passed <= max(1.0, per_minute) + now * per_minute / 60 + 1e-6
