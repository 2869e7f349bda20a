"""The outcome in sentences, for the page and the terminal alike. Pure."""

from typing import Final

from convert.findings import Candidate, Difference, Findings
from convert.report.entries import FORMATS, find_final, find_nearest
from convert.report.wording import (
    say_budget,
    say_bytes,
    say_count,
    say_percent,
    say_points,
    say_probability,
    say_ratio,
    say_time,
)

ACCURACY: Final = "accuracy"
AGREEMENT: Final = "agreement with float"
CLOSENESS: Final = "closeness to float"


def tell_outcome(findings: Findings) -> str:
    """Return what was chosen in a few words: the headline."""
    if findings.chosen is None:
        return "Nothing met the budget"
    final = find_final(findings)
    if final and final.precision == "float":
        return f"Float is kept: {findings.chosen}"
    return f"Chosen: {findings.chosen}"


def tell_verdict(findings: Findings) -> list[str]:
    """Return the verdict in a few sentences: size, speed, score, and whether that is proven."""
    final = find_final(findings)
    if findings.chosen is None:
        return _tell_nothing(findings)
    if final is None:
        return [f"{findings.chosen} was chosen for {findings.target}."]
    if final.precision == "float":
        return [_tell_kept(findings, final), final.why, *_tell_score(findings, final)]
    return [_tell_gain(findings, final), *_tell_score(findings, final)]


def tell_proof(findings: Findings, difference: Difference) -> str:
    """Return whether the difference keeps the budget, and how sure that is."""
    low, high = difference.interval.low, difference.interval.high
    span = f"{say_points(low)} to {say_points(high)} points"
    budget = f"the budget of {say_budget(findings.max_drop)}"
    if difference.proven:
        return f"and the whole 95 % interval, {span}, is within {budget}: proven"
    if difference.within:
        return f"within {budget}, but not proven, as the 95 % interval is {span}"
    return f"beyond {budget}; the 95 % interval is {span}"


def tell_flips(findings: Findings, difference: Difference, samples: int) -> list[str]:
    """Return how many answers changed, which equal scores would hide."""
    changed = f"{difference.flips:,} of {say_count(samples, 'sample')}"
    if findings.metric == CLOSENESS:
        return []
    if findings.metric == AGREEMENT:
        whose = "there are no labels to say which of the two is right"
        return [f"{changed} get another answer than float gives; {whose}."]
    if findings.metric != ACCURACY:
        marks = (
            f"{difference.worse:,} of {say_count(samples, 'sample')} get a lower mark than float's "
            f"answer, {difference.better:,} a higher one."
        )
        return [marks] if difference.worse or difference.better else []
    other = difference.flips - difference.worse - difference.better
    told = (
        f"{changed} change their answer: "
        f"{difference.worse:,} from right to wrong, {difference.better:,} from wrong to right, "
        f"{other:,} from one wrong answer to another."
    )
    if not difference.flips or difference.p is None:
        return [told]
    balance = say_signed(difference.better - difference.worse)
    hidden = (
        f"The score shows only the balance, {balance}, as gains and losses cancel "
        f"(McNemar's test: {say_probability(difference.p)})."
    )
    return [told, hidden]


def say_signed(count: int) -> str:
    """Return a whole number with its sign, such as ``+1``."""
    return f"+{count:,}" if count > 0 else say_bytes(count)


def tell_split(findings: Findings) -> str:
    """Return which samples chose and which judged, and how often all were run."""
    count = findings.evaluations
    passes = f"{count:,} labelled pass{'' if count == 1 else 'es'}"
    if not findings.search_samples:
        return (
            "No evaluation sample chose between models: "
            f"all {say_count(findings.holdout_samples, 'sample')} judged the final one, "
            f"in {passes}."
        )
    return (
        f"Labels turned models down, so {say_count(findings.search_samples, 'evaluation sample')} "
        f"accepted what came next, and the other {findings.holdout_samples:,} judged the final "
        f"one, in {passes}."
    )


def tell_metric(findings: Findings) -> str:
    """Return what the score means."""
    if findings.metric == AGREEMENT:
        return (
            "There are no labels, so the score is agreement with float: how often a model gives "
            "the answer that float gives, right or wrong."
        )
    if findings.metric == CLOSENESS:
        return (
            "There are no labels and no classes, so the score is closeness to float: how near a "
            "model's outputs are to float's."
        )
    return f"The score is {findings.metric}."


def tell_smaller(before: int, after: int) -> str:
    """Return such as ``2.29 times smaller``."""
    if after > before:
        return f"{after / before:.2f} times larger"
    return f"{before / after:.2f} times smaller" if after < before else "of the same size"


def tell_speed(ratio: float) -> str:
    """Return such as ``0.57 of float's time``."""
    return f"{say_ratio(ratio)} of float's time for an inference"


def _tell_gain(findings: Findings, final: Candidate) -> str:
    parts = []
    if final.bytes is not None:
        parts.append(
            f"{say_bytes(final.bytes)} bytes instead of {say_bytes(findings.float_bytes)} "
            f"({tell_smaller(findings.float_bytes, final.bytes)})"
        )
    if final.latency_ratio is not None:
        took = f" ({say_time(final.latency_us)})" if final.latency_us is not None else ""
        parts.append(tell_speed(final.latency_ratio) + took)
    told = f": {', '.join(parts)}" if parts else ""
    return f"{findings.chosen} was chosen for {findings.target}{told}."


def _tell_kept(findings: Findings, final: Candidate) -> str:
    return (
        f"Float is kept as {findings.chosen} for {findings.target}, {say_bytes(final.bytes)} bytes."
    )


def _tell_score(findings: Findings, final: Candidate) -> list[str]:
    score, difference = final.score, final.difference
    if not score or not difference:
        return [_tell_float(findings)]
    ends = f"{say_percent(score.interval.low)} to {say_percent(score.interval.high)}"
    told = (
        f"Its {say_metric(findings)} is {say_percent(score.value)} (95 % interval {ends}) "
        f"on {say_count(score.samples, 'sample')}."
    )
    if findings.metric not in {AGREEMENT, CLOSENESS}:
        told = f"{told} {_tell_float(findings)}"
    return [told, _tell_difference(findings, difference)]


def _tell_difference(findings: Findings, difference: Difference) -> str:
    value = say_points(difference.value)
    return f"The difference is {value} points, {tell_proof(findings, difference)}."


def _tell_float(findings: Findings) -> str:
    score = findings.float_score
    on = say_count(score.samples, "sample")
    return f"Float's {say_metric(findings)} is {say_percent(score.value)} on {on}."


def _tell_nothing(findings: Findings) -> list[str]:
    budget = say_budget(findings.max_drop)
    lines = [f"No model for {findings.target} kept the budget of {budget} against float."]
    nearest = find_nearest(findings)
    if nearest and nearest.difference:
        score = f", {say_percent(nearest.score.value)}" if nearest.score else ""
        kind = f"{FORMATS[nearest.format]} {nearest.precision}"
        lines += [
            f"The nearest was {kind} ({nearest.recipe}){score}.",
            _tell_difference(findings, nearest.difference),
        ]
    return [*lines, _tell_float(findings)]


def say_metric(findings: Findings) -> str:
    """Return the metric as it stands in a sentence."""
    return f"score by {findings.metric}" if ":" in findings.metric else findings.metric
