"""Every error of a TOML file begins FILE:LINE:COL: KEY.PATH and helps to correct it."""

import sys
from pathlib import Path
from typing import Annotated, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Meta, Struct

from edge_bundle.errors import ConfigError
from edge_bundle.manifest import Limits, Stream
from edge_bundle.positions import Position, locate_keys
from edge_bundle.toml import MAX_FILE_BYTES, convert_toml, read_toml

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Path_ = tuple[str | int, ...]


class Csv(Struct, tag_field="kind", tag="csv"):
    file: str
    loop: bool = False


class Serial(Struct, tag_field="kind", tag="serial"):
    port: str
    baud: int = 9600


class Device(Struct):
    id: str
    labels: dict[str, Annotated[str, Meta(max_length=8)]] = {}


class Config(Struct):
    device: Device
    source: list[Csv | Serial] = []
    stream: Stream | None = None
    limits: Limits = Limits()
    named: dict[str, Device] = {}
    free: dict[str, Any] = {}


def read(folder: Path, text: str | bytes) -> Config:
    file = folder / "edge.toml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return convert_toml(read_toml(file), Config)


def error(folder: Path, text: str | bytes) -> str:
    with pytest.raises(ConfigError) as wrong:
        read(folder, text)
    message = str(wrong.value)
    assert "\n" not in message
    before = f"{folder / 'edge.toml'}:"
    assert message.startswith(before)
    return message.removeprefix(before)


GOOD = """\
# a comment with [brackets] = and "quotes
[device]
id = "pi-1"  # it's

[device.labels]
"hall 7" = "x=]#["

[[source]]
kind = "csv"
file = '''
[not] = a table
'''

[[source]]
kind = "serial"
port = "tty0"
"""


def test_good_file_becomes_its_type(tmp_path: Path) -> None:
    config = read(tmp_path, GOOD)
    assert config.device == Device("pi-1", {"hall 7": "x=]#["})
    assert config.source == [Csv("[not] = a table\n"), Serial("tty0")]
    assert read(tmp_path, GOOD.replace("\n", "\r\n")).device == config.device


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("id =", "  idd =", "3:3: device.idd: unknown key; did you mean 'id'?"),
        ("[device]", "[devise]", "2:1: devise: unknown key; did you mean 'device'?"),
        ('port = "tty0"', "zzzzzz = 1", "16:1: source[1].zzzzzz: unknown key; known: port, baud"),
        ('port = "tty0"', "loop = true", "16:1: source[1].loop: unknown key"),
        ('"pi-1"', "7", "3:1: device.id: 7, expected a string"),
        ('id = "pi-1"', "", "2:1: device.id: is missing"),
        (
            '"tty0"',
            '"tty0"\nbaud = "fast"',
            '17:1: source[1].baud: "fast", expected a whole number',
        ),
        (
            'kind = "serial"',
            'kind = "seriel"',
            "15:1: source[1].kind: no value 'seriel'; did you mean 'serial'?",
        ),
        ('kind = "serial"', "", "14:1: source[1].kind: is missing"),
        (
            '"x=]#["',
            '"longer than that"',
            '6:1: device.labels.hall 7: "longer than that", expected a string of length <= 8',
        ),
        ('"hall 7" = "x=]#["', '"..." = 1', "6:1: device.labels....: 1, expected a string"),
        ('"x=]#["', "1\nfine = 'y'", "6:1: device.labels.hall 7: 1, expected a string"),
        ('"pi-1"', "pi", "3:6: Invalid value"),
        ("[device.labels]", "[device.labels", "5:15: Expected ']'"),
        ('port = "tty0"', 'port = "tty0', "16:13: Illegal character '\\n'"),
        ('port = "tty0"\n', 'port = """tty0\n', "17:1: Unterminated string (at end of document)"),
        ('port = "tty0"\n', "port = [", "16:9: Invalid value (at end of document)"),
        (
            'id = "pi-1"',
            'id = "pi-1"\nid = "pi-2"',
            "4:1: device.id: is there twice, first in line 3",
        ),
    ],
)
def test_error_stands_where_the_mistake_is(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    assert GOOD.count(old) == 1
    found = error(tmp_path, GOOD.replace(old, new))
    assert found.startswith(message.partition(" (at")[0])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = 1\na = 2", "2:1: a: is there twice, first in line 1"),
        ("a = 1\nb = 3\n  a = [1,\n2]\n", "3:3: a: is there twice, first in line 1"),
        (
            "[x]\n\"a b\" = \"\"\"\na = 1\n\"\"\"\n'a b' = '''\n# = [''' # b = 1\n",
            "5:1: x.a b: is there twice, first in line 2",
        ),
        ("a = 1\n[a.b]\n", "2:1: a.b: a has a value in line 1"),
        ("[x]\na = 1\na.b.c = 2\n", "3:1: x.a.b.c: x.a has a value in line 2"),
        ("a.b = 1\na = 2\n", "2:1: a: is there twice, first in line 1"),
        ("a = 1\n[[a]]\n", "2:1: a: is there twice, first in line 1"),
        ("[a]\n\n[[a]]\n", "3:1: a: is there twice, first in line 1"),
        ("[[a]]\n[[a]]\nb = 1\n[a.c]\n[a.c]\n", "5:1: a[1].c: is there twice, first in line 4"),
        ("[[a]]\nb = 1\n[[a]]\nb = 1\nb = 2", "5:1: a[1].b: is there twice, first in line 4"),
        ("[a]\n[b]\n[a]\n", "3:1: a: is there twice, first in line 1"),
        ("[a.b]\n[a]\nb = 1\n", "3:1: a.b: is there twice, first in line 1"),
        ("[a]\r\nb = 1\r\nb = 2\r\n", "3:1: a.b: is there twice, first in line 2"),
        ("x = {a = 1, a.b = 2}\n", "1:"),
        ("x = [{a = 1},\n{a = 1, a = 2}]\n", "2:"),
    ],
)
def test_key_that_is_there_twice_is_named(tmp_path: Path, text: str, message: str) -> None:
    assert error(tmp_path, text).startswith(message)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("[stram]", "18:1: stram: unknown key; did you mean 'stream'?"),
        ("loop = 1", "18:1: source[1].loop: unknown key; known: port, baud, kind"),
        ("[limits]\nmemory = 1", "19:1: limits.memory: unknown key"),
        ('[named.a]\nid = "1"\n[named.b]\nid = "2"\nie = 1', "22:1: named.b.ie: unknown key"),
    ],
)
def test_unknown_key_in_a_file_that_is_good_otherwise(
    tmp_path: Path, more: str, message: str
) -> None:
    assert error(tmp_path, f"{GOOD}\n{more}\n").startswith(message)


