"""Real models on real recordings must say what other implementations say of the same.

Every model becomes a bundle by ``edge-convert pack`` and a spec that lies beside this file, and
runs over recordings by the agent's replay; the figures are compared with those that the README of
the data gives, or with another implementation.

    python -m benchmarks.real_models --data FOLDER [--pictures FOLDER] [--only NAME]

The data has models/ and data/; pictures are those of scikit-image's wheel, skimage/data. Exits 1
where a figure is off.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import msgspec

from benchmarks.real_models.bench import Bench
from benchmarks.real_models.face import face
from benchmarks.real_models.motion import har_mlp, imu_clocks, magic_wand, watch_mlp
from benchmarks.real_models.speech import kws, micro_speech, silero_vad
from benchmarks.real_models.temperature import machine_temperature
from benchmarks.real_models.toycar import toycar
from benchmarks.real_models.wake_words import wake_words

PROOFS = {
    proof.__name__: proof
    for proof in (
        wake_words,
        kws,
        micro_speech,
        silero_vad,
        toycar,
        magic_wand,
        imu_clocks,
        har_mlp,
        watch_mlp,
        face,
        machine_temperature,
    )
}


def main() -> None:
    """Run the proofs, tell of each figure, and print one JSON line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--only", choices=PROOFS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(options.data.resolve(), Path(folder), options.pictures)
        for name, proof in PROOFS.items():
            if options.only in {None, name}:
                proof(bench)
    print(json.dumps({"checks": msgspec.to_builtins(bench.checks)}))
    sys.exit(not all(check.ok for check in bench.checks))


if __name__ == "__main__":
    main()
