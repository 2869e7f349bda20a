"""Progress on stderr: a live line on a terminal, else a line for each thing that begins."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from convert.progress import Progress


@contextmanager
def show_progress() -> Iterator[Progress]:
    """Give what says on stderr what begins: a live line on a terminal, else lines."""
    if not sys.stderr.isatty():
        yield _Lines()
        return
    from rich.console import Console

    console = Console(stderr=True)
    with console.status("reading") as status:
        yield _Live(console, status)


class _Lines:
    def __call__(self, text: str) -> None:
        click.echo(text, err=True)

    def advance(self, done: int, of: int) -> None:
        """Say nothing: a log is no place for a bar."""


class _Live:
    def __init__(self, console: Any, status: Any) -> None:
        self._console = console
        self._status = status
        self._text = ""

    def __call__(self, text: str) -> None:
        self._text = text
        self._console.print(text, style="dim", highlight=False)
        self._status.update(text)

    def advance(self, done: int, of: int) -> None:
        """Show the share that is done."""
        self._status.update(f"{self._text}  {done}/{of}")
