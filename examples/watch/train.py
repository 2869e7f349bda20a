"""Makes the two watch models anew: everything that decides their weights is in this file.

Both see one window, 100 samples of 6 channels (2 s at 50 Hz), flattened sample after sample
(ax ay az wx wy wz of the first sample, then of the second), and tell seven exercises apart.
They learn from subjects 1-5 of seglearn's data and are tested on subjects 6-7. Version 2's recipe
was chosen by leaving out one of subjects 1-5 at a time (``--cross-validate``), not on 6-7; subjects
8-10 are not touched.
"""

import argparse
import hashlib
import io
import json
import sys
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Float32Array = npt.NDArray[np.float32]
Int64Array = npt.NDArray[np.int64]

DATASET_SHA256 = "eb122f23cdf06ef6bd6c6c5312958ec5cf9d038e2e6d457b8081662c75a42537"
INSTALL_DATASET = "pip install --no-deps seglearn==1.2.5"
LIBRARIES = {"sklearn": "scikit-learn", "skl2onnx": "skl2onnx", "onnxruntime": "onnxruntime"}
"""Top package and the name that pip knows it by."""

LABELS = ["PEN", "ABD", "FEL", "IR", "ER", "TRAP", "ROW"]
CHANNELS = ["ax", "ay", "az", "wx", "wy", "wz"]
WINDOW = 100
HOP = 50
TRAIN_SUBJECTS = (1, 2, 3, 4, 5)
TEST_SUBJECTS = (6, 7)

WEIGHT_DECAY = 1.0
OPSET = 15
"""IR version 8 follows from it; old runtimes load both."""
BLAS_THREADS = 2
"""Fixed, because sums in another order are other weights; the committed files were made with 2."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one version is trained."""

    file: str
    hidden: int
    seed: int
    max_epochs: int
    stop_early: bool
    """Hold back a tenth of the windows and stop when they no longer come out better."""
    copies: int
    """Altered windows added for each window; 0 for none."""
    rotation_rad: float = 0.0
    """Standard deviation of the turn about a random axis: no two wear a watch alike."""
    scale: float = 0.0
    """Standard deviation of the logarithm of the amplitude."""
    tempo: float = 0.0
    """Standard deviation of the logarithm of the speed of movement."""


# Early stopping is off where there are copies: a window and its copies would lie on both sides of
# the split.
RECIPES = (
    Recipe("watch_mlp.onnx", hidden=24, seed=0, max_epochs=300, stop_early=True, copies=0),
    Recipe("watch_mlp_v2.onnx", hidden=40, seed=1, max_epochs=30, stop_early=False, copies=30,
           rotation_rad=0.4, scale=0.2, tempo=0.3),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Recording:
    """One set of repetitions of one exercise."""

    samples: Float32Array
    """float32 [n_samples, 6], 50 Hz."""
    label: int
    """Index into ``LABELS``."""
    subject: int


class UsageError(Exception):
    """Something that the caller can put right; its text is one line."""


def locate_dataset() -> Path:
    """Return the path of the installed seglearn's data.

    The package is located, never imported: importing it needs pandas, which it does not declare.
    """
    spec = find_spec("seglearn")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder) / "data" / "watch_dataset.npy"
        if path.is_file():
            return path
    raise UsageError(f"seglearn's data is not installed: {INSTALL_DATASET} (or name it by --data)")


