"""The models that are converted, what they are judged by, and the bounds that they must keep."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.conversion.child import ROOT
from benchmarks.conversion.files import read_files
from benchmarks.conversion.judge import Metric
from benchmarks.conversion.metrics import accuracy, agreement, frame_f1
from benchmarks.conversion.music import read_music
from benchmarks.conversion.samples import Data, Samples, read_activities, read_labelled
from convert.given.spec import read_spec
from convert.given.windows import cut_windows
from edge_bundle.decision.rules import Classification

WATCH = ROOT / "examples" / "watch"
WATCH_RECORDINGS = f"{WATCH / 'watch_example.npz'}#0-6", f"{WATCH / 'watch_example.npz'}#7-13"


@dataclass(frozen=True, slots=True)
class Bound:
    """One figure and what it may be."""

    figure: str
    least: float | None = None
    most: float | None = None
    required: bool = True
    """False: where the model has no such figure, nothing is checked."""

    def keeps(self, value: float) -> bool:
        """Tell whether a value is within."""
        return (self.least is None or value >= self.least) and (
            self.most is None or value <= self.most
        )


@dataclass(frozen=True, slots=True)
class Case:
    """One model."""

    name: str
    model: str
    """Path in the data folder; of the watch, in the repository."""
    read: Callable[[Path], Data]
    """From the data folder, as the model takes them."""
    metric: Metric
    max_drop: str
    bounds: tuple[Bound, ...]
    peer_tflite: str = ""
    """The same float model as TFLite by somebody else, for peers that take that; else they get
    ours. MLPerf's fp32 keyword spotting has int8 weights, so it is not named here."""
    tflite: bool = True
    """False: that it converts is not asked for."""
    recordings: tuple[str, str] | None = None
    """What ``build`` is given instead of the arrays: recordings, with a spec."""
    spec: Path | None = None

    def source(self, data: Path) -> Path:
        """Return the model file's path."""
        return WATCH / self.model if self.spec else data / self.model


def read_watch(_data: Path) -> Data:
    """Cut the example's windows as a device cuts them, flat as its model takes them."""
    spec = read_spec(WATCH / "stream.toml").spec
    assert spec.stream is not None
    assert isinstance(spec.decision, Classification)
    sets = []
    for recordings in WATCH_RECORDINGS:
        cuts = [(w, label) for w, label in cut_windows(recordings, spec.stream) if label]
        x = np.stack([window.reshape(-1) for window, _ in cuts])
        y = np.asarray([spec.decision.labels.index(label) for _, label in cuts], np.int64)
        sets.append(Samples(x, y))
    return Data(*sets)


PAIR = (Bound("arg_max_agreement", least=0.995), Bound("tflite_float_error", most=1e-4))
PAIR_IF = tuple(Bound(b.figure, b.least, b.most, required=False) for b in PAIR)
EVALUATIONS = Bound("evaluations", most=7)
SAME_AGAIN = Bound("same_bytes_again", least=1)

CASES = {
    case.name: case
    for case in (
        Case(
            "kws",
            "convert/kws.onnx",
            lambda data: read_labelled(data / "convert/kws.npz"),
            accuracy,
            "0.5pp",
            (
                Bound("accuracy", least=0.915),
                Bound("bytes", most=46_000),
                Bound("latency_ratio", most=1.0),
                Bound("build_peak_bytes", most=1e9),
                Bound("build_seconds", most=60),
                EVALUATIONS,
                SAME_AGAIN,
                *PAIR,
            ),
        ),
        Case(
            "resnet8",
            "convert/resnet8.onnx",
            lambda data: read_labelled(data / "convert/resnet8.npz"),
            accuracy,
            "0.5pp",
            (
                Bound("drop", most=0.005),
                Bound("bytes", most=99_000),
                Bound("latency_ratio", most=1.0),
                EVALUATIONS,
                *PAIR,
            ),
            peer_tflite="models/mlperf_tiny/ic_resnet8_fp32.tflite",
        ),
        Case(
            "magika",
            "models/version_pairs/magika/v3_2.onnx",
            lambda _data: read_files(),
            agreement,
            "0.3pp",
            (
                Bound("agreement", least=0.997),
                Bound("bytes", most=830_000),
                Bound("latency_ratio", most=0.45),
                EVALUATIONS,
                SAME_AGAIN,
                *PAIR_IF,
            ),
            tflite=False,
        ),
        Case(
            "basic-pitch",
            "models/basic_pitch/nmp.onnx",
            lambda data: read_music(data / "data"),
            frame_f1,
            "1.5pp",
            (
                Bound("f1", least=0.985),
                Bound("valid_graph", least=1),
                Bound("claim_error", most=0.005),
                EVALUATIONS,
                PAIR_IF[1],
            ),
            tflite=False,
        ),
        Case(
            "har",
            "models/version_pairs/har_mlp/har_mlp_v2.onnx",
            lambda data: read_activities(data / "data/imu_geotec"),
            accuracy,
            "1pp",
            (Bound("drop", most=0.01), EVALUATIONS, SAME_AGAIN, *PAIR),
        ),
        Case(
            "watch",
            "watch_mlp.onnx",
            read_watch,
            accuracy,
            "1pp",
            (Bound("drop", most=0.01), EVALUATIONS, SAME_AGAIN, *PAIR),
            recordings=WATCH_RECORDINGS,
            spec=WATCH / "stream.toml",
        ),
    )
}
