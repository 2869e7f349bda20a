"""Elements of HTML and SVG. Text becomes markup only here, and only escaped. Pure."""

from collections.abc import Iterable
from html import escape
from typing import Final

from convert.report.wording import clean

VOID: Final = frozenset({"meta"})


class Markup(str):
    """Text that is markup already."""

    __slots__ = ()


def element(tag: str, *children: str, **attributes: str | float) -> Markup:
    """Return one element.

    Args:
        children: :class:`Markup` stands as it is, any other text is escaped.
        attributes: ``class_`` is ``class``, ``stroke_width`` is ``stroke-width``.
    """
    named = "".join(f' {_name(key)}="{_value(value)}"' for key, value in attributes.items())
    inner = join(children)
    return Markup(f"<{tag}{named}>" if tag in VOID else f"<{tag}{named}>{inner}</{tag}>")


def join(parts: Iterable[str]) -> Markup:
    """Return parts side by side, what is not markup escaped."""
    return Markup("".join(p if isinstance(p, Markup) else escape(clean(p)) for p in parts))


def _name(key: str) -> str:
    return key.rstrip("_").replace("_", "-")


def _value(value: str | float) -> str:
    if isinstance(value, str):
        return escape(clean(value))
    # Tenths of a pixel are enough, and keep the page small.
    return f"{round(value, 1):g}"
