"""Where each key of a TOML file stands, which tomllib does not say.

A small scanner: it only reads text that tomllib has already accepted, and so need not judge it.
"""

import re
import sys
from bisect import bisect_right
from collections import deque
from collections.abc import Iterator

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Position = tuple[int, int]
"""Line and column, from 1."""
Path_ = tuple[str | int, ...]
"""Keys and list indexes from the top of a document."""
KEY = re.compile(r"""\s*(?:"((?:[^"\\]|\\.)*)"|'([^']*)'|([A-Za-z0-9_-]+))\s*""")
# A multi-line string may end with two quotes of its own before the three that close it.
STRING_OR_COMMENT = re.compile(
    r'''"""(?:[^\\]|\\.)*?"{3,5}|"(?:[^"\\\n]|\\.)*"'''
    r"""|'''.*?'{3,5}|'[^'\n]*'|(?P<comment>\#[^\n]*)""",
    re.DOTALL,
)
SPACE = re.compile(r"[ \t\n]*")
LINE = re.compile(r"[^\n]*")
SCALAR = re.compile(r"[^,\]}\n]*")


def locate_keys(text: str) -> dict[Path_, Position]:
    """Return line and column, from 1, of every key, header and array element in valid TOML."""
    found: dict[Path_, int] = {}
    for _ in _scan(text, found):
        pass
    places = _Places(text)
    return {path: places.at(at) for path, at in found.items()}


def locate_repeated(text: str) -> tuple[Path_, Position, Path_, Position] | None:
    """Find what the last header or key of a text repeats.

    Args:
        text: up to and with what tomllib does not accept because of what stands above it.
    Returns: that key and its place, and the key that it repeats, itself or a table that it wants
        to be in, and its place. None where the text ends within a value.
    """
    found: dict[Path_, int] = {}
    try:
        path, at = deque(_scan(text, found), 1)[0]
    except IndexError:
        return None
    places = _Places(text)
    for length in range(len(path), 0, -1):
        first = found.get(path[:length], at)
        if first < at:
            return path, places.at(at), path[:length], places.at(first)
    return None


class _Places:
    """Where the lines of a text begin."""

    def __init__(self, text: str) -> None:
        self._starts = [0, *(end.end() for end in re.finditer("\n", text))]

    def at(self, index: int) -> Position:
        line = bisect_right(self._starts, index)
        return line, index - self._starts[line - 1] + 1


def _scan(text: str, found: dict[Path_, int]) -> Iterator[tuple[Path_, int]]:
    """Note where each key stands first; yield every header, and every key outside of values."""
    # Strings and comments are blanked out first, so that what stands in them counts for nothing;
    # keys are read from the original text.
    blank = _blank(text)
    counts: dict[Path_, int] = {}
    table: Path_ = ()
    at = _skip(blank, 0)
    while at < len(text):
        if blank[at] == "[":
            table = _scan_header(text, blank, at, found, counts)
            yield table[:-1] if isinstance(table[-1], int) else table, at
            at = LINE.match(blank, at).end()  # type: ignore[union-attr]
        else:
            yield (*table, *_keys(text, at)[0]), at
            at = _scan_pair(text, blank, at, table, found)
        at = _skip(blank, at)


def _scan_header(
    text: str, blank: str, at: int, found: dict[Path_, int], counts: dict[Path_, int]
) -> Path_:
    """Note a header and the tables above it; return the table that it opens."""
    is_array = blank.startswith("[[", at)
    keys, _ = _keys(text, at + 1 + is_array)
    table: Path_ = ()
    for depth, key in enumerate(keys, 1):
        table = (*table, key)
        found.setdefault(table, at)
        if is_array and depth == len(keys):
            counts[table] = counts.get(table, -1) + 1
        if table in counts:
            table = (*table, counts[table])
            found.setdefault(table, at)
    return table


def _scan_pair(text: str, blank: str, at: int, table: Path_, found: dict[Path_, int]) -> int:
    """Note a key and all that stands in its value; return where the value ends."""
    keys, end = _keys(text, at)
    for length in range(1, len(keys) + 1):
        found.setdefault((*table, *keys[:length]), at)
    return _scan_value(text, blank, end + 1, (*table, *keys), found)


def _scan_value(text: str, blank: str, at: int, path: Path_, found: dict[Path_, int]) -> int:
    at = _skip(blank, at)
    if blank[at] not in "[{":
        return SCALAR.match(blank, at).end()  # type: ignore[union-attr]
    closing, index = "]" if blank[at] == "[" else "}", 0
    at = _skip(blank, at + 1)
    while blank[at] != closing:
        if closing == "]":
            found.setdefault((*path, index), at)
            at = _scan_value(text, blank, at, (*path, index), found)
            index += 1
        else:
            at = _scan_pair(text, blank, at, path, found)
        at = _skip(blank, at)
        if blank[at] == ",":
            at = _skip(blank, at + 1)
    return at + 1


def _keys(text: str, at: int) -> tuple[tuple[str, ...], int]:
    """Return the parts of a dotted key, and where it ends."""
    keys = []
    while found := KEY.match(text, at):
        key = next(g for g in found.groups() if g is not None)
        if found[1] and "\\" in key:
            key = tomllib.loads(f'key = "{key}"')["key"]
        keys.append(key)
        at = found.end()
        if text[at : at + 1] != ".":
            break
        at += 1
    return tuple(keys), at


def _skip(blank: str, at: int) -> int:
    return SPACE.match(blank, at).end()  # type: ignore[union-attr]


def _blank(text: str) -> str:
    return STRING_OR_COMMENT.sub(lambda m: (" " if m["comment"] else "s") * len(m[0]), text)
