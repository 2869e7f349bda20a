"""Proves a bundle in a process of its own, because real models abort the interpreter.

The child loads the model, runs the golden vectors and times a window; the parent only reads what
it printed, and survives whatever happens to it.
"""

import ctypes
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct

from edge_bundle.archive import Bundle, read_bundle
from edge_bundle.errors import ArtifactRefused, RuntimeMissing
from edge_wire.messages import Reason

if TYPE_CHECKING:
    import subprocess

TIMEOUT_S: Final = 120.0
POLL_S: Final = 0.05
PR_SET_PDEATHSIG: Final = 1
"""prctl(2): the signal that we get when the thread that started us ends."""


class Verdict(Struct, frozen=True):
    """What the child found."""

    ok: bool
    reason: Reason | None = None
    detail: str = ""
    window_ms: float = 0.0
    """Mean time of one golden window, the model being warm."""


class StagingFailed(Exception):
    """The bundle must not run here."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def stage(
    bundle: Bundle, threads: int, profile: str, cancelled: Callable[[], bool] = lambda: False
) -> Verdict | None:
    """Prove a bundle in a child.

    Args:
        bundle: in the store.
        threads: that one inference may use.
        profile: of this device, for the bundle's limits.
        cancelled: asked again and again; true ends the child.
    Returns: None where it was cancelled.
    Raises: StagingFailed: it cannot be loaded, is wrong, too slow, or killed the child. OSError:
        no child could be started.
    """
    import subprocess  # most starts find every bundle proven

    command = [sys.executable, "-m", "edge_agent.staging", str(bundle.path), bundle.sha256]
    # A file, not a pipe: a child that writes a lot must not wait for us to read it.
    with tempfile.TemporaryFile() as out:
        child = subprocess.Popen(
            [*command, str(threads), str(os.getpid())],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.DEVNULL,
        )
        try:
            if not _wait(child, cancelled):
                return None
        finally:
            child.kill()
            child.wait()
        out.seek(0)
        said = out.read().decode(errors="replace")
    return _judge_child(bundle, profile, child.returncode, said)


def _wait(child: "subprocess.Popen[bytes]", cancelled: Callable[[], bool]) -> bool:
    """Wait until the child has ended; false where that was cancelled."""
    import subprocess

    deadline = time.monotonic() + TIMEOUT_S
    while True:
        try:
            child.wait(POLL_S)
            return True
        except subprocess.TimeoutExpired:
            if cancelled():
                return False
            if time.monotonic() > deadline:
                raise StagingFailed(
                    Reason.LOAD_FAILED, f"no verdict within {TIMEOUT_S:g} s"
                ) from None


def _judge_child(bundle: Bundle, profile: str, code: int, said: str) -> Verdict:
    lines = said.strip().splitlines()
    try:
        verdict = msgspec.json.decode(lines[-1] if lines else b"", type=Verdict)
    except msgspec.DecodeError:
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
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


def _end_with(parent: int) -> None:
    """Leave no process behind when the agent is killed, not even one whose model hangs."""
    signal.alarm(int(TIMEOUT_S))
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it was killed before we asked to be told
        sys.exit()


if __name__ == "__main__":
    _end_with(int(sys.argv[4]))
    found = judge(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
    sys.stdout.write(msgspec.json.encode(found).decode() + "\n")
