"""Files that a power cut finds whole: the old one or the new one, never half of either."""

import os
import tempfile
from pathlib import Path


def replace_file(file: Path, data: bytes, mode: int = 0o600) -> None:
    """Write a file beside, flush it, put it in its place, and flush the folder.

    Args:
        file: to write.
        data: all of it.
        mode: 0o644 for what others may read.
    Raises: OSError: it cannot be written; what was there stays.
    """
    handle, beside = tempfile.mkstemp(dir=file.parent, prefix=".", suffix=".part")
    try:
        os.fchmod(handle, mode)
        with os.fdopen(handle, "wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        os.replace(beside, file)
    except BaseException:
        Path(beside).unlink(missing_ok=True)
        raise
    flush_folder(file.parent)


def flush_folder(folder: Path) -> None:
    """Put what was renamed in a folder onto the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
