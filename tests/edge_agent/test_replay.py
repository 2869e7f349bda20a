"""A bundle over recordings gives what the agent would, and what came of it in numbers."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from edge_agent.replay import Replay
from edge_bundle.errors import ModelRefused, RecordingRefused
from edge_bundle.inference import Inference
from edge_bundle.manifest import Channel
from edge_bundle.recording import read_recordings
from edge_bundle.window import window_starts
from tests.edge_agent.echo import echo, read
from tests.edge_bundle.bundles import (
    RECORDING,
    STREAM,
    write_small_bundle,
    write_watch_bundle,
)
from tests.edge_bundle.test_wav import make_wav

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_watch_bundle(tmp_path_factory.mktemp("bundle")).path


def edge_agent(*args: "str | Path") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edge_agent", *map(str, args)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_every_window_of_every_recording_is_predicted(bundle: Path) -> None:
    player = Replay(bundle, str(RECORDING))
    made = list(player.run())
    per_recording = len(window_starts(500, STREAM.window, STREAM.hop))
    assert [m.seq for m in made] == list(range(14 * per_recording))
    offsets = {m.start % 500 for m in made}
    assert offsets == set(window_starts(500, STREAM.window, STREAM.hop))
    assert {read(m).lost_samples for m in made} == {0}
    gaps = [read(m).seq for m in made if read(m).quality == "gap"]
    assert gaps == [per_recording * n for n in range(1, 14)]


def test_summary_counts_what_the_model_got_right(bundle: Path) -> None:
    player = Replay(bundle, str(RECORDING))
    made = list(player.run())
    summary = player.summary()
    opened = player._loaded
    inference = Inference.open(opened.bundle)
    right = [
        inference.decide(r.samples[s : s + STREAM.window]).label == r.label(s, s + STREAM.window)
        for r in read_recordings(RECORDING, STREAM)
        for s in window_starts(500, STREAM.window, STREAM.hop)
    ]
    assert summary.windows == summary.labelled_windows == len(made) == len(right)
    assert summary.accuracy == sum(right) / len(right)
    assert summary.windows_per_second > 0


def test_recording_without_labels_has_no_accuracy(bundle: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "r.npz", values=np.zeros((250, 6)))
    player = Replay(bundle, str(tmp_path / "r.npz"))
    assert len(list(player.run())) == 4
    summary = player.summary()
    assert (summary.windows, summary.labelled_windows, summary.accuracy) == (4, 0, None)


def test_model_that_fails_on_a_window_ends_the_replay(bundle: Path) -> None:
    player = Replay(bundle, str(RECORDING))
    working = player._loaded.inference.model
    failing = echo(600, 600, fails=lambda call: call > 2).inference.model

    class Failing:
        """The real model until the simulated one fails."""

        def __getattr__(self, name: str) -> Any:
            return getattr(working, name)

        def invoke(self) -> None:
            failing.invoke()
            working.invoke()

    player._loaded.inference.model = Failing()
    predictions = player.run()
    assert [next(predictions).seq, next(predictions).seq] == [0, 1]
    with pytest.raises(ModelRefused, match=r"\.bundle: the runtime failed$"):
        next(predictions)


def make_labelled(folder: Path, kind: str) -> str:
    """Write recordings of which each, or each piece of one, has its own label or none."""
    rng = np.random.default_rng(0)
    lengths = [260, 199, 730, 404]
    values = rng.normal(size=(sum(lengths), 6))
    file = folder / f"r.{kind}"
    if kind == "npz":
        names = ["PEN", "IDLE", "SCISSORS"]
        np.savez(file, values=values, lengths=lengths, y=[0, 1, -1, 2], y_labels=names)
        return str(file)
    # Labels change at windows' edges, one sample beside them, and within.
    labels = np.repeat(["PEN", "IDLE", "", "SCISSORS", "PEN"], [200, 151, 249, 300, 693])
    rows = (f"{','.join(map(str, v))},{label}\n" for v, label in zip(values, labels, strict=True))
    file.write_text("ax,ay,az,wx,wy,wz,label\n" + "".join(rows))
    return str(file)


@pytest.mark.parametrize("kind", ["npz", "csv"])
def test_windows_run_together_are_told_and_compared_as_one_by_one(
    bundle: Path, tmp_path: Path, kind: str
) -> None:
    recording = make_labelled(tmp_path, kind)
    said = []
    for together in (1, 5, 128):
        player = Replay(bundle, recording, together=together)
        made = list(player.run())
        summary = player.summary()
        told = [(m.seq, m.start, m.decision, read(m).quality) for m in made]
        said.append((told, summary.windows, summary.labelled_windows, summary.accuracy))
        list(player.run())  # once more
        again = player.summary()
        assert (again.windows, again.labelled_windows) == (len(made), summary.labelled_windows)
    assert said[0] == said[1] == said[2]
    starts, right = 0, 0
    inference = Inference.open(player._loaded.bundle)
    for r in read_recordings(recording, STREAM):
        for start in window_starts(len(r.samples), STREAM.window, STREAM.hop):
            label = r.label(start, start + STREAM.window)
            starts += label is not None
            window = r.samples[start : start + STREAM.window]
            right += label is not None and inference.decide(window).label == label
    assert 0 < starts < len(made)
    assert (summary.labelled_windows, summary.accuracy) == (starts, right / starts)


def test_windows_of_several_recordings_are_run_before_the_first_is_told(bundle: Path) -> None:
    player = Replay(bundle, str(RECORDING))
    runs: list[int] = []
    invoke = player.inference.model.invoke

    def count() -> None:
        runs.append(len(runs))
        invoke()

    player.inference.model.invoke = count  # type: ignore[method-assign]
    predictions = player.run()
    next(predictions)
    assert len(runs) == 14 * len(window_starts(500, STREAM.window, STREAM.hop))


def test_recording_that_ends_within_a_window_gives_the_whole_ones(
    bundle: Path, tmp_path: Path
) -> None:
    np.savez(tmp_path / "r.npz", values=np.zeros((2 * 199, 6)), lengths=[199, 199])
    made = list(Replay(bundle, str(tmp_path / "r.npz")).run())
    assert [m.start for m in made] == [0, 50, 199, 249]
    assert [read(m).quality for m in made] == ["ok", "ok", "gap", "ok"]


@pytest.mark.parametrize("hop", [10_000, 1 << 60])
def test_hop_longer_than_any_recording_takes_a_window_of_each(tmp_path: Path, hop: int) -> None:
    bundle = write_watch_bundle(tmp_path, stream=replace(STREAM, hop=hop)).path
    made = list(Replay(bundle, str(RECORDING)).run())
    assert [m.start for m in made] == [500 * n for n in range(14)]


def write_table(folder: Path, times: list[float]) -> str:
    rows = (f"{t:.3f},{n},{n},{n},{n},{n},{n}\n" for n, t in enumerate(times))
    (folder / "r.csv").write_text("time_s,ax,ay,az,wx,wy,wz\n" + "".join(rows))
    return str(folder / "r.csv")


def test_gap_in_a_recording_stays_one(bundle: Path, tmp_path: Path) -> None:
    times = [n / 50 + (0.3 if n >= 170 else 0) for n in range(400)]
    player = Replay(bundle, write_table(tmp_path, times))
    made = list(player.run())
    assert [m.start for m in made] == [0, 50, 170, 220, 270]
    told = [(read(m).lost_samples, read(m).quality) for m in made]
    assert told == [(0, "ok"), (0, "ok"), (15, "gap"), (0, "ok"), (0, "ok")]
    summary = player.summary()
    assert (summary.gaps, summary.lost_samples, summary.duplicates) == (1, 15, 0)


def test_loss_beside_a_run_too_short_to_be_resampled_is_counted_too(tmp_path: Path) -> None:
    stream = replace(STREAM, resample="polyphase")
    bundle = write_watch_bundle(tmp_path, stream=stream)
    # At 100 Hz: 600 samples, 40 lost, 30 that the filter gives nothing for, 60 lost, 600 more.
    there = [n for n in range(1330) if not (600 <= n < 640 or 670 <= n < 730)]
    player = Replay(bundle.path, write_table(tmp_path, [n / 100 for n in there]))
    made = list(player.run())
    assert player.summary().lost_samples == 50
    assert [read(m).lost_samples for m in made if read(m).quality == "gap"] == [50]


def test_clock_set_back_a_day_in_a_recording_is_a_break(bundle: Path, tmp_path: Path) -> None:
    times = [n / 50 - (86_400 if n >= 170 else 0) for n in range(400)]
    player = Replay(bundle, write_table(tmp_path, times))
    made = list(player.run())
    assert [m.start for m in made] == [0, 50, 170, 220, 270]
    assert [read(m).quality for m in made] == ["ok", "ok", "gap", "ok", "ok"]
    assert (player.summary().gaps, player.summary().lost_samples) == (1, 0)


def test_recording_of_another_rate_is_resampled_where_the_bundle_says_so(tmp_path: Path) -> None:
    bundle = write_watch_bundle(tmp_path, stream=replace(STREAM, resample="linear")).path
    times = [n / 55 for n in range(440)]
    made = list(Replay(bundle, write_table(tmp_path, times)).run())
    assert [m.start for m in made] == list(window_starts(400, 100, 50))
    other = write_watch_bundle(tmp_path / "strict").path
    with pytest.raises(RecordingRefused, match=r"54\.9987 Hz, the stream has 50 Hz"):
        Replay(other, write_table(tmp_path, times))


def test_sound_is_replayed_as_the_same_samples_of_a_npz(tmp_path: Path) -> None:
    channels = tuple(Channel(c.name, "1") for c in STREAM.channels)
    bundle = write_watch_bundle(tmp_path, stream=replace(STREAM, channels=channels)).path
    samples = read_recordings(f"{RECORDING}#3", STREAM)[0].samples
    wav = make_wav(samples.astype("<f4").tobytes(), 6, 50, 32, 3)
    (tmp_path / "r.wav").write_bytes(wav)
    np.savez(tmp_path / "r.npz", values=samples)
    sound, table = (
        [m.decision for m in Replay(bundle, str(tmp_path / name)).run()]
        for name in ("r.wav", "r.npz")
    )
    assert len(sound) == 9
    assert sound == table


# --- the command


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("r.wav", make_wav(b"\0" * 400, 1, 50, 16), "1 channels, the stream has 6: ax, ay"),
        ("r.wav", make_wav(b"\0" * 4800, 6, 8000, 16), "8000 Hz, the stream has 50 Hz"),
        ("r.wav", make_wav(b"\0" * 4800, 6, 50, 16)[:-12], "cut off: it says 4800 bytes"),
        ("r.wav", b"RIFF", "no WAV file"),
        (
            "r.csv",
            b"ax,ay,az,wx,wy,wz\n" + b"1,2,3,nan,5,6\n" * 200,
            "line 2, column wx: 'nan', ex",
        ),
    ],
)
def test_recording_that_does_not_fit_is_refused_in_one_line(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    channels = tuple(Channel(c.name, "1") for c in STREAM.channels)
    bundle = write_watch_bundle(tmp_path, stream=replace(STREAM, channels=channels)).path
    (tmp_path / name).write_bytes(content)
    done = edge_agent("replay", bundle, tmp_path / name)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith(f"edge-agent: {tmp_path / name}: ")
    assert done.stderr.count("\n") == 1
    assert message in done.stderr


def test_json_is_one_line_for_each_prediction_and_a_summary(bundle: Path) -> None:
    done = edge_agent("replay", bundle, f"{RECORDING}#0-1", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    *predictions, last = [json.loads(line) for line in done.stdout.splitlines()]
    assert [p["seq"] for p in predictions] == list(range(18))
    assert predictions[0].keys() >= {"v", "boot", "t", "model", "label", "top", "lat_ms"}
    assert last.keys() == {"summary"}
    assert last["summary"].keys() == {
        "windows",
        "labelled_windows",
        "accuracy",
        "seconds",
        "windows_per_second",
        "gaps",
        "lost_samples",
        "duplicates",
    }
    assert last["summary"]["windows"] == 18


def test_text_is_for_people(bundle: Path) -> None:
    done = edge_agent("replay", bundle, f"{RECORDING}#3")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("window      0  ")
    assert "9 windows, " in done.stdout
    assert "of 9 labelled windows right" in done.stdout


def test_csv_is_replayed(bundle: Path, tmp_path: Path) -> None:
    samples = read_recordings(f"{RECORDING}#0", STREAM)[0].samples[:150]
    rows = [",".join(str(v) for v in row) for row in samples.tolist()]
    (tmp_path / "r.csv").write_text("\n".join(["ax,ay,az,wx,wy,wz", *rows]))
    ours = [m.decision for m in Replay(bundle, str(tmp_path / "r.csv")).run()]
    assert ours == [m.decision for m in Replay(bundle, f"{RECORDING}#0").run()][:2]


def saved(folder: Path, **arrays: Any) -> Path:
    np.savez(folder / "r.npz", **arrays)
    return folder / "r.npz"


def test_bad_input_is_one_line_and_an_exit_code(bundle: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.bundle"
    text.write_text("no bundle at all")
    folders = [tmp_path / name for name in ("wide", "short", "nan", "rate", "small")]
    for folder in folders:
        folder.mkdir()
    wide, short, nan, rate, small = folders
    holed = np.zeros((200, 6))
    holed[17, 2] = np.nan
    unloadable = write_small_bundle(small).path
    cases: list[tuple[Path, Path | str, int, str]] = [
        (tmp_path / "gone.bundle", RECORDING, 2, "gone.bundle: No such file or directory"),
        (bundle, tmp_path / "gone.npz", 2, "gone.npz: no such recording"),
        (bundle, f"{RECORDING}#99", 2, "the file has recordings 0 to 13"),
        (text, RECORDING, 3, "text.bundle: not a whole bundle"),
        (tmp_path, RECORDING, 2, f"{tmp_path}: is a directory, expected a bundle\n"),
        (bundle, tmp_path, 2, f"{tmp_path}: is a directory, expected a recording\n"),
        (RECORDING, RECORDING, 3, "watch_example.npz: "),
        (unloadable, RECORDING, 3, "onnxruntime"),
        (bundle, saved(wide, values=np.zeros((200, 3))), 3, "3 channels, the stream has 6"),
        (bundle, saved(short, values=np.zeros((99, 6))), 3, "99 samples, one window needs 100"),
        (bundle, saved(nan, values=holed), 3, "sample 17, channel 2: nan, expected a finite"),
        (
            bundle,
            saved(rate, values=np.zeros((200, 6)), rate_hz=60.0),
            3,
            "60 Hz, the stream has 50 Hz",
        ),
    ]
    for given, recording, code, message in cases:
        done = edge_agent("replay", given, recording)
        assert message in done.stderr
        assert (done.returncode, done.stdout) == (code, "")
        assert done.stderr.startswith("edge-agent: ")
        assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_reader_that_goes_away_is_no_error(bundle: Path, options: list[str]) -> None:
    # More than a pipe holds.
    recordings = f"{RECORDING}#{','.join(['0-13'] * 40)}"
    command = " ".join(
        [f"'{sys.executable}' -m edge_agent replay '{bundle}' '{recordings}'", *options]
    )
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command} | head -n 2"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 2


def test_events_are_shown_between_the_windows_that_make_them(tmp_path: Path) -> None:
    word = ROOT / "examples" / "wake_word"
    command = [sys.executable, "-m", "convert", "pack", str(word / "hey_jarvis.tflite")]
    command += ["--spec", str(word / "stream.toml"), "--out", str(tmp_path), "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    told = edge_agent("replay", json.loads(done.stdout)["bundle"], word / "hey_jarvis.wav")
    lines = told.stdout.splitlines()
    assert lines[-4].startswith("window     29  hey_jarvis")
    assert lines[-3].split() == ["event", "new", "hey_jarvis", lines[-4].split()[-1]]
    assert lines[-2].split()[:3] == ["event", "end", "hey_jarvis"], "no window follows"
    assert lines[-1].startswith("30 windows, ")
