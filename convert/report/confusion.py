"""Which classes are taken for which, float beside final. Pure."""

from collections.abc import Iterable, Sequence
from typing import Final

from convert.findings import Confusion
from convert.report.markup import Markup, element, join
from convert.report.tables import draw_table
from convert.report.wording import UNKNOWN, say_count, shorten
from convert.report.words import say_signed

MOST_CLASSES: Final = 40
"""What two square tables show; of more, only the classes that changed most."""
MOST_CHANGED: Final = 25
SHADES: Final = 5
LABEL: Final = 18

Counts = Sequence[Sequence[int]]


def draw_confusion(confusion: Confusion, final: str, rows: str) -> Markup:
    """Return two heat tables, or a table of the classes that changed most.

    Args:
        final: what the second table is of, such as ``onnx-int8``.
        rows: what rows stand for, such as ``right classes``.
    """
    if len(confusion.labels) > MOST_CLASSES:
        return _draw_changes(confusion, final)
    note = (
        f"Rows are {rows}, columns are answers. Blue is right, orange is wrong; the stronger, the "
        "larger a part of the row. Framed cells changed, by the signed number."
    )
    many = " many" if len(confusion.labels) > 14 else ""
    pair = element(
        "div",
        _draw_heat(f"float: {_count_right(confusion.float)}", confusion.labels, confusion.float),
        _draw_heat(
            f"{final}: {_count_right(confusion.final)}",
            confusion.labels,
            confusion.final,
            confusion.float,
        ),
        class_=f"pair{many}",
    )
    return join([element("p", note, class_="note"), pair])


def _count_right(counts: Counts) -> str:
    right = sum(row[i] for i, row in enumerate(counts))
    return f"{right:,} of {say_count(sum(map(sum, counts)), 'sample')} right"


def _draw_heat(
    caption: str, labels: Sequence[str], counts: Counts, before: Counts | None = None
) -> Markup:
    names = [shorten(label, LABEL) for label in labels]
    head = (element("th", element("span", name), scope="col") for name in names)
    body = (
        element(
            "tr",
            element("th", name, scope="row"),
            *(
                _draw_cell(count, sum(row), i == j, before[i][j] if before else count)
                for j, count in enumerate(row)
            ),
        )
        for i, (name, row) in enumerate(zip(names, counts, strict=True))
    )
    table = element(
        "table",
        element("caption", caption),
        element("thead", element("tr", element("td", "right \\ answer"), *head)),
        element("tbody", *body),
        class_="heat",
    )
    return element("div", table, class_="scroll", tabindex="0", role="region", aria_label=caption)


def _draw_cell(count: int, total: int, right: bool, before: int) -> Markup:
    if not count and not before:
        return element("td")
    shade = -(-SHADES * count // total) if total else 0
    look = f"{'r' if right else 'w'}{shade}"
    if count == before:
        return element("td", f"{count:,}", class_=look)
    change = element("small", say_signed(count - before))
    return element("td", f"{count:,}", change, class_=f"{look} changed")


def _draw_changes(confusion: Confusion, final: str) -> Markup:
    order = sorted(
        range(len(confusion.labels)),
        key=lambda i: (-abs(_gain(confusion, i)), -_moved(confusion, i), i),
    )
    changed = [i for i in order if _moved(confusion, i)]
    shown = changed[:MOST_CHANGED]
    same = len(confusion.labels) - len(changed)
    caption = (
        f"The {len(shown)} classes of {len(confusion.labels):,} that changed most; "
        f"{len(changed) - len(shown):,} more changed, {same:,} did not."
    )
    head = "Class", "Samples", "Float right", f"{final} right", "Change", "Now most often taken for"
    return draw_table(caption, head, _list_changes(confusion, shown), (1, 2, 3, 4))


def _list_changes(confusion: Confusion, shown: Sequence[int]) -> Iterable[Sequence[str]]:
    for i in shown:
        row = confusion.final[i]
        wrong = max((j for j in range(len(row)) if j != i), key=lambda j: row[j])
        taken = (
            f"{clip(confusion.labels[wrong])}, {say_count(row[wrong], 'time')}"
            if row[wrong]
            else UNKNOWN
        )
        right = confusion.float[i][i], row[i]
        yield (
            clip(confusion.labels[i]),
            f"{sum(row):,}",
            f"{right[0]:,}",
            f"{right[1]:,}",
            say_signed(_gain(confusion, i)),
            taken,
        )


def clip(label: str) -> str:
    """Return a label of a length that leaves room for the numbers."""
    return shorten(label, 2 * LABEL)


def _gain(confusion: Confusion, i: int) -> int:
    return confusion.final[i][i] - confusion.float[i][i]


def _moved(confusion: Confusion, i: int) -> int:
    """Return how many answers of a class changed at least."""
    pairs = zip(confusion.float[i], confusion.final[i], strict=True)
    return sum(abs(after - before) for before, after in pairs) // 2
