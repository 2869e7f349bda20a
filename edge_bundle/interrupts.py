"""When an interrupt, of Ctrl-C or SIGTERM, is taken: where none is lost and none leaves a half.

Python raises ``KeyboardInterrupt`` wherever it happens to be. Within an import a library in C may
print it, drop it, or fail in some way of its own; what is raised while something is cleared away,
Python drops itself. There an interrupt waits, and a step that must be whole puts it off to its end.
"""

import _thread
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final

AGAIN_S: Final = 0.01
LONGEST_IMPORT_S: Final = 20.0
"""An import that takes longer may hang, and is interrupted all the same."""
IMPORTING: Final = "<frozen importlib._bootstrap>"
"""The file that the frames of an import name, from Python 3.10 to 3.13."""
NUMBERS: Final = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """Takes the interrupts of this process, in its main thread; elsewhere it changes nothing."""

    def __init__(self) -> None:
        self._steps = 0
        self._put_off = False
        self._waits_since: float | None = None
        self._comes = False
        self._last = signal.SIGINT
        self._work = 0

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Let SIGTERM end what is done here as Ctrl-C does, with ``KeyboardInterrupt``.

        A second SIGTERM ends the process at once. What is done here may set handlers of its own;
        a signal that was ignored stays so.
        """
        before = self._set_handlers()
        hook = sys.unraisablehook

        def take_dropped(dropped: "sys.UnraisableHookArgs") -> None:
            if issubclass(dropped.exc_type, KeyboardInterrupt) and _in_main_thread():
                self._set_handlers()
                self._send_again(self._last)
            else:
                hook(dropped)

        sys.unraisablehook = take_dropped
        try:
            yield
        finally:
            sys.unraisablehook = hook
            self._work += 1  # what is done by now need not be interrupted
            self._comes, self._waits_since = False, None
            self._restore(before)

    @contextmanager
    def put_off(self) -> Iterator[None]:
        """Put interrupts off to the end of a step that must not be left half done.

        Raises: KeyboardInterrupt: at the end, where one came.
        """
        if not _in_main_thread():
            yield
            return
        before = self._set_handlers()
        self._steps += 1
        try:
            yield
        finally:
            self._steps -= 1
            self._restore(before)
            if self._put_off and not self._steps:
                self._put_off = False
                self._end()

    def _take(self, number: int, frame: FrameType | None) -> None:
        self._last = signal.Signals(number)
        if self._steps:
            self._put_off = True
        elif self._waits(frame):
            self._send_again(self._last)
        else:
            self._end()

    def _waits(self, frame: FrameType | None) -> bool:
        if not _is_importing(frame):
            self._waits_since = None
            return False
        now = time.monotonic()
        if self._waits_since is None:
            self._waits_since = now
        return now - self._waits_since < LONGEST_IMPORT_S

    def _send_again(self, number: signal.Signals) -> None:
        if self._comes:
            return
        self._comes = True
        main, work = _thread.get_ident(), self._work

        def send() -> None:
            time.sleep(AGAIN_S)
            if self._work == work:
                self._comes = False
                signal.pthread_kill(main, number)

        # Not threading's: a handler may have come while its lock is held.
        _thread.start_new_thread(send, ())

    def _end(self) -> None:
        if signal.getsignal(signal.SIGTERM) == self._take:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        raise KeyboardInterrupt

    def _set_handlers(self) -> Mapping[signal.Signals, Any]:
        before = {}
        for number in NUMBERS if _in_main_thread() else ():
            found = signal.getsignal(number)
            if found in (signal.SIG_DFL, signal.default_int_handler, self._take):
                before[number] = signal.signal(number, self._take)
        return before

    def _restore(self, before: Mapping[signal.Signals, Any]) -> None:
        for number, handler in before.items():
            if signal.getsignal(number) in (self._take, signal.SIG_DFL):
                signal.signal(number, handler)


INTERRUPTS: Final = Interrupts()


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == IMPORTING:
            return True
        frame = frame.f_back
    return False
