"""What the agent costs beside the model: windows a second, ours ÷ a bare loop's.

Both in one process and one run, in turns, on the same recording and the same onnxruntime session:
with one each, a large model's speed depends on which memory it was given, by a tenth. Ours is
``edge_agent.replay``: recording, ring, window, features, model, decision, encoded prediction. The
bare loop takes windows that are cut and prepared already, and calls the session's ``run`` on each;
where there are features, it works them out in plain NumPy, as a script would.

    python -m benchmarks.pipeline [--rounds N] [--only CASE] [--singly]

A replay runs up to 128 windows together, see ``edge_agent.batch``. With ``--singly`` they go one by
one, as a sensor's do: for that there is no bound.

Exits 1 where a ratio is below its bound, or ours waits. What counts is the process's CPU time:
other programs on the machine move it less than the clock. Ours is one thread that waits for
nothing: in half of the rounds at least, it must never give the processor away of its own accord.
The ratio is the median of those of neighbouring rounds: where others use the same cache and memory,
a model's speed drifts by a tenth within seconds, and medians of each side alone meet different such
times.
"""

import argparse
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from statistics import median

import msgspec
import numpy as np
import onnxruntime

from benchmarks.checks import Check, at_least, at_most, finish, tell
from benchmarks.models import (
    CHANNELS,
    MOTION,
    Float32Array,
    make_bundle,
    make_cnn,
    make_mlp,
    make_noise,
)
from edge_agent.batch import WINDOWS, count_together
from edge_agent.replay import Replay
from edge_agent.slot import Made
from edge_bundle import manifest as m
from edge_bundle.features.mel import Mel, dct_weights, mel_weights
from edge_bundle.features.steps import Dct, Mfcc, Spectrogram, Standardise, Statistics, Step
from edge_bundle.runtimes.onnx import OnnxModel
from edge_wire.messages import Prediction

TOLERANCE = 1e-3
Prepare = Callable[[Float32Array], Float32Array]
SOUND = m.Stream(16000.0, (m.Channel("sound", "1"),), 16000, 16000)
MFCC = Mfcc(480, 320, 512, "hann", 1, 40, 20.0, 4000.0, offset=1e-6, floor=1e-6, count=10)
STATISTICS = Statistics(
    ("mean", "std", "rms", "peak_to_peak", "min", "max", "median", "zero_crossings"), (25.0, 75.0)
)
MEANS, SCALES = (0.1,) * CHANNELS, (1.5,) * CHANNELS
MEAN, SCALE = np.array(MEANS, np.float32), np.array(SCALES, np.float32)


@dataclass(frozen=True)
class Case:
    """A model, its features in both ways, and how much of the bare loop's speed is asked for."""

    data: bytes
    bound: float | None
    windows: int
    """In a round, at least."""
    rounds: int
    """As many as find the ratio to a third of what is left to the bound, beside busy neighbours."""
    stream: m.Stream = MOTION
    steps: tuple[Step, ...] = ()
    prepare: Prepare | None = None
    """The features in plain NumPy; None: the model takes the window itself."""
    together: int = WINDOWS
    """Windows that the agent's path may run together."""


def plain_statistics(window: Float32Array) -> Float32Array:
    """Standardise six channels and return ten numbers of each."""
    x = (window - MEAN) / SCALE
    below = x < 0
    found = [
        x.mean(axis=0),
        x.std(axis=0),
        np.sqrt(np.square(x).mean(axis=0)),
        np.ptp(x, axis=0),
        x.min(axis=0),
        x.max(axis=0),
        np.median(x, axis=0),
        np.count_nonzero(below[1:] != below[:-1], axis=0),
        *np.percentile(x, STATISTICS.percentiles, axis=0),
    ]
    return np.stack(found, axis=1).astype(np.float32)


def plain_mfcc() -> Prepare:
    """Return what makes 49 frames of 10 coefficients of a second of sound."""
    taper = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(480) / 480)).astype(np.float32)
    spectra, bands, _log, cosines = MFCC.parts
    assert isinstance(spectra, Spectrogram)
    assert isinstance(bands, Mel)
    assert isinstance(cosines, Dct)
    mel = mel_weights(bands, spectra.after(SOUND.form)).astype(np.float32)
    dct = dct_weights(cosines, 40).astype(np.float32)

    def prepare(window: Float32Array) -> Float32Array:
        frames = np.lib.stride_tricks.sliding_window_view(window[:, 0], 480)[::320]
        magnitudes = np.abs(np.fft.rfft(frames * taper, 512)).astype(np.float32)
        result: Float32Array = np.log(magnitudes @ mel + np.float32(1e-6)) @ dct
        return result

    return prepare


def cases() -> dict[str, Callable[[], Case]]:
    """Return what can be measured, by name."""
    statistics = (Standardise(MEANS, SCALES), STATISTICS)
    return {
        "mlp_60us": lambda: Case(make_mlp((1600,)), 0.85, 1024, 81),
        "cnn_60us": lambda: Case(make_cnn((104, 136)), 0.85, 1024, 81),
        "mlp_1ms": lambda: Case(make_mlp((4096, 1536)), 0.99, 128, 301),
        "cnn_1ms": lambda: Case(make_cnn((96,) * 11, 1), 0.99, 128, 301),
        "cnn_2ms": lambda: Case(make_cnn((96,) * 18, 1), 0.99, 128, 121),
        "cnn_5ms": lambda: Case(make_cnn((128,) * 26, 1), 0.99, 128, 61),
        "features_statistics": lambda: Case(
            make_mlp((2600,), 10 * CHANNELS), 0.9, 256, 41, MOTION, statistics, plain_statistics
        ),
        "features_mfcc": lambda: Case(
            make_mlp((1500,), 490), 0.9, 60, 41, SOUND, (MFCC,), plain_mfcc()
        ),
    }


