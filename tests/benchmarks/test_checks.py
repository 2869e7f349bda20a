"""A benchmark's last line is its checks as JSON, and its exit code says whether all are kept."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


def finish(checks: str) -> tuple[int, list[dict[str, Any]]]:
    """Return the exit code of a benchmark with these checks, and what its last line says."""
    code = (
        "from benchmarks.checks import at_least, at_most, finish, tell\n"
        f"tell('far')\nprint('said before')\nfinish([{checks}])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stderr == "far\n"
    said: dict[str, list[dict[str, Any]]] = json.loads(done.stdout.splitlines()[-1])
    assert list(said) == ["checks"]
    return done.returncode, said["checks"]


@pytest.mark.parametrize(
    ("checks", "code", "kept"),
    [
        ("", 0, []),
        ("at_most('a', 1.0, 1.0), at_least('b', 1.0, 1.0)", 0, [True, True]),
        ("at_most('a', 9.0, None), at_least('b', -9.0, None)", 0, [True, True]),
        ("at_most('a', 1.01, 1.0), at_least('b', 1.0, 1.0)", 1, [False, True]),
        ("at_most('a', 1.0, 1.0), at_least('b', 0.99, 1.0)", 1, [True, False]),
        ("at_most('a', 1.00001, 1.0)", 1, [False]),
        ("at_most('a', float('nan'), 1.0)", 1, [False]),
        ("at_least('a', float('nan'), 1.0)", 1, [False]),
    ],
)
def test_missed_bound_is_exit_code_1(checks: str, code: int, kept: list[bool]) -> None:
    returned, said = finish(checks)
    assert returned == code
    assert [check["ok"] for check in said] == kept


def test_check_says_name_value_bound_and_whether_it_is_kept() -> None:
    _, said = finish("at_most('p50_ms', 1.23456, 1.0), at_least('of', 2.0, None)")
    assert said == [
        {"name": "p50_ms", "value": 1.2346, "bound": 1.0, "ok": False},
        {"name": "of", "value": 2.0, "bound": None, "ok": True},
    ]


def test_proof_of_the_face_model_is_left_out_aloud_where_there_are_no_pictures(
    tmp_path: Path,
) -> None:
    args = ["--data", str(tmp_path), "--only", "face"]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.real_models", *args],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, '{"checks": []}\n')
    assert done.stderr == "face: left out; --pictures names a folder with pictures\n"