def test_array_of_inline_tables_has_positions(tmp_path: Path) -> None:
    text = """\
[device]
id = "x"
[stream]
rate_hz = 50
window = 4
hop = 2
channels = [
  { name = "ax", unit = "g" },  # }
  { name = "ay", unti = "g" },
]
"""
    assert error(tmp_path, text).startswith(
        "9:18: stream.channels[1].unti: unknown key; did you mean 'unit'?"
    )
    text = text.replace("unti", "unit").replace('unit = "g" },\n]', "unit = 3 },\n]")
    assert error(tmp_path, text).startswith("9:18: stream.channels[1].unit: 3, expected a string")
    assert error(tmp_path, text.replace('{ name = "ax", unit = "g" }', "3")).startswith(
        "8:3: stream.channels[0]: 3, expected a table"
    )


def test_free_tables_take_any_key_and_check_their_values(tmp_path: Path) -> None:
    text = (
        '[device]\nid = "x"\n[limits.memory_bytes]\npi-4 = 100\ndefault = 5\n[free]\na.b = [{}]\n'
    )
    config = read(tmp_path, text)
    assert config.limits.memory_bytes == {"pi-4": 100, "default": 5}
    assert config.free == {"a": {"b": [{}]}}
    assert error(tmp_path, text.replace("= 5", "= 0")).startswith(
        "5:1: limits.memory_bytes.default: 0, expected a whole number >= 1"
    )
    named = '[device]\nid = "x"\n[named.a]\nid = "y"\n[named.b]\nid = "z"\nlabel = {}\n'
    assert error(tmp_path, named).startswith("7:1: named.b.label: unknown key; did you mean")
    named = named.replace("label = {}", "labels = { one = 'x', two = 2 }")
    assert error(tmp_path, named).startswith("7:23: named.b.labels.two: 2, expected a string")


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_numbers_are_finite(tmp_path: Path, value: str) -> None:
    text = f'[device]\nid = "x"\n[limits.latency_ms]\ndefault = {value}\n'
    message = error(tmp_path, text)
    assert message == f"4:1: limits.latency_ms.default: {value}, expected a finite number"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'[device]\nid = "\xff"\n', "2:7: not UTF-8 text"),
        (b'[device]\nid = "\xc3\xa4\xe4"\n', "2:8: not UTF-8 text"),
        (b"a = " + b"9" * 5000, "1:1: Exceeds the limit"),
        (b"a = 1" + b"0" * 400, "1:1: a: unknown key"),
        (b"a = " + b"[" * 100_000, "1:"),
        (b"\x00", "1:1: "),
        (b"", "1:1: device: is missing"),
        (b"#" * (MAX_FILE_BYTES + 1), "1:1: too large, at most 1048576 bytes"),
    ],
)
def test_hostile_bytes_are_one_clear_line(tmp_path: Path, data: bytes, message: str) -> None:
    assert error(tmp_path, data).startswith(message)


