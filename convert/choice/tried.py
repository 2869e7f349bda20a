"""What is known of each file that was tried, and what was chosen. Plain data."""

from dataclasses import dataclass, field
from hashlib import sha256
from math import inf, isfinite

from convert.choice.latency import Pace
from convert.choice.recipes import Recipe
from convert.findings import Candidate, Damage, Verdict
from convert.judgement.judge import Judge
from convert.judgement.marks import Marks, Numbers


@dataclass(slots=True)
class Tried:
    """One file and what is known of it so far."""

    recipe: Recipe
    data: bytes | None = None
    sqnr_db: float = -inf
    pace: Pace | None = None
    marks: Marks | None = None
    verdict: Verdict = "not tried"
    why: str = ""
    numbers: Numbers | None = None
    """Samples that judge it; all where None."""


@dataclass(slots=True)
class Choice:
    """What was chosen for one format, and all that was tried."""

    chosen: Tried | None
    tried: list[Tried]
    damages: list[Damage] = field(default_factory=list)
    explanations: list[str] = field(default_factory=list)


def to_candidate(tried: Tried, judge: Judge) -> Candidate:
    """Return a tried file as a report shows it."""
    pace, marks = tried.pace, tried.marks
    data = tried.data
    numbers = judge.everything if tried.numbers is None else tried.numbers
    return Candidate(
        format=tried.recipe.format,
        precision=tried.recipe.precision,
        recipe=tried.recipe.words(),
        verdict=tried.verdict,
        why=tried.why,
        bytes=None if data is None else len(data),
        sha256=None if data is None else sha256(data).hexdigest(),
        latency_us=None if pace is None else round(pace.latency_us, 2),
        latency_ratio=None if pace is None else round(pace.ratio, 4),
        sqnr_db=round(tried.sqnr_db, 4) if isfinite(tried.sqnr_db) else None,
        score=None if marks is None else judge.score(marks, numbers),
        difference=None if marks is None else judge.compare(marks, numbers),
        float_nodes=tried.recipe.float_nodes,
    )


def say_decibels(value: float) -> str:
    """Return such as ``30.1 dB``, or what an infinite ratio means."""
    return f"{value:.1f} dB" if isfinite(value) else "no noise" if value > 0 else "no signal"
