"""Whether a rule fits the tensors of its model, and its own parts each other.

Raised is ValueError, beginning with the key as it stands in a manifest or a spec.
"""

from collections.abc import Mapping, Sequence
from math import prod

from edge_bundle.decision.boxes import count_anchors
from edge_bundle.decision.rules import (
    UNKNOWN,
    Anomaly,
    Classification,
    Detection,
    Events,
    Regression,
    Rule,
    Score,
    event_labels,
    rising_labels,
    said_labels,
)

Shape = tuple[int, ...]


def outputs_read(rule: Rule, names: Sequence[str]) -> tuple[int, ...]:
    """Return which of a model's outputs the rule reads, in the order in which it reads them.

    Raises: ValueError: it names none of them, or has to name one.
    """
    if isinstance(rule, Detection):
        return _find("boxes", rule.boxes, names), _find("scores", rule.scores, names)
    return (_find("output", rule.output, names),)


def check_rule(rule: Rule, takes: int, gives: Mapping[str, Shape]) -> None:
    """Refuse a rule that does not fit.

    Args:
        rule: the rule.
        takes: how many values the model takes.
        gives: shape of each output, by name, in order.
    Raises: ValueError.
    """
    check_parts(rule)
    shapes = [tuple(gives.values())[i] for i in outputs_read(rule, tuple(gives))]
    counts = [prod(shape) for shape in shapes]
    match rule:
        case Classification():
            _expect_count("labels", len(rule.labels), "labels", counts[0], "scores")
        case Regression():
            _expect_count("values", len(rule.values), "values", counts[0], "values")
        case Score():
            if counts[0] > 2 or (rule.activation == "softmax" and counts[0] != 2):
                wanted = "two" if rule.activation == "softmax" else "one or two"
                raise ValueError(
                    f"decision.output: the model gives {counts[0]} values, expected {wanted}"
                )
        case Anomaly(method="direct"):
            _expect_count("method", 1, "value for 'direct'", counts[0], "values")
        case Anomaly():
            if counts[0] != takes:
                raise ValueError(
                    f"decision.method: 'reconstruction' of {takes} values that the model takes, "
                    f"it gives {counts[0]}"
                )
        case Detection():
            _check_boxes(rule, *shapes)


def check_parts(rule: Rule) -> None:
    """Refuse a rule that contradicts itself, whatever the model.

    Raises: ValueError.
    """
    match rule:
        case Classification():
            _refuse_twice("labels", rule.labels)
            if strange := [label for label in rule.thresholds if label not in rule.labels]:
                raise ValueError(
                    f"decision.thresholds: {strange[0]!r} is none of {', '.join(rule.labels)}"
                )
        case Score():
            _refuse_twice("labels", rule.labels)
        case Regression():
            _check_bounds(rule)
        case Detection():
            _refuse_twice("labels", rule.labels)
            if rule.anchors and rule.order != "xywh":
                raise ValueError(f"decision.order: {rule.order!r}, expected 'xywh' with anchors")
            if rule.smoothing and rule.smoothing.method == "mean":
                raise ValueError("decision.smoothing.method: 'mean' of boxes; expected 'majority'")
        case Anomaly():
            pass
    if rule.events:
        _check_events(rule, rule.events)


def _check_bounds(rule: Regression) -> None:
    _refuse_twice("values", [v.name for v in rule.values])
    for i, value in enumerate(rule.values):
        if value.low is not None and value.high is not None and value.low > value.high:
            raise ValueError(f"decision.values[{i}].low: {value.low:g}, above high, {value.high:g}")


def _check_events(rule: Rule, events: Events) -> None:
    making, said = event_labels(rule), [s for s in said_labels(rule) if s != UNKNOWN]
    _refuse_twice("events.labels", making)
    for label in making:
        if label not in said:
            raise ValueError(f"decision.events.labels: {label!r} is none of {', '.join(said)}")
    if events.on is None and events.off is None:
        return
    key = "off" if events.on is None else "on"
    if falling := [label for label in making if label not in rising_labels(rule)]:
        raise ValueError(
            f"decision.events.{key}: a high score does not speak for {falling[0]!r}; "
            "leave it out of events.labels"
        )
    if rule.smoothing and rule.smoothing.method == "majority":
        raise ValueError(
            f"decision.events.{key}: compares scores, and smoothing by majority gives labels; "
            "expected the method 'mean'"
        )
    if events.on is not None and events.off is not None and events.off > events.on:
        raise ValueError(f"decision.events.off: {events.off:g}, above on, {events.on:g}")


def _check_boxes(rule: Detection, boxes: Shape, scores: Shape) -> None:
    per_box = boxes[-1] if boxes else 0
    if per_box < 4:
        raise ValueError(f"decision.boxes: {_show(boxes)}, expected four values or more a box")
    count = prod(boxes) // per_box
    if prod(scores) != count * len(rule.labels):
        raise ValueError(
            f"decision.labels: {len(rule.labels)} labels of {count} boxes, "
            f"the model gives {prod(scores)} scores"
        )
    if rule.anchors and (anchors := count_anchors(rule.anchors)) != count:
        raise ValueError(f"decision.anchors: they make {anchors} boxes, the model gives {count}")


def _find(key: str, wanted: str, names: Sequence[str]) -> int:
    if wanted:
        if wanted not in names:
            raise ValueError(f"decision.{key}: {wanted!r}, the model has {', '.join(names)}")
        return names.index(wanted)
    if len(names) != 1:
        raise ValueError(f"decision.{key}: must name one of {', '.join(names)}")
    return 0


def _expect_count(key: str, wanted: int, what: str, found: int, given: str) -> None:
    if wanted != found:
        raise ValueError(f"decision.{key}: {wanted} {what}, the model gives {found} {given}")


def _refuse_twice(key: str, names: Sequence[str]) -> None:
    for i, name in enumerate(names):
        if name in names[:i]:
            raise ValueError(f"decision.{key}: {name!r} stands there twice")


def _show(shape: Shape) -> str:
    return "x".join(map(str, shape)) or "scalar"
