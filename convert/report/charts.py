"""The pictures of a report: what each shows, and what it says to who cannot see it. Pure."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from convert.findings import Findings
from convert.report.entries import Entry
from convert.report.markup import Markup
from convert.report.rows import Limit, Row, draw_rows
from convert.report.scales import Scale, fit_ratio_scale, fit_scale
from convert.report.scatter import Mark, Point, Rule, draw_scatter
from convert.report.wording import (
    is_known,
    say_budget,
    say_bytes,
    say_count,
    say_decibels,
    say_percent,
    say_points,
    say_ratio,
    shorten,
)

MARKS: Final[dict[str, Mark]] = {"onnx": "circle", "tflite": "square"}
MOST_ROWS: Final = 30
LEAST_SHOWN: Final = 0.05
MOST_BUDGETS: Final = 6
"""A loss of more than so many budgets is drawn at the edge: how far out it is matters to nobody."""


def draw_closeness(findings: Findings, entries: Sequence[Entry]) -> Markup | None:
    """Return size against SQNR, for every file that was made; None where there is none."""
    known = [
        (entry, entry.candidate.bytes, entry.candidate.sqnr_db)
        for entry in entries
        if entry.candidate.bytes is not None and is_known(entry.candidate.sqnr_db)
    ]
    if not known:
        return None
    points = [
        Point(size, db, MARKS[e.candidate.format], e.tone, str(e.number), _tell_point(e, size, db))
        for e, size, db in known
    ]
    smallest, nearest = min(known, key=lambda k: k[1]), max(known, key=lambda k: k[2])
    description = (
        f"{say_count(len(known), 'candidate')}. Smallest: {_tell_point(*smallest)}. "
        f"Nearest to float: {_tell_point(*nearest)}."
    )
    sizes = [size for _, size, _ in known]
    return draw_scatter(
        "closeness",
        "Size and closeness to float",
        description,
        (
            _fit_sizes([*sizes, findings.float_bytes]),
            fit_scale([db for *_, db in known], "SQNR of the outputs, dB", 10),
        ),
        points,
        front=trace_front([(size, db) for _, size, db in known]),
        post=(findings.float_bytes, "float"),
    )


def draw_scores(findings: Findings, entries: Sequence[Entry]) -> Markup | None:
    """Return size against score with intervals, for what was scored; None where only float was."""
    reference = findings.float_score
    points = [
        Point(
            findings.float_bytes,
            reference.value,
            "diamond",
            "strong",
            "float",
            f"float, {say_bytes(findings.float_bytes)} bytes, {say_percent(reference.value)}",
            (reference.interval.low, reference.interval.high),
        )
    ]
    for e in entries:
        score, size = e.candidate.score, e.candidate.bytes
        if score and size is not None and e.candidate.precision != "float":
            hover = f"{e.number}: {e.kind}, {say_bytes(size)} bytes, {say_percent(score.value)}"
            span = score.interval.low, score.interval.high
            mark = MARKS[e.candidate.format]
            point = Point(size, score.value, mark, e.tone, str(e.number), hover, span)
            points.append(point)
    if len(points) == 1:
        return None
    least = reference.value - findings.max_drop
    ends = [least, *(v for p in points for v in (p.y, *(p.span or ())))]
    floor = min(reference.interval.low, reference.value + _find_floor(findings, entries))
    points = [p if p.y >= floor else replace(p, y=floor, mark="down", span=None) for p in points]
    scale = fit_scale(
        [max(v, floor) for v in ends], f"{shorten(findings.metric, 40)}, %", 0.02, 0.01
    )
    return draw_scatter(
        "scores",
        f"Size and {findings.metric}",
        "; ".join(p.hover for p in points[:MOST_ROWS]) + ".",
        (
            _fit_sizes([p.x for p in points]),
            replace(scale, ticks=tuple(tick for tick in scale.ticks if tick <= 1)),
        ),
        points,
        [Rule(least, f"float less {say_budget(findings.max_drop)}", "bad")],
    )


def draw_differences(findings: Findings, entries: Sequence[Entry]) -> Markup | None:
    """Return what each lost against float on the same samples; None where nothing was judged."""
    judged = [(e, e.candidate.difference) for e in entries if e.candidate.difference is not None][
        :MOST_ROWS
    ]
    if not judged:
        return None
    rows = [
        Row(
            f"{e.number}  {e.kind}" + ("" if d.proven else ", not proven"),
            f"{say_points(d.value)} [{say_points(d.interval.low)}, {say_points(d.interval.high)}]",
            e.tone,
            dot=d.value,
            span=(d.interval.low, d.interval.high),
        )
        for e, d in judged
    ]
    ends = [end for _, d in judged for end in (d.interval.low, d.interval.high)]
    limit, floor = -findings.max_drop, _find_floor(findings, entries)
    scale = fit_scale(
        [0.0, limit, *(max(end, floor) for end in ends)],
        "points, on the same samples as float",
        0.01,
        0.01,
    )
    return draw_rows(
        "differences",
        "Difference from float, with its 95 % interval",
        "; ".join(f"{row.name}: {row.value} points" for row in rows) + ".",
        scale,
        rows,
        [Limit(limit, f"budget {say_points(limit)}", "bad", beyond=True), Limit(0.0, "", "strong")],
    )


def draw_latencies(entries: Sequence[Entry]) -> Markup | None:
    """Return the latency of each as a ratio to float's; None where none was measured."""
    timed = [
        (e, e.candidate.latency_ratio)
        for e in entries
        if is_known(e.candidate.latency_ratio) and e.candidate.latency_ratio > 0
    ][:MOST_ROWS]
    if not timed:
        return None
    rows = [
        Row(f"{e.number}  {e.kind}", say_ratio(ratio), e.tone, bar=(1.0, ratio))
        for e, ratio in timed
    ]
    return draw_rows(
        "latencies",
        "Latency as a ratio to float's",
        "; ".join(f"{row.name}: {row.value} of float's time" for row in rows) + ".",
        fit_ratio_scale(
            [ratio for _, ratio in timed], "left of 1: faster than float; right of it: slower"
        ),
        rows,
        [Limit(1.0, "", "strong")],
    )


def _tell_point(entry: Entry, size: int, db: float) -> str:
    return f"{entry.number}: {entry.kind}, {say_bytes(size)} bytes, {say_decibels(db)} dB"


def trace_front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the corners of the line above which nothing is: no smaller file has a higher value."""
    corners: list[tuple[float, float]] = []
    for x, y in sorted(points, key=lambda p: (p[0], -p[1])):
        if not corners:
            corners.append((x, y))
        elif y > corners[-1][1]:
            corners += [(x, corners[-1][1]), (x, y)]
    return corners


def _find_floor(findings: Findings, entries: Sequence[Entry]) -> float:
    """Return the difference from float below which a model is drawn at the edge.

    The nearest one is always within, and so are those that were chosen.
    """
    judged = [(e.tone, e.candidate.difference) for e in entries]
    good = [d.interval.low for tone, d in judged if d and tone == "good"]
    nearest = max((d.interval.low for _, d in judged if d), default=0.0)
    return min(-MOST_BUDGETS * findings.max_drop, -LEAST_SHOWN, nearest, *good)


def _fit_sizes(sizes: Sequence[float]) -> Scale:
    largest = max(sizes)
    unit, name = next((u, n) for u, n in ((1e6, "MB"), (1e3, "kB"), (1.0, "bytes")) if largest >= u)
    return fit_scale(sizes, f"model file, {name}", largest * 0.05, unit, most=6)
