"""Keywords of MLPerf Tiny and micro_speech on clips of Speech Commands; speech by Silero VAD."""

import wave
from pathlib import Path

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
LEAD, NEW = 64, 512
"""Samples of a window that the one before has ended with, zeros in the first; and new ones."""


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
    """Compare the frames that are judged right, by what is said at their end, on a conversation."""
    sound = bench.recordings / "audio_vad/sample.wav"
    spoken = read_turns(sound.with_suffix(".rttm"))
    led = bench.folder / "conversation.wav"
    with wave.open(str(sound)) as original, wave.open(str(led), "wb") as copy:
        copy.setparams(original.getparams())
        samples = original.readframes(original.getnframes())
        copy.writeframes(bytes(LEAD * original.getsampwidth()) + samples)
    for version, wanted in SILERO.items():
        model = bench.models / f"version_pairs/silero_vad_16k/{version}.onnx"
        bundle = bench.pack(model, "silero_vad.toml")
        right = [
            (made.decision.label == "speech") == spoken[made.start + NEW - 1]
            for made in play(bundle, led).made
        ]
        name = f"silero {version}: accuracy of {len(right)} frames"
        bench.near(name, float(np.mean(right)), wanted, 0.001)


def read_turns(file: Path) -> npt.NDArray[np.bool_]:
    """Return whether somebody speaks, for every sample; from a diarisation (RTTM)."""
    spoken = np.zeros(30 * RATE_HZ, np.bool_)
    for line in file.read_text("utf-8").splitlines():
        begin, lasts = map(float, line.split()[3:5])
        spoken[round(begin * RATE_HZ) : round((begin + lasts) * RATE_HZ)] = True
    return spoken
