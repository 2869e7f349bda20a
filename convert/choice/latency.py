"""How long one inference takes: two models in turns, so that what slows one slows both."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter_ns
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from edge_bundle.errors import ConfigError
from edge_bundle.manifest import Sha256
from edge_bundle.runtimes.loader import load_model
from edge_bundle.runtimes.model import Model
from edge_bundle.tensor import Array

SECONDS: Final = 0.8
"""That one comparison may take, more or less."""
ROUNDS: Final = 12
BLOCK_MOST: Final = 200
MAX_PROFILE_BYTES: Final = 1 << 20


class Profile(Struct, frozen=True, forbid_unknown_fields=True):
    """Latencies that a board measured, by the model files' digests."""

    machine: str
    """What it is and what it runs, in words."""
    latency_us: dict[Sha256, Annotated[float, Meta(gt=0)]]
    """Median of one inference, by the model file's sha256."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Two models in turns."""

    reference_us: float
    latency_us: float
    ratio: float
    slower: bool
    """In three rounds of four, not just in the middle one."""


def read_profile(path: Path) -> Profile:
    """Read a board's profile.

    Raises: ConfigError: no such file, or not a profile.
    """
    try:
        if path.stat().st_size > MAX_PROFILE_BYTES:
            raise ConfigError(f"--latency: {path}: larger than {MAX_PROFILE_BYTES} bytes")
        return msgspec.json.decode(path.read_bytes(), type=Profile)
    except OSError as error:
        raise ConfigError(f"--latency: {path}: {error.strerror or error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"--latency: {path}: {error}, expected {{machine, latency_us by sha256}}"
        ) from None


def compare_pace(
    reference: tuple[bytes, str], other: tuple[bytes, str], inputs: Sequence[Array]
) -> Pace:
    """Time two models, each a file and its format, with one thread, in alternating blocks.

    Raises: ModelRefused: where one does not run.
    """
    models = [load_model(data, kind) for data, kind in (reference, other)]
    try:
        for model in models:
            _run(model, inputs, 3)
        once = max(_run(model, inputs, 3) for model in models)
        block = max(1, min(BLOCK_MOST, int(SECONDS * 1e9 / (once * 2 * ROUNDS))))
        rounds = [tuple(_run(model, inputs, block) for model in models) for _ in range(ROUNDS)]
    finally:
        for model in models:
            model.close()
    ratios = sorted(b / a for a, b in rounds)
    reference_us, latency_us = (median(r[i] for r in rounds) / 1000 for i in (0, 1))
    return Pace(reference_us, latency_us, latency_us / reference_us, ratios[ROUNDS // 4] > 1.0)


def look_up(profile: Profile, reference_sha256: str, sha256: str) -> Pace | None:
    """Return what a board measured of two files, or None where it has not run both."""
    known: Mapping[str, float] = profile.latency_us
    if reference_sha256 not in known or sha256 not in known:
        return None
    before, after = known[reference_sha256], known[sha256]
    return Pace(before, after, after / before, after > before)


def _run(model: Model, inputs: Sequence[Array], times: int) -> float:
    """Return the median time of one inference in nanoseconds."""
    taken = []
    for i in range(times):
        model.input(0)[...] = inputs[i % len(inputs)].reshape(model.inputs[0].shape)
        began = perf_counter_ns()
        model.invoke()
        taken.append(perf_counter_ns() - began)
    return median(taken)