def test_huge_value_is_refused_at_its_place(tmp_path: Path) -> None:
    text = '[device]\nid = "x"\n[limits.latency_ms]\na = 1\nb = 1' + "0" * 400
    assert error(tmp_path, text).startswith("5:1: limits.latency_ms.b: ")


@pytest.mark.parametrize(
    "line", ["[free]\nlabels" + ".a" * 3000 + " = 1", "free.x = " + "[" * 70 + "]" * 70]
)
def test_what_is_nested_too_deep_is_refused(tmp_path: Path, line: str) -> None:
    assert error(tmp_path, f"{line}\n") == "1:1: nested more than 64 deep"


def test_mark_that_windows_editors_write_counts_for_nothing(tmp_path: Path) -> None:
    good = read(tmp_path, GOOD)
    assert read(tmp_path, GOOD.encode("utf-8-sig")) == good
    wrong = "device = 1\n".encode("utf-8-sig")
    assert error(tmp_path, wrong) == "1:1: device: 1, expected a table"
    assert error(tmp_path, b"\xef\xbb\xbfabcd\xff").startswith("1:5: not UTF-8 text")


def test_missing_file_and_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no\.toml: No such file or directory$"):
        read_toml(tmp_path / "no.toml")
    with pytest.raises(ConfigError, match=r"Is a directory$"):
        read_toml(tmp_path)


def test_arrays_of_tables_are_counted_within_each_other() -> None:
    text = "[[a]]\nx = 1\n[[a.b]]\n[[a.b]]\ny = 1\n[[a]]\n[a.c]\nz = 1\n[[a.b]]\ny = 2\n"
    expected = {
        ("a",): (1, 1),
        ("a", 0): (1, 1),
        ("a", 0, "x"): (2, 1),
        ("a", 0, "b"): (3, 1),
        ("a", 0, "b", 0): (3, 1),
        ("a", 0, "b", 1): (4, 1),
        ("a", 0, "b", 1, "y"): (5, 1),
        ("a", 1): (6, 1),
        ("a", 1, "c"): (7, 1),
        ("a", 1, "c", "z"): (8, 1),
        ("a", 1, "b"): (9, 1),
        ("a", 1, "b", 0): (9, 1),
        ("a", 1, "b", 0, "y"): (10, 1),
    }
    assert locate_keys(text) == expected


tricky = st.text("ab[]{}#=,.\"'\\ \n\t", max_size=12)
keys = st.one_of(st.from_regex(r"[A-Za-z0-9_-]{1,6}", fullmatch=True), tricky)


