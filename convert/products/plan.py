"""All that a build decided, so that the same files can be made again.

The same plan, with the same versions of the emitters, gives the same bytes.
"""

import hashlib
from collections.abc import Mapping
from importlib import metadata
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from convert.choice.recipes import Recipe
from convert.findings import Findings
from convert.ranges import Range
from edge_bundle.errors import ArtifactRefused
from edge_bundle.manifest import Name, Version

SCHEMA: Final = 1
MAX_PLAN_BYTES: Final = 64 << 20
EMITTERS: Final = (
    *("onnx", "onnxruntime", "onnxslim", "numpy"),
    *("ai-edge-litert", "ai-edge-quantizer", "flatbuffers"),
    *("scikit-learn", "skl2onnx", "torch", "onnxscript", "keras"),
)


class Ends(Struct, frozen=True, array_like=True):
    """A range, as ``[low, high]``."""

    low: float
    high: float


class Variant(Struct, frozen=True):
    """One file, and all that it depends on beside the float model."""

    variant: str
    recipe: Recipe
    float_sha256: str
    """Of the float model in the same format, that the recipe is applied to."""
    model_sha256: str
    bundle_sha256: str
    ranges: dict[str, Ends]
    """By tensor name; of static int8 alone."""


class Plan(Struct, frozen=True, kw_only=True):
    """What was decided, from what, with what."""

    schema: Literal[1] = SCHEMA
    name: Name
    version: Version
    source_sha256: str
    calibration_sha256: str | None
    evaluation_sha256: str
    target: str
    outputs: Annotated[tuple[str, ...], Meta(min_length=1)]
    """Of the source, that are kept."""
    shapes: tuple[tuple[int, ...], ...]
    """Of each, for one sample."""
    left_out: tuple[str, ...]
    """Steps to the plain form that this model does not bear."""
    seeds: dict[str, int]
    versions: dict[str, str]
    """Of what emitted the files."""
    variants: tuple[Variant, ...]
    findings: Findings | None = None
    """What the decisions rest on; the bundles' ``plan_sha256`` is of the plan without them."""


def encode(plan: Plan) -> bytes:
    """Return the bytes of ``plan.json``: the same for equal plans."""
    return msgspec.json.format(msgspec.json.encode(plan, order="sorted"), indent=1) + b"\n"


def decode(data: bytes, where: str) -> Plan:
    """Read a plan.

    Raises: ArtifactRefused: not a plan, or one of another schema.
    """
    if len(data) > MAX_PLAN_BYTES:
        raise ArtifactRefused(f"{where}: {len(data)} bytes, at most {MAX_PLAN_BYTES}")
    try:
        plan = msgspec.json.decode(data, type=Plan)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ArtifactRefused(f"{where}: not a plan: {error}") from None
    _check(plan, where)
    return plan


def _check(plan: Plan, where: str) -> None:
    """Refuse a plan that contradicts itself, as nobody's build writes it."""
    if len(plan.shapes) != len(plan.outputs):
        raise ArtifactRefused(f"{where}: {len(plan.shapes)} shapes for {len(plan.outputs)} outputs")
    seen = set()
    for variant in plan.variants:
        if variant.variant != variant.recipe.variant or variant.variant in seen:
            raise ArtifactRefused(f"{where}: variant {variant.variant!r} stands there wrongly")
        seen.add(variant.variant)


def identify(plan: Plan) -> str:
    """Return the sha256 of what was decided, which bundles carry.

    Bundles' own digests and the findings are left out: they come later. So is the order of the
    variants, which rests on measured latencies.
    """
    variants = [msgspec.structs.replace(v, bundle_sha256="") for v in plan.variants]
    variants.sort(key=lambda v: v.variant)
    decided = msgspec.structs.replace(plan, variants=tuple(variants), findings=None)
    return digest(encode(decided))


def digest(data: bytes) -> str:
    """Return a sha256, as hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def emitter_versions() -> dict[str, str]:
    """Return the installed versions of all that has a part in a file's bytes."""
    found = {}
    for name in EMITTERS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def to_ends(ranges: Mapping[str, Range]) -> dict[str, Ends]:
    """Return ranges as a plan keeps them."""
    return {name: Ends(r.low, r.high) for name, r in sorted(ranges.items())}


def to_ranges(ends: Mapping[str, Ends]) -> dict[str, Range]:
    """Return a plan's ranges as emitters take them."""
    return {name: Range(e.low, e.high) for name, e in ends.items()}
