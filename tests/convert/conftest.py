import sys
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from convert.__main__ import main


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str


Run = Callable[..., Ended]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run ``edge-convert`` in this process."""

    def run_here(*arguments: object) -> Ended:
        monkeypatch.setattr(sys, "argv", ["edge-convert", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        captured = capsys.readouterr()
        code = stop.value.code
        assert isinstance(code, int)
        return Ended(code, captured.out, captured.err)

    return run_here
