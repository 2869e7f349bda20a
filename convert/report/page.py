"""``report.html``: one file that needs nothing else, neither a network nor a script. Pure."""

from collections.abc import Iterable, Sequence
from typing import Final

from convert.findings import Damage, Findings
from convert.report import charts
from convert.report.confusion import SHADES, draw_confusion
from convert.report.entries import Entry, find_final, list_entries
from convert.report.markup import Markup, element
from convert.report.sensitivity import draw_sensitivity, tell_sensitivity
from convert.report.style import PRINT, STYLE, shade
from convert.report.tables import draw_data, draw_products, draw_table, draw_tried
from convert.report.wording import (
    say_budget,
    say_bytes,
    say_percent,
    say_points,
    say_ratio,
    say_time,
)
from convert.report.words import (
    AGREEMENT,
    say_metric,
    tell_flips,
    tell_metric,
    tell_outcome,
    tell_smaller,
    tell_split,
    tell_verdict,
)

POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"
"""What a browser may load: nothing; so no text in the page can ever run or call home."""
LEGEND: Final = (
    "● ONNX, ■ TFLite, ◆ float. Filled: chosen or kept. Orange outline: missed the budget, slower "
    "or failed. Grey outline: good, but another is better. Numbers are those of the table below."
)


def render_page(findings: Findings) -> str:
    """Return the whole page."""
    entries = list_entries(findings)
    parts = [
        *_open(findings),
        *_show_charts(findings, entries),
        *_show_tried(findings, entries),
        *_show_sensitivity(findings.sensitivity),
        *_show_classes(findings),
        *_show_origin(findings),
    ]
    return _wrap(f"{findings.name} {findings.version}: conversion report", parts)


def render_sensitivity(name: str, damages: Sequence[Damage]) -> str:
    """Return a page of what int8 does to each node of a model.

    Args:
        name: of the model.
    """
    body = _show_sensitivity(damages) or [element("p", "No node was measured.")]
    return _wrap(f"{name}: sensitivity to int8", [element("h1", f"Sensitivity of {name}"), *body])


def _wrap(title: str, parts: Iterable[Markup]) -> str:
    style = Markup(STYLE + shade(SHADES) + PRINT)
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", title),
        element("style", style),
    )
    body = element("body", element("main", *parts))
    return f"<!doctype html>\n{element('html', head, body, lang='en')}\n"


def _open(findings: Findings) -> Iterable[Markup]:
    yield element(
        "p", f"{findings.name} {findings.version}, from {findings.source}", class_="kicker"
    )
    yield element("h1", tell_outcome(findings))
    sentences = (element("p", sentence) for sentence in tell_verdict(findings))
    tone = "outcome bad" if findings.chosen is None else "outcome"
    yield element("div", *sentences, class_=tone)
    cards = (
        element(
            "div",
            element("dt", name),
            element("dd", figure, class_="figure"),
            element("dd", more, class_="more"),
        )
        for name, figure, more in _list_keys(findings)
    )
    yield element("dl", *cards, class_="keys")


def _list_keys(findings: Findings) -> Iterable[tuple[str, str, str]]:
    final, whole = find_final(findings), findings.float_score
    metric = say_metric(findings).capitalize()
    if final and final.bytes is not None:
        smaller = tell_smaller(findings.float_bytes, final.bytes)
        more = f"from {say_bytes(findings.float_bytes)}, {smaller}"
        yield "Model file, bytes", say_bytes(final.bytes), more
    else:
        yield "Float model file, bytes", say_bytes(findings.float_bytes), findings.source
    if final and final.latency_ratio is not None:
        took = f", {say_time(final.latency_us)}" if final.latency_us is not None else ""
        yield "Latency, ratio to float", say_ratio(final.latency_ratio), f"one inference{took}"
    score = final.score if final and final.score else None
    if score:
        span = f"{say_percent(score.interval.low)} to {say_percent(score.interval.high)}"
        more = f"{span}; float {say_percent(whole.value)}"
        yield metric, say_percent(score.value), more
    else:
        span = f"{say_percent(whole.interval.low)} to {say_percent(whole.interval.high)}"
        yield f"Float: {metric.lower()}", say_percent(whole.value), span
    if final and final.difference:
        d = final.difference
        told = "proven" if d.proven else "not proven"
        more = f"budget {say_budget(findings.max_drop)}: {told}"
        yield "Difference, points", say_points(d.value), more
        if score and tell_flips(findings, d, score.samples):
            yield "Answers that change", f"{d.flips:,}", f"of {score.samples:,} samples"
    yield "Full evaluations", f"{findings.evaluations:,}", "passes over labelled samples"


