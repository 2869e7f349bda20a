"""Runs one command and says what it took: ``python -I meter.py REPORT LIMIT_S COMMAND...``.

A process of its own and nothing imported but the standard library: after exec, a child still
counts the memory that its parent had, so the parent must be small.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path


def main() -> None:
    """Run the command; write its exit code, seconds and peak memory as JSON."""
    report, limit_s, *command = sys.argv[1:]
    began = time.perf_counter()
    child = subprocess.Popen(command, start_new_session=True)
    late = False

    def stop(_signal: int, _frame: object) -> None:
        nonlocal late
        late = True
        # Its own session: this reaches what it started, and nothing else.
        os.killpg(child.pid, signal.SIGKILL)

    signal.signal(signal.SIGALRM, stop)
    signal.signal(signal.SIGTERM, stop)
    signal.alarm(int(limit_s))
    _, status, usage = os.wait4(child.pid, 0)
    signal.alarm(0)
    # The largest process, not the sum; kibibytes everywhere but on macOS.
    unit = 1 if sys.platform == "darwin" else 1024
    found = {
        "code": os.waitstatus_to_exitcode(status),
        "late": late,
        "seconds": time.perf_counter() - began,
        "peak_bytes": usage.ru_maxrss * unit,
    }
    Path(report).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main()
