"""A command as a user runs it: in a process of its own, with its time and memory measured."""

import json
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
METER = Path(__file__).with_name("meter.py")


@dataclass(frozen=True, slots=True)
class Ran:
    """What came of a command."""

    code: int
    out: str
    """All of stdout."""
    why: str
    """Empty, or in one line why it has no result."""
    seconds: float
    peak_bytes: int
    """Of the largest of its processes."""


def run(command: list[str], limit_s: int) -> Ran:
    """Run a command in the repository's folder; whatever it starts ends with the limit."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        done = subprocess.run(
            [sys.executable, "-I", str(METER), str(report), str(limit_s), *command],
            capture_output=True,
            cwd=ROOT,
            text=True,
            errors="replace",
            check=False,
        )
        if not report.exists():
            raise SystemExit(f"{METER.name} itself failed: {_last_line(done.stderr)}")
        found = json.loads(report.read_text(encoding="utf-8"))
    why = ""
    if found["late"]:
        why = f"not done after {limit_s} s"
    elif found["code"]:
        why = f"exit code {found['code']}: {_last_line(done.stderr)}"
    return Ran(found["code"], done.stdout, why, found["seconds"], found["peak_bytes"])


def _last_line(text: str) -> str:
    last = (text.strip().splitlines() or ["it said nothing"])[-1].strip()
    # The names of temporary folders say nothing.
    return re.sub(r"(?<![\w.])/(?:[^\s/:]+/)+", "", last)[:200]
