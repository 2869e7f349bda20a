"""Strict TOML: every error begins FILE:LINE:COL: KEY.PATH and says what was found and expected."""

import codecs
import re
import sys
from math import isfinite
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec import inspect

from edge_bundle.errors import ConfigError
from edge_bundle.positions import Path_, locate_keys, locate_repeated
from edge_bundle.wording import word_mismatch

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

T = TypeVar("T")
MAX_FILE_BYTES = 1 << 20
MAX_DEPTH = 64
"""Of tables and lists in each other: tomllib reads dotted keys of any length, and all that comes
after it goes down by recursion."""
ANY_KEY = -1
"""Stands for the key of a free table that msgspec does not name: no key and no index is so."""


class Document:
    """A TOML file, its tables, and where each key stands."""

    def __init__(self, file: Path, text: str, data: dict[str, Any]) -> None:
        self.file = file
        self.data = data
        self._text = text

    def error(self, path: Path_, message: str) -> ConfigError:
        """Return the error for one key, or for the nearest table above it that is written."""
        line, column = 1, 1
        positions = locate_keys(self._text)
        for length in range(len(path), 0, -1):
            if path[:length] in positions:
                line, column = positions[path[:length]]
                break
        where = f"{self.file}:{line}:{column}: "
        return ConfigError(where + (f"{show_path(path)}: {message}" if path else message))

    def missing(self, path: Path_) -> ConfigError:
        """Return the error for a key that must be there."""
        return self.error(path, "is missing, and has no default")


def read_toml(file: Path) -> Document:
    """Read a TOML file.

    Raises: ConfigError: not there, too large, or not TOML.
    """
    try:
        with file.open("rb") as opened:
            raw = opened.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror or error}") from None
    if len(raw) > MAX_FILE_BYTES:
        raise ConfigError(f"{file}:1:1: too large, at most {MAX_FILE_BYTES} bytes")
    raw = raw.removeprefix(codecs.BOM_UTF8)  # Windows's editors write it, and nobody sees it
    try:
        text = raw.decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode("utf-8")
        raise ConfigError(f"{file}:{_end(before)}: not UTF-8 text: {error.reason}") from None
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file}:{_say(text, str(error))}") from None
    except (ValueError, RecursionError) as error:  # a number of 4,301 digits; deep nesting
        raise ConfigError(f"{file}:1:1: {error}") from None
    if _is_deep(data):
        raise ConfigError(f"{file}:1:1: nested more than {MAX_DEPTH} deep")
    return Document(file, text, data)


def convert_toml(document: Document, kind: type[T]) -> T:
    """Turn a document into a msgspec type; keys that the type does not have are refused.

    Raises: ConfigError: an unknown key (with the nearest known one) or a wrong value.
    """
    try:
        made = msgspec.convert(document.data, kind)
    except msgspec.ValidationError as error:
        _refuse_unknown(document, (), document.data, inspect.type_info(kind))
        _refuse_infinite(document, (), document.data)
        path, message = _split(str(error))
        path = _name_keys(document.data, kind, path, str(error))
        missing = re.fullmatch(r"Object missing required field `(.*)`", message)
        if missing:
            raise document.missing((*path, missing[1])) from None
        raise document.error(path, word_mismatch(kind, path, message, document.data)) from None
    if _has_unknown(document.data, made):
        _refuse_unknown(document, (), document.data, inspect.type_info(kind))
    _refuse_infinite(document, (), document.data)
    return made


def find_value(data: Any, path: Path_) -> Any:
    """Return what stands at a path, or None."""
    for part in path:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return None
    return data


def show_path(path: Path_) -> str:
    """Return ``model[0].name`` for ``("model", 0, "name")``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f"{'.' if text else ''}{part}"
    return text


def _is_deep(data: dict[str, Any]) -> bool:
    level: list[Any] = [data]
    for _ in range(MAX_DEPTH):
        values = (v for inner in level for v in (inner.values() if type(inner) is dict else inner))
        level = [v for v in values if type(v) is dict or type(v) is list]
        if not level:
            return False
    return True


def _split(message: str) -> tuple[Path_, str]:
    """Take msgspec's ``what - at `$.a[0].b``` apart."""
    found = re.fullmatch(r"(.*) - at `(key` in `)?\$(.*)`", message, re.DOTALL)
    if not found:
        return (), message
    parts = re.findall(r"\.([^.\[]+)|\[(\d+)\]|\[(\.\.\.)\]", found[3])
    path = tuple(name or (ANY_KEY if free else int(number)) for name, number, free in parts)
    return (*path, ANY_KEY) if found[2] else path, found[1]


