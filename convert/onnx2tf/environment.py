"""Where onnx2tf lives: an environment of its own, whose exact packages get along with no others'.

It is used here and made in ``setup``. Of the package's 18 requirements these pins leave out those
that a conversion to float never loads, OpenCV and SymPy among them.
"""

import hashlib
import os
import re
import signal
import subprocess
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from edge_bundle.errors import ConfigError

PINS: Final = (
    "ai-edge-litert==2.1.2",
    "flatbuffers==25.12.19",
    "markdown-it-py==4.3.0",
    "mdurl==0.1.2",
    "ml-dtypes==0.5.4",
    "numpy==2.2.6",
    "onnx==1.20.1",
    "onnx2tf==2.6.9",
    "onnxruntime==1.26.0",
    "onnxsim==0.6.5",
    "protobuf==7.35.1",
    "psutil==7.0.0",
    "pygments==2.21.0",
    "rich==15.0.0",
    "sng4onnx==2.0.1",
    "tqdm==4.67.1",
    "typing-extensions==4.16.0",
)
SIZE: Final = "about 380 MB"
WHOLE: Final = ".whole"
"""Written last: an environment without it is what an interrupted setup left."""
LOG_BYTES: Final = 1 << 16
LINE_LENGTH: Final = 300
COLOURS: Final = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


@dataclass(frozen=True, slots=True)
class Ended:
    """How a child process ended."""

    code: int | None
    """None: it did not within its time, and was killed."""
    log: str
    """The last of what it wrote on stdout and stderr, without colours."""

    @property
    def last_line(self) -> str:
        """The last line that says something, bounded."""
        lines = [line.strip() for line in self.log.splitlines() if line.strip()]
        return lines[-1][:LINE_LENGTH] if lines else f"exit code {self.code} without a word"


def environment_folder() -> Path:
    """Return where the environment of these pins belongs, in the user's cache."""
    version = next(p for p in PINS if p.startswith("onnx2tf==")).partition("==")[2]
    pins = hashlib.sha256("\n".join(PINS).encode()).hexdigest()
    cache = Path(os.environ.get("XDG_CACHE_HOME", ""))
    # The specification of these folders has a relative one ignored.
    root = cache if cache.is_absolute() else Path.home() / ".cache"
    return root / "edgeward" / f"onnx2tf-{version}-{pins[:12]}"


def find_environment() -> Path | None:
    """Return the environment where it is whole, else None."""
    folder = environment_folder()
    return folder if (folder / WHOLE).is_file() else None


def run_tool(
    environment: Path, tool: str, *arguments: str, folder: Path, timeout_s: float
) -> Ended:
    """Run a command of the environment.

    Args:
        environment: as ``find_environment`` gives it.
        tool: name of a script of its ``bin`` folder.
        arguments: of the command.
        folder: that it works in, and leaves its temporary files in.
        timeout_s: after which it is killed, with all that it started.
    Raises: ConfigError: it cannot be started.
    """
    # onnx2tf starts onnxsim by name, and goes on with a worse model where it finds none.
    path = f"{environment / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    try:
        return run_child(
            [str(environment / "bin" / tool), *arguments],
            clean_variables() | {"PATH": path, "TMPDIR": str(folder)},
            folder,
            timeout_s,
        )
    except OSError as error:
        raise damaged(environment, f"{tool}: {error.strerror or error}") from None


def damaged(environment: Path, why: str) -> ConfigError:
    """Return what to raise where the environment itself does not work."""
    return ConfigError(f"{environment}: {why}; make it anew: edge-convert setup-tflite")


def clean_variables() -> dict[str, str]:
    """Return this process's variables without those that lead another Python to our packages."""
    foreign = ("PYTHON", "ONNX2TF_", "__PYVENV")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return kept | {"PYTHONNOUSERSITE": "1"}


def run_child(
    command: list[str], variables: dict[str, str], folder: Path, timeout_s: float
) -> Ended:
    """Run a process to its end, or to its time's.

    Raises: OSError: it cannot be started.
    """
    child = subprocess.Popen(
        command,
        cwd=folder,
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        # A group of its own, to be killed with all its children.
        start_new_session=True,
    )
    assert child.stdout is not None
    log = bytearray()
    reader = threading.Thread(target=_keep_end, args=(child.stdout, log), daemon=True)
    reader.start()
    code: int | None = None
    try:
        with suppress(subprocess.TimeoutExpired):
            code = child.wait(timeout_s)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        reader.join()
        child.stdout.close()
    return Ended(code, COLOURS.sub("", log.decode(errors="replace")))


def _keep_end(pipe: IO[bytes], log: bytearray) -> None:
    while chunk := os.read(pipe.fileno(), LOG_BYTES):
        log += chunk
        del log[:-LOG_BYTES]
