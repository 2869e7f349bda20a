"""Proves a bundle in a process of its own, because real models abort the interpreter.

The child loads the model, runs the golden vectors and times a window; the parent only reads what
it printed, and survives whatever happens to it.
"""

import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from edge_bundle.archive import Bundle, read_bundle
from edge_bundle.errors import ArtifactRefused, RuntimeMissing
from edge_wire.messages import Reason

TIMEOUT_S: Final = 120.0


class Verdict(Struct, frozen=True):
    """What the child found."""

    ok: bool
    reason: Reason | None = None
    detail: str = ""
    window_ms: float = 0.0
    """Mean time of one golden window, the model being warm."""


@dataclass(frozen=True, slots=True)
class StagingFailed(Exception):
    """The bundle must not run here."""

    reason: Reason
    detail: str

    def __str__(self) -> str:
        return self.detail


def stage(bundle: Bundle, threads: int, profile: str) -> Verdict:
    """Prove a bundle in a child.

    Raises: StagingFailed: it cannot be loaded, is wrong, too slow, or killed the child.
    """
    command = [sys.executable, "-m", "edge_agent.staging", str(bundle.path), bundle.sha256]
    try:
        child = subprocess.run(
            [*command, str(threads)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise StagingFailed(Reason.LOAD_FAILED, f"no verdict within {TIMEOUT_S:g} s") from None
    lines = child.stdout.decode(errors="replace").strip().splitlines()
    try:
        verdict = msgspec.json.decode(lines[-1] if lines else b"", type=Verdict)
    except msgspec.DecodeError:
        how = f"signal {-child.returncode}" if child.returncode < 0 else f"{child.returncode}"
        raise StagingFailed(Reason.LOAD_FAILED, f"the model ended its process: {how}") from None
    if not verdict.ok:
        raise StagingFailed(verdict.reason or Reason.LOAD_FAILED, verdict.detail)
    limits = bundle.manifest.limits.latency_ms
    limit_ms = limits.get(profile, limits.get("default", float("inf")))
    if verdict.window_ms > limit_ms:
        raise StagingFailed(
            Reason.LOAD_FAILED,
            f"{verdict.window_ms:.3f} ms a window, limits.latency_ms allows {limit_ms:g} ms",
        )
    return verdict


def judge(path: Path, sha256: str, threads: int) -> Verdict:
    """Load a bundle in this process and compare it with its golden vectors."""
    from edge_bundle.golden import check_golden
    from edge_bundle.inference import Inference

    try:
        bundle = read_bundle(path, sha256)
        inference = Inference.open(bundle, threads)
        result = check_golden(bundle, inference)
        began = time.perf_counter()
        check_golden(bundle, inference)
        window_ms = (time.perf_counter() - began) / result.windows * 1e3
    except (ArtifactRefused, RuntimeMissing, OSError) as error:
        return Verdict(False, Reason.LOAD_FAILED, str(error))
    if not result.ok:
        detail = f"golden scores off by {result.largest:.4g}, tolerance {result.tolerance:g}"
        return Verdict(False, Reason.GOLDEN_FAILED, detail)
    return Verdict(True, window_ms=window_ms)


if __name__ == "__main__":
    found = judge(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
    sys.stdout.write(msgspec.json.encode(found).decode() + "\n")
