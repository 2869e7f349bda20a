"""What a benchmark says: how far it is on stderr, its checks on one line, and an exit code."""

import json
import sys
from collections.abc import Sequence
from typing import NoReturn

Check = dict[str, object]


def at_most(name: str, value: float, bound: float | None) -> Check:
    """Return a check; without a bound it is only told."""
    return _check(name, value, bound, bound is None or value <= bound)


def at_least(name: str, value: float, bound: float | None) -> Check:
    """Return a check of a value that must not be less; without a bound it is only told."""
    return _check(name, value, bound, bound is None or value >= bound)


def tell(text: str) -> None:
    """Say how far it is."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def finish(checks: Sequence[Check]) -> NoReturn:
    """Print the last line; the exit code says whether all bounds are kept."""
    print(json.dumps({"checks": checks}))
    sys.exit(not all(check["ok"] for check in checks))


def _check(name: str, value: float, bound: float | None, ok: bool) -> Check:
    return {"name": name, "value": round(value, 4), "bound": bound, "ok": ok}
