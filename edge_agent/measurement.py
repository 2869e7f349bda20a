"""How long model files take on this machine, for a converter elsewhere to choose by.

The models run in turns in a process of their own, because real ones abort the interpreter: the
parent reads what the child says, a line of JSON at a time, and knows which file ended it.
"""

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Final

import msgspec
import numpy as np
from msgspec import Struct

from edge_bundle.archive import BUNDLE_MARK, read_bundle
from edge_bundle.disk import replace_file
from edge_bundle.errors import ArtifactRefused, ConfigError, ModelRefused, RuntimeMissing
from edge_bundle.latency import MAX_PROFILE_BYTES, Profile, read_profile, time_in_turns
from edge_bundle.runtimes.loader import PACKAGES, guess_format, load_model
from edge_bundle.runtimes.model import Model
from edge_bundle.tensor import Array, TensorSpec

ROUNDS: Final = 12
SHORT_S: Final = 0.1
SAMPLES: Final = 4
"""Seeded ones, that the runs take in turns."""
LOAD_S: Final = 120.0
"""For a child to load what it is given, beside the time that it measures."""
LARGEST_BYTES: Final = 512 << 20
"""Of a model file, as for ``edge-convert``."""
BOARD: Final = Path("/proc/device-tree/model")


class Said(Struct, frozen=True, omit_defaults=True):
    """One line of the child's."""

    loading: str = ""
    done: int = 0
    """Rounds."""
    refused: str = ""
    missing: str = ""
    """No runtime for a file."""
    latency_us: tuple[float, ...] = ()


class Measured(Struct, frozen=True):
    """One file."""

    file: str
    sha256: str
    """Of the model file: of a bundle, of the model in it."""
    latency_us: float
    """Median of one inference."""


def measure(
    files: Sequence[Path], threads: int, seconds: float, told: Callable[[int], None]
) -> list[Measured]:
    """Time model files in turns.

    Args:
        files: ONNX, TFLite or bundles.
        threads: that one inference may use.
        seconds: that all of it may take, more or less, beside loading.
        told: how many of ``ROUNDS`` are done.
    Raises: ConfigError: no such file; RuntimeMissing. ArtifactRefused: one that does not run.
    """
    digests = [hashlib.sha256(_read(file).data).hexdigest() for file in files]
    last = ""
    found: tuple[float, ...] = ()
    for said in _run_child(files, threads, seconds):
        if said.missing:
            raise RuntimeMissing(said.missing)
        if said.refused:
            raise ModelRefused(said.refused)
        if said.done:
            told(said.done)
        last, found = said.loading or last, said.latency_us or found
    if len(found) != len(files):
        if len(files) > 1:  # which of them it was shows where each runs alone
            for file in files:
                measure([file], threads, SHORT_S, lambda _done: None)
        raise ModelRefused(f"{last or files[0]}: it ended the process that ran it")
    return [
        Measured(str(file), digest, microseconds)
        for file, digest, microseconds in zip(files, digests, found, strict=True)
    ]


def write_profile(measured: Sequence[Measured], machine: str, out: Path) -> Profile:
    """Write a profile, with what the same machine measured before.

    Raises: ConfigError: the file holds something else, or cannot be written.
    """
    known: dict[str, float] = {}
    if os.path.exists(out):  # Path's own raises for a name that is too long
        before = read_profile(out)
        if before.machine != machine:
            raise ConfigError(f"{out}: of {before.machine}; this is {machine}: name another file")
        known = before.latency_us
    found = {m.sha256: round(m.latency_us, 2) for m in measured}
    profile = Profile(machine, dict(sorted((known | found).items())))
    data = msgspec.json.format(msgspec.json.encode(profile), indent=1) + b"\n"
    if len(data) > MAX_PROFILE_BYTES:
        raise ConfigError(f"{out}: larger than {MAX_PROFILE_BYTES} bytes: name another file")
    try:
        replace_file(out, data, mode=0o644)
    except OSError as error:
        raise ConfigError(f"{out}: {error.strerror or error}") from None
    return profile


def describe_machine(threads: int) -> str:
    """Return what this machine is and runs, such as ``Raspberry Pi 4, onnxruntime 1.32.0``."""
    try:
        board = BOARD.read_text("utf-8", "replace").strip("\0 \n")
    except OSError:
        import platform

        board = f"{platform.node()} ({platform.machine()})"
    runtimes = []
    for packages in PACKAGES.values():
        for package in packages:
            try:
                runtimes.append(f"{package.replace('_', '-')} {version(package)}")
                break
            except PackageNotFoundError:
                continue
    return ", ".join([board, *runtimes, "one thread" if threads == 1 else f"{threads} threads"])


