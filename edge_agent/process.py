"""What this process takes of the machine, and how warm that is, read from the kernel's files; and
when its threads are woken.
"""

import contextlib
import ctypes
import os
import time
from pathlib import Path
from typing import Final

from edge_wire.messages import Process

STATM: Final = Path("/proc/self/statm")
THERMAL: Final = Path("/sys/class/thermal")
MILLI: Final = 1000.0
PR_SET_TIMERSLACK: Final = 29
"""prctl(2)"""


def read_process(statm: Path = STATM, thermal: Path = THERMAL) -> Process:
    """Return memory and CPU time of this process, and the warmest zone's temperature.

    Args:
        statm: as proc(5) describes it.
        thermal: the folder of the kernel's thermal zones.
    """
    try:
        pages = int(statm.read_text().split()[1])
    except (OSError, ValueError, IndexError):
        pages = 0
    return Process(
        rss_bytes=pages * os.sysconf("SC_PAGE_SIZE"),
        cpu_s=round(time.process_time(), 3),
        celsius=max(_temperatures(thermal), default=None),
    )


def wake_on_time() -> None:
    """Let this thread be woken when it asked for, and not up to 50 µs later, with others."""
    with contextlib.suppress(OSError, AttributeError):  # outside Linux
        ctypes.CDLL(None).prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0)


def _temperatures(folder: Path) -> list[float]:
    found = []
    for zone in sorted(folder.glob("thermal_zone*/temp")):
        try:
            found.append(int(zone.read_text()) / MILLI)
        except (OSError, ValueError):  # a zone that is off cannot be read
            continue
    return found
