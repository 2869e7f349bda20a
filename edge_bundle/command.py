"""A click command that ends as all of ours do."""

import sys
from collections.abc import Mapping

import click

from edge_bundle.ending import end_command, say
from edge_bundle.errors import Exit


def run_command(
    command: click.Command, name: str, more: Mapping[type[Exception], Exit] | None = None
) -> None:
    """Run a click command with ``sys.argv`` and exit, as ``end_command`` does."""

    def work() -> int:
        try:
            # Not click's main(): it makes 1, a bug, of a reader that went away, and drops
            # ctx.exit().
            with command.make_context(name, sys.argv[1:]) as context:
                command.invoke(context)
        except click.exceptions.Exit as stop:
            return stop.exit_code
        except click.Abort:
            raise KeyboardInterrupt from None
        except click.ClickException as error:
            return say(name, _message(error), Exit.USAGE)
        return Exit.DONE

    end_command(work, name, more)


def _message(error: click.ClickException) -> str:
    # From click 8.2 on, a group without its command raises its whole help.
    no_command = getattr(click.exceptions, "NoArgsIsHelpError", ())
    if isinstance(error, no_command) and isinstance(error, click.UsageError) and error.ctx:
        return f"no command given; see {error.ctx.command_path} --help"
    return error.format_message()
