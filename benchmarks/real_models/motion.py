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