def _show_charts(findings: Findings, entries: Sequence[Entry]) -> Iterable[Markup]:
    drawn = [
        _frame(
            "Size and closeness to float",
            charts.draw_closeness(findings, entries),
            "Up and left is better. SQNR compares outputs with float's on calibration samples, "
            "without labels. The dotted line joins those that no smaller file beats.",
        ),
        _frame(
            f"Size and {findings.metric}",
            charts.draw_scores(findings, entries),
            _explain_scores(findings, entries),
        ),
        _frame(
            "Difference from float",
            charts.draw_differences(findings, entries),
            "Paired: each model against float on the same samples, with a 95 % interval. Proven "
            "means that the whole interval is right of the shaded part. An arrow lies further out.",
        ),
        _frame(
            "Latency",
            charts.draw_latencies(entries),
            f"Medians of alternating runs with one thread. Measured on {findings.measured_on}.",
        ),
    ]
    figures = [figure for figure in drawn if figure]
    if figures:
        yield element("h2", "Size, score and speed")
        first = charts.MOST_ROWS
        more = f" Bars are of the first {first}." if len(entries) > first else ""
        yield element("p", LEGEND + more, class_="note")
        yield element("div", *figures, class_="charts")


def _frame(title: str, picture: Markup | None, note: str) -> Markup | None:
    if picture is None:
        return None
    caption = element("figcaption", element("h3", title))
    return element("figure", caption, picture, element("p", note, class_="note"))


def _explain_scores(findings: Findings, entries: Sequence[Entry]) -> str:
    counts = {e.candidate.score.samples for e in entries if e.candidate.score}
    whiskers = "Whiskers are 95 % intervals of each score by itself."
    if counts <= {findings.float_score.samples}:
        return f"{whiskers} All on {findings.float_score.samples:,} samples."
    return (
        f"{whiskers} Float is on {findings.float_score.samples:,} samples, others on "
        f"{' or '.join(f'{n:,}' for n in sorted(counts))}: compare them by their differences."
    )


def _show_tried(findings: Findings, entries: Sequence[Entry]) -> Iterable[Markup]:
    yield element("h2", "What was tried, and why it was refused")
    yield draw_tried(entries) if entries else element("p", "Nothing was tried.")
    if findings.explanations:
        yield element("h2", "Every choice")
        yield element("ol", *(element("li", text) for text in findings.explanations))


def _show_sensitivity(damages: Sequence[Damage]) -> list[Markup]:
    if not damages:
        return []
    return [
        element("h2", "Which nodes int8 hurts"),
        element("p", tell_sensitivity(damages)),
        draw_sensitivity(damages),
    ]


def _show_classes(findings: Findings) -> Iterable[Markup]:
    final = find_final(findings)
    flips = (
        tell_flips(findings, final.difference, final.score.samples)
        if final and final.difference and final.score
        else []
    )
    if flips:
        yield element("h2", "Answers that change")
        yield from (element("p", line) for line in flips)
    if findings.confusion:
        yield element("h2", "Which classes are taken for which")
        rows = "float's answers" if findings.metric == AGREEMENT else "right classes"
        yield draw_confusion(findings.confusion, findings.chosen or "best found", rows)


def _show_origin(findings: Findings) -> Iterable[Markup]:
    yield element("h2", "Where it comes from")
    yield element("p", f"{tell_metric(findings)} {tell_split(findings)}")
    yield draw_data(findings)
    if findings.products:
        yield draw_products(findings)
    facts = (
        ("Target", findings.target),
        ("Measured on", findings.measured_on),
        ("Budget", f"{say_budget(findings.max_drop)} of {say_metric(findings)}"),
        ("Report", f"schema {findings.schema}"),
    )
    yield draw_table("For what, and measured on what", ("Fact", "Value"), facts)
