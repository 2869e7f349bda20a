"""CPU that a second of sound costs: a wake word in our replay ÷ PyPI's pymicro-wakeword.

Each runs in a process of its own, in turns, on the same clips and with the same model; what counts
is the CPU time of the sound alone, start left out. Both must detect the same clips.

    python -m benchmarks.wake_word --peer-python PYTHON [--clips FOLDER] [--rounds 5]

PYTHON has pymicro-wakeword installed. Without --clips the committed clip is heard. Exits 1 where
ours costs more, or detects others.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WAKE_WORD = ROOT / "examples" / "wake_word"
REPEATS = 20
"""Of all clips in one process, so that a clock tick does not matter."""

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


def child(python: str, code: str, *words: object) -> dict[str, object]:
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
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return found


def pack(folder: Path) -> Path:
    """Return the bundle of the committed model and spec."""
    command = [sys.executable, "-m", "convert", "pack", str(WAKE_WORD / "hey_jarvis.tflite")]
    command += ["--spec", str(WAKE_WORD / "stream.toml"), "--out", str(folder), "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return Path(json.loads(done.stdout)["bundle"])


def main() -> None:
    """Measure in turns, and print one JSON line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--peer-python", required=True)
    parser.add_argument("--clips", type=Path, default=WAKE_WORD)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    clips = sorted(options.clips.resolve().glob("*.wav"))
    ratios, ours, peer = [], {}, {}
    with tempfile.TemporaryDirectory() as folder:
        bundle = pack(Path(folder))
        config = WAKE_WORD / "hey_jarvis.json"
        for _ in range(options.rounds):
            ours = child(sys.executable, OURS, bundle, REPEATS, *clips)
            peer = child(options.peer_python, PEER, config, REPEATS, *clips)
            ratios.append(float(str(ours["cpu_s"])) / float(str(peer["cpu_s"])))
    checks = [
        {"name": "cpu_ratio", "value": round(statistics.median(ratios), 4), "bound": 1.0},
        {"name": "same_detections", "value": float(ours["heard"] == peer["heard"]), "bound": 1.0},
    ]
    checks[0]["ok"] = statistics.median(ratios) <= 1.0
    checks[1]["ok"] = ours["heard"] == peer["heard"]
    print(json.dumps({"checks": checks}))
    sys.exit(not all(check["ok"] for check in checks))


if __name__ == "__main__":
    main()
