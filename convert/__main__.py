"""``edge-convert``: options in, one call, a result out."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from convert.display import show_progress
from convert.extras import require_onnx
from convert.options import FORMATS, Drop, Formats
from edge_bundle import VERSION
from edge_bundle.command import run_command
from edge_bundle.errors import BudgetMissed, ConfigError, Exit

NAME = "edge-convert"
SAMPLES = "FILE.npz with x (and y), or a recording; FILE#0-6 or FILE.npz#NAME for a part."

_spec = click.option(
    "--spec",
    type=click.Path(path_type=Path),
    help="TOML with [stream], [[features]], [decision], [limits], [requires].  "
    "[default: the model takes prepared tensors]",
)
_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
_trust = click.option(
    "--trust", is_flag=True, help="MODEL may run programs when it is read (pickles)."
)
_model = click.argument("model", type=click.Path(path_type=Path))


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, prog_name=NAME)
def cli() -> None:
    """Make a trained model small, prove what that costs on real samples, pack it for devices."""


@cli.command()
@_model
@_spec
@click.option("--calibration", metavar="SAMPLES", help=f"Sets the int8 ranges. {SAMPLES}")
@click.option(
    "--evaluation",
    required=True,
    metavar="SAMPLES",
    help="Judges; shares no sample with the calibration. Without labels, agreement with float.",
)
@click.option(
    "--to", "formats", type=Formats(), default=(), help="onnx,tflite  [default: as MODEL is]"
)
@click.option(
    "--precision",
    type=click.Choice(["auto", "int8", "fp16", "dynamic", "float"]),
    default="auto",
    show_default=True,
)
@click.option(
    "--max-drop",
    type=Drop(),
    default="1pp",
    show_default=True,
    help="What the metric may lose against float: 1pp or 0.01.",
)
@click.option("--metric", metavar="MODULE:FUNCTION", help="A metric of your own.")
@click.option("--target", default="generic", show_default=True, help="Device profile, or host.")
@click.option(
    "--latency",
    default="host",
    show_default=True,
    help="Where latencies come from: host, or a board's profile.json.",
)
@click.option("--name", help="Name of the bundle.  [default: after the model file]")
@click.option("--version", default="0.1.0", show_default=True, help="SemVer of the bundle.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("dist"), show_default=True)
@click.option(
    "--candidates",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="Write every model file that could be chosen, for edge-agent measure on a board.",
)
@_trust
@_json
def build(**options: Any) -> None:
    """Build the smallest bundles from MODEL that keep the budget, and prove it.

    MODEL is an ONNX or float TFLite file; scikit-learn's, PyTorch's and Keras's go through their
    own exporters.
    """
    require_onnx()
    from convert import build as building

    as_json = options.pop("as_json")
    with show_progress() as progress:
        built = building.build(building.Order(**options), progress)
    from convert.products.summary import summarise
    from convert.report.terminal import describe

    click.echo(json.dumps(summarise(built)) if as_json else describe(built.findings), nl=as_json)
    if built.missed:
        raise BudgetMissed(" ".join(built.missed))


@cli.command()
@_model
@_spec
@click.option("--golden", metavar="SAMPLES", help="Windows that prove a device.")
@click.option("--evaluation", metavar="SAMPLES", help="Labelled samples to measure on.")
@click.option("--name", help="Name of the bundle.  [default: after the model file]")
@click.option("--version", default="0.1.0", show_default=True, help="SemVer of the bundle.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("dist"), show_default=True)
@_json
def pack(as_json: bool, **options: Any) -> None:
    """Pack a finished ONNX or TFLite file as it is, with golden vectors and limits."""
    require_onnx()
    from convert import pack as packing

    with show_progress() as progress:
        packed = packing.pack(packing.PackOrder(**options), progress)
    if as_json:
        click.echo(json.dumps(asdict(packed) | {"bundle": str(packed.bundle)}))
        return
    accuracy = "" if packed.accuracy is None else f"\naccuracy    {packed.accuracy:.1%}"
    click.echo(
        f"{packed.bundle}\nmodel file  {packed.model_bytes:,} bytes, as it is\n"
        f"golden      {packed.golden_windows} windows, {packed.golden_source}{accuracy}\n"
        f"sha256      {packed.sha256}"
    )


@cli.command()
@_model
@_json
def inspect(model: Path, as_json: bool) -> None:
    """Say what MODEL is made of, and what each target can run of it."""
    require_onnx()
    import msgspec

    from convert.inspection.survey import inspect_model
    from convert.inspection.text import describe_inspection

    inspection = inspect_model(model)
    text = msgspec.json.encode(inspection).decode() if as_json else describe_inspection(inspection)
    click.echo(text.rstrip("\n"))


@cli.command()
@_model
@_spec
@click.option("--calibration", required=True, metavar="SAMPLES", help=SAMPLES)
@click.option("--to", "form", type=click.Choice(FORMATS), help="[default: as MODEL is]")
@click.option("--target", default="generic", show_default=True, help="Device profile, or host.")
@click.option("--html", type=click.Path(path_type=Path), help="Write the plot as a page.")
@_trust
@_json
def sensitivity(as_json: bool, html: Path | None, **options: Any) -> None:
    """Show which layers of MODEL int8 hurts, as a table and a plot."""
    require_onnx()
    import msgspec

    from convert.diagnosis import DiagnosisOrder, diagnose
    from convert.report.page import render_sensitivity
    from convert.report.sensitivity import tabulate_sensitivity

    with show_progress() as progress:
        damages = diagnose(DiagnosisOrder(**options), progress)
    if html is not None:
        _write(html, render_sensitivity(options["model"].name, damages))
    if as_json:
        click.echo(msgspec.json.encode({"nodes": damages}).decode())
    else:
        click.echo(tabulate_sensitivity(damages), nl=False)


@cli.command()
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path))
@click.option(
    "--inputs", required=True, metavar="SAMPLES", help="FILE.npz with x, or a part of it."
)
@_json
def parity(a: Path, b: Path, inputs: str, as_json: bool) -> None:
    """Compare any two of ONNX, TFLite and bundle: differences, agreement."""
    require_onnx()
    import msgspec

    from convert.comparison import compare, describe_comparison

    comparison = compare(a, b, inputs)
    text = msgspec.json.encode(comparison).decode() if as_json else describe_comparison(comparison)
    click.echo(text.rstrip("\n"))


@cli.command()
@click.argument("file", metavar="BUNDLE|PLAN", type=click.Path(path_type=Path))
@click.option("--html", type=click.Path(path_type=Path), help="Write the report as a page.")
@_json
def report(file: Path, html: Path | None, as_json: bool) -> None:
    """Show what a build found out, from its plan, its report.json or one of its bundles."""
    from convert.retelling import retell

    told = retell(file)
    if html is not None:
        _write(html, told.page())
    click.echo(told.as_json() if as_json else told.text(), nl=as_json)


@cli.command()
@click.argument("plan", type=click.Path(path_type=Path))
@_model
@click.option("--out", type=click.Path(path_type=Path), default=Path("dist"), show_default=True)
@_trust
@_json
def emit(plan: Path, model: Path, out: Path, trust: bool, as_json: bool) -> None:
    """Make the model files of PLAN again from MODEL, and check that they are the same bytes."""
    require_onnx()
    from convert.reproduction import reproduce

    with show_progress() as progress:
        files = reproduce(plan, model, out, trust, progress)
    if as_json:
        click.echo(json.dumps({"files": [str(file) for file in files]}))
    else:
        click.echo("\n".join(str(file) for file in files))


@cli.command("setup-tflite")
@click.option("--python", type=click.Path(path_type=Path), help="Python to make it with.")
def setup_tflite(python: Path | None) -> None:
    """Set up onnx2tf, for models that TFLite files cannot be made of directly."""
    from convert.onnx2tf.setup import setup_environment

    with show_progress() as progress:
        click.echo(setup_environment(progress, python))


def main() -> None:
    """Run the command line and exit."""
    run_command(cli, NAME, {BudgetMissed: Exit.BUDGET})


def _write(file: Path, text: str) -> None:
    from edge_bundle.disk import replace_file

    try:
        replace_file(file, text.encode(), mode=0o644)
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror or error}") from None


if __name__ == "__main__":
    main()
