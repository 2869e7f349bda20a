"""A fleet in a folder, bundles to push, and the commands as a user calls them."""

import io
import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from edge_bundle.archive import Bundle, write_bundle
from edge_wire.chunks import HASH_BYTES
from edge_wire.credentials import BrokerTable
from edge_wire.trust import Root, read_root
from fleet.__main__ import main
from fleet.folder import Folder
from fleet.operations import Patience, Pushed, RolledBack, init, push, rollback
from fleet.watching import Goal, Verdict
from tests.edge_bundle.bundles import watch_manifest

MODEL_BYTES = 150_000
"""Three chunks and the index: random bytes do not get smaller."""


class World:
    """One fleet."""

    def __init__(self, path: Path, url: str) -> None:
        self.folder: Folder = init(path / "fleet", BrokerTable(url))
        self.url = url
        self.said: list[str | Verdict] = []
        self._bundles = path / "made"

    @property
    def root(self) -> Root:
        """What its devices trust."""
        return read_root(self.folder.root.read_bytes())

    def bundle(self, version: str, salt: str = "", **changes: Any) -> Bundle:
        """Write a bundle whose bytes follow from its version and the salt."""
        return make_bundle(self._bundles / salt, version, salt, **changes)

    def push(self, *bundles: Bundle, group: str = "g", **options: Any) -> Pushed:
        """Push as the command does."""
        paths = [bundle.path for bundle in bundles]
        retry = options.pop("retry", False)
        return push(self.folder.path, paths, group, retry, patience(**options), self.said.append)

    def rollback(self, model: str = "watch", group: str | None = None, **o: Any) -> RolledBack:
        """Roll back as the command does."""
        return rollback(self.folder.path, model, group, patience(**o), self.said.append)

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run a command of this fleet to its end, in a process of its own."""
        return run_command("--dir", str(self.folder.path), *arguments)

    def call(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run a command of this fleet to its end, in this process."""
        return call_command("--dir", str(self.folder.path), *arguments)


def make_bundle(folder: Path, version: str, salt: str = "", **changes: Any) -> Bundle:
    """Write a bundle that no runtime loads; only its bytes matter here."""
    model = random.Random(version + salt).randbytes(MODEL_BYTES)
    manifest = watch_manifest(version=version, **changes)
    return write_bundle(folder, manifest, {"model.onnx": model, "golden.npz": b"none"})


def patience(goal: Goal = Goal.RUNNING, timeout_s: float = 20.0) -> Patience:
    return Patience(goal, timeout_s, time.monotonic())


def run_command(*arguments: str, **options: Any) -> "subprocess.CompletedProcess[str]":
    """Run ``python -m fleet``."""
    return subprocess.run(
        [sys.executable, "-m", "fleet", *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
        **options,
    )


def call_command(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run the command line in this process, which is quicker."""
    out, err = io.StringIO(), io.StringIO()
    with (
        patch.object(sys, "argv", ["edge-fleet", *arguments]),
        redirect_stdout(out),
        redirect_stderr(err),
        pytest.raises(SystemExit) as end,
    ):
        main()
    code = end.value.code
    assert isinstance(code, int)
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


@contextmanager
def running_command(*arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """Start ``python -m fleet``, and leave no process behind."""
    child = subprocess.Popen(
        [sys.executable, "-m", "fleet", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with child:
        try:
            yield child
        finally:
            child.kill()


def one_document(out: str) -> Any:
    """Return the only JSON document that an output may be."""
    assert out.endswith("\n")
    return json.loads(out)


def blob_bytes(encoding_length: int, chunk_bytes: int) -> int:
    """Return how many bytes cross the broker when each chunk does so once."""
    return encoding_length + HASH_BYTES * -(-encoding_length // chunk_bytes)
