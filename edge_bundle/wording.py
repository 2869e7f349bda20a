"""What is said of a wrong value: what was found, what was expected, what the nearest is."""

import re
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import inspect

SHOWN_CHARACTERS = 60
WORDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "a string",
    "bool": "true or false",
    "array": "a list",
    "object": "a table",
}


def word_mismatch(kind: Any, path: tuple[str | int, ...], message: str, data: Any) -> str:
    """Turn what msgspec says of a value into what was found and what was expected.

    Args:
        kind: the msgspec type of the whole document.
        path: where in it the value stands.
        message: what msgspec said, without its own path.
        data: the whole document.
    """
    found = data
    for part in path:
        found = _get(found, part)
    shape = "object" if isinstance(found, dict) else "array" if isinstance(found, list) else ""
    shown = WORDS.get(shape) or msgspec.json.encode(found).decode()
    if len(shown) > SHOWN_CHARACTERS:
        shown = shown[:SHOWN_CHARACTERS] + "…"
    # A table of several kinds is told apart by a value too.
    if message.startswith(("Invalid enum value", "Invalid value")):
        return word_unknown(str(found), "value", _choices(kind, path, data))
    pattern = re.fullmatch(r"Expected `str` matching regex '(.*)'", message, re.DOTALL)
    if pattern:
        return f"{shown}, expected {_describe(kind, path, data) or f'a string like {pattern[1]}'}"
    wanted = re.match(r"Expected `(\w+)(?: \| null)?`( of length)?(?: (>=?|<=?) (\S+))?", message)
    if not wanted or wanted[1] not in WORDS:
        return message
    if (shape, wanted[1]) == ("object", "array") and len(path) == 1:
        return f"one table [{path[0]}], expected a list of them: write [[{path[0]}]]"
    limit = f" {wanted[3]} {float(wanted[4]):g}" if wanted[3] else ""
    of_length = " of length" if wanted[2] else ""
    return f"{shown}, expected {WORDS[wanted[1]]}{of_length}{limit}"


def word_unknown(name: str, kind: str, known: Sequence[str]) -> str:
    """Say that there is no such thing, with the nearest that there is."""
    return f"no {kind} {name!r}; {ask_nearest(name, known)}known: {', '.join(known) or 'none'}"


def ask_nearest(name: str, known: Sequence[str]) -> str:
    """Ask whether the nearest of some names was meant; nothing where none is near."""
    from difflib import get_close_matches  # only where something is wrong

    same = [k for k in known if k.casefold() == name.casefold()]
    near = same or get_close_matches(name, known, 1, 0.5)
    return f"did you mean {near[0]!r}? " if near else ""


def _describe(kind: Any, path: tuple[str | int, ...], data: Any) -> str | None:
    """Return the description that the type at a path carries in its ``Meta``."""
    found = _only(_type_at(kind, path, data))
    schema = found.extra_json_schema if isinstance(found, inspect.Metadata) else None
    return (schema or {}).get("description")


def _choices(kind: Any, path: tuple[str | int, ...], data: Any) -> list[str]:
    found = _plain(_type_at(kind, path, data))
    members = found.types if isinstance(found, inspect.UnionType) else (found,)
    literals = [m for m in members if isinstance(m, inspect.LiteralType)]
    if literals:
        numbers = any(isinstance(_plain(m), inspect.IntType | inspect.FloatType) for m in members)
        return [*(["a number"] if numbers else []), *(str(v) for m in literals for v in m.values)]
    structs = _structs(_type_at(kind, path[:-1], data))
    return [str(s.tag) for s in structs if s.tag_field == path[-1]]


def _type_at(kind: Any, path: tuple[str | int, ...], data: Any) -> Any:
    found: Any = inspect.type_info(kind)
    for part in path:
        found = _plain(found)
        if structs := _structs(found):
            # Of several kinds of a table the one that its tag names, else the first with the key.
            named = [
                s for s in structs if isinstance(data, dict) and data.get(s.tag_field) == s.tag
            ]
            fields = (f for s in named or structs for f in s.fields)
            found = next((f.type for f in fields if f.encode_name == part), None)
        elif isinstance(found, inspect.DictType):
            found = found.value_type
        else:
            found = getattr(found, "item_type", None)
        data = _get(data, part)
    return found


def _get(data: Any, part: Any) -> Any:
    try:
        return data[part]
    except (KeyError, IndexError, TypeError):
        return None


def _structs(kind: Any) -> list[inspect.StructType]:
    """Return the kinds of table that may stand somewhere."""
    kind = _plain(kind)
    members = kind.types if isinstance(kind, inspect.UnionType) else (kind,)
    return [m for m in members if isinstance(m, inspect.StructType)]


def _plain(kind: Any) -> Any:
    """Return a type without its metadata, and the one kind of an optional one."""
    if isinstance(kind, inspect.Metadata):
        kind = kind.type
    return _only(kind)


def _only(kind: Any) -> Any:
    """Return the one kind of an optional type, with its metadata; any other type as it is."""
    if isinstance(kind, inspect.UnionType):
        others = [t for t in kind.types if not isinstance(t, inspect.NoneType)]
        return others[0] if len(others) == 1 else kind
    return kind
