"""How long one inference takes: models in turns, so that what slows one slows all of them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from time import perf_counter_ns
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from edge_bundle.errors import ConfigError
from edge_bundle.manifest import Sha256
from edge_bundle.runtimes.model import Model
from edge_bundle.tensor import Array

BLOCK_MOST: Final = 200
"""Inferences of one model before it is another's turn."""
MAX_PROFILE_BYTES: Final = 1 << 20


class Profile(Struct, frozen=True, forbid_unknown_fields=True):
    """Latencies that a board measured, by the model files' digests."""

    machine: str
    """What it is and what it runs, in words."""
    latency_us: dict[Sha256, Annotated[float, Meta(gt=0)]]
    """Median of one inference, by the model file's sha256."""


def read_profile(path: Path) -> Profile:
    """Read a board's profile.

    Raises: ConfigError: no such file, or not a profile.
    """
    try:
        if path.stat().st_size > MAX_PROFILE_BYTES:
            raise ConfigError(f"{path}: larger than {MAX_PROFILE_BYTES} bytes")
        return msgspec.json.decode(path.read_bytes(), type=Profile)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}, expected {{machine, latency_us by sha256}}") from None


def time_in_turns(
    models: Sequence[Model],
    inputs: Sequence[Sequence[Sequence[Array]]],
    rounds: int,
    seconds: float,
    advance: Callable[[int, int], None] = lambda _done, _of: None,
) -> list[tuple[float, ...]]:
    """Time models in alternating blocks, after a few runs to warm up.

    Args:
        models: loaded.
        inputs: for each model samples to run, each with an array for every input of the model, of
            its type and number of elements.
        rounds: how often each has its turn.
        seconds: that all of it may take, more or less.
        advance: told how many rounds are done.
    Returns: for each round the median time of one inference of each model, in nanoseconds.
    Raises: ModelRefused: one does not run.
    """
    for _ in range(2):
        once = max(_run(model, given, 3) for model, given in zip(models, inputs, strict=True))
    block = max(1, min(BLOCK_MOST, int(seconds * 1e9 / (once * len(models) * rounds))))
    found = []
    for done in range(rounds):
        found.append(
            tuple(_run(model, given, block) for model, given in zip(models, inputs, strict=True))
        )
        advance(done + 1, rounds)
    return found


def _run(model: Model, inputs: Sequence[Sequence[Array]], times: int) -> float:
    """Return the median time of one inference in nanoseconds."""
    taken = []
    for i in range(times):
        for index, values in enumerate(inputs[i % len(inputs)]):
            model.input(index)[...] = values.reshape(model.inputs[index].shape)
        began = perf_counter_ns()
        model.invoke()
        taken.append(perf_counter_ns() - began)
    return median(taken)
