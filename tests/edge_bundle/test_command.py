"""How a command ends: one line on stderr, a stable exit code, and no traceback."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest

from edge_bundle.command import run_command
from edge_bundle.errors import BundleRefused, ConfigError, Exit, RuntimeMissing

ROOT = Path(__file__).parents[2]


class Unreachable(Exception):
    """An error of the caller's own room."""


@click.group()
def group() -> None:
    """Do things."""


@group.command()
@click.option("--number", type=int, default=0)
@click.pass_context
def end(context: click.Context, number: int) -> None:
    context.exit(number)


@group.command()
@click.argument("kind")
def fail(kind: str) -> None:
    errors: dict[str, BaseException] = {
        "config": ConfigError("edge.toml:1:1: a:\n wrong"),
        "missing": RuntimeMissing("no runtime"),
        "bundle": BundleRefused("x.bundle: cut short"),
        "link": Unreachable("no broker"),
        "file": FileNotFoundError(2, "No such file or directory", "x.bundle"),
        "folder": IsADirectoryError(21, "Is a directory", "x"),
        "interrupt": KeyboardInterrupt(),
        "abort": click.Abort(),
    }
    raise errors[kind]


def run(
    capsys: pytest.CaptureFixture[str], patch: pytest.MonkeyPatch, *args: str
) -> tuple[int, str]:
    patch.setattr(sys, "argv", ["edge-x", *args])
    with pytest.raises(SystemExit) as ended:
        run_command(group, "edge-x", {Unreachable: Exit.LINK})
    assert isinstance(ended.value.code, int)
    return int(ended.value.code), capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "code", "line"),
    [
        (["end"], 0, ""),
        (["end", "--number", "5"], 5, ""),
        (["--help"], 0, ""),
        (["end", "--help"], 0, ""),
        (["fail", "config"], 2, "edge-x: edge.toml:1:1: a: wrong\n"),
        (["fail", "missing"], 2, "edge-x: no runtime\n"),
        (["fail", "bundle"], 3, "edge-x: x.bundle: cut short\n"),
        (["fail", "link"], 4, "edge-x: no broker\n"),
        (["fail", "file"], 2, "edge-x: [Errno 2] No such file or directory: 'x.bundle'\n"),
        (["fail", "folder"], 2, "edge-x: [Errno 21] Is a directory: 'x'\n"),
        (["fail", "interrupt"], 6, "edge-x: interrupted\n"),
        (["fail", "abort"], 6, "edge-x: interrupted\n"),
        (["end", "--number", "x"], 2, "edge-x: Invalid value for '--number': 'x' is not a valid"),
        (["nothing"], 2, "edge-x: No such command 'nothing'"),
        (["end", "--no"], 2, "edge-x: No such option"),
    ],
)
def test_ending(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    args: list[str],
    code: int,
    line: str,
) -> None:
    found, error = run(capsys, monkeypatch, *args)
    assert found == code
    assert error.startswith(line)
    assert error.count("\n") == bool(line)


def test_group_without_a_command_points_to_its_help(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, error = run(capsys, monkeypatch)
    if code:  # click before 8.2 prints the help and ends well
        assert (code, error) == (2, "edge-x: no command given; see edge-x --help\n")


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["edge-x", "fail", "unheard of"])
    with pytest.raises(KeyError):
        run_command(group, "edge-x")


WORK = """
import tempfile, time
import click
from edge_bundle.command import run_command
@click.command()
@click.argument("folder")
def work(folder):
    with tempfile.TemporaryDirectory(dir=folder):
        print("begun", flush=True)
        time.sleep(60)
run_command(work, "edge-x")
"""


def test_a_request_to_end_lets_everything_be_cleared_away(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WORK, str(tmp_path)]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        assert child.stdout
        assert child.stderr
        assert child.stdout.readline() == b"begun\n"
        assert len(list(tmp_path.iterdir())) == 1
        child.send_signal(signal.SIGTERM)
        assert child.stderr.read() == b"edge-x: interrupted\n"
        assert child.wait(30) == 6
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_while_a_class_is_made_of_text_keeps_the_exit_code(tmp_path: Path) -> None:
    (tmp_path / "edge_x.py").write_text(
        "import click\n"
        "from edge_bundle.command import run_command\n"
        "@click.command()\n"
        "def work():\n"
        "    exec('raise KeyboardInterrupt')\n"
        "run_command(work, 'edge-x')\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "edge_x"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (6, b"edge-x: interrupted\n")


@pytest.mark.parametrize("before", [signal.SIG_IGN, signal.SIG_DFL])
def test_what_a_signal_did_before_a_command_it_does_after_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, before: signal.Handlers
) -> None:
    found = signal.signal(signal.SIGTERM, before)
    try:
        run(capsys, monkeypatch, "end")
        assert signal.getsignal(signal.SIGTERM) is before
    finally:
        signal.signal(signal.SIGTERM, found)


@pytest.mark.parametrize(("word", "code"), [("end", 0), ("nothing", 2)])
def test_output_that_was_closed_before_is_no_error(word: str, code: int) -> None:
    script = f"""
import click, sys
from edge_bundle.command import run_command
@click.group()
def group(): pass
@group.command()
def end(): pass
sys.stdout, sys.argv = None, ["edge-x", {word!r}]
run_command(group, "edge-x")
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == code
    assert "Traceback" not in done.stderr


MANY = """
import sys
from edge_bundle.ending import end_command
def many():
    for n in range({lines}):
        sys.stdout.write(f"{{n}}\\n")
    return 0
end_command(many, "edge-x")
"""


@pytest.mark.parametrize("lines", [1, 100_000])
@pytest.mark.parametrize(
    ("where", "code", "said"),
    [
        (">&-", 0, ""),
        (">&- 2>&-", 0, ""),
        (">/dev/full", 2, "edge-x: [Errno 28] No space left on device\n"),
    ],
)
def test_output_that_nobody_takes(lines: int, where: str, code: int, said: str) -> None:
    done = subprocess.run(
        ["/bin/sh", "-c", f'"$0" -c "$1" {where}', sys.executable, MANY.format(lines=lines)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (code, said)


@pytest.mark.parametrize("lines", [1, 100_000])
def test_reader_that_goes_away_is_no_error(lines: int) -> None:
    code = f"""
import click
from edge_bundle.command import run_command
@click.command()
def many():
    for n in range({lines}):
        print(n)
run_command(many, "edge-x")
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        assert child.stdout
        assert child.stderr
        child.stdout.close()
        assert child.stderr.read() == b""
        assert child.wait(30) == 0
