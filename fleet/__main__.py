"""``edge-fleet``: options in, one call, a result out."""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_bundle import VERSION
from edge_bundle.command import run_command
from edge_bundle.errors import Exit
from edge_wire.errors import LinkError, MessageRefused
from fleet.errors import DevicesFailed, RolloutStopped

if TYPE_CHECKING:
    from fleet.operations import Patience, Pushed, RolledBack

STARTED = time.monotonic()
"""As early as this program can tell: what a user waited for includes its imports."""
NAME = "edge-fleet"
ENDS = {LinkError: Exit.LINK, MessageRefused: Exit.REFUSED, RolloutStopped: Exit.STOPPED}

FOLDER = click.Path(path_type=Path)

at_dir = click.option(
    "--dir",
    "folder",
    type=FOLDER,
    callback=lambda context, _parameter, value: value or context.obj,
    help="The fleet's folder; may also stand before the command.",
)
as_one_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
watching = click.option(
    "--watch", is_flag=True, help="Wait until every online device runs it, not only has it."
)


def timeout_of(seconds: float) -> Callable[[Any], Any]:
    """Return the option that bounds the waiting."""
    return click.option(
        "--timeout",
        type=click.FloatRange(min=0, min_open=True),
        default=seconds,
        show_default=True,
        help="Seconds to wait for the devices.",
    )


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, prog_name=NAME)
@click.option(
    "--dir",
    "folder",
    type=FOLDER,
    envvar="EDGEWARD_FLEET",
    default=lambda: Path.home() / ".local" / "share" / "edgeward" / "fleet",
    show_default="$EDGEWARD_FLEET, else ~/.local/share/edgeward/fleet",
    help="The fleet's folder.",
)
@click.pass_context
def cli(context: click.Context, folder: Path) -> None:
    """Move new model versions to a fleet of devices, and back."""
    context.obj = folder


@cli.command()
@at_dir
@click.option("--broker", required=True, metavar="URL", help="mqtt://HOST:PORT or mqtts://…")
@click.option("--user", help="User name at the broker.")
@click.option("--password-file", help="File with the password, mode 0600.")
@click.option("--ca", help="File with the authority that signed the broker's certificate.")
@click.option("--cert", help="File with our certificate.")
@click.option("--key", help="File with our certificate's key.")
@click.option("--root-topic", default="edge/v1", show_default=True)
@as_one_json
def init(
    folder: Path,
    broker: str,
    user: str | None,
    password_file: str | None,
    ca: str | None,
    cert: str | None,
    key: str | None,
    root_topic: str,
    as_json: bool,
) -> None:
    """Make a new fleet: its signing key, its root of trust and its registry."""
    from edge_wire.credentials import BrokerTable
    from fleet.operations import init as make

    table = BrokerTable(
        url=broker,
        root=root_topic,
        ca=_absolute(ca),
        cert=_absolute(cert),
        key=_absolute(key),
        user=user,
        password_file=_absolute(password_file),
    )
    made = make(folder, table)
    if as_json:
        _print_json({"folder": str(made.path), "root": str(made.root)})
        return
    click.echo(f"made {made.path}\nnow, on each device: edge-agent trust CONFIG.toml {made.root}")


@cli.command()
@click.argument("bundle", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--to", "group", required=True, metavar="GROUP", help="The group that is to run it.")
@at_dir
@watching
@click.option("--retry", is_flag=True, help="Also on devices on which it failed before.")
@timeout_of(120)
@as_one_json
def push(
    bundle: tuple[Path, ...],
    group: str,
    folder: Path,
    watch: bool,
    retry: bool,
    timeout: float,
    as_json: bool,
) -> None:
    """Send a version to a group: one BUNDLE, or its variants in order of preference."""
    from fleet.display import show_progress
    from fleet.operations import push as run

    try:
        with show_progress() as say:
            done = run(folder, list(bundle), group, retry, _patience(watch, timeout), say)
    except DevicesFailed as failed:
        _print(failed.result, as_json)
        raise
    _print(done, as_json)


@cli.command()
@click.argument("model")
@click.option("--group", help="Only this group.  [default: all that run MODEL]")
@at_dir
@watching
@timeout_of(60)
@as_one_json
def rollback(
    model: str, group: str | None, folder: Path, watch: bool, timeout: float, as_json: bool
) -> None:
    """Go back to the version of MODEL before the present one."""
    from fleet.display import show_progress
    from fleet.operations import rollback as run

    try:
        with show_progress() as say:
            done = run(folder, model, group, _patience(watch, timeout), say)
    except DevicesFailed as failed:
        _print(failed.result, as_json)
        raise
    _print(done, as_json)


@cli.command()
@at_dir
@as_one_json
def status(folder: Path, as_json: bool) -> None:
    """Show every device, what it runs, and where it stands."""
    from fleet.display import show_status
    from fleet.status import look

    found = look(folder)
    if as_json:
        _print_json(found)
    else:
        sys.stdout.write(show_status(found))


@cli.command()
@at_dir
def serve(folder: Path) -> None:
    """Send models to devices that come later, until Ctrl-C or SIGTERM."""
    from fleet.serving import Service, stopped_by_signals

    service = Service(lambda text: click.echo(text, err=True))
    with stopped_by_signals(service):
        service.run(folder)


@cli.command()
@click.option("--examples", type=FOLDER, help="Folder with watch/.  [default: the checkout's]")
@click.option("--out", type=FOLDER, default=Path("build/demo"), show_default=True)
@click.option(
    "--factor",
    type=click.FloatRange(min=0, min_open=True),
    default=8.0,
    show_default=True,
    help="How many times faster than in truth the sensors are replayed.",
)
@as_one_json
def demo(examples: Path | None, out: Path, factor: float, as_json: bool) -> None:
    """Show the main job on this machine, with real parts and three devices."""
    from fleet.demo import STEPS, find_examples, run_demo, show_summary
    from fleet.display import show_steps

    with show_steps(STEPS, err=as_json) as say:
        summary = run_demo(examples or find_examples(), out, factor, say)
    if as_json:
        _print_json(summary)
    else:
        click.echo(f"{show_summary(summary)}\n\nThe same as JSON: {out / 'summary.json'}")


def main() -> None:
    """Run the command line and exit."""
    run_command(cli, NAME, ENDS)


def _absolute(file: str | None) -> str | None:
    """Return a path that means the same from the fleet's folder."""
    return None if file is None else os.path.abspath(file)


def _patience(watch: bool, timeout_s: float) -> "Patience":
    from fleet.operations import Patience
    from fleet.watching import Goal

    return Patience(Goal.RUNNING if watch else Goal.HELD, timeout_s, STARTED)


def _print(result: "Pushed | RolledBack", as_json: bool) -> None:
    if as_json:
        _print_json(result)
        return
    from fleet.display import show_results

    sys.stdout.write(show_results(result.devices))


def _print_json(document: object) -> None:
    import msgspec

    sys.stdout.write(msgspec.json.encode(document).decode() + "\n")


if __name__ == "__main__":
    main()
