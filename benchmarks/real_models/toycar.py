"""MLPerf Tiny's autoencoder of a toy car's sound, against librosa and a bare runtime.

There is no toy car's sound here. So the score is compared, window by window, with one worked out
independently, and the threshold shown to tell steady noise from speech: both are strange to the
model, speech more so. How well it finds a broken toy car this does not say.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.real_models.bench import Bench, Played, play

Float64Array = npt.NDArray[np.float64]
NOISE, TALK = "audio_speech/noise_1000ms.wav", "audio_vad/sample.wav"
LARGEST = {"fp32": 1e-4, "int8": 0.01}
"""Difference of a score, relative: of int8, a value that rounds to the next code."""


def toycar(bench: Bench) -> None:
    """Compare scores, and see what lies on which side of the threshold."""
    for kind, largest in LARGEST.items():
        model = bench.models / f"mlperf_tiny/ad_toycar_{kind}.tflite"
        bundle = bench.pack(model, "toycar.toml")
        noise, talk = (play(bundle, bench.recordings / sound) for sound in (NOISE, TALK))
        for name, sound, played in (("noise", NOISE, noise), ("talk", TALK, talk)):
            reference = reference_scores(model, bench.recordings / sound)
            off = float(np.max(np.abs(np.asarray(played.scores) / reference - 1)))
            bench.most(f"toycar {kind}: {name}, scores off", off, largest)
        bench.most(f"toycar {kind}: noise is anomaly", share(noise), 0.0)
        bench.least(f"toycar {kind}: talk is anomaly", share(talk), 0.99)


def share(played: Played) -> float:
    """Return the share of windows that are an anomaly."""
    return float(np.mean([m.decision.label == "anomaly" for m in played.made]))


def reference_scores(model: Path, sound: Path) -> Float64Array:
    """Return the scores of every window, [windows], without any code of ours.

    Source: mlcommons/tiny, anomaly detection's common.py and 03_tflite_test.py; frames without
    padding.
    """
    import librosa
    from ai_edge_litert.interpreter import Interpreter

    samples, rate_hz = librosa.load(sound, sr=None)
    mel = librosa.feature.melspectrogram(
        y=samples, sr=rate_hz, n_fft=1024, hop_length=512, n_mels=128, power=2.0, center=False
    )
    decibels = 20.0 / 2.0 * np.log10(mel + np.finfo(float).eps)
    count = decibels.shape[1] - 4
    vectors = np.concatenate([decibels[:, i : i + count] for i in range(5)]).T.astype(np.float32)
    interpreter = Interpreter(str(model))
    interpreter.allocate_tensors()
    given, taken = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    scores = []
    for vector in vectors:
        codes = vector
        if given["dtype"] == np.int8:
            scale, zero = given["quantization"]
            codes = np.clip(np.round(vector / scale) + zero, -128, 127).astype(np.int8)
        interpreter.set_tensor(given["index"], codes[None])
        interpreter.invoke()
        answer = interpreter.get_tensor(taken["index"])[0].astype(np.float64)
        if taken["dtype"] == np.int8:
            scale, zero = taken["quantization"]
            answer = (answer - zero) * scale
        scores.append(np.mean((vector - answer) ** 2))
    return np.asarray(scores)
