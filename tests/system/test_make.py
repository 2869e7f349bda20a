"""``make`` on a machine that lacks something says what to install, in one line."""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
NO_VENV = """#!/bin/sh
case "$2" in *ensurepip*) exit 1;; esac
exec "{python}" "$@"
"""
OLD = """#!/bin/sh
[ "$1" = --version ] && echo "Python 3.9.2" && exit 0
exit 1
"""


def make(folder: Path, python: str) -> "subprocess.CompletedProcess[str]":
    """Run ``make demo`` in a folder with a space in its name and nothing set up."""
    place = folder / "a checkout"
    place.mkdir()
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, place)
    fake = folder / "python3"
    fake.write_text(python.format(python=sys.executable))
    fake.chmod(0o755)
    return subprocess.run(
        ["make", "demo", f"PYTHON={fake}", "VENV=.venv"],
        cwd=place,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_a_python_without_venv_names_the_package(tmp_path: Path) -> None:
    done = make(tmp_path, NO_VENV)
    assert done.returncode == 2
    assert "sudo apt install python3-venv" in done.stdout
    assert not (tmp_path / "a checkout" / ".venv").exists()


def test_a_python_that_is_too_old_is_named(tmp_path: Path) -> None:
    done = make(tmp_path, OLD)
    assert done.returncode == 2
    assert "Python 3.10 or newer is needed, found: Python 3.9.2" in done.stdout
