"""Which nodes int8 hurts, on a page and in a terminal. Pure."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from convert.findings import Damage
from convert.report.markup import Markup, element, join
from convert.report.rows import Row, draw_rows
from convert.report.scales import Scale, fit_scale
from convert.report.scatter import Point, draw_scatter
from convert.report.tables import draw_table
from convert.report.wording import (
    is_known,
    measure,
    pad,
    say_bytes,
    say_count,
    say_decibels,
    shorten,
)

MOST_BARS: Final = 20
MOST_LISTED: Final = 300
BAR: Final = 12
"""Columns of a terminal."""
DECIBELS: Final = 5
GAP: Final = "  "
KEPT: Final = " float"
EIGHTHS: Final = " ▏▎▍▌▋▊▉"


def sort_damages(damages: Sequence[Damage]) -> list[Damage]:
    """Return the worst first; where two are alike, the one whose weights save least."""
    return sorted(
        damages, key=lambda d: (d.sqnr_db if is_known(d.sqnr_db) else math.inf, d.bytes_saved)
    )


def draw_sensitivity(damages: Sequence[Damage]) -> Markup:
    """Return the worst nodes as bars, all nodes as a curve where they are more, and a table.

    Args:
        damages: at least one.
    """
    ranked = sort_damages(damages)
    more = len(ranked) > MOST_BARS
    title = f"The {MOST_BARS} nodes that int8 hurts most" if more else "All nodes, worst first"
    parts = [_frame(title, _draw_bars(ranked[:MOST_BARS], title, _span(ranked)))]
    hurt = [(d, d.sqnr_db) for d in ranked if is_known(d.sqnr_db)]
    if more and hurt:
        note = f"The {len(ranked) - len(hurt):,} nodes that lose nothing are left out."
        parts.append(_frame("All nodes, by rank", _draw_curve(hurt), note))
    return join([element("div", *parts, class_="charts"), _list_nodes(ranked)])


def tell_sensitivity(damages: Sequence[Damage]) -> str:
    """Return in a sentence how many nodes there are, which is worst, and which stay in float."""
    ranked = sort_damages(damages)
    kept = sum(d.kept_float for d in ranked)
    worst = ranked[0]
    loss = f"{say_decibels(worst.sqnr_db)} dB" if is_known(worst.sqnr_db) else "nothing lost"
    return (
        f"{say_count(len(ranked), 'node')}, each made int8 alone. "
        f"Worst: {shorten(worst.node, 60)} ({shorten(worst.operator, 30)}), {loss}. "
        f"{kept or 'None'} of them {'is' if kept == 1 else 'are'} left in float."
    )


def tabulate_sensitivity(damages: Sequence[Damage], columns: int = 80) -> str:
    """Return a table for a terminal, worst first; the longer the bar, the more is lost."""
    if not damages:
        return "no node was measured\n"
    ranked = sort_damages(damages)
    top, bottom = _span(ranked)
    operators = max(len("OPERATOR"), min(16, max(measure(d.operator) for d in ranked)))
    saved = max(len("SAVES"), *(len(say_bytes(d.bytes_saved)) for d in ranked))
    room = columns - operators - saved - DECIBELS - BAR - len(KEPT) - 4 * len(GAP)
    names = max(len("NODE"), min(room, max(measure(d.node) for d in ranked)))
    lines = [
        (pad("NODE", names), pad("OPERATOR", operators), "SAVES".rjust(saved), "   DB", "DAMAGE")
    ]
    for d in ranked:
        share = (top - d.sqnr_db) / (top - bottom) if is_known(d.sqnr_db) else 0.0
        lines.append(
            (
                pad(shorten(d.node, names), names),
                pad(shorten(d.operator, operators), operators),
                say_bytes(d.bytes_saved).rjust(saved),
                say_decibels(d.sqnr_db).rjust(DECIBELS),
                _draw_blocks(share) + (KEPT if d.kept_float else ""),
            )
        )
    return "".join(GAP.join(line).rstrip() + "\n" for line in lines)


def _frame(title: str, picture: Markup, note: str = "") -> Markup:
    told = [element("p", note, class_="note")] if note else []
    return element("figure", element("figcaption", element("h3", title)), picture, *told)


def _draw_bars(shown: Sequence[Damage], title: str, span: tuple[float, float]) -> Markup:
    rows = [
        Row(
            f"{d.node} · {d.operator}" + (", kept in float" if d.kept_float else ""),
            f"{say_decibels(d.sqnr_db)} dB" if is_known(d.sqnr_db) else "nothing lost",
            "bad" if d.kept_float else "plain",
            bar=(span[0], d.sqnr_db) if is_known(d.sqnr_db) else None,
        )
        for d in shown
    ]
    told = "; ".join(f"{row.name}: {row.value}" for row in rows) + "."
    return draw_rows("damage", title, told, _reverse(*span), rows)


def _draw_curve(hurt: Sequence[tuple[Damage, float]]) -> Markup:
    """Return every node by its rank, so that it shows whether few or many are hurt."""
    points = [
        Point(
            rank,
            db,
            "diamond" if d.kept_float else "circle",
            "bad" if d.kept_float else "dense",
            "",
            f"{rank}: {shorten(d.node, 60)}, {say_decibels(db)} dB",
        )
        for rank, (d, db) in enumerate(hurt, 1)
    ]
    return draw_scatter(
        "ranks",
        "All nodes, by rank",
        f"{say_count(len(hurt), 'node')}, from {say_decibels(hurt[0][1])} to "
        f"{say_decibels(hurt[-1][1])} dB.",
        (
            fit_scale([1, len(hurt)], "rank of the node", 10),
            fit_scale([p.y for p in points], "SQNR of the output, dB", 10),
        ),
        points,
    )


def _list_nodes(ranked: Sequence[Damage]) -> Markup:
    more = len(ranked) - MOST_LISTED
    rows = (
        (
            shorten(d.node, 100),
            shorten(d.operator, 40),
            say_decibels(d.sqnr_db) if is_known(d.sqnr_db) else "nothing lost",
            say_bytes(d.bytes_saved),
            "yes" if d.kept_float else "no",
        )
        for d in ranked[:MOST_LISTED]
    )
    left_out = f" The {more:,} least hurt are left out." if more > 0 else ""
    caption = f"Nodes, worst first; bytes are those that int8 saves of its weights.{left_out}"
    head = "Node", "Operator", "SQNR, dB", "Bytes saved", "Kept in float"
    return element(
        "details",
        element("summary", "All nodes as a table"),
        draw_table(caption, head, rows, (2, 3)),
    )


def _span(ranked: Sequence[Damage]) -> tuple[float, float]:
    """Return the ends of the scale, in dB: where no bar is, and where the longest ends."""
    known = [d.sqnr_db for d in ranked if is_known(d.sqnr_db)]
    top = 10.0 * (math.floor(max(known, default=0.0) / 10) + 1)
    return top, min(10.0 * math.floor(min(known, default=0.0) / 10), top - 10)


def _reverse(top: float, bottom: float) -> Scale:
    """Return a scale on which less SQNR is further right."""
    scale = fit_scale([bottom, top], "SQNR of the output, dB; longer bar: more damage", 0)
    return replace(scale, low=top, high=bottom)


def _draw_blocks(share: float) -> str:
    """Return a bar of :data:`BAR` columns at most, in eighths of a column."""
    eighths = round(share * BAR * 8)
    return "█" * (eighths // 8) + EIGHTHS[eighths % 8].strip()