def _name_keys(data: dict[str, Any], kind: Any, path: Path_, message: str) -> Path_:
    """Put the keys of free tables into a path: those that bring the error about alone."""
    while ANY_KEY in path:
        at = path.index(ANY_KEY)
        table = data
        for part in path[:at]:
            table = table[part]  # type: ignore[index]
        for key in table:
            narrowed = _replace(data, path[:at], {key: table[key]})
            try:
                msgspec.convert(narrowed, kind)
            except msgspec.ValidationError as error:
                if str(error) == message:
                    path, data = (*path[:at], key, *path[at + 1 :]), narrowed
                    break
        else:
            return path[:at]
    return path


def _replace(data: Any, path: Path_, new: object) -> Any:
    """Return a copy of nested tables in which one is another."""
    if not path:
        return new
    copy = data.copy()
    copy[path[0]] = _replace(data[path[0]], path[1:], new)
    return copy


def _refuse_infinite(document: Document, path: Path_, value: object) -> None:
    if isinstance(value, float) and not isfinite(value):
        raise document.error(path, f"{value}, expected a finite number")
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            _refuse_infinite(document, (*path, key), inner)


def _say(text: str, message: str) -> str:
    """Return LINE:COL, and what tomllib says of a text; of a repeated key it does not say which."""
    found = re.search(r"(.*) \(at line (\d+), column (\d+)\)", message)
    if re.match(r"Cannot (overwrite a value|declare .* twice) \(at", message):
        before = text
        if found:
            lines = text.split("\n")[: int(found[2])]
            before = "\n".join([*lines[:-1], lines[-1][: int(found[3]) - 1]])
        if (repeated := locate_repeated(before)) is not None:
            path, (line, column), first, (first_line, _) = repeated
            what = "is there twice, first" if first == path else f"{show_path(first)} has a value"
            return f"{line}:{column}: {show_path(path)}: {what} in line {first_line}"
    return f"{found[2]}:{found[3]}: {found[1]}" if found else f"{_end(text)}: {message}"


def _end(text: str) -> str:
    """Return LINE:COL of what follows a text."""
    return f"{text.count(chr(10)) + 1}:{len(text) - text.rfind(chr(10))}"


def _has_unknown(value: object, made: object) -> bool:
    """Tell whether tables have keys that are not in what was made of them.

    This is asked at every start. What names such a key needs the description of the whole type,
    which takes longer than all the rest of reading a configuration.
    """
    if isinstance(made, msgspec.Struct) and isinstance(value, dict):
        fields = dict(zip(made.__struct_encode_fields__, made.__struct_fields__, strict=True))
        tag = made.__struct_config__.tag_field
        return any(
            _has_unknown(inner, getattr(made, fields[key])) if key in fields else key != tag
            for key, inner in value.items()
        )
    if isinstance(made, dict) and isinstance(value, dict):
        return any(map(_has_unknown, value.values(), made.values()))
    if isinstance(made, tuple | list) and isinstance(value, list):
        return any(map(_has_unknown, value, made))
    return False


def _refuse_unknown(document: Document, path: Path_, value: object, kind: inspect.Type) -> None:
    members = kind.types if isinstance(kind, inspect.UnionType) else (kind,)
    tagged = sum(isinstance(m, inspect.StructType) and m.tag is not None for m in members)
    for member in members:
        if isinstance(value, dict) and isinstance(member, inspect.StructType):
            # Where only one kind can be, its tag may be left out.
            tag = value.get(member.tag_field, member.tag if tagged == 1 else None)
            if member.tag is not None and tag != member.tag:
                continue  # another kind of the union, or none: msgspec says so
            _refuse_unknown_in_table(document, path, value, member)
        elif isinstance(value, list) and isinstance(
            member, inspect.ListType | inspect.VarTupleType
        ):
            for index, inner in enumerate(value):
                _refuse_unknown(document, (*path, index), inner, member.item_type)
        elif isinstance(value, dict) and isinstance(member, inspect.DictType):
            for key, inner in value.items():
                _refuse_unknown(document, (*path, key), inner, member.value_type)


def _refuse_unknown_in_table(
    document: Document, path: Path_, value: dict[str, Any], kind: inspect.StructType
) -> None:
    fields = {f.encode_name: f for f in kind.fields}
    known = [*fields, *([kind.tag_field] if kind.tag_field else [])]
    for key, inner in value.items():
        if key not in known:
            from difflib import get_close_matches  # only where something is wrong

            near = get_close_matches(key, known, 1, 0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
            raise document.error((*path, key), f"unknown key; {hint}")
        if key in fields:
            _refuse_unknown(document, (*path, key), inner, fields[key].type)
