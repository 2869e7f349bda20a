"""CPU that a second of sound costs: a wake word in our replay ÷ PyPI's pymicro-wakeword.

Each runs in a process of its own, in turns, on the same clips and with the same model; what counts
is the CPU time of the sound alone, start left out. Both must detect the same clips.

    python -m benchmarks.wake_word [--clips FOLDER] [--rounds 9] [--peer-python PYTHON]

PYTHON has pymicro-wakeword installed, as ``make test``'s environment has. Without --clips the
committed clip is heard. Exits 1 where ours costs more, or detects others. What counts is the median
of the rounds' ratios, as neighbours meet the same moment of a busy machine.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import wave
from math import ceil
from pathlib import Path

import msgspec

from benchmarks.checks import at_least, at_most, finish, tell

ROOT = Path(__file__).resolve().parents[1]
WAKE_WORD = ROOT / "examples" / "wake_word"
LEAST_S = 100.0
"""Seconds of sound that a process hears, or more, over and over: half a second of its time."""

OURS = """
import json, sys, time
from pathlib import Path
from edge_agent.replay import Replay
bundle, repeats, *clips = sys.argv[1:]
def heard(clip):
    made = list(Replay(Path(bundle), clip).run())
    return any(m.decision.label == "hey_jarvis" for m in made)
found = [heard(clip) for clip in clips]
players = [Replay(Path(bundle), clip) for _ in range(int(repeats)) for clip in clips]
began = time.process_time()
for player in players:
    for _ in player.run():
        pass
print(json.dumps({"cpu_s": time.process_time() - began, "heard": found}))
"""
PEER = """
import json, sys, time, wave
from pymicro_wakeword import MicroWakeWord, MicroWakeWordFeatures
config, repeats, *clips = sys.argv[1:]
def read(clip):
    with wave.open(clip) as file:
        return file.readframes(file.getnframes())
sounds = [read(clip) for clip in clips]
def run(sound):
    word, features = MicroWakeWord.from_config(config), MicroWakeWordFeatures()
    began, found = time.process_time(), False
    for at in range(0, len(sound), 320):
        for frame in features.process_streaming(sound[at : at + 320]):
            found = bool(word.process_streaming(frame)) or found
    return time.process_time() - began, found
found = [run(sound)[1] for sound in sounds]
print(json.dumps({
    "cpu_s": sum(run(sound)[0] for _ in range(int(repeats)) for sound in sounds), "heard": found,
}))
"""


class Heard(msgspec.Struct):
    """One side, in one process."""

    cpu_s: float
    heard: list[bool]
    """Of each clip, whether the wake word was detected."""


def child(python: str, code: str, *words: object) -> Heard:
    """Run one side, and return what it found and took."""
    done = subprocess.run(
        [python, "-c", code, *map(str, words)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.stderr.strip().splitlines()[-1])
    return msgspec.json.decode(done.stdout.splitlines()[-1], type=Heard)


def read_seconds(clip: Path) -> float:
    """Return how long a clip is."""
    with wave.open(str(clip)) as file:
        return float(file.getnframes() / file.getframerate())


def pack(folder: Path) -> Path:
    """Return the bundle of the committed model and spec."""
    command = [sys.executable, "-m", "convert", "pack", str(WAKE_WORD / "hey_jarvis.tflite")]
    command += ["--spec", str(WAKE_WORD / "stream.toml"), "--out", str(folder), "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return Path(json.loads(done.stdout)["bundle"])


def main() -> None:
    """Measure in turns, and print one JSON line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--peer-python", default=sys.executable)
    parser.add_argument("--clips", type=Path, default=WAKE_WORD)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    clips = sorted(options.clips.resolve().glob("*.wav"))
    if not clips:
        raise SystemExit(f"{options.clips}: no .wav file there")
    once_s = sum(read_seconds(clip) for clip in clips)
    repeats = ceil(LEAST_S / once_s)
    ours, peer = [], []
    with tempfile.TemporaryDirectory() as folder:
        bundle = pack(Path(folder))
        config = WAKE_WORD / "hey_jarvis.json"
        for _ in range(options.rounds):
            ours.append(child(sys.executable, OURS, bundle, repeats, *clips))
            peer.append(child(options.peer_python, PEER, config, repeats, *clips))
            tell(
                f"round {len(ours)}: ours {ours[-1].cpu_s:.3f} s, "
                f"pymicro-wakeword {peer[-1].cpu_s:.3f} s"
            )
    sound_s = repeats * once_s
    ours_s, peer_s = (statistics.median(side.cpu_s for side in sides) for sides in (ours, peer))
    tell(
        f"{ours_s / sound_s * 1e3:.2f} ms of CPU a second of sound, "
        f"pymicro-wakeword {peer_s / sound_s * 1e3:.2f} ms"
    )
    same = all(o.heard == p.heard for o, p in zip(ours, peer, strict=True))
    ratio = statistics.median(o.cpu_s / p.cpu_s for o, p in zip(ours, peer, strict=True))
    checks = at_most("cpu_ratio", ratio, 1.0) | {"ratio_of_medians": round(ours_s / peer_s, 4)}
    finish([checks, at_least("same_detections", same, 1.0)])


if __name__ == "__main__":
    main()
