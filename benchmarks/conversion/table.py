"""The results as Markdown, to be pasted into the documentation."""

import platform
from collections.abc import Sequence
from datetime import datetime, timezone

from benchmarks.conversion.cases import Case
from benchmarks.conversion.judge import Judgement
from benchmarks.conversion.ours import Ours
from benchmarks.conversion.peers import Tried

HEAD = (
    "| model | tool | format | score | kB | time ÷ float | evaluations | seconds | MB |\n"
    "|---|---|---|---|---|---|---|---|---|"
)

BESIDE = "edge-convert, beside it"


def table(results: Sequence[tuple[Case, Ours, Sequence[Tried]]], command: str) -> str:
    """Return one row for each model and tool, and the command that made them."""
    rows, notes = [HEAD], []
    for case, ours, tried in results:
        float_bytes = ours.said.get("float_bytes")
        size = f"{float_bytes / 1e3:.0f}" if float_bytes else ""
        rows.append(_row(case.name, "float", "onnx", f"{ours.float_score:.2%}", size, "1"))
        if ours.final and ours.ran:
            evaluations, took = ours.said["evaluations"], (ours.ran.seconds, ours.ran.peak_bytes)
            rows.append(_judged(case.name, "**edge-convert**", ours.final, evaluations, took))
            rows += [_judged(case.name, BESIDE, other, None, None) for other in ours.others]
        else:
            rows.append(_row(case.name, "**edge-convert**", "", f"none: {ours.why}"))
        for peer in tried:
            took = (peer.seconds, peer.peak_bytes)
            if peer.judgement:
                rows.append(_judged(case.name, peer.peer, peer.judgement, peer.evaluations, took))
            else:
                rows.append(_row(case.name, peer.peer, "", f"none: {_cell(peer.why)}"))
        notes += [f"{case.name}: {note}" for note in ours.notes]
    where = f"{platform.machine()}, {datetime.now(timezone.utc):%Y-%m-%d}: `{command}`"
    return "\n".join([*rows, "", where, *notes])


def _judged(
    model: str,
    tool: str,
    found: Judgement,
    evaluations: "int | None",
    took: "tuple[float, int] | None",
) -> str:
    return _row(
        model,
        tool,
        found.format,
        f"{found.score:.2%}",
        f"{found.bytes / 1e3:.0f}",
        f"{found.latency_ratio:.2f}",
        "" if evaluations is None else str(evaluations),
        f"{took[0]:.0f}" if took else "",
        f"{took[1] / 1e6:.0f}" if took else "",
    )


def _row(*cells: str) -> str:
    return "| " + " | ".join([*cells, *[""] * (9 - len(cells))]) + " |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
