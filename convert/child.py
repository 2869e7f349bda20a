"""A foreign program run to its end in a process of its own, within a time, with no trace left."""

import os
import re
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

GRACE_S: Final = 5.0
"""For the end of the output, once the process is gone."""
LOG_BYTES: Final = 1 << 16
LINE_LENGTH: Final = 300
COLOURS: Final = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


@dataclass(frozen=True, slots=True)
class Ended:
    """How a child process ended."""

    code: int | None
    """Exit code, or minus the signal that ended it; None: it did not end within its time, and was
    killed."""
    log: str
    """The last 64 KiB of what it wrote on stdout and stderr, without colours."""

    @property
    def last_line(self) -> str:
        """The last line that says something, at most 300 characters, or that none does."""
        lines = [line.strip() for line in self.log.splitlines() if line.strip()]
        return lines[-1][:LINE_LENGTH] if lines else f"exit code {self.code} without a word"


def run_child(
    command: Sequence[str], variables: Mapping[str, str], folder: Path, limit_s: float
) -> Ended:
    """Run a process to its end, or to its time's; what it started and left running is killed.

    Args:
        command: the program and its arguments.
        variables: its whole environment.
        folder: that it works in.
        limit_s: seconds after which it is killed.
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
            code = child.wait(limit_s)
    finally:
        # Also when we are interrupted.
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        # What left the group holds the pipe open, and its output is not worth a wait.
        reader.join(GRACE_S)
    return Ended(code, COLOURS.sub("", bytes(log).decode(errors="replace")))


def _keep_end(pipe: IO[bytes], log: bytearray) -> None:
    with pipe:
        while chunk := os.read(pipe.fileno(), LOG_BYTES):
            log += chunk
            del log[:-LOG_BYTES]
