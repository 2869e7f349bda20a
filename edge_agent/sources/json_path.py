"""A small part of JSONPath: names, numbers of list items, and all items. Pure.

``$.imu.ax``, ``$.values[0]``, ``$[*].ax``, ``$.frames[*][2]``. Source: RFC 9535, its name, index
and wildcard selectors, of which the last stands for lists alone here.
"""

import re
from typing import Any, Final

ALL: Final = None
Path = tuple[str | int | None, ...]
"""Names, indexes, and None for all items of a list."""
STEP: Final = re.compile(r"\.([A-Za-z_][A-Za-z0-9_-]*)|\[(\d{1,6})\]|\[(\*)\]|\['([^']+)'\]")


def parse_path(text: str) -> Path:
    """Return the steps of a path.

    Raises: ValueError: no such path; says where it goes wrong.
    """
    if not text.startswith("$"):
        raise ValueError(f"{text!r}: expected a path such as $.imu.ax or $.values[0]")
    steps: list[str | int | None] = []
    at = 1
    while at < len(text):
        found = STEP.match(text, at)
        if found is None:
            raise ValueError(f"{text!r}: {text[at:]!r}, expected .NAME, ['NAME'], [NUMBER] or [*]")
        name, number, _, quoted = found.groups()
        steps.append(int(number) if number else (name or quoted or ALL))
        at = found.end()
    return tuple(steps)


def find(document: Any, path: Path) -> Any:
    """Return what is at a path; behind a ``[*]`` a list of it.

    Raises: LookupError: nothing is there.
    """
    step: Any  # what it may index is checked, not known
    for at, step in enumerate(path):
        if step is ALL:
            if not isinstance(document, list):
                raise LookupError("no list")
            return [find(item, path[at + 1 :]) for item in document]
        fits = isinstance(document, list if isinstance(step, int) else dict)
        if not fits:
            raise LookupError(f"no {step!r}")
        document = document[step]
    return document
