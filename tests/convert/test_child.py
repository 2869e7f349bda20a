"""A program that misbehaves costs the time it was given and no more."""

import os
import signal
import time
from pathlib import Path

import pytest

from convert import child
from convert.child import Ended, run_child


def run(script: str, folder: Path) -> Ended:
    return run_child(["sh", "-c", script], os.environ, folder, 20.0)


def test_code_and_last_line(tmp_path: Path) -> None:
    ended = run(r"echo first; printf '\033[31mlast\033[0m\n\n' >&2; exit 4", tmp_path)
    assert (ended.code, ended.last_line) == (4, "last")
    assert run("exit 5", tmp_path).last_line == "exit code 5 without a word"
    assert run("kill -9 $$", tmp_path).code == -signal.SIGKILL


def test_one_that_left_the_group_and_holds_the_output_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "GRACE_S", 0.2)
    began = time.monotonic()
    ended = run("setsid sleep 60 & echo $!; sleep 0.3", tmp_path)
    try:
        assert ended.code == 0
        assert time.monotonic() - began < 10
    finally:
        os.kill(int(ended.last_line), signal.SIGKILL)


def test_what_cannot_be_started(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        run_child([str(tmp_path / "none")], os.environ, tmp_path, 1.0)
