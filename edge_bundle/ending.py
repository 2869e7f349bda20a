"""How each of the three commands ends: one line on stderr and a stable exit code."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from edge_bundle.errors import ArtifactRefused, ConfigError, Exit

AGAIN_S: Final = 0.01
EXITS: Mapping[type[Exception], Exit] = {
    ConfigError: Exit.USAGE,
    ArtifactRefused: Exit.REFUSED,
    # A file that the user named and that cannot be opened.
    FileNotFoundError: Exit.USAGE,
    IsADirectoryError: Exit.USAGE,
    NotADirectoryError: Exit.USAGE,
    PermissionError: Exit.USAGE,
}


def end_command(
    work: Callable[[], int], name: str, more: Mapping[type[Exception], Exit] | None = None
) -> None:
    """Do what a command does and exit; errors listed in ``EXITS`` or ``more`` become one line.

    Args:
        work: returns the exit code.
        name: as the user typed it, begins every error line.
        more: further error classes of the caller's own rooms.
    """
    exits = {**EXITS, **(more or {})}
    code: int
    try:
        with _end_in_order():
            code = work()
        if sys.stdout is not None:  # it may have been closed before we began
            sys.stdout.flush()
    except KeyboardInterrupt:
        # Python remembers an interrupt that went through ``exec`` of a text, such as a dataclass
        # being defined, and ``python -m`` ends by the signal in spite of our exit code. The next
        # one that goes well lets it forget.
        exec("")  # noqa: S102
        code = say(name, "interrupted", Exit.STOPPED)
    except BrokenPipeError:
        # The reader of our output went away (`| head`): nothing is wrong, and nobody reads on.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = Exit.DONE
    except tuple(exits) as error:
        code = say(name, str(error), next(c for k, c in exits.items() if isinstance(error, k)))
    sys.exit(code)


def say(name: str, message: str, code: Exit) -> Exit:
    """Write the one line that a command ends with; return its exit code."""
    sys.stderr.write(f"{name}: {' '.join(message.split())}\n")
    return code


@contextmanager
def _end_in_order() -> Iterator[None]:
    """Let SIGTERM end a command as Ctrl-C does, so that what it made halfway is cleared away.

    A second one ends it at once. A command may set a handler of its own. Where the interrupt, of
    either, comes while Python calls back for something that it clears away, Python drops it with a
    word on stderr: it is then sent once more.
    """
    number = signal.SIGTERM
    here = threading.current_thread() is threading.main_thread()
    if not here or signal.getsignal(number) is not signal.SIG_DFL:
        yield
        return

    def interrupt(*_: object) -> None:
        signal.signal(number, signal.SIG_DFL)
        raise KeyboardInterrupt

    def take_dropped(dropped: "sys.UnraisableHookArgs") -> None:
        if issubclass(dropped.exc_type, KeyboardInterrupt):
            send_again()
        else:
            hook(dropped)

    def take_printed(kind: type[BaseException], error: BaseException, trace: Any) -> None:
        # So a library in C ends, whose import is interrupted.
        if issubclass(kind, KeyboardInterrupt):
            send_again()
        else:
            printing(kind, error, trace)

    def send_again() -> None:
        _send_again(number, interrupt, sent)

    sent: list[threading.Timer] = []
    hook, sys.unraisablehook = sys.unraisablehook, take_dropped
    printing, sys.excepthook = sys.excepthook, take_printed
    signal.signal(number, interrupt)
    try:
        with _as_interrupt(sent):
            yield
    finally:
        sys.unraisablehook, sys.excepthook = hook, printing
        for again in sent:  # what is done by now need not be interrupted
            again.cancel()
        if signal.getsignal(number) is interrupt:
            signal.signal(number, signal.SIG_DFL)


def _send_again(
    number: signal.Signals, handler: Callable[..., None], sent: list[threading.Timer]
) -> None:
    """Send this process a signal, if this is the thread that handles it."""
    main = threading.main_thread().ident
    if main is not None and threading.get_ident() == main:
        signal.signal(number, handler)
        # Later, and from another thread: here it would be dropped again.
        again = threading.Timer(AGAIN_S, signal.pthread_kill, (main, number))
        again.daemon = True
        again.start()
        sent.append(again)


@contextmanager
def _as_interrupt(sent: list[threading.Timer]) -> Iterator[None]:
    """Take what fails behind a dropped interrupt, such as an import, for that."""
    try:
        yield
    except Exception:
        if sent:
            raise KeyboardInterrupt from None
        raise
