"""Strict TOML: every error begins FILE:LINE:COL: KEY.PATH and says what was found and expected.

tomllib gives no positions, so a small scanner finds them. It only reads text that tomllib has
already accepted, and so need not judge it.
"""

import difflib
import re
import sys
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec import inspect

from edge_bundle.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

T = TypeVar("T")
Position = tuple[int, int]
Path_ = tuple[str | int, ...]
KEY = re.compile(r"""\s*(?:"((?:[^"\\]|\\.)*)"|'([^']*)'|([A-Za-z0-9_-]+))\s*""")
STRINGS = re.compile(
    r'"""(?:[^\\]|\\.)*?"""|\'\'\'.*?\'\'\'|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'', re.DOTALL
)
MAX_FILE_BYTES = 1 << 20


class Document:
    """A TOML file, its tables, and where each key stands."""

    def __init__(self, file: Path, text: str, data: dict[str, Any]) -> None:
        self.file = file
        self.data = data
        self._positions = locate_keys(text)

    def error(self, path: Path_, message: str) -> ConfigError:
        """Return the error for one key, or for the nearest table above it that is written."""
        line, column = 1, 1
        for length in range(len(path), 0, -1):
            if path[:length] in self._positions:
                line, column = self._positions[path[:length]]
                break
        where = f"{self.file}:{line}:{column}: "
        return ConfigError(where + (f"{show_path(path)}: {message}" if path else message))


def read_toml(file: Path) -> Document:
    """Read a TOML file.

    Raises: ConfigError: not there, too large, or not TOML.
    """
    try:
        raw = file.read_bytes()
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror or error}") from None
    if len(raw) > MAX_FILE_BYTES:
        raise ConfigError(f"{file}: {len(raw)} bytes, at most {MAX_FILE_BYTES}")
    try:
        text = raw.decode("utf-8").replace("\r\n", "\n")
        return Document(file, text, tomllib.loads(text))
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: not UTF-8 text: {error}") from None
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"(.*) \(at line (\d+), column (\d+)\)", str(error))
        where = f"{found[2]}:{found[3]}: {found[1]}" if found else f"1:1: {error}"
        raise ConfigError(f"{file}:{where}") from None


def convert_toml(document: Document, kind: type[T]) -> T:
    """Turn a document into a msgspec type; keys that the type does not have are refused.

    Raises: ConfigError: an unknown key (with the nearest known one) or a wrong value.
    """
    _refuse_unknown(document, (), document.data, inspect.type_info(kind))
    try:
        return msgspec.convert(document.data, kind)
    except msgspec.ValidationError as error:
        path, message = _split(str(error))
        raise document.error(path, message) from None


def show_path(path: Path_) -> str:
    """Return ``model[0].name`` for ``("model", 0, "name")``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f"{'.' if text else ''}{part}"
    return text


def _split(message: str) -> tuple[Path_, str]:
    """Take msgspec's ``what - at `$.a[0].b``` apart."""
    found = re.fullmatch(r"(.*) - at `(?:key in )?\$(.*)`", message, re.DOTALL)
    if not found:
        return (), message
    parts = re.findall(r"\.([^.\[]+)|\[(\d+)\]", found[2])
    return tuple(name or int(number) for name, number in parts), found[1]


def _refuse_unknown(document: Document, path: Path_, value: object, kind: inspect.Type) -> None:
    for member in kind.types if isinstance(kind, inspect.UnionType) else (kind,):
        if isinstance(value, dict) and isinstance(member, inspect.StructType):
            if member.tag is not None and value.get(member.tag_field, member.tag) != member.tag:
                continue  # another kind of the union
            _refuse_unknown_in_table(document, path, value, member)
        elif isinstance(value, list) and isinstance(
            member, inspect.ListType | inspect.VarTupleType
        ):
            for index, inner in enumerate(value):
                _refuse_unknown(document, (*path, index), inner, member.item_type)


def _refuse_unknown_in_table(
    document: Document, path: Path_, value: dict[str, Any], kind: inspect.StructType
) -> None:
    fields = {f.encode_name: f for f in kind.fields}
    known = [*fields, *([kind.tag_field] if kind.tag_field else [])]
    for key, inner in value.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, 1, 0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
            raise document.error((*path, key), f"unknown key; {hint}")
        if key in fields:
            _refuse_unknown(document, (*path, key), inner, fields[key].type)


def locate_keys(text: str) -> dict[Path_, Position]:
    """Return line and column, from 1, of every key and table header in valid TOML."""
    positions: dict[Path_, Position] = {}
    counts: dict[Path_, int] = {}
    table: Path_ = ()
    for line, column, statement in _statements(text):
        header = re.match(r"\[\[?", statement)
        keys = _keys(statement[header.end() :] if header else statement)
        if not header:
            for length in range(1, len(keys) + 1):
                positions.setdefault((*table, *keys[:length]), (line, column))
            continue
        table = ()
        for depth, key in enumerate(keys, 1):
            table = (*table, key)
            if header[0] == "[[" and depth == len(keys):
                positions.setdefault(table, (line, column))
                counts[table] = counts.get(table, -1) + 1
            if table in counts:
                table = (*table, counts[table])
            positions.setdefault(table, (line, column))
    return positions


def _keys(statement: str) -> tuple[str, ...]:
    keys, at = [], 0
    while found := KEY.match(statement, at):
        keys.append(next(g for g in found.groups() if g is not None))
        at = found.end()
        if statement[at : at + 1] != ".":
            break
        at += 1
    return tuple(keys)


def _statements(text: str) -> "list[tuple[int, int, str]]":
    """Return (line, column, text) of each header and key, with values that span lines skipped."""
    # Strings are blanked out first, so that brackets and hashes in them count for nothing; keys
    # are read from the original text.
    blank = STRINGS.sub(lambda m: re.sub(r"[^\n]", "s", m[0]), _without_comments(text))
    found, depth = [], 0
    for number, (line, original) in enumerate(
        zip(blank.split("\n"), text.split("\n"), strict=True), 1
    ):
        stripped = line.strip()
        inside = depth > 0
        is_header = not inside and stripped.startswith("[")
        if not is_header:
            depth += sum(line.count(c) for c in "[{") - sum(line.count(c) for c in "]}")
        if stripped and not inside and (is_header or "=" in line):
            column = len(line) - len(line.lstrip()) + 1
            found.append((number, column, original[column - 1 :]))
    return found


def _without_comments(text: str) -> str:
    pattern = re.compile(STRINGS.pattern + r"|(?P<comment>#[^\n]*)", re.DOTALL)
    return pattern.sub(lambda m: " " * len(m[0]) if m["comment"] else m[0], text)
