"""A disk that loses power at the nth step, with or without what nobody had flushed.

It stands below ``os``: what is written without ``fsync`` may be half there afterwards, and a
rename whose folder was not flushed may not have happened.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import pytest


class PowerCut(BaseException):
    """The machine is off: nothing that runs now has any effect."""


class Disk:
    """Counts the steps that writes make; ``cut_at`` is the one that no longer happens."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, cut_at: int | None = None) -> None:
        self.steps = 0
        self._cut_at = cut_at
        self._off = False
        self._flushed: dict[str, bytes] = {}
        self._renamed: dict[str, tuple[bytes | None, bytes | None]] = {}
        """By target: what it held before, and what of the new content was flushed."""
        self._os: dict[str, Callable[..., Any]] = {}
        for name in ("fsync", "replace", "unlink", "fdopen"):
            self._os[name] = getattr(os, name)
            monkeypatch.setattr(os, name, getattr(self, f"_{name}"))
        self._restore = monkeypatch.undo

    def power_on(self, keep_unflushed: bool) -> None:
        """End the simulation, and leave the files as they are found after the cut.

        Args:
            keep_unflushed: renames whose folder was not flushed happened, and the data that was
                not flushed is half there; else they did not happen.
        """
        self._restore()
        for target, (before, flushed) in self._renamed.items():
            file = Path(target)
            if keep_unflushed:
                whole = file.read_bytes()
                file.write_bytes(whole[: len(whole) // 2] if flushed is None else flushed)
            elif before is None:
                file.unlink()
            else:
                file.write_bytes(before)

    def _step(self) -> None:
        self.steps += 1
        if self._off or self.steps == self._cut_at:
            self._off = True
            raise PowerCut

    def _fsync(self, handle: int) -> None:
        self._step()
        path = os.readlink(f"/proc/self/fd/{handle}")
        if os.path.isdir(path):
            self._renamed = {t: v for t, v in self._renamed.items() if os.path.dirname(t) != path}
        else:
            self._flushed[path] = Path(path).read_bytes()

    def _replace(self, source: str | Path, target: str | Path) -> None:
        self._step()
        before = Path(target).read_bytes() if os.path.exists(target) else None
        self._renamed[str(target)] = (before, self._flushed.get(str(source)))
        self._os["replace"](source, target)

    def _unlink(self, path: str | Path, **more: Any) -> None:
        self._step()
        self._os["unlink"](path, **more)

    def _fdopen(self, handle: int, mode: str = "rb", **more: Any) -> "BinaryIO | _File":
        file: BinaryIO = self._os["fdopen"](handle, mode, **more)
        return _File(file, self._step) if "w" in mode else file


class _File:
    """A file that is written half when the power goes in the middle."""

    def __init__(self, file: BinaryIO, step: Callable[[], None]) -> None:
        self._file = file
        self._step = step

    def __enter__(self) -> "_File":  # noqa: PYI034
        return self

    def __exit__(self, *_error: object) -> None:
        self._file.close()

    def write(self, data: bytes) -> int:
        try:
            self._step()
        except PowerCut:
            self._file.write(data[: len(data) // 2])
            raise
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()

    def fileno(self) -> int:
        return self._file.fileno()
