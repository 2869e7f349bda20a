"""An inspection in plain words, for a terminal of 80 columns."""

from collections.abc import Iterable, Iterator
from textwrap import wrap
from typing import Final

from convert.inspection.anatomy import Anatomy, TensorFacts
from convert.inspection.fitness import Buildable
from convert.inspection.survey import BundleFacts, Inspection

WIDTH: Final = 80
INDENT: Final = 14
MOST: Final = 12
"""Operators that are listed by name; the rest is a number."""


def describe_inspection(inspection: Inspection) -> str:
    """Return the whole inspection as lines of at most 80 columns, where words allow it."""
    return "\n".join(_lines(inspection))


def _lines(inspection: Inspection) -> Iterator[str]:
    anatomy, trial = inspection.anatomy, inspection.trial
    yield inspection.path
    yield from _field("sha256", inspection.sha256)
    if inspection.bundle:
        yield from _bundle(inspection.bundle)
    yield from _field("format", _format(anatomy))
    yield from _field("model file", f"{inspection.model_bytes:,} bytes")
    for tensor in anatomy.inputs:
        yield from _field("input", _tensor(tensor))
    for tensor in anatomy.outputs:
        yield from _field("output", _tensor(tensor))
    yield from _field("operators", _operators(anatomy))
    stored = sorted(anatomy.weight_bytes.items(), key=lambda item: -item[1])
    weights = ", ".join(f"{size:,} bytes {kind}" for kind, size in stored)
    yield from _field("parameters", f"{anatomy.parameters:,} ({weights or 'no constants'})")
    yield from _field("arithmetic", anatomy.precision)
    least = "at least " if anatomy.uncounted else ""
    rest = f"; not counted: {', '.join(anatomy.uncounted)}" if anatomy.uncounted else ""
    yield from _field(
        "work", f"{least}{anatomy.multiply_accumulates:,} multiply-accumulates a run{rest}"
    )
    for name, found in (
        ("stateful", anatomy.stateful),
        ("control flow", anatomy.control_flow),
        ("custom", anatomy.custom),
        ("weights in", anatomy.external),
    ):
        if found:
            yield from _field(name, ", ".join(found))
    if trial.memory_bytes is not None:
        takes = f"{trial.memory_bytes / 1e6:.1f} MB for one run on {trial.runtime} here"
        yield from _field("memory", takes)
    yield "targets, as the file is"
    for said, names in _grouped((f.target, f"{f.runs}: {f.why}") for f in inspection.targets):
        yield from _item(names, said)
    if inspection.builds:
        yield "edge-convert build could make"
    for said, names in _grouped((b.format, _build(b)) for b in inspection.builds):
        yield from _item(names, said)


def _bundle(bundle: BundleFacts) -> Iterator[str]:
    yield from _field("bundle", f"{bundle.name} {bundle.version} {bundle.variant}")
    yield from _field("takes", bundle.takes)
    yield from _field("says", ", ".join(bundle.labels) or "its outputs as they are")
    yield from _field("recipe", bundle.recipe)
    if bundle.final_accuracy is not None:
        before = "" if bundle.float_accuracy is None else f"{bundle.float_accuracy:.1%} -> "
        yield from _field(
            "accuracy",
            f"{before}{bundle.final_accuracy:.1%} on {bundle.evaluation_windows:,} windows",
        )
    limits = [f"{size:,} bytes on {name}" for name, size in bundle.limits.memory_bytes.items()]
    limits += [f"{ms:g} ms on {name}" for name, ms in bundle.limits.latency_ms.items()]
    yield from _field("limits", ", ".join(limits) or "none")
    profiles = ", ".join(bundle.requires.profiles) or "any profile"
    yield from _field("requires", f"agent {bundle.requires.agent}, {profiles}")


def _build(build: Buildable) -> str:
    stay = f"; int8 leaves {', '.join(build.stay_float)} in float" if build.stay_float else ""
    return f"{'yes' if build.possible else 'no'}: {build.why}{stay}"


def _grouped(said: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return each thing that is said once, with the names of all of whom it is said."""
    names: dict[str, list[str]] = {}
    for name, text in said:
        names.setdefault(text, []).append(name)
    return [(text, ", ".join(of)) for text, of in names.items()]


def _format(anatomy: Anatomy) -> str:
    versions = [f"IR {anatomy.ir}"] if anatomy.ir is not None else []
    versions += [f"{domain} opset {number}" for domain, number in anatomy.opsets.items()]
    made = f"; made by {anatomy.producer}" if anatomy.producer else ""
    return ", ".join([anatomy.format, *versions]) + made


def _tensor(tensor: TensorFacts) -> str:
    shape = "without a shape"
    if tensor.shape is not None:
        shape = f"[{', '.join(map(str, tensor.shape))}]"
    codes = ""
    if tensor.scale is not None:
        codes = f", value = {tensor.scale:.6g} * (code - {tensor.zero_point or 0})"
    return f"{tensor.name or '(unnamed)'}: {tensor.dtype} {shape}{codes}"


def _operators(anatomy: Anatomy) -> str:
    total = sum(o.count for o in anatomy.operators)
    shown = [f"{o.count} {o.name}" for o in anatomy.operators[:MOST]]
    rest = len(anatomy.operators) - MOST
    more = [f"and {rest} other kinds"] if rest > 0 else []
    return f"{total}: {', '.join([*shown, *more])}"


def _field(name: str, text: str) -> Iterator[str]:
    yield from _wrapped(f"{name:<{INDENT}}", text, INDENT)


def _item(name: str, text: str) -> Iterator[str]:
    yield from _wrapped(f"  {name}  ", text, 6)


def _wrapped(head: str, text: str, indent: int) -> list[str]:
    # Names and hashes stay whole, or nobody could copy them.
    return wrap(
        head + text,
        WIDTH,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
        drop_whitespace=True,
    )
