"""Windows are cut from recordings as a device cuts its stream."""

from pathlib import Path

import numpy as np
import pytest

from convert.given.windows import cut_windows, run_features, spread
from edge_bundle.errors import ConfigError, RecordingRefused
from edge_bundle.features.steps import Standardise
from tests.edge_bundle.bundles import LABELS, RECORDING, STREAM


def test_windows_overlap_as_the_stream_says() -> None:
    cut = cut_windows(f"{RECORDING}#0", STREAM)
    assert all(window.shape == (100, 6) for window, _ in cut)
    np.testing.assert_array_equal(cut[0][0][50:], cut[1][0][:50])


def test_windows_carry_the_label_of_their_recording() -> None:
    cut = cut_windows(str(RECORDING), STREAM)
    assert {label for _, label in cut} == set(LABELS)
    assert len(cut) == len(cut_windows(f"{RECORDING}#0-6", STREAM)) + len(
        cut_windows(f"{RECORDING}#7-13", STREAM)
    )


def test_window_that_two_labels_share_has_none(tmp_path: Path) -> None:
    file = tmp_path / "two.csv"
    names = [c.name for c in STREAM.channels]
    rows = [",".join([*names, "label"])]
    rows += [",".join([*["0.5"] * 6, "PEN" if i < 150 else "ABD"]) for i in range(300)]
    file.write_text("\n".join(rows))
    assert [label for _, label in cut_windows(str(file), STREAM)] == [
        *("PEN", "PEN", None, "ABD", "ABD")
    ]


def test_missing_recording_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.npz: no such recording"):
        cut_windows(str(tmp_path / "none.npz"), STREAM)


def test_short_recording_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "short.npz", values=np.zeros((99, 6), np.float32))
    with pytest.raises(RecordingRefused, match="99 samples, one window needs 100"):
        cut_windows(str(tmp_path / "short.npz"), STREAM)


def test_features_of_each_window_stay_its_own() -> None:
    windows = [np.full((100, 6), value, np.float32) for value in (1.0, 2.0, 3.0)]
    step = Standardise(mean=(1.0,) * 6, std=(2.0,) * 6)
    found = run_features(windows, [step], STREAM)
    assert [float(f.min()) for f in found] == [0.0, 0.5, 1.0]
    assert run_features([], [step], STREAM) == []


@pytest.mark.parametrize(("count", "most"), [(5, 8), (8, 8), (100, 8), (9, 8), (100, 1)])
def test_spread_takes_the_numbers_evenly(count: int, most: int) -> None:
    found = spread(count, most)
    assert len(found) == len(set(found)) == min(count, most)
    assert found == sorted(found)
    assert found[0] == 0
    if most > 1:
        assert found[-1] == count - 1
        gaps = np.diff(found)
        assert gaps.max() - gaps.min() <= 1
