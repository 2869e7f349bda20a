"""How each of the three commands ends: one line on stderr and a stable exit code."""

import os
import sys
from collections.abc import Mapping

import click

from edge_bundle.errors import ArtifactRefused, ConfigError, Exit

EXITS: Mapping[type[Exception], Exit] = {
    ConfigError: Exit.USAGE,
    ArtifactRefused: Exit.REFUSED,
}


def run_command(
    command: click.Command, name: str, more: Mapping[type[Exception], Exit] | None = None
) -> None:
    """Run a click command and exit; errors listed in ``EXITS`` or ``more`` become one line.

    Args:
        command: what to run, with ``sys.argv``.
        name: as the user typed it, begins every error line.
        more: further error classes of the caller's own rooms.
    """
    exits = {**EXITS, **(more or {})}
    try:
        command.main(prog_name=name, standalone_mode=False)
        code = Exit.DONE
    except click.exceptions.Exit as stop:
        code = Exit(stop.exit_code)
    except click.Abort:
        code = _say(name, "interrupted", Exit.STOPPED)
    except click.ClickException as error:
        code = _say(name, error.format_message(), Exit.USAGE)
    except BrokenPipeError:
        # The reader of our output went away (`| head`): nothing is wrong, and nobody reads on.
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - lives until exit
        code = Exit.DONE
    except tuple(exits) as error:
        code = _say(name, str(error), next(c for k, c in exits.items() if isinstance(error, k)))
    sys.exit(code)


def _say(name: str, message: str, code: Exit) -> Exit:
    sys.stderr.write(f"{name}: {' '.join(message.split())}\n")
    return code
