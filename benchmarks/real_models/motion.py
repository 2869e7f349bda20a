"""Gestures, activities and exercises, from recordings of accelerometers and gyroscopes."""

import numpy as np

from benchmarks.real_models.bench import ROOT, Bench, play
from edge_bundle.recording import read_recordings

HAR = {
    "v1": 0.919,
    "v2": 0.956,
    "v3": 0.956,
    "v4": 0.943,
    "v1_int8": 0.926,
    "v2_int8": 0.956,
    "v3_int8": 0.956,
    "v4_int8": 0.946,
}
"""On people whom no version was trained on, s08 and s09."""
CUT = 50
"""Samples cut out of the middle of a recording: half a second."""
SHARE = 0.75
"""Of a window's samples that must have one label, for the window to be judged by it."""
UNSEEN = (6, 7)
"""Subjects of imu_watch that the model was not trained on."""


def magic_wand(bench: Bench) -> None:
    """Compare both gestures."""
    bundle = bench.pack(bench.models / "tflm/magic_wand.tflite", "magic_wand.toml")
    for gesture, score in (("ring", 0.80), ("slope", 0.95)):
        (made,) = play(bundle, bench.recordings / f"imu_magic_wand/{gesture}.csv").made
        right = made.decision.label == gesture
        name = f"magic_wand: {gesture}"
        bench.near(name, made.decision.score if right else 0.0, score, 0.005)


def imu_clocks(bench: Bench) -> None:
    """Compare what is told of the clocks of phones and watches, and of a gap cut into each file.

    Their steps of up to 154 ms at 100 Hz are made up for by bursts: nothing is missing.
    """
    files = sorted((bench.recordings / "imu_geotec").glob("s*/*.csv"))
    twice = same = lost = 0
    found = []
    for file in files:
        header, *rows = file.read_text().splitlines()
        at = header.split(",").index("timestamp")
        times_ms = np.array([float(row.split(",")[at]) for row in rows])
        same += int((np.diff(times_ms) == 0).sum())
        (whole,) = read_recordings(str(file), None)
        twice += whole.timing.duplicates
        lost += whole.timing.lost
        middle, gapped = len(rows) // 2, bench.folder / "gapped.csv"
        gapped.write_text("\n".join([header, *rows[:middle], *rows[middle + CUT :]]))
        found.append(read_recordings(str(gapped), None)[0].timing.lost)
    bench.near(f"imu_geotec: stamps twice in {len(files)} files", twice, same, 0)
    bench.near("imu_geotec: samples lost", lost, 0, 0)
    bench.near(f"imu_geotec: lost where {CUT} were cut, least", min(found), CUT, 1)
    bench.near(f"imu_geotec: lost where {CUT} were cut, most", max(found), CUT, 1)


def har_mlp(bench: Bench) -> None:
    """Compare the accuracy of every version, float and int8."""
    folder = bench.recordings / "imu_geotec"
    files = sorted(file for who in ("s08", "s09") for file in (folder / who).glob("*.csv"))
    labelled = {file: read_recordings(file, None)[0] for file in files}
    for version, wanted in HAR.items():
        model = bench.models / f"version_pairs/har_mlp/har_mlp_{version}.onnx"
        bundle = bench.pack(model, "har_mlp.toml")
        right = []
        for file, recording in labelled.items():
            for made in play(bundle, file).made:
                counts = np.bincount(recording.codes[made.start :][:128])
                if counts.max() >= SHARE * 128:
                    label = recording.labels[int(counts.argmax())]
                    right.append(made.decision.label == label)
        name = f"har_mlp {version}: accuracy of {len(right)} windows"
        bench.near(name, float(np.mean(right)), wanted, 0.003)


def watch_mlp(bench: Bench) -> None:
    """Compare the accuracy on people whom the model has not seen."""
    file = bench.recordings / "imu_watch/watch_dev_subjects1-7.npz"
    with np.load(file) as arrays:
        unseen = np.flatnonzero(np.isin(arrays["subject"], UNSEEN)).tolist()
    bundle = bench.pack(
        bench.models / "watch_mlp/watch_mlp.onnx", ROOT / "examples/watch/stream.toml"
    )
    summary = play(bundle, f"{file}#{','.join(map(str, unseen))}").summary
    name = f"watch_mlp: accuracy of {summary.labelled_windows} windows"
    bench.near(name, summary.accuracy or 0.0, 0.747, 0.003)
