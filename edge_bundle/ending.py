"""How each of the three commands ends: one line on stderr and a stable exit code."""

import os
import sys
from collections.abc import Callable, Mapping
from errno import ENOSPC

from edge_bundle.errors import ArtifactRefused, ConfigError, Exit
from edge_bundle.interrupts import INTERRUPTS

EXITS: Mapping[type[Exception], Exit] = {
    ConfigError: Exit.USAGE,
    ArtifactRefused: Exit.REFUSED,
    # A file that the user named and that cannot be opened.
    FileNotFoundError: Exit.USAGE,
    IsADirectoryError: Exit.USAGE,
    NotADirectoryError: Exit.USAGE,
    PermissionError: Exit.USAGE,
}


def end_command(
    work: Callable[[], int], name: str, more: Mapping[type[Exception], Exit] | None = None
) -> None:
    """Do what a command does and exit; errors listed in ``EXITS`` or ``more`` become one line.

    Args:
        work: returns the exit code.
        name: as the user typed it, begins every error line.
        more: further error classes of the caller's own rooms.
    """
    exits = {**EXITS, **(more or {})}
    code: int
    _open_closed()
    try:
        with INTERRUPTS.taken():
            code = work()
        sys.stdout.flush()
    except KeyboardInterrupt:
        # Python remembers an interrupt that went through ``exec`` of a text, such as a dataclass
        # being defined, and ``python -m`` ends by the signal in spite of our exit code. The next
        # one that goes well lets it forget.
        exec("")  # noqa: S102
        code = say(name, "interrupted", Exit.STOPPED)
    except BrokenPipeError:
        # The reader of our output went away (`| head`): nothing is wrong, and nobody reads on.
        _forget_output()
        code = Exit.DONE
    except tuple(exits) as error:
        code = say(name, str(error), next(c for k, c in exits.items() if isinstance(error, k)))
    except OSError as error:
        if error.errno != ENOSPC:
            raise
        # Of our output too, which Python would write once more at its end.
        _forget_output()
        code = say(name, str(error), Exit.USAGE)
    sys.exit(code)


def _open_closed() -> None:
    """Open to nowhere what was closed before we began: Python has None there, which cannot be
    written to, and the next file would get its number.
    """
    for stream in ("stdout", "stderr"):
        if getattr(sys, stream) is None:
            setattr(sys, stream, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115


def _forget_output() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def say(name: str, message: str, code: Exit) -> Exit:
    """Write the one line that a command ends with; return its exit code."""
    sys.stderr.write(f"{name}: {' '.join(message.split())}\n")
    return code
