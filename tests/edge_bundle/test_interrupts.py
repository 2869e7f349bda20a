"""An interrupt ends a command once, wherever it comes, and what must be whole is."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_bundle.errors import Exit
from edge_bundle.interrupts import Interrupts

ROOT = Path(__file__).resolve().parents[2]
BOTH = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
TAKEN = (Exit.STOPPED, "edge-x: interrupted\n")


def end(work: str, folder: Path = ROOT) -> "subprocess.CompletedProcess[str]":
    """Run a command whose work is this function's text; ``send(number)`` interrupts it."""
    code = f"""
import os, signal, sys, time
from edge_bundle import interrupts
from edge_bundle.ending import end_command
INTERRUPTS = interrupts.INTERRUPTS

def send(number):
    os.kill(os.getpid(), number)
    for _ in range(100):
        time.sleep(0.001)

{work}
end_command(work, "edge-x")
"""
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{folder}"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@BOTH
def test_interrupt_while_python_clears_away_comes_again(number: signal.Signals) -> None:
    """What is raised in a weak reference's callback goes nowhere."""
    done = end(f"""
import weakref
class Made:
    pass

def work():
    made = Made()
    reference = weakref.ref(made, lambda _: send({number:d}))
    del made
    time.sleep(20)
    return 0
""")
    assert (done.returncode, done.stderr) == TAKEN


@BOTH
def test_interrupt_within_an_import_comes_behind_it(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "library.py").write_text(
        f"import __main__\ntry:\n    __main__.send({number:d})\n"
        "except BaseException:\n    print('broken', flush=True)\n"
        "else:\n    print('whole', flush=True)\n"
    )
    done = end(
        """
def work():
    import library
    time.sleep(20)
    return 0
""",
        tmp_path,
    )
    assert (done.returncode, done.stderr) == TAKEN
    assert done.stdout == "whole\n"


def test_import_that_hangs_is_interrupted_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "library.py").write_text(
        f"import __main__, time\n__main__.send({signal.SIGINT:d})\ntime.sleep(20)\n"
    )
    done = end(
        """
interrupts.LONGEST_IMPORT_S = 0.2
def work():
    import library
    return 0
""",
        tmp_path,
    )
    assert (done.returncode, done.stderr) == TAKEN


@BOTH
def test_step_that_must_be_whole_is(number: signal.Signals) -> None:
    done = end(f"""
def work():
    with INTERRUPTS.put_off():
        send({number:d})
        with INTERRUPTS.put_off():
            send({number:d})
        print("whole", flush=True)
    print("went on", flush=True)
    return 0
""")
    assert (done.returncode, done.stderr) == TAKEN
    assert done.stdout == "whole\n"


@BOTH
def test_step_that_clears_away_behind_an_interrupt_is_whole_too(number: signal.Signals) -> None:
    done = end(f"""
def work():
    try:
        send({number:d})
    finally:
        with INTERRUPTS.put_off():
            send({number:d})
            print("cleared", flush=True)
    return 0
""")
    assert (done.returncode, done.stderr) == TAKEN
    assert done.stdout == "cleared\n"


def test_second_request_to_end_ends_at_once() -> None:
    done = end(f"""
def work():
    try:
        send({signal.SIGTERM:d})
    finally:
        send({signal.SIGTERM:d})
        print("cleared", flush=True)
""")
    assert (done.returncode, done.stdout) == (-signal.SIGTERM, "")


def test_interrupt_that_was_ignored_stays_so() -> None:
    """So a shell starts what runs in the background, and ``nohup`` whatever it runs."""
    done = end(f"""
signal.signal(signal.SIGINT, signal.SIG_IGN)
def work():
    send({signal.SIGINT:d})
    with INTERRUPTS.put_off():
        send({signal.SIGINT:d})
    return 0
""")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.fixture
def interrupts() -> Iterator[Interrupts]:
    """Interrupts of this test's own, with the handlers of its process as Python sets them."""
    before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield Interrupts()
    for number, handler in before.items():
        signal.signal(number, handler)


def test_handlers_and_hook_are_put_back(interrupts: Interrupts) -> None:
    hook = sys.unraisablehook
    with interrupts.taken(), interrupts.put_off():
        assert signal.getsignal(signal.SIGTERM) != signal.SIG_DFL
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert sys.unraisablehook is hook


def test_step_of_another_thread_puts_nothing_off(interrupts: Interrupts) -> None:
    inside, leave = threading.Event(), threading.Event()

    def step() -> None:
        with interrupts.put_off():
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=step)
    thread.start()
    try:
        assert inside.wait(10)
        with interrupts.taken(), pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    finally:
        leave.set()
        thread.join()
