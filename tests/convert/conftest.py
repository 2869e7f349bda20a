"""``edge-convert`` run in the test's own process, and what an order to it needs."""

import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convert.__main__ import main
from edge_bundle.tensor import Float32Array
from tests.convert.example import CALIBRATION, EVALUATION, MODEL, SPEC
from tests.convert.graphs import save_graph

GOOD = "scores = MatMul(x, w)"
"""A small model that can be built."""


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str


Run = Callable[..., Ended]


@pytest.fixture(scope="session")
def run() -> Run:
    """Run ``edge-convert`` in this process."""

    def run_here(*arguments: object) -> Ended:
        out, err = StringIO(), StringIO()
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            patch.setattr(sys, "argv", ["edge-convert", *map(str, arguments)])
            with pytest.raises(SystemExit) as stop:
                main()
        code = stop.value.code
        assert isinstance(code, int)
        return Ended(code, out.getvalue(), err.getvalue())

    return run_here


class Refused:
    """Runs a command that has to be refused, and checks that it ends as a refusal does."""

    def __init__(self, run: Run, folder: Path) -> None:
        self._run = run
        self.out = folder / "dist"

    def __call__(self, code: int, *arguments: object) -> str:
        """Return the one line that was said of it; nothing is left in ``out``."""
        ended = self._run(*arguments)
        assert ended.code == code, ended.err
        assert ended.out == ""
        *progress, line = ended.err.splitlines()
        assert line.startswith("edge-convert: ")
        assert not [said for said in progress if said.startswith("edge-convert: ")]
        assert [*self.out.rglob("*")] == []
        return line


@pytest.fixture
def refused(run: Run, tmp_path: Path) -> Refused:
    return Refused(run, tmp_path)


Example = Callable[..., str]
"""Takes the exit code, and what is different of the order."""


@pytest.fixture
def example(refused: Refused) -> Example:
    """Build the watch model with some options changed."""

    def refuse(code: int, model: object = MODEL, **options: object) -> str:
        given = {"spec": SPEC, "calibration": CALIBRATION, "evaluation": EVALUATION}
        return refused(code, "build", model, *spell({**given, "out": refused.out, **options}))

    return refuse


@pytest.fixture
def small(refused: Refused, tmp_path: Path) -> Example:
    """Build a model without a spec from a few prepared samples, with some options changed."""
    evaluation = save_samples(tmp_path / "x.npz", rows(40, 6), np.arange(40) % 2)

    def refuse(code: int, model: Path | None = None, **options: object) -> str:
        given = {"evaluation": evaluation, "out": refused.out, **options}
        model = model or save_graph(tmp_path / "m.onnx", GOOD)
        return refused(code, "build", model, *spell(given))

    return refuse


def spell(options: Mapping[str, object]) -> list[object]:
    """Return options as a command line has them."""
    pairs = [(f"--{key.replace('_', '-')}", value) for key, value in options.items()]
    return [part for pair in pairs for part in pair]


def rows(count: int, *shape: int) -> Float32Array:
    return np.random.default_rng(count).normal(size=(count, *shape)).astype(np.float32)


def save_samples(file: Path, x: Any, y: Any = None) -> Path:
    np.savez(file, **({"x": x} if y is None else {"x": x, "y": y}))
    return file


def write_metric(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, body: str) -> str:
    """Write a function of the user's into the folder that the command is called from."""
    (folder / f"{name}.py").write_text(f"def f(outputs, y, reference):\n    {body}\n")
    monkeypatch.chdir(folder)
    return f"{name}:f"
