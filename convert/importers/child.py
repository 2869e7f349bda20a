"""A process of its own for each export.

A framework prints, warns, crashes and takes a gigabyte: none of that reaches the build.
"""

import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Final

import msgspec

from convert.child import run_child
from convert.given.source import MAX_MODEL_BYTES
from convert.importers.imported import Imported
from convert.importers.kinds import EXPORTERS, Kind
from convert.importers.worker import ANSWER, MODEL, Answer
from edge_bundle.errors import ConfigError, ModelRefused

LIMIT_S: Final = 600.0
MAX_ANSWER_BYTES: Final = 1 << 20
START: Final = (
    # Not `python -m`: that would load modules from the folder that the user happens to be in.
    "import sys; sys.path[:] = sys.argv.pop(1).split('\\n'); "
    "from convert.importers.worker import main; main()"
)


def export_apart(kind: Kind, path: Path, trust: bool, limit_s: float = LIMIT_S) -> Imported:
    """Export a file in a new process.

    Args:
        limit_s: seconds after which it is killed.
    Raises: ConfigError, ModelRefused: one line that begins with the path.
    """
    framework = EXPORTERS[kind].framework
    with tempfile.TemporaryDirectory(prefix="edge-convert-") as name:
        folder = Path(name)
        variables = {**os.environ, "KERAS_BACKEND": "torch", "KERAS_HOME": str(folder)}
        # In its folder, where the reports that exporters leave behind go away with it.
        ended = run_child(_command(kind, path, trust, folder), variables, folder, limit_s)
        if ended.code is None:
            raise ModelRefused(f"{path}: {framework} took longer than {limit_s:g} s to export it")
        answer = _read_answer(folder / ANSWER)
        if answer is None:
            said = f"; its last line: {ended.last_line}" if ended.log.strip() else ""
            raise ModelRefused(
                f"{path}: {framework} {_describe_end(ended.code)} while exporting it{said}"
            )
        if answer.usage is not None:
            raise ConfigError(f"{path}: {answer.usage}")
        if answer.refused is not None:
            raise ModelRefused(f"{path}: {answer.refused}")
        length = (folder / MODEL).stat().st_size
        if length > MAX_MODEL_BYTES:
            raise ModelRefused(f"{path}: {length} bytes as ONNX, at most {MAX_MODEL_BYTES}")
        data = (folder / MODEL).read_bytes()
    return Imported(data, answer.framework, answer.exporter, answer.notes)


def _command(kind: Kind, path: Path, trust: bool, folder: Path) -> list[str]:
    places = [os.path.abspath(place) for place in sys.path]
    if trust:
        # Where a pickle's own classes are; last, so that nothing there shadows a framework.
        places.append(str(Path.cwd()))
    trusted = "trusted" if trust else "untrusted"
    file = os.path.abspath(path)
    return [sys.executable, "-c", START, "\n".join(places), kind.value, file, trusted, str(folder)]


def _read_answer(file: Path) -> Answer | None:
    """Return None where the process did not get as far as a whole answer."""
    try:
        with file.open("rb") as stream:
            return msgspec.json.decode(stream.read(MAX_ANSWER_BYTES), type=Answer)
    except (OSError, msgspec.DecodeError):
        return None


def _describe_end(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    name = signal.Signals(-code).name
    return f"was killed by {name}{', perhaps for want of memory' if name == 'SIGKILL' else ''},"
