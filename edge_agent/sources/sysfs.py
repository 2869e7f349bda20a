"""Small files of the kernel: each holds one value as text."""

from pathlib import Path
from typing import Final

from edge_agent.sources.source import SourceFailed

MAX_BYTES: Final = 1 << 16


def read_text(file: Path) -> str:
    """Return what a file holds.

    Raises: SourceFailed: it cannot be read.
    """
    try:
        with file.open("rb") as raw:
            return raw.read(MAX_BYTES).decode("utf-8", "replace").strip()
    except OSError as error:
        raise SourceFailed(f"{file}: {error.strerror or error}") from None


def read_number(file: Path) -> float:
    """Return the number that a file holds.

    Raises: SourceFailed: it cannot be read, or holds none.
    """
    return to_number(file, read_text(file))


def to_number(file: Path, text: str) -> float:
    """Return the number that a file held.

    Raises: SourceFailed: it is none.
    """
    try:
        return float(text)
    except ValueError:
        raise SourceFailed(f"{file}: {text[:40]!r}, expected a number") from None


def numbered(folder: Path, name: str) -> list[Path]:
    """Return the entries of a folder called ``name`` and a number, by that number."""
    found = [e for e in folder.glob(f"{name}*") if e.name[len(name) :].isdecimal()]
    return sorted(found, key=lambda e: int(e.name[len(name) :]))