def tabulate(measured: Sequence[Measured]) -> str:
    """Return a line for each file as they were given, and what it takes of the first one's time."""
    first = measured[0].latency_us
    width = max(len(m.file) for m in measured)
    lines = (
        f"{m.file:<{width}}  {m.latency_us:>10,.1f}  {m.latency_us / first:>8.3g}" for m in measured
    )
    return "\n".join([f"{'FILE':<{width}}  {'TIME (µs)':>10}  ÷ FIRST", *lines]) + "\n"


def _run_child(files: Sequence[Path], threads: int, seconds: float) -> Iterator[Said]:
    command = [sys.executable, "-m", "edge_agent.measurement", str(threads), str(seconds)]
    child = subprocess.Popen(
        [*command, *map(str, files)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert child.stdout is not None
    try:
        for line in child.stdout:
            try:
                yield msgspec.json.decode(line, type=Said)
            except msgspec.DecodeError:  # a runtime's own chatter
                continue
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


@dataclass(frozen=True, slots=True)
class _File:
    """A model file, and what its bundle says of its tensors."""

    data: bytes
    form: str
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    constants: Mapping[str, int | float] = field(default_factory=dict)


def _read(file: Path) -> _File:
    try:
        if file.stat().st_size > LARGEST_BYTES:
            raise ModelRefused(f"{file}: larger than {LARGEST_BYTES >> 20} MiB")
        data = file.read_bytes()
        if data.startswith(BUNDLE_MARK):
            bundle = read_bundle(file)
            told = bundle.manifest
            return _File(bundle.model(), told.format, told.shapes, told.constants)
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror or error}") from None
    return _File(data, guess_format(data))


def _draw(
    spec: TensorSpec, random: np.random.Generator, constants: Mapping[str, int | float]
) -> Array:
    """Return values that any model takes: codes, real numbers, and 0 for tokens and flags; or the
    constant that an input always is.
    """
    dtype = np.dtype(spec.dtype)
    if spec.name in constants:
        return np.full(spec.shape, constants[spec.name], dtype)
    if dtype.kind == "f":
        return random.standard_normal(spec.shape).astype(dtype)
    if spec.scale is not None:
        ends = np.iinfo(dtype)
        return random.integers(ends.min, ends.max, spec.shape, dtype, endpoint=True)
    return np.zeros(spec.shape, dtype)


def _say(said: Said) -> None:
    sys.stdout.write(msgspec.json.encode(said).decode() + "\n")
    sys.stdout.flush()


def _time(files: Sequence[Path], threads: int, seconds: float) -> None:
    """Load and time, in the child."""
    with ExitStack() as stack:
        models: list[Model] = []
        constants: list[Mapping[str, int | float]] = []
        for file in files:
            _say(Said(loading=str(file)))
            read = _read(file)
            constants.append(read.constants)
            try:
                model = load_model(read.data, read.form, threads, read.shapes)
                models.append(stack.enter_context(closing(model)))
                for index, spec in enumerate(model.inputs):
                    if spec.name in read.constants:
                        model.input(index)[...] = read.constants[spec.name]
                model.invoke()
            except ModelRefused as error:
                raise ModelRefused(f"{file}: {error}") from None
        random = np.random.default_rng(0)
        inputs = [
            [[_draw(spec, random, given) for spec in model.inputs] for _ in range(SAMPLES)]
            for model, given in zip(models, constants, strict=True)
        ]
        rounds = time_in_turns(
            models, inputs, ROUNDS, seconds, lambda done, _of: _say(Said(done=done))
        )
    _say(Said(latency_us=tuple(median(times) / 1000 for times in zip(*rounds, strict=True))))


def _main(threads: str, seconds: str, *files: str) -> None:
    signal.alarm(int(LOAD_S + 10 * float(seconds)))
    try:
        _time([Path(file) for file in files], int(threads), float(seconds))
    except RuntimeMissing as error:
        _say(Said(missing=str(error)))
    except (ConfigError, ArtifactRefused) as error:
        _say(Said(refused=str(error)))


if __name__ == "__main__":
    _main(*sys.argv[1:])
