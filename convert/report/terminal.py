"""The report for a terminal: plain text of 80 columns. Pure."""

from collections.abc import Iterable, Sequence
from textwrap import wrap
from typing import Final

from convert.findings import Findings
from convert.report.entries import Entry, find_final, list_entries
from convert.report.wording import (
    UNKNOWN,
    clean,
    pad,
    say_bytes,
    say_decibels,
    say_percent,
    say_points,
    say_ratio,
)
from convert.report.words import tell_flips, tell_metric, tell_outcome, tell_split, tell_verdict

COLUMNS: Final = 80
HEAD: Final = ("No", "MODEL", "BYTES", "LATENCY", "SQNR DB", "SCORE", "POINTS", "VERDICT")
LEFT: Final = frozenset({1, 7})
"""Columns of words; the others are of numbers."""


def describe(findings: Findings) -> str:
    """Return the outcome, what was tried and why, and what came out, in lines of 80 columns."""
    entries = list_entries(findings)
    final = find_final(findings)
    lines = [
        *_fold(f"{findings.name} {findings.version}: {tell_outcome(findings)}"),
        *(line for sentence in tell_verdict(findings) for line in _fold(sentence, "  ")),
    ]
    if final and final.difference and final.score:
        flips = tell_flips(findings, final.difference, final.score.samples)
        lines += [line for sentence in flips for line in _fold(sentence, "  ")]
    lines += [*_fold(f"{tell_metric(findings)} {tell_split(findings)}", "  "), ""]
    lines += [*_tabulate(entries), ""]
    for entry in entries:
        text = f"{entry.number}. {entry.candidate.recipe}: {entry.candidate.why}"
        lines += _fold(text, "", "   ")
    if findings.explanations:
        lines += ["", "Every choice"]
        lines += [line for e in findings.explanations for line in _fold(e, "- ", "  ")]
    if findings.products:
        lines += ["", "Written"]
        for p in findings.products:
            text = f"{p.file}, {say_bytes(p.bundle_bytes)} bytes (model {say_bytes(p.bytes)})"
            lines += [*_fold(text, "  ", "    "), f"    sha256 {clean(p.sha256)}"]
    return "\n".join(lines) + "\n"


def _fold(text: str, first: str = "", rest: str | None = None) -> list[str]:
    return wrap(
        clean(text),
        COLUMNS,
        initial_indent=first,
        subsequent_indent=first if rest is None else rest,
        break_on_hyphens=False,
    )


def _tabulate(entries: Sequence[Entry]) -> Iterable[str]:
    rows = [HEAD, *(_list_cells(entry) for entry in entries)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEAD))]
    for row in rows:
        cells = (
            pad(cell, width) if i in LEFT else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "  ".join(cells).rstrip()


def _list_cells(entry: Entry) -> tuple[str, ...]:
    c = entry.candidate
    return (
        str(entry.number),
        entry.kind,
        say_bytes(c.bytes),
        say_ratio(c.latency_ratio),
        say_decibels(c.sqnr_db),
        say_percent(c.score.value) if c.score else UNKNOWN,
        say_points(c.difference.value) if c.difference else UNKNOWN,
        c.verdict,
    )
