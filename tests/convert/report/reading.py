"""A page as a reader's program sees it."""

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

VOID = {"meta"}


@dataclass
class Table:
    caption: str = ""
    rows: list[list[str]] = field(default_factory=list)


class Page(HTMLParser):
    """Tags with their attributes' names, text, and tables; refuses what is not nested."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.skeleton: list[tuple[str, ...]] = []
        self.attributes: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.tables: list[Table] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.skeleton.append((tag, *(name for name, _ in attrs)))
        self.attributes.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self._open.append(tag)
        if tag == "table":
            self.tables.append(Table())
        if tag == "tr":
            self.tables[-1].rows.append([])
        if tag in {"td", "th"}:
            self.tables[-1].rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" in self._open:
            return
        self.text += data
        if "caption" in self._open:
            self.tables[-1].caption += data
        if "td" in self._open or "th" in self._open:
            cell = self.tables[-1].rows[-1]
            cell[-1] = f"{cell[-1]} {data}".strip()

    @property
    def tags(self) -> set[str]:
        return {tag for tag, *_ in self.skeleton}

    def find_table(self, caption: str) -> Table:
        return next(t for t in self.tables if t.caption.startswith(caption))


def read_pictures(page: str) -> dict[str, ET.Element]:
    """Return each SVG, parsed as XML, by its title."""
    found = [ET.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", page, re.DOTALL)]
    return {svg.findtext("title") or "": svg for svg in found}
