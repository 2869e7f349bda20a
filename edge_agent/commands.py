"""The command line of ``edge-agent``: options in, one call."""

import sys
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge_agent.launch import launch
from edge_bundle import VERSION
from edge_bundle.runtimes import MAX_THREADS

if TYPE_CHECKING:
    from edge_agent.telling import Note


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, prog_name="edge-agent")
def cli() -> None:
    """Run models on this device's sensors and publish predictions over MQTT."""


@cli.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option("-v", "--verbose", is_flag=True, help="Say more on stderr.")
def run(config: Path, verbose: bool) -> None:
    """Run the agent that CONFIG describes, until Ctrl-C or SIGTERM."""
    launch(config, verbose=verbose)


@cli.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("recording")
@click.option("--json", "as_json", is_flag=True, help="One JSON line for each prediction.")
@click.option("--threads", type=click.IntRange(1, MAX_THREADS), default=1, show_default=True)
def replay(bundle: Path, recording: str, as_json: bool, threads: int) -> None:
    """Run BUNDLE over RECORDING (.npz, .csv or .wav, or FILE#0-2,5), without a broker.

    Shows windows and events. With --json an event is {"event": …}, a confirmed label {"state": …}.
    """
    import msgspec

    from edge_agent.replay import Replay

    player = Replay(bundle, recording, threads)
    for number, made in enumerate(player.run()):
        if as_json:
            if made.payload:
                sys.stdout.write(made.payload.decode() + "\n")
            _write_notes(made.notes)
        else:
            score = f"{made.decision.score:.3f}"
            sys.stdout.write(f"window {number:>6}  {made.decision.label:<16} {score}\n")
            _show_events(made.notes)
    summary = player.summary()
    if as_json:
        _write_notes(player.last_notes)
        sys.stdout.write(msgspec.json.encode({"summary": summary}).decode() + "\n")
        return
    _show_events(player.last_notes)
    sys.stdout.write(f"{summary.windows} windows, {summary.windows_per_second:.0f} a second")
    if summary.accuracy is not None:
        sys.stdout.write(
            f"; {summary.accuracy:.1%} of {summary.labelled_windows} labelled windows right"
        )
    if summary.gaps:
        gaps = f"{summary.gaps} gap{'s' * (summary.gaps != 1)}"
        sys.stdout.write(f"; {gaps} with {summary.lost_samples} samples lost")
    sys.stdout.write("\n")


@cli.command()
@click.argument(
    "files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@click.option("--out", type=click.Path(path_type=Path), help="Write a profile.json.")
@click.option("--threads", type=click.IntRange(1, MAX_THREADS), default=1, show_default=True)
@click.option(
    "--seconds",
    type=click.FloatRange(0.1, 3600),
    default=10.0,
    show_default=True,
    help="That all of it may take, more or less.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def measure(
    files: tuple[Path, ...], out: Path | None, threads: int, seconds: float, as_json: bool
) -> None:
    """Time model files (ONNX, TFLite, bundles) on this machine, in turns.

    edge-convert build --latency PROFILE chooses by what --out writes. Copy the file back.
    """
    import msgspec

    from edge_agent import measurement

    if not isfinite(seconds):
        raise click.BadParameter(f"{seconds}, expected a number of seconds", param_hint="--seconds")

    with click.progressbar(length=measurement.ROUNDS, file=sys.stderr, label="timing") as bar:
        found = measurement.measure(files, threads, seconds, lambda _: bar.update(1))
    machine = measurement.describe_machine(threads)
    if out is not None:
        measurement.write_profile(found, machine, out)
    if as_json:
        told = {"machine": machine, "measured": found, "profile": str(out) if out else None}
        sys.stdout.write(msgspec.json.encode(told).decode() + "\n")
        return
    sys.stdout.write(f"{machine}\n{measurement.tabulate(found)}")
    if out is not None:
        sys.stdout.write(f"written to {out}\n")


@cli.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.argument("root", type=click.Path(path_type=Path))
def trust(config: Path, root: Path) -> None:
    """Let the device of CONFIG follow the fleet whose ROOT (root.json) this is."""
    from edge_agent.enrolment import trust_root

    written = trust_root(config, root)
    sys.stdout.write(f"this device now trusts {root} (kept as {written})\n")


def _write_notes(notes: tuple["Note", ...]) -> None:
    for note in notes:
        sys.stdout.write(f'{{"{note.kind}":{note.payload.decode()}}}\n')


def _show_events(notes: tuple["Note", ...]) -> None:
    import msgspec

    from edge_wire.messages import Event

    for note in notes:
        if note.kind == "event":
            event = msgspec.json.decode(note.payload, type=Event)
            lasts = f"  after {event.duration_ms / 1000:.2f} s" if event.duration_ms else ""
            sys.stdout.write(
                f"event  {event.kind:>6}  {event.label:<16} {event.score:.3f}{lasts}\n"
            )
