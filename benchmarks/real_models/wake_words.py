"""Wake words of microWakeWord: each hears its own phrase in every clip, and in no other clip."""

from pathlib import Path

from benchmarks.real_models.bench import ROOT, Bench, play

MODELS = {
    "hey_jarvis": ("microwakeword/hey_jarvis.tflite", ROOT / "examples/wake_word/stream.toml"),
    "alexa": ("microwakeword/alexa.tflite", Path("alexa.toml")),
    "hey_mycroft": ("microwakeword/hey_mycroft.tflite", Path("hey_mycroft.toml")),
    "okay_nabu 2024-07": (
        "version_pairs/okay_nabu/1_2024-07-11.tflite",
        Path("okay_nabu_2024.toml"),
    ),
    "okay_nabu 2024-10": (
        "version_pairs/okay_nabu/2_2024-10-01.tflite",
        Path("okay_nabu_2024.toml"),
    ),
    "okay_nabu 2.5.0": ("version_pairs/okay_nabu/3_pypi-2.5.0.tflite", Path("okay_nabu.toml")),
}
OF_THE_FIRST_CLIP = {"okay_nabu 2024-07": 0.12, "okay_nabu 2024-10": 0.98, "okay_nabu 2.5.0": 0.98}
"""Best score on okay_nabu_1.wav: the first version does not hear it."""


def wake_words(bench: Bench) -> None:
    """Count the clips of each phrase in which each model hears its own."""
    clips = sorted((bench.recordings / "audio_wakeword").glob("*.wav"))
    for name, (model, spec) in MODELS.items():
        phrase = name.split()[0]
        bundle = bench.pack(bench.models / model, spec)
        played = {clip.stem: play(bundle, clip) for clip in clips}
        heard = [clip for clip in played if played[clip].heard(phrase)]
        own = [clip for clip in heard if clip.startswith(phrase)]
        missed = OF_THE_FIRST_CLIP.get(name, 1.0) < 0.5
        bench.near(f"{name}: own clips heard, of 3", len(own), 2 if missed else 3, 0)
        bench.most(f"{name}: other clips heard, of 9", len(heard) - len(own), 0)
        if name in OF_THE_FIRST_CLIP:
            best = max(m.decision.score for m in played["okay_nabu_1"].made)
            bench.near(f"{name}: score of okay_nabu_1", best, OF_THE_FIRST_CLIP[name], 0.01)
