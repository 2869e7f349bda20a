"""The way that every proof goes: pack by the command, replay as the agent does, compare, note."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from msgspec import Struct

from edge_agent.replay import Replay, Summary
from edge_agent.slot import Made

ROOT = Path(__file__).resolve().parents[2]
SPECS = Path(__file__).resolve().parent


class Check(Struct, frozen=True):
    """One figure, and what it must be."""

    name: str
    value: float
    bound: float
    ok: bool


@dataclass(frozen=True, slots=True)
class Played:
    """What a bundle said of one source of recordings."""

    made: list[Made]
    summary: Summary

    @property
    def scores(self) -> list[float]:
        """Of every window, as decided."""
        return [m.decision.score for m in self.made]

    def heard(self, label: str) -> bool:
        """Tell whether any window was given the label."""
        return any(m.decision.label == label for m in self.made)


class Bench:
    """A folder for what is made, and the checks so far."""

    def __init__(self, data: Path, folder: Path, pictures: Path | None = None) -> None:
        """Take the models and recordings in ``data``, and where there are pictures."""
        self.models = data / "models"
        self.recordings = data / "data"
        self.pictures = pictures
        self.folder = folder
        self.checks: list[Check] = []

    def pack(self, model: Path, spec: str | Path) -> Path:
        """Return the bundle that ``edge-convert pack`` makes of a model and a spec."""
        out = self.folder / f"{model.stem}-{Path(spec).stem}"
        command = [sys.executable, "-m", "convert", "pack", str(model), "--spec", str(SPECS / spec)]
        command += ["--name", "m", "--out", str(out), "--json"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{model}: {done.stderr.strip().splitlines()[-1]}")
        return Path(json.loads(done.stdout)["bundle"])

    def near(self, name: str, value: float, wanted: float, tolerance: float) -> None:
        """Note a figure that must be within ``tolerance`` of another."""
        self._note(Check(name, round(value, 6), wanted, abs(value - wanted) <= tolerance))

    def least(self, name: str, value: float, bound: float) -> None:
        """Note a figure that must be at least so much."""
        self._note(Check(name, round(value, 6), bound, value >= bound))

    def most(self, name: str, value: float, bound: float) -> None:
        """Note a figure that must be at most so much."""
        self._note(Check(name, round(value, 6), bound, value <= bound))

    def _note(self, check: Check) -> None:
        self.checks.append(check)
        told = "ok" if check.ok else "MISSED"
        sys.stderr.write(f"{check.name:44} {check.value:10.4f} {check.bound:10.4f}  {told}\n")


def play(bundle: Path, recording: Path | str) -> Played:
    """Run the recordings of one source through the bundle."""
    replay = Replay(bundle, str(recording))
    made = list(replay.run())
    return Played(made, replay.summary())
