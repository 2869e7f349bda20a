"""Points over two scales, as SVG. Knows nothing of models. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal

from convert.report.markup import Markup, element, join
from convert.report.scales import Scale
from convert.report.wording import measure

WIDTH: Final = 440
HEIGHT: Final = 300
LEFT, RIGHT, TOP, BOTTOM = 58, 426, 30, 252
MIDDLE: Final = (LEFT + RIGHT) / 2
LETTER: Final = 6.6
"""Width of an average letter of the labels, in pixels."""
Mark = Literal["circle", "square", "diamond", "left", "down"]
"""The last two point to what lies outside the picture."""
PATHS: Final[Mapping[Mark, str]] = {
    "diamond": "m0 -6.5l6.5 6.5l-6.5 6.5l-6.5 -6.5z",
    "left": "m-4 0l9 -5v10z",
    "down": "m0 4l-5 -9h10z",
}
Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Point:
    x: float
    y: float
    mark: Mark
    tone: str
    label: str
    """Short; left out where there is no room for it."""
    hover: str
    span: tuple[float, float] | None = None
    """Lower and upper end of a whisker."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A line across the whole picture."""

    y: float
    label: str
    tone: str


def draw_scatter(
    name: str,
    title: str,
    description: str,
    scales: tuple[Scale, Scale],
    points: Sequence[Point],
    rules: Sequence[Rule] = (),
    front: Sequence[tuple[float, float]] = (),
    post: tuple[float, str] | None = None,
) -> Markup:
    """Return the picture.

    Args:
        name: its identity on the page.
        description: what a reader who cannot see it is told.
        scales: of x and y.
        front: corners of a line through the best points, from left to right and upwards.
        post: where a line goes all the way up, and its name.
    """
    x, y = scales[0].over(LEFT, RIGHT), scales[1].over(BOTTOM, TOP)
    placed = [(x.at(p.x), y.at(p.y)) for p in points]
    taken = [(px - 6, py - 6, px + 6, py + 6) for px, py in placed]
    taken += [
        (px - 5, y.at(p.span[1]), px + 5, y.at(p.span[0]))
        for (px, _), p in zip(placed, points, strict=True)
        if p.span
    ]
    written = [_write_rule(rule, y.at(rule.y), taken) for rule in rules]
    corners = [(x.at(a), y.at(b)) for a, b in front]
    taken += [(a[0] - 1, b[1] - 1, b[0] + 1, a[1] + 1) for a, b in pairwise(corners)]
    path = " ".join(f"{cx:.1f},{cy:.1f}" for cx, cy in corners)
    line = [element("polyline", points=path, class_="front")] if front else []
    if post:
        line += [
            draw_line((x.at(post[0]), TOP), (x.at(post[0]), BOTTOM), "rule strong"),
            write(post[1], x.at(post[0]) - 5, TOP + 12, "end", "halo"),
        ]
    return frame(
        name,
        title,
        description,
        HEIGHT,
        [
            *_draw_axes(x, y),
            *written,
            *line,
            *(_draw_point(p, at, y) for p, at in zip(points, placed, strict=True)),
            *_write_labels(points, placed, taken),
        ],
    )


def frame(
    name: str, title: str, description: str, height: float, parts: Iterable[Markup]
) -> Markup:
    """Return the SVG element round a picture, as wide as all others."""
    return element(
        "svg",
        element("title", title, id=f"{name}-title"),
        element("desc", description, id=f"{name}-desc"),
        *parts,
        role="img",
        viewBox=f"0 0 {WIDTH} {height:g}",
        aria_labelledby=f"{name}-title {name}-desc",
    )


def write(text: str, x: float, y: float, anchor: str = "start", class_: str = "") -> Markup:
    """Return text at a place."""
    look = {"class_": class_} if class_ else {}
    return element("text", text, x=x, y=y, text_anchor=anchor, **look)


def draw_line(start: tuple[float, float], end: tuple[float, float], class_: str) -> Markup:
    """Return a straight line."""
    return element("line", x1=start[0], y1=start[1], x2=end[0], y2=end[1], class_=class_)


