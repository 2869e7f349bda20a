"""``edge-convert``: options in, one call, a result out."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from edge_bundle import VERSION
from edge_bundle.command import run_command
from edge_bundle.errors import ConfigError

if TYPE_CHECKING:
    from convert.build import Built

NAME = "edge-convert"
NEEDED = ("onnx", "onnxruntime", "rich")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, prog_name=NAME)
def cli() -> None:
    """Make a trained model small, measure it on real recordings, and pack it for devices."""


@cli.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--spec",
    required=True,
    type=click.Path(path_type=Path),
    help="TOML with [stream], [[features]], [decision], [limits], [requires].",
)
@click.option(
    "--calibration",
    required=True,
    metavar="REC",
    help="Recording whose windows set the int8 ranges: FILE or FILE#0-6, .npz or .csv.",
)
@click.option(
    "--evaluation",
    required=True,
    metavar="REC",
    help="Labelled recording to measure on; shares no window with the calibration.",
)
@click.option(
    "--precision", type=click.Choice(["int8", "float"]), default="int8", show_default=True
)
@click.option("--name", help="Name of the bundle.  [default: after the model file]")
@click.option("--version", default="0.1.0", show_default=True, help="SemVer of the bundle.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("dist"), show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def build(
    model: Path,
    spec: Path,
    calibration: str,
    evaluation: str,
    precision: Literal["int8", "float"],
    name: str | None,
    version: str,
    out: Path,
    as_json: bool,
) -> None:
    """Build a bundle from the float ONNX file MODEL."""
    for module in NEEDED:
        if find_spec(module) is None:
            raise ConfigError(f"{module} is not installed: pip install 'edgeward[convert]'")
    from convert import build as building

    order = building.Order(model, spec, calibration, evaluation, precision, name, version, out)
    with _progress() as progress:
        built = building.build(order, progress)
    if as_json:
        click.echo(json.dumps(asdict(built) | {"bundle": str(built.bundle)}))
    else:
        click.echo(_in_words(built))


def main() -> None:
    """Run the command line and exit."""
    run_command(cli, NAME)


@contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """Give a function that says on stderr what begins: a live line on a terminal, else lines."""
    if not sys.stderr.isatty():
        yield lambda text: click.echo(text, err=True)
        return
    from rich.console import Console

    console = Console(stderr=True)
    with console.status("reading") as status:

        def show(text: str) -> None:
            console.print(text, style="dim", highlight=False)
            status.update(text)

        yield show


def _in_words(built: "Built") -> str:
    smaller = built.float_bytes / built.final_bytes
    return (
        f"{built.bundle}\n"
        f"model file  {built.float_bytes:,} -> {built.final_bytes:,} bytes "
        f"({smaller:.2f} times smaller)\n"
        f"accuracy    {built.float_accuracy:.1%} -> {built.final_accuracy:.1%} "
        f"on {built.evaluation_windows} windows not calibrated with\n"
        f"sha256      {built.sha256}"
    )


if __name__ == "__main__":
    main()
