"""The tables of a report. Pure."""

from collections.abc import Iterable, Sequence
from typing import Final

from convert.findings import Findings
from convert.report.entries import Entry
from convert.report.markup import Markup, element, join
from convert.report.wording import (
    UNKNOWN,
    say_bytes,
    say_decibels,
    say_list,
    say_percent,
    say_points,
    say_ratio,
    say_time,
)

MOST_NODES: Final = 6
"""Names of float nodes that one cell shows."""


def draw_table(
    caption: str,
    head: Sequence[str],
    rows: Iterable[Sequence[str]],
    numbers: Sequence[int] = (),
    class_: str = "",
) -> Markup:
    """Return a table whose first column names the rows.

    Args:
        numbers: which columns are numbers, and so stand on the right.
        class_: of a table whose rows become blocks on a narrow page; its cells carry their titles.
    """

    def look(column: int, cell: str = "") -> dict[str, str]:
        if column not in numbers:
            return {}
        return {"class_": "number none" if cell == UNKNOWN else "number"}

    titles = (element("th", t, scope="col", **look(i)) for i, t in enumerate(head))
    body = (
        element(
            "tr",
            element("th", row[0], scope="row", **look(0)),
            *(
                element("td", cell, **look(i, cell), **({"data_label": head[i]} if class_ else {}))
                for i, cell in enumerate(row[1:], 1)
            ),
        )
        for row in rows
    )
    table = element(
        "table",
        element("caption", caption),
        element("thead", element("tr", *titles)),
        element("tbody", *body),
        class_=class_ or "plain",
    )
    # Reachable by keyboard, as a narrow page scrolls it sideways.
    return element("div", table, class_="scroll", tabindex="0", role="region", aria_label=caption)


def draw_tried(entries: Sequence[Entry]) -> Markup:
    """Return everything that was tried, with its verdict and why."""
    head = "No.", "Model", "Bytes", "Latency", "SQNR, dB", "Score", "Points", "Verdict and why"
    rows = (
        (
            str(e.number),
            _describe_model(e),
            say_bytes(e.candidate.bytes),
            _describe_latency(e),
            say_decibels(e.candidate.sqnr_db),
            _describe_score(e),
            _describe_difference(e),
            join(
                [
                    element("span", e.candidate.verdict, class_=f"verdict {e.tone}"),
                    element("p", e.candidate.why),
                ]
            ),
        )
        for e in entries
    )
    note = (
        "Latency is the ratio to float in the same format; points are the difference from float on "
        "the same samples; brackets hold 95 % intervals."
    )
    table = draw_table("Everything that was tried", head, rows, (0, 2, 3, 4, 5, 6), "tried")
    return join([element("p", note, class_="note"), table])


def draw_data(findings: Findings) -> Markup:
    """Return which files and samples were used."""
    rows: list[tuple[str, str, str, str]] = [
        ("model given", findings.source, UNKNOWN, _code(findings.source_sha256))
    ]
    for use, data in (("calibration", findings.calibration), ("evaluation", findings.evaluation)):
        if data:
            rows.append((use, data.source, f"{data.samples:,}", _code(data.sha256)))
        else:
            rows.append((use, "none", UNKNOWN, UNKNOWN))
    return draw_table("What went in", ("Use", "Source", "Samples", "sha256"), rows, (2,))


def draw_products(findings: Findings) -> Markup:
    """Return the bundles that were written."""
    rows = (
        (p.file, p.variant, say_bytes(p.bytes), say_bytes(p.bundle_bytes), _code(p.sha256))
        for p in findings.products
    )
    head = "File", "Variant", "Model bytes", "Bundle bytes", "sha256"
    return draw_table("What came out", head, rows, (2, 3))


def _describe_model(entry: Entry) -> Markup:
    parts = [element("b", entry.kind), element("p", entry.candidate.recipe)]
    nodes = entry.candidate.float_nodes
    if nodes:
        text = f"{len(nodes):,} left in float: {say_list(nodes, MOST_NODES)}"
        parts.append(element("p", text))
    return join(parts)


def _describe_latency(entry: Entry) -> Markup:
    took = entry.candidate.latency_us
    ratio = say_ratio(entry.candidate.latency_ratio)
    return join([ratio, element("small", say_time(took))] if took is not None else [ratio])


def _describe_score(entry: Entry) -> Markup:
    score = entry.candidate.score
    if not score:
        return join([UNKNOWN])
    ends = say_percent(score.interval.low), say_percent(score.interval.high)
    small = element("small", f"[{ends[0]}, {ends[1]}]"), element("small", f"of {score.samples:,}")
    return join([say_percent(score.value), *small])


def _describe_difference(entry: Entry) -> Markup:
    d = entry.candidate.difference
    if not d:
        return join([UNKNOWN])
    span = f"[{say_points(d.interval.low)}, {say_points(d.interval.high)}]"
    flips = f"{d.flips:,} flip{'' if d.flips == 1 else 's'}"
    return join([say_points(d.value), element("small", span), element("small", flips)])


def _code(digest: str) -> Markup:
    return element("code", digest)