def draw_mark(mark: Mark, x: float, y: float, class_: str, *inner: Markup) -> Markup:
    """Return a mark of about 10 pixels."""
    if mark == "circle":
        return element("circle", *inner, cx=x, cy=y, r=5, class_=class_)
    if mark == "square":
        return element("rect", *inner, x=x - 4.5, y=y - 4.5, width=9, height=9, class_=class_)
    return element("path", *inner, d=f"M{x:.1f} {y:.1f}{PATHS[mark]}", class_=class_)


def _draw_axes(x: Scale, y: Scale) -> Iterable[Markup]:
    for value in y.ticks:
        yield draw_line((LEFT, y.at(value)), (RIGHT, y.at(value)), "grid")
        yield write(y.say(value), LEFT - 7, y.at(value) + 4, "end", "tick")
    for value in x.ticks:
        yield draw_line((x.at(value), TOP), (x.at(value), BOTTOM), "grid")
        yield write(x.say(value), x.at(value), BOTTOM + 17, "middle", "tick")
    yield draw_line((LEFT, BOTTOM), (RIGHT, BOTTOM), "axis")
    yield write(y.label, 4, 14, class_="name")
    yield write(x.label, RIGHT, BOTTOM + 38, "end", "name")


def _draw_point(point: Point, at: tuple[float, float], y: Scale) -> Markup:
    x, centre = at
    parts = []
    if point.span:
        low, high = (y.at(v) for v in point.span)
        parts = [draw_line((x, low), (x, high), f"whisker {point.tone}")]
        parts += [draw_line((x - 4, v), (x + 4, v), f"whisker {point.tone}") for v in (low, high)]
    hover = element("title", point.hover)
    return join([*parts, draw_mark(point.mark, x, centre, f"mark {point.tone}", hover)])


def _write_rule(rule: Rule, y: float, taken: list[Box]) -> Markup:
    """Write its label at the end where no point is in the way, if there is one."""
    room = len(rule.label) * LETTER
    boxes = {
        "end": (RIGHT - room, y - 16, RIGHT, y - 3),
        "middle": (MIDDLE - room / 2, y - 16, MIDDLE + room / 2, y - 3),
        "start": (LEFT + 3, y - 16, LEFT + 3 + room, y - 3),
    }
    anchor = next((a for a, box in boxes.items() if _is_free(box, taken)), "end")
    taken.append(boxes[anchor])
    line = draw_line((LEFT, y), (RIGHT, y), f"rule {rule.tone}")
    place = {"end": RIGHT, "middle": MIDDLE, "start": LEFT + 3}[anchor]
    return join([line, write(rule.label, place, y - 5, anchor, f"halo {rule.tone}")])


def _write_labels(
    points: Sequence[Point], placed: Sequence[tuple[float, float]], taken: list[Box]
) -> Iterable[Markup]:
    for point, (x, y) in zip(points, placed, strict=True):
        room = measure(point.label) * LETTER
        spots = (
            ("start", x + 9, y + 4),
            ("end", x - 9, y + 4),
            ("middle", x, y - 10),
            ("middle", x, y + 18),
            ("start", x + 6, y - 8),
            ("start", x + 6, y + 15),
            ("end", x - 6, y - 8),
            ("end", x - 6, y + 15),
        )
        for anchor, tx, ty in spots:
            left = tx - {"start": 0.0, "middle": room / 2, "end": room}[anchor]
            box = (left, ty - 10, left + room, ty + 2)
            inside = box[0] > LEFT and box[2] < WIDTH and box[1] > TOP - 14 and box[3] < BOTTOM
            if inside and _is_free(box, taken):
                taken.append(box)
                yield write(point.label, tx, ty, anchor, f"halo {point.tone}")
                break


def _is_free(box: Box, taken: Sequence[Box]) -> bool:
    return not any(
        box[0] < b[2] and b[0] < box[2] and box[1] < b[3] and b[1] < box[3] for b in taken
    )
