"""Keywords of MLPerf Tiny and micro_speech on clips of Speech Commands; speech by Silero VAD."""

import numpy as np
import numpy.typing as npt

from benchmarks.real_models.bench import Bench, play

KWS: dict[str, dict[str, tuple[str, float | None]]] = {
    "int8": {"yes": ("yes", 0.996), "marvin": ("unknown", 0.996), "no": ("go", 0.85)},
    "fp32": {"yes": ("yes", None), "marvin": ("unknown", None), "no": ("go", 0.95)},
}
"""By word that is said: what the model hears, and its score where one is known; else it is high.
Go for no is its own error."""
HIGH = 0.99
CLIPS = {"yes": "yes_1000ms.wav", "no": "no_1000ms.wav", "marvin": "marvin_617de221_0.wav#0"}
SILERO = {"6.0.0": 0.946, "6.2.0": 0.982}
RATE_HZ = 16000
BEHIND = 64
"""Samples at the beginning of a window that the one before has ended with."""


def kws(bench: Bench) -> None:
    """Compare decisions and scores of the int8 and the float model."""
    for kind, wanted in KWS.items():
        bundle = bench.pack(bench.models / f"mlperf_tiny/kws_dscnn_{kind}.tflite", "kws.toml")
        for word, (label, score) in wanted.items():
            (made,) = play(bundle, f"{bench.recordings}/audio_speech/{CLIPS[word]}").made
            right = made.decision.label == label
            name = f"kws {kind}: {word} is {label}"
            found = made.decision.score if right else 0.0
            if score is None:
                bench.least(name, found, HIGH)
            else:
                bench.near(name, found, score, 0.005)


def micro_speech(bench: Bench) -> None:
    """Compare yes and no."""
    bundle = bench.pack(bench.models / "tflm/micro_speech_quantized.tflite", "micro_speech.toml")
    for word, score in (("yes", 0.996), ("no", 0.945)):
        (made,) = play(bundle, bench.recordings / "audio_speech" / CLIPS[word]).made
        right = made.decision.label == word
        bench.near(f"micro_speech: {word}", made.decision.score if right else 0.0, score, 0.005)


def silero_vad(bench: Bench) -> None:
    """Compare the frames that are judged right on half a minute of conversation."""
    spoken = _spoken(bench)
    for version, wanted in SILERO.items():
        model = bench.models / f"version_pairs/silero_vad_16k/{version}.onnx"
        bundle = bench.pack(model, "silero_vad.toml")
        right = [
            (m.decision.label == "speech") == (spoken[m.start + BEHIND :][:512].mean() >= 0.5)
            for m in play(bundle, bench.recordings / "audio_vad/sample.wav").made
        ]
        name = f"silero {version}: accuracy of {len(right)} frames"
        bench.near(name, float(np.mean(right)), wanted, 0.004)


def _spoken(bench: Bench) -> npt.NDArray[np.bool_]:
    """Return whether somebody speaks, for every sample; from a diarisation (RTTM)."""
    spoken = np.zeros(30 * RATE_HZ, np.bool_)
    for line in (bench.recordings / "audio_vad/sample.rttm").read_text("utf-8").splitlines():
        begin, lasts = map(float, line.split()[3:5])
        spoken[round(begin * RATE_HZ) : round((begin + lasts) * RATE_HZ)] = True
    return spoken
