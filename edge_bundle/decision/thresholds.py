"""The thresholds of a rule, which a device's configuration may change by the labels' names."""

from collections.abc import Mapping

from msgspec.structs import replace

from edge_bundle.decision.fit import check_parts
from edge_bundle.decision.rules import (
    ANOMALY,
    HIGH,
    LOW,
    Anomaly,
    Classification,
    Detection,
    Quantity,
    Regression,
    Rule,
    Score,
)


def read_thresholds(rule: Rule) -> dict[str, float | None]:
    """Return the thresholds of a rule, by what a configuration calls them; None: there is none.

    That is the label that begins there. Of a regression it is ``low`` and ``high``, and of one with
    several values ``NAME.low`` and ``NAME.high``.
    """
    match rule:
        case Classification():
            return {n: rule.thresholds.get(n, rule.threshold) for n in rule.labels}
        case Score():
            return {rule.labels[1]: rule.threshold}
        case Anomaly():
            return {ANOMALY: rule.threshold}
        case Detection():
            return dict.fromkeys(rule.labels, rule.threshold) if len(rule.labels) == 1 else {}
        case Regression():
            return {
                key: bound
                for q in rule.values
                for key, bound in zip(_bounds(rule, q), (q.low, q.high), strict=True)
            }


def override(rule: Rule, thresholds: Mapping[str, float]) -> Rule:
    """Return a rule with other thresholds.

    Raises: ValueError: the rule has no such threshold, or it may not be so.
    """
    known = read_thresholds(rule)
    for name, value in thresholds.items():
        if name not in known:
            raise ValueError(
                f"thresholds: no {name!r}; the model has {', '.join(known) or 'none to change'}"
            )
        if isinstance(rule, Classification | Detection) and not 0 <= value <= 1:
            raise ValueError(f"thresholds.{name}: {value:g}, expected 0 to 1")
    if not thresholds:
        return rule
    changed: Rule
    match rule:
        case Classification():
            changed = replace(rule, thresholds={**rule.thresholds, **thresholds})
        case Regression():
            changed = replace(rule, values=tuple(_move(rule, q, thresholds) for q in rule.values))
        case Score() | Anomaly() | Detection():
            (value,) = thresholds.values()
            changed = replace(rule, threshold=value)
    check_parts(changed)
    return changed


def _bounds(rule: Regression, quantity: Quantity) -> tuple[str, str]:
    before = f"{quantity.name}." if len(rule.values) > 1 else ""
    return f"{before}{LOW}", f"{before}{HIGH}"


def _move(rule: Regression, quantity: Quantity, thresholds: Mapping[str, float]) -> Quantity:
    low, high = _bounds(rule, quantity)
    return replace(
        quantity,
        low=thresholds.get(low, quantity.low),
        high=thresholds.get(high, quantity.high),
    )