def read_dataset(path: Path) -> list[Recording]:
    """Read the recordings of the subjects trained and tested on.

    The file is a pickle, and unpickling runs what it says: the bytes that are hashed are the bytes
    that are unpickled, and no others ever are.

    Raises: UsageError: unreadable, or not the very file that this script was written for.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    found = hashlib.sha256(raw).hexdigest()
    if found != DATASET_SHA256:
        raise UsageError(f"{path}: refused unread: sha256 is {found}, expected {DATASET_SHA256}")
    data = np.load(io.BytesIO(raw), allow_pickle=True).item()
    if data["y_labels"] != LABELS or data["X_labels"] != CHANNELS:
        raise UsageError(f"{path}: labels or channels are not in the expected order")
    return [
        Recording(samples.astype(np.float32), int(label), int(subject))
        for samples, label, subject in zip(data["X"], data["y"], data["subject"], strict=True)
        if subject in TRAIN_SUBJECTS + TEST_SUBJECTS
    ]


def of_subjects(recordings: Iterable[Recording], subjects: Iterable[int]) -> list[Recording]:
    wanted = set(subjects)
    return [recording for recording in recordings if recording.subject in wanted]


def cut_windows(recordings: Iterable[Recording]) -> tuple[Float32Array, Int64Array]:
    """Cut recordings into windows that overlap by half.

    Returns: float32 [n, 100, 6] and int64 [n], the label of each.
    """
    windows: list[Float32Array] = []
    labels: list[int] = []
    for recording in recordings:
        for start in range(0, len(recording.samples) - WINDOW + 1, HOP):
            windows.append(recording.samples[start : start + WINDOW])
            labels.append(recording.label)
    return np.stack(windows), np.array(labels, np.int64)


def flatten(windows: Float32Array) -> Float32Array:
    """Return what the models take: [n, 100, 6] as [n, 600], sample after sample."""
    return windows.reshape(len(windows), -1)


def draw_rotations(rng: np.random.Generator, count: int, spread_rad: float) -> Float32Array:
    """Return rotation matrices about random axes.

    Returns: float32 [count, 3, 3], orthonormal.
    Source: Rodrigues' formula, R = I + sin(t) K + (1 - cos(t)) K^2.
    """
    axes = rng.normal(size=(count, 3))
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    angles = rng.normal(0, spread_rad, count)[:, None, None]
    cross = np.zeros((count, 3, 3))
    cross[:, [2, 0, 1], [1, 2, 0]] = axes
    cross[:, [1, 2, 0], [2, 0, 1]] = -axes
    turns = np.eye(3) + np.sin(angles) * cross + (1 - np.cos(angles)) * (cross @ cross)
    return turns.astype(np.float32)


def alter(recording: Recording, recipe: Recipe, rng: np.random.Generator) -> Float32Array:
    """Return windows of the recording from anywhere in it, as another person might have moved.

    Returns: float32 [copies * windows, 100, 6].
    """
    samples = recording.samples
    last = len(samples) - 1
    count = recipe.copies * (1 + (len(samples) - WINDOW) // HOP)
    starts = rng.uniform(0, 1, count)
    tempo = np.exp(rng.normal(0, recipe.tempo, count))
    # A faster window spans more of the recording than 2 s: never more than there is.
    tempo = np.minimum(tempo, last / (WINDOW - 0.5))
    at = (starts * (last - (WINDOW - 1) * tempo))[:, None] + tempo[:, None] * np.arange(WINDOW)
    before = np.minimum(at.astype(np.int64), last - 1)
    part = (at - before).astype(np.float32)[..., None]
    windows = samples[before] * (1 - part) + samples[before + 1] * part
    # Who moves faster also turns faster; gravity, the most of the accelerometer's signal, stays.
    windows[..., 3:] *= tempo.astype(np.float32)[:, None, None]
    turns = draw_rotations(rng, count, recipe.rotation_rad)
    windows = np.concatenate([windows[..., :3] @ turns, windows[..., 3:] @ turns], axis=2)
    scale = np.exp(rng.normal(0, recipe.scale, (count, 1, 1)))
    altered: Float32Array = windows * scale.astype(np.float32)
    return altered


def train(recipe: Recipe, recordings: Sequence[Recording]) -> Any:
    """Fit scaler and network; the same recordings give the same weights on one machine.

    Returns: a fitted scikit-learn pipeline that takes float32 [n, 600].
    """
    # By name, so that this file can be imported, and type checked, where they are not installed.
    networks = import_module("sklearn.neural_network")
    scaling = import_module("sklearn.preprocessing")
    pipelines = import_module("sklearn.pipeline")
    not_converged = import_module("sklearn.exceptions").ConvergenceWarning
    limit_threads = import_module("threadpoolctl").threadpool_limits

    windows, labels = cut_windows(recordings)
    if recipe.copies:
        rng = np.random.default_rng(recipe.seed)
        copies = [alter(recording, recipe, rng) for recording in recordings]
        windows = np.concatenate([windows, *copies])
        of_copies = [np.full(len(c), r.label) for c, r in zip(copies, recordings, strict=True)]
        labels = np.concatenate([labels, *of_copies])
    pipeline = pipelines.make_pipeline(
        scaling.StandardScaler(),
        networks.MLPClassifier(
            (recipe.hidden,),
            alpha=WEIGHT_DECAY,
            max_iter=recipe.max_epochs,
            early_stopping=recipe.stop_early,
            random_state=recipe.seed,
        ),
    )
    with warnings.catch_warnings(), limit_threads(BLAS_THREADS):
        # A recipe without early stopping means to end before it has learnt the windows by heart.
        warnings.simplefilter("ignore", not_converged)
        pipeline.fit(flatten(windows), labels)
    return pipeline


def export(pipeline: Any) -> bytes:
    """Return the ONNX file of a fitted pipeline: ``X`` to ``label`` and ``probabilities``."""
    example = np.zeros((1, WINDOW * len(CHANNELS)), np.float32)
    # Not `convert_sklearn`: it draws a new name for the graph each time, so the bytes would differ.
    to_onnx = import_module("skl2onnx").to_onnx
    model = to_onnx(pipeline, example, options={"zipmap": False}, target_opset=OPSET)
    raw: bytes = model.SerializeToString()
    return raw


def count_correct(model: bytes, windows: Float32Array, labels: Int64Array) -> int:
    """Count windows labelled rightly by the exported file, which is what a device runs."""
    session = import_module("onnxruntime").InferenceSession(
        model, providers=["CPUExecutionProvider"]
    )
    (found,) = session.run(["label"], {"X": flatten(windows)})
    return int((found == labels).sum())


def cross_validate(recipe: Recipe, recordings: Sequence[Recording]) -> float:
    """Return the share of windows labelled rightly when each training subject is left out once."""
    right = total = 0
    for left_out in TRAIN_SUBJECTS:
        others = [subject for subject in TRAIN_SUBJECTS if subject != left_out]
        model = export(train(recipe, of_subjects(recordings, others)))
        windows, labels = cut_windows(of_subjects(recordings, [left_out]))
        right += count_correct(model, windows, labels)
        total += len(labels)
    return right / total


def make_models(recordings: Sequence[Recording], out: Path, *, crossed: bool) -> dict[str, Any]:
    """Train, export, write and measure every version; return the report."""
    taught = of_subjects(recordings, TRAIN_SUBJECTS)
    windows, labels = cut_windows(of_subjects(recordings, TEST_SUBJECTS))
    out.mkdir(parents=True, exist_ok=True)
    models: list[dict[str, Any]] = []
    for recipe in RECIPES:
        print(f"training {recipe.file}", file=sys.stderr)
        raw = export(train(recipe, taught))
        (out / recipe.file).write_bytes(raw)
        right = count_correct(raw, windows, labels)
        row: dict[str, Any] = {
            "file": recipe.file,
            "bytes": len(raw),
            "sha256": hashlib.sha256(raw).hexdigest(),
            "correct": right,
            "accuracy": right / len(labels),
        }
        if crossed:
            row["cross_validated"] = cross_validate(recipe, recordings)
        models.append(row)
    return {
        "dataset_sha256": DATASET_SHA256,
        "trained_on_subjects": TRAIN_SUBJECTS,
        "tested_on_subjects": TEST_SUBJECTS,
        "tested_windows": len(labels),
        "models": models,
    }


def format_table(report: dict[str, Any]) -> str:
    lines = [f"{'model':<18} {'bytes':>7}  trained on    subjects 6-7, windows right"]
    for row in report["models"]:
        share = f"{row['accuracy']:.3f} ({row['correct']} of {report['tested_windows']})"
        crossed = row.get("cross_validated")
        more = "" if crossed is None else f"  left-out subjects of 1-5: {crossed:.3f}"
        lines.append(f"{row['file']:<18} {row['bytes']:>7}  subjects 1-5  {share}{more}")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Return 0, or 2 after one line on stderr that says what to put right."""
    parser = argparse.ArgumentParser(description="Make the two watch models anew.")
    parser.add_argument("--out", type=Path, required=True, help="folder for the models")
    parser.add_argument("--data", type=Path, help="watch_dataset.npy; default: seglearn's own")
    parser.add_argument("--cross-validate", action="store_true", help="also leave out each of 1-5")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    options = parser.parse_args(argv)
    try:
        recordings = read_dataset(options.data or locate_dataset())
        missing = [name for package, name in LIBRARIES.items() if find_spec(package) is None]
        if missing:
            raise UsageError(f"not installed: pip install {' '.join(missing)}")
        report = make_models(recordings, options.out, crossed=options.cross_validate)
    except UsageError as error:
        print(f"train: {error}", file=sys.stderr)
        return 2
    print(json.dumps(report) if options.json else format_table(report))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
