"""Windows are cut from recordings as a device cuts its stream."""

from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from convert.given.windows import cut_windows, run_features, spread
from edge_bundle.errors import ConfigError, RecordingRefused
from edge_bundle.features.steps import Standardise
from edge_bundle.manifest import Channel
from edge_bundle.resampling import make_resampler
from tests.edge_bundle.bundles import LABELS, RECORDING, STREAM
from tests.edge_bundle.test_wav import make_wav


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


def test_no_window_spans_a_gap(tmp_path: Path) -> None:
    file = tmp_path / "gap.csv"
    rows = [",".join(["time_s", *(c.name for c in STREAM.channels)])]
    rows += [f"{i / 50 + (i >= 130)}{f',{i}' * 6}" for i in range(300)]
    file.write_text("\n".join(rows))
    firsts = [float(window[0, 0]) for window, _ in cut_windows(str(file), STREAM)]
    assert firsts == [0, 130, 180]


def test_recording_of_another_rate_is_cut_as_a_device_would_resample_it(tmp_path: Path) -> None:
    stream = replace(STREAM, resample="polyphase")
    samples = np.random.default_rng(0).normal(size=(900, 6)).astype(np.float32)
    np.savez(tmp_path / "r.npz", values=samples, rate_hz=100.0)
    resampled = make_resampler("polyphase", 100.0, 50.0, 6).push(samples)
    cut = cut_windows(str(tmp_path / "r.npz"), stream)
    assert len(cut) == (len(resampled) - 100) // 50 + 1
    for n, (window, _) in enumerate(cut):
        np.testing.assert_array_equal(window, resampled[n * 50 : n * 50 + 100])


def test_sound_is_cut_into_windows(tmp_path: Path) -> None:
    stream = replace(STREAM, channels=(Channel("mic", "int16"),))
    codes = np.arange(250, dtype="<i2")
    (tmp_path / "r.wav").write_bytes(make_wav(codes.tobytes(), 1, 50, 16))
    cut = cut_windows(str(tmp_path / "r.wav"), stream)
    assert [(float(w[0, 0]), float(w[-1, 0])) for w, _ in cut] == [
        (0, 99),
        (50, 149),
        (100, 199),
        (150, 249),
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
