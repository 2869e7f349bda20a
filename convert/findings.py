"""What a build found out, as ``report.json`` keeps it and ``report.html`` shows it. Pure types.

Scores are fractions of 1, whatever the metric; sizes are bytes of the model file alone; latencies
are medians in microseconds of one inference with one thread.
"""

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

SCHEMA: Final = 1

Precision = Literal["int8", "dynamic", "fp16", "float"]
Verdict = Literal["chosen", "kept", "behind", "slower", "missed", "failed", "not tried"]
"""``chosen`` best of its format; ``kept`` as float stands for itself; ``behind`` good, but
another is better; ``slower`` than float; ``missed`` the budget; ``failed`` no file, or none that
runs; ``not tried`` left out, with the reason."""


class Interval(Struct, frozen=True):
    """A confidence interval of 95 %."""

    low: float
    high: float


class Score(Struct, frozen=True):
    """How good one model is on labelled samples, or how well it agrees with float."""

    value: float
    interval: Interval
    samples: int


class Difference(Struct, frozen=True):
    """A model against float on the same samples."""

    value: float
    """Final minus float: negative where something was lost."""
    interval: Interval
    worse: int
    """Samples that float has right and the model wrong."""
    better: int
    """The other way round."""
    flips: int
    """Samples whose answer changes, right or wrong."""
    p: float | None
    """McNemar's exact test, two-sided; None where a sample has no right answer."""
    within: bool
    """What was lost is no more than the budget allows."""
    proven: bool
    """The whole interval is within the budget."""


class Candidate(Struct, frozen=True):
    """One way to make the model small, and what came of it."""

    format: Literal["onnx", "tflite"]
    precision: Precision
    recipe: str
    """In full, such as ``static QDQ U8S8 per-channel, least-squares ranges, all operators``."""
    verdict: Verdict
    why: str
    """One sentence."""
    bytes: int | None = None
    sha256: str | None = None
    latency_us: float | None = None
    latency_ratio: float | None = None
    """To the float model in the same format, alternating runs."""
    sqnr_db: float | None = None
    """Of the outputs against float, on calibration samples; no label was looked at."""
    score: Score | None = None
    difference: Difference | None = None
    float_nodes: tuple[str, ...] = ()
    """Nodes that were left in float."""


class Damage(Struct, frozen=True):
    """What int8 does to the output when one node alone is int8."""

    node: str
    operator: str
    sqnr_db: float | None
    """None where nothing is lost at all."""
    bytes_saved: int
    """Of its weights."""
    kept_float: bool
    """Left in float in the chosen model."""


class Dataset(Struct, frozen=True):
    """Samples that were used."""

    source: str
    sha256: str
    samples: int


class Confusion(Struct, frozen=True):
    """Answers by class: rows are right classes, columns are answers."""

    labels: tuple[str, ...]
    float: tuple[tuple[int, ...], ...]
    final: tuple[tuple[int, ...], ...]


class Product(Struct, frozen=True):
    """A bundle that was written."""

    file: str
    variant: str
    sha256: str
    bytes: int
    """Of the model file in it."""
    bundle_bytes: int


class Findings(Struct, frozen=True, kw_only=True):
    """All that a build found out."""

    schema: Literal[1] = SCHEMA
    name: str
    version: str
    source: str
    """File name of the model that was given."""
    source_sha256: str
    float_bytes: int
    target: str
    """Device profile that the choice was made for."""
    measured_on: str
    """Machine and runtimes, or the board's profile, that latencies come from."""
    metric: str
    """``accuracy``, ``agreement with float``, ``closeness to float`` or ``module:function``."""
    calibration: Dataset | None
    evaluation: Dataset
    search_samples: int
    """Evaluation samples that chose between models, and so did not judge the final one."""
    holdout_samples: int
    max_drop: float
    float_score: Score
    evaluations: Annotated[int, Meta(ge=0)]
    """Full labelled passes."""
    chosen: str | None
    """Variant of the first bundle; None where nothing met the budget."""
    candidates: tuple[Candidate, ...]
    explanations: tuple[str, ...]
    """Every choice in a sentence, in the order in which they were made."""
    products: tuple[Product, ...]
    sensitivity: tuple[Damage, ...] = ()
    confusion: Confusion | None = None


def encode(findings: Findings) -> bytes:
    """Return the bytes of ``report.json``."""
    return msgspec.json.format(msgspec.json.encode(findings), indent=1) + b"\n"


def decode(data: bytes) -> Findings:
    """Read ``report.json``.

    Raises: msgspec.DecodeError: not a report, or one of another schema.
    """
    return msgspec.json.decode(data, type=Findings)