def run_bare(
    session: onnxruntime.InferenceSession, windows: list[Float32Array], prepare: Prepare | None
) -> None:
    """Run the bare loop over windows; those that need no features have the input's shape."""
    if prepare is None:
        for window in windows:
            session.run(None, {"x": window})
    else:
        for window in windows:
            session.run(None, {"x": prepare(window).reshape(1, -1)})


def run_ours(made: Iterator[Made], count: int) -> None:
    """Let the agent's path make so many predictions more."""
    for prediction in islice(made, count):
        if prediction.payload:
            count -= 1
    if count:
        raise SystemExit(f"{count} predictions are missing")


def check_answers(
    session: onnxruntime.InferenceSession,
    windows: list[Float32Array],
    prepare: Prepare | None,
    made: Iterator[Made],
) -> None:
    """Compare the next predictions with what the bare loop would give.

    Raises: SystemExit: one is another.
    """
    for window, prediction in zip(windows, islice(made, len(windows)), strict=True):
        (scores,) = session.run(None, {"x": prepare_plainly(window, prepare)})
        best = int(scores.argmax())
        label, score = read_answer(prediction.payload)
        if label != f"class{best}" or abs(score - scores[0, best]) > TOLERANCE:
            raise SystemExit(f"{label} {score}, expected class{best} {scores[0, best]}")


def prepare_plainly(window: Float32Array, prepare: Prepare | None) -> Float32Array:
    """Return what the bare loop gives the model, float32 [1, values]."""
    return (window if prepare is None else prepare(window)).reshape(1, -1)


def read_answer(payload: bytes) -> tuple[str, float]:
    """Return the best label and its score of an encoded prediction.

    Raises: SystemExit: it is none.
    """
    try:
        return msgspec.json.decode(payload, type=Prediction).top[0]
    except msgspec.DecodeError as error:
        raise SystemExit(f"{payload!r} is no prediction: {error}") from None


def spend(work: Callable[[], None]) -> tuple[float, int]:
    """Return the CPU time that something takes, and how often it waits."""
    waits, began = count_waits(), time.process_time()
    work()
    return time.process_time() - began, count_waits() - waits


def count_waits() -> int:
    """Return how often this process has given the processor away of its own accord."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw


def measure(name: str, case: Case) -> list[Check]:
    """Return the checks of one case: its ratio, and that ours does not wait."""
    window, hop = case.stream.window, case.stream.hop
    with tempfile.TemporaryDirectory() as folder:
        bundle = make_bundle(
            Path(folder), name.replace("_", "-"), case.data, case.steps, case.stream
        )
        # Whole batches, so that at the end of a round nothing is still on its way.
        together = count_together(bundle.manifest, case.together)
        count = -(-case.windows // together) * together
        # Two rounds more, before and behind those that count, of which the answers are compared.
        starts = range(0, (case.rounds + 2) * count * hop, hop)
        samples = make_noise(starts[-1] + window, len(case.stream.channels))
        windows = [samples[s : s + window].copy() for s in starts]
        recording = Path(folder) / "recording.npz"
        np.savez(recording, values=samples)
        replay = Replay(bundle.path, str(recording), together=case.together)
    taken = np.concatenate([prepare_plainly(w, case.prepare)[0] for w in windows[:3]])
    chain = replay.inference.chain
    assert chain is not None
    given = np.concatenate([chain.run(w).flatten() for w in windows[:3]])
    np.testing.assert_allclose(given, taken, rtol=1e-3, atol=1e-3)  # the same work
    model = replay.inference.model
    assert isinstance(model, OnnxModel)
    made = replay.run()

    bare_s, ours_s, waits = [], [], []
    parts = [windows[begin : begin + count] for begin in range(0, len(windows), count)]
    check_answers(model.session, parts[0], case.prepare, made)
    for number, part in enumerate(parts[1:-1]):
        ready = part if case.prepare else [w.reshape(1, -1) for w in part]
        bare = partial(run_bare, model.session, ready, case.prepare)
        ours = partial(run_ours, made, count)
        # Neither always finds what the other left behind.
        spent = {work: spend(work) for work in ((ours, bare) if number % 2 else (bare, ours))}
        bare_s.append(spent[bare][0])
        ours_s.append(spent[ours][0])
        waits.append(spent[ours][1])
    check_answers(model.session, parts[-1], case.prepare, made)
    bare_us, ours_us = (median(s) / count * 1e6 for s in (bare_s, ours_s))
    ratio = median(bare / ours for bare, ours in zip(bare_s, ours_s, strict=True))
    tell(
        f"{name:20} bare {bare_us:8.1f} µs, ours {ours_us:8.1f} µs a window, "
        f"ratio {ratio:.3f}" + (f", at least {case.bound}" if case.bound else "")
    )
    check = at_least(name, ratio, case.bound) | {
        "bare_us": round(bare_us, 1),
        "ours_us": round(ours_us, 1),
        "ratio_of_medians": round(bare_us / ours_us, 4),
    }
    return [check, at_most(f"{name}_waits", median(waits), 0.0)]


def main() -> None:
    """Measure, and print one JSON line."""
    known = cases()
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, help="in place of each case's own")
    parser.add_argument("--singly", action="store_true", help="run windows one by one")
    parser.add_argument("--only", choices=known, action="append")
    options = parser.parse_args()
    checks: list[Check] = []
    for name in options.only or known:
        case = known[name]()
        if options.rounds:
            case = replace(case, rounds=options.rounds)
        if options.singly:
            case = replace(case, bound=None, together=1)
        checks += measure(name, case)
    finish(checks)


if __name__ == "__main__":
    main()
