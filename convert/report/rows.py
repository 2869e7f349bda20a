"""One line for each thing, under its name, as SVG. Knows nothing of models. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from convert.report.markup import Markup, element, join
from convert.report.scales import Scale
from convert.report.scatter import LETTER, Mark, draw_line, draw_mark, frame, write
from convert.report.wording import measure, shorten

LEFT, RIGHT, TOP = 8, 432, 6
ROW: Final = 34
"""Pixels: a line of text, and the bar under it."""


BAND: Final = 17
"""Pixels of the text."""


@dataclass(frozen=True, slots=True)
class Row:
    name: str
    value: str
    """Its number as text."""
    tone: str
    bar: tuple[float, float] | None = None
    """Where a bar begins and ends."""
    dot: float | None = None
    """An arrow where it lies below the scale."""
    span: tuple[float, float] | None = None
    """Lower and upper end of a whisker."""


@dataclass(frozen=True, slots=True)
class Limit:
    """A line down the whole picture."""

    x: float
    label: str
    tone: str
    beyond: bool = False
    """Whether all left of it is shaded."""


def draw_rows(
    name: str,
    title: str,
    description: str,
    scale: Scale,
    rows: Sequence[Row],
    limits: Sequence[Limit] = (),
) -> Markup:
    """Return the picture.

    Args:
        name: its identity on the page.
        description: what a reader who cannot see it is told.
    """
    labelled = any(limit.label for limit in limits)
    top = TOP + (18 if labelled else 0)
    x, bottom = scale.over(LEFT + 4, RIGHT - 4), top + ROW * len(rows) + 4
    parts = [
        *_draw_axis(x, top, bottom),
        *_draw_limits(limits, x, top, bottom, len(rows)),
        *(_draw_row(row, x, top + ROW * i) for i, row in enumerate(rows)),
    ]
    return frame(name, title, description, bottom + 42, parts)


def _draw_axis(x: Scale, top: float, bottom: float) -> Iterable[Markup]:
    for value in x.ticks:
        yield draw_line((x.at(value), top), (x.at(value), bottom), "grid")
        yield write(x.say(value), x.at(value), bottom + 16, _anchor(x.at(value)), "tick")
    yield draw_line((LEFT, bottom), (RIGHT, bottom), "axis")
    yield write(x.label, RIGHT, bottom + 36, "end", "name")


def _draw_limits(
    limits: Sequence[Limit], x: Scale, top: float, bottom: float, rows: int
) -> Iterable[Markup]:
    for limit in limits:
        at = x.at(limit.x)
        if limit.beyond:
            width, height = max(0.0, at - LEFT), bottom - top
            yield element("rect", x=LEFT, y=top, width=width, height=height, class_="beyond")
        # Beside the bars alone, as a line through the text above them would cross out figures.
        for row in range(rows):
            low = top + ROW * row + BAND
            yield draw_line((at, low), (at, low + ROW - BAND + 4), f"rule {limit.tone}")
        if limit.label:
            room = measure(limit.label) * LETTER
            place = min(max(at, LEFT + room / 2), RIGHT - room / 2)
            yield write(limit.label, place, top - 6, "middle", f"halo {limit.tone}")


def _draw_row(row: Row, x: Scale, top: float) -> Markup:
    room = int((RIGHT - LEFT) / LETTER) - measure(row.value) - 2
    name = write(shorten(row.name, room), LEFT, top + 14, class_=f"halo {row.tone}")
    value = write(row.value, RIGHT, top + 14, "end", f"halo {row.tone}")
    middle = top + 24
    parts = []
    if row.bar:
        a, b = sorted(x.at(v) for v in row.bar)
        width = max(b - a, 1.0)
        bar = element("rect", x=a, y=middle - 4, width=width, height=8, class_=f"bar {row.tone}")
        parts.append(bar)
    if row.span:
        low, high = (x.at(v) for v in row.span)
        look = f"whisker {row.tone}"
        parts.append(draw_line((low, middle), (high, middle), look))
        parts += [draw_line((v, middle - 4), (v, middle + 4), look) for v in (low, high)]
    if row.dot is not None:
        mark: Mark = "circle" if row.dot >= x.low else "left"
        parts.append(draw_mark(mark, x.at(row.dot), middle, f"mark {row.tone}"))
    return join([*parts, name, value])


def _anchor(x: float) -> str:
    return "start" if x < LEFT + 14 else "end" if x > RIGHT - 14 else "middle"