class Writer:
    """Writes TOML and remembers where it put each key."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.text = ""
        self.places: dict[Path_, Position] = {}

    def here(self) -> Position:
        return self.text.count("\n") + 1, len(self.text) - self.text.rfind("\n")

    def note(self, path: Path_) -> None:
        self.places.setdefault(path, self.here())

    def blank(self, *, lines: bool) -> None:
        self.text += self.draw(st.sampled_from(["", " ", "\t"]))
        if lines:
            comment = self.draw(tricky.filter(lambda t: "\n" not in t))
            self.text += self.draw(st.sampled_from(["", "\n", f"#{comment}\n", "\n \n"]))
            self.text += self.draw(st.sampled_from(["", "  "]))

    def key(self, key: str) -> None:
        bare = key and all(c.isascii() and (c.isalnum() or c in "-_") for c in key)
        forms = [basic(key)]
        forms += [key] if bare else []
        forms += [f"'{key}'"] if not set(key) & set("'\n\t") else []
        self.text += self.draw(st.sampled_from(forms))

    def string(self) -> None:
        value = self.draw(tricky)
        forms = [
            basic(value),
            '"""\n' + value.replace("\\", "\\\\").replace('"""', '""\\"') + 'x"""',
        ]
        if "'" not in value:
            forms.append(f"'''{value}'''")
            forms.append(f"'''{value}'''''" if value else "''")
        if '"' not in value and "\\" not in value:
            forms.append(f'"""{value}"""""')
        self.text += self.draw(st.sampled_from(forms))

    def value(self, path: Path_, depth: int) -> None:
        kind = self.draw(
            st.sampled_from(["scalar", "string", "array", "table"][: 2 + 2 * (depth > 0)])
        )
        if kind == "scalar":
            scalars = ["1", "-2.5e3", "true", "1979-05-27 07:32:00Z", "inf", "0xff"]
            self.text += self.draw(st.sampled_from(scalars))
        elif kind == "string":
            self.string()
        elif kind == "array":
            self.text += "["
            for index in range(self.draw(st.integers(0, 3))):
                self.blank(lines=True)
                self.note((*path, index))
                self.value((*path, index), depth - 1)
                self.blank(lines=True)
                self.text += ","
            self.blank(lines=True)
            self.text += "]"
        else:
            self.text += "{ "
            names = self.draw(st.lists(keys, max_size=3, unique=True))
            for number, name in enumerate(names):
                self.text += ", " if number else ""
                self.pair(path, name, depth - 1)
            self.text += " }"

    def pair(self, table: Path_, key: str, depth: int) -> None:
        self.note((*table, key))
        self.key(key)
        self.blank(lines=False)
        self.text += "="
        self.blank(lines=False)
        self.value((*table, key), depth)

    def pairs(self, table: Path_, taken: set[str]) -> None:
        for key in self.draw(
            st.lists(keys.filter(lambda k: k not in taken), max_size=4, unique=True)
        ):
            self.blank(lines=True)
            self.pair(table, key, 3)
            self.text += self.draw(st.sampled_from(["\n", "  # [x] = '\n"]))

    def header(self, names: tuple[str, ...], brackets: int) -> None:
        self.blank(lines=True)
        for length in range(1, len(names) + 1):
            self.note(names[:length])
        self.text += "[" * brackets
        for number, name in enumerate(names):
            self.text += self.draw(st.sampled_from([".", " . "])) if number else ""
            self.key(name)
        self.text += "]" * brackets + self.draw(st.sampled_from(["\n", " # ]\n"]))


def basic(text: str) -> str:
    escapes = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\u0009"}
    return '"' + "".join(escapes.get(c, c) for c in text) + '"'


@st.composite
def documents(draw: st.DrawFn) -> tuple[str, dict[Path_, Position]]:
    writer = Writer(draw)
    tables = draw(st.lists(st.tuples(keys, keys), max_size=3, unique_by=lambda t: t[0]))
    arrays = draw(st.lists(keys, max_size=2, unique=True))
    names = {name for name, _ in tables}
    arrays = [name for name in arrays if name not in names]
    writer.pairs((), names | set(arrays))
    for outer, inner in tables:
        writer.header((outer, inner), 1)
        writer.pairs((outer, inner), set())
    for name in arrays:
        for index in range(draw(st.integers(1, 3))):
            writer.header((name,), 2)
            line, column = writer.here()
            head = writer.text.rstrip("\n").rfind("\n") + 1
            column = writer.text[head:].index("[") + 1
            writer.places.setdefault((name, index), (line - 1, column))
            writer.pairs((name, index), set())
    return writer.text, writer.places


def paths(value: object, at: Path_ = ()) -> set[Path_]:
    found = {at} if at else set()
    if isinstance(value, dict):
        for key, inner in value.items():
            found |= paths(inner, (*at, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            found |= paths(inner, (*at, index))
    return found


@settings(max_examples=60)
@given(documents())
def test_every_key_is_found_where_it_was_put(document: tuple[str, dict[Path_, Position]]) -> None:
    text, places = document
    assert paths(tomllib.loads(text)) == set(places)
    assert locate_keys(text) == places


@given(st.lists(keys, min_size=2, max_size=4))
def test_dotted_keys_and_the_tables_above_are_found(parts: list[str]) -> None:
    text = "# first\n  " + " . ".join(basic(p) for p in parts) + " = '#'\nlast = 1\n"
    found = locate_keys(text)
    for length in range(1, len(parts) + 1):
        assert found[tuple(parts[:length])] == (2, 3)
    assert "last" in parts[:1] or found["last",] == (3, 1)
