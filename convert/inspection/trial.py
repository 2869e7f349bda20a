"""A model file run once in a process of its own, because it may take that process down.

The child is this module: it reads the file from its standard input and answers in JSON.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path
from textwrap import shorten
from typing import Final

import msgspec
from msgspec import Struct

from convert.inspection.anatomy import Format
from convert.inspection.wiring import NOTHING, Wiring
from edge_bundle.errors import ModelRefused, RuntimeMissing
from edge_bundle.runtimes.loader import load_model, runtime_version

LIMIT_S: Final = 120
CHILD: Final = ("-m", "convert.inspection.trial")
"""Arguments of the interpreter, before the format and the wiring."""
MAX_WHY: Final = 160
"""Characters of what a runtime says; some repeat themselves for every tensor."""
STATUS: Final = Path("/proc/self/status")


class Trial(Struct, frozen=True):
    """What came of one run on zeros, on this machine."""

    ran: bool | None
    """None where no runtime for the format is installed."""
    runtime: str
    """With its version; empty where there is none."""
    why: str = ""
    """What was wrong, in one line."""
    memory_bytes: int | None = None
    """What a process grew by at most for the file, the model and its run; None where not known."""


def try_model(data: bytes, form: Format, wiring: Wiring = NOTHING) -> Trial:
    """Load a model file and run it once, in a process of its own.

    Args:
        data: the file's bytes, whole or damaged.
        form: its format.
        wiring: of its tensors.
    """
    try:
        runtime = runtime_version(form)
    except RuntimeMissing as error:
        return Trial(None, "", str(error))
    paths = os.pathsep.join(p for p in sys.path if p)
    try:
        child = subprocess.run(
            [sys.executable, *CHILD, form, msgspec.json.encode(wiring).decode()],
            input=data,
            capture_output=True,
            timeout=LIMIT_S,
            check=False,
            env={**os.environ, "PYTHONPATH": paths},
        )
    except subprocess.TimeoutExpired:
        return Trial(False, runtime, f"it was still running after {LIMIT_S} s")
    if child.returncode < 0:
        name = signal.Signals(-child.returncode).name
        return Trial(False, runtime, f"it ends the whole process ({name})")
    try:
        return msgspec.json.decode(child.stdout, type=Trial)
    except msgspec.DecodeError:
        said = child.stderr.decode("utf-8", "replace").strip().splitlines() or ["it said nothing"]
        return Trial(False, runtime, f"exit code {child.returncode}: {said[-1][:300]}")


def require_safe(data: bytes, form: Format, name: str, wiring: Wiring = NOTHING) -> None:
    """Refuse a model file that this process should not load.

    Raises: ModelRefused: it does not load or run. RuntimeMissing: nothing here could run it.
    """
    trial = try_model(data, form, wiring)
    if trial.ran is None:
        raise RuntimeMissing(trial.why)
    if not trial.ran:
        raise ModelRefused(f"{name}: {trial.runtime}: {trial.why}")


def _run(data: bytes, form: Format, wiring: Wiring) -> None:
    model = load_model(data, form, shapes=wiring.shapes)
    for index, spec in enumerate(model.inputs):
        if spec.name in wiring.constants:
            model.input(index)[...] = wiring.constants[spec.name]
    model.invoke()
    model.close()


def _peak_bytes() -> int | None:
    # Not getrusage: after exec it still counts what the parent had in memory.
    for line in STATUS.read_text().splitlines() if STATUS.exists() else ():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) << 10
    return None


def _main(form: Format, wiring: Wiring) -> Trial:
    runtime = runtime_version(form)
    before = _peak_bytes()
    try:
        _run(sys.stdin.buffer.read(), form, wiring)
    except ModelRefused as error:
        said = shorten(str(error).removeprefix(f"{runtime}: "), MAX_WHY, placeholder=" ...")
        return Trial(False, runtime, said)
    after = _peak_bytes()
    return Trial(True, runtime, "", after - before if before and after else None)


if __name__ == "__main__":
    given = msgspec.json.decode(sys.argv[2], type=Wiring)
    sys.stdout.buffer.write(
        msgspec.json.encode(_main("onnx" if sys.argv[1] == "onnx" else "tflite", given))
    )
