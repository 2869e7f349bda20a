"""How long a candidate takes against float, measured here or looked up in a board's profile."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from edge_bundle.latency import Profile, time_in_turns
from edge_bundle.runtimes.loader import load_model
from edge_bundle.tensor import Array

SECONDS: Final = 0.8
"""That one comparison may take, more or less."""
ROUNDS: Final = 12
MARGIN: Final = 1.03
"""Of the reference's time: two measurements of one model differ by as much."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Two models in turns."""

    reference_us: float
    latency_us: float
    ratio: float
    slower: bool
    """By more than ``MARGIN``, and in three rounds of four, not just in the middle one."""


def compare_pace(
    reference: tuple[bytes, str], other: tuple[bytes, str], inputs: Sequence[Array]
) -> Pace:
    """Time two models of one input, each a file and its format, with one thread, in turns.

    Raises: ModelRefused: where one does not run.
    """
    models = [load_model(data, kind) for data, kind in (reference, other)]
    samples = [(values,) for values in inputs]
    try:
        rounds = time_in_turns(models, (samples, samples), ROUNDS, SECONDS)
    finally:
        for model in models:
            model.close()
    ratios = sorted(b / a for a, b in rounds)
    reference_us, latency_us = (median(r[i] for r in rounds) / 1000 for i in (0, 1))
    ratio = latency_us / reference_us
    return Pace(reference_us, latency_us, ratio, ratio > MARGIN and ratios[ROUNDS // 4] > 1.0)


def look_up(profile: Profile, reference_sha256: str, sha256: str) -> Pace | None:
    """Return what a board measured of two files, or None where it has not run both."""
    known: Mapping[str, float] = profile.latency_us
    if reference_sha256 not in known or sha256 not in known:
        return None
    before, after = known[reference_sha256], known[sha256]
    return Pace(before, after, after / before, after > MARGIN * before)
