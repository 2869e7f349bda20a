"""A rule that does not fit its model, or itself, is refused by its key."""

from typing import Any

import pytest

from edge_bundle.decision.fit import check_rule
from edge_bundle.decision.rules import (
    Anchors,
    Anomaly,
    Classification,
    Detection,
    Events,
    Quantity,
    Regression,
    Rule,
    Score,
    Smoothing,
    event_labels,
)
from edge_bundle.decision.thresholds import override, read_thresholds

BLAZE_FACE = Anchors((8, 16, 16, 16), 128, 128.0)
FACE_OUTPUTS: dict[str, tuple[int, ...]] = {"b": (1, 896, 16), "s": (1, 896, 1)}
ABC = Classification(("a", "b", "c"))
YES = Score(("no", "yes"), 0.5)


def face(**changes: Any) -> Detection:
    made: dict[str, Any] = {"labels": ("face",), "boxes": "b", "scores": "s"} | changes
    return Detection(**made)


@pytest.mark.parametrize(
    ("rule", "gives"),
    [
        (ABC, {"y": (1, 3)}),
        (Classification(("a", "b"), thresholds={"a": 0.3}, output="z"), {"y": (9,), "z": (2,)}),
        (YES, {"y": (1, 1)}),
        (Score(("no", "yes"), 0.5, activation="softmax"), {"y": (1, 2)}),
        (Regression((Quantity("t", "K", 0, 9),)), {"y": (1, 1)}),
        (Anomaly(3.0), {"y": (1, 640)}),
        (Anomaly(3.0, method="direct"), {"y": ()}),
        (face(order="xywh", anchors=BLAZE_FACE), FACE_OUTPUTS),
        (face(smoothing=Smoothing("majority", 3)), {"b": (5, 4), "s": (5,)}),
        (Anomaly(3.0, events=Events(on=5, off=2)), {"y": (640,)}),
        (Classification(("a", "unknown"), events=Events(on=0.8, off=0.4)), {"y": (2,)}),
        (Regression((Quantity("t", "K", high=9),), events=Events(("high",), off=8)), {"y": (1,)}),
    ],
)
def test_what_fits_is_taken(rule: Rule, gives: dict[str, tuple[int, ...]]) -> None:
    check_rule(rule, 640, gives)


@pytest.mark.parametrize(
    ("rule", "gives", "message"),
    [
        (ABC, {"y": (1, 4)}, "decision.labels: 3 labels, the model gives 4 scores"),
        (ABC, {"y": (3,), "z": (3,)}, "decision.output: must name one of y, z"),
        (Classification(("a", "a")), {"y": (2,)}, "decision.labels: 'a' stands there twice"),
        (
            Classification(("a", "b"), thresholds={"d": 0.5}),
            {"y": (2,)},
            "decision.thresholds: 'd' is none of a, b",
        ),
        (YES, {"y": (3,)}, "decision.output: the model gives 3 values, expected one or two"),
        (
            Score(("no", "yes"), 0.5, activation="softmax"),
            {"y": (1,)},
            "decision.output: the model gives 1 values, expected two",
        ),
        (
            Regression((Quantity("t", "K"),)),
            {"y": (2,)},
            "decision.values: 1 values, the model gives 2 values",
        ),
        (
            Regression((Quantity("t", "K"), Quantity("t", "K"))),
            {"y": (2,)},
            "decision.values: 't' stands there twice",
        ),
        (
            Regression((Quantity("t", "K", low=9, high=2),)),
            {"y": (1,)},
            "decision.values[0].low: 9, above high, 2",
        ),
        (
            Anomaly(1.0),
            {"y": (1,)},
            "decision.method: 'reconstruction' of 640 values that the model takes, it gives 1",
        ),
        (
            Anomaly(1.0, method="direct"),
            {"y": (2,)},
            "decision.method: 1 value for 'direct', the model gives 2 values",
        ),
        (face(scores="z"), FACE_OUTPUTS, "decision.scores: 'z', the model has b, s"),
        (
            face(),
            {"b": (896, 3), "s": (896,)},
            "decision.boxes: 896x3, expected four values or more a box",
        ),
        (
            face(labels=("a", "b")),
            FACE_OUTPUTS,
            "decision.labels: 2 labels of 896 boxes, the model gives 896 scores",
        ),
        (
            face(order="xywh", anchors=Anchors((8, 16), 128, 128.0)),
            FACE_OUTPUTS,
            "decision.anchors: they make 640 boxes, the model gives 896",
        ),
        (
            face(order="xywh", anchors=Anchors((1, 2), 10**9, 128.0)),
            FACE_OUTPUTS,
            "decision.anchors: they make 2500000000000000000 boxes, the model gives 896",
        ),
        (
            face(anchors=BLAZE_FACE),
            FACE_OUTPUTS,
            "decision.order: 'xyxy', expected 'xywh' with anchors",
        ),
        (
            face(smoothing=Smoothing("mean", 3)),
            FACE_OUTPUTS,
            "decision.smoothing.method: 'mean' of boxes; expected 'majority'",
        ),
        (
            Score(("no", "yes"), 0.5, events=Events(("maybe",))),
            {"y": (1,)},
            "decision.events.labels: 'maybe' is none of no, yes",
        ),
        (
            Classification(("a", "b", "unknown"), events=Events(("unknown",))),
            {"y": (3,)},
            "decision.events.labels: 'unknown' is none of a, b",
        ),
        (
            Score(("no", "yes"), 0.5, events=Events(("no", "yes"), off=0.3)),
            {"y": (1,)},
            (
                "decision.events.off: a high score does not speak for 'no'; "
                "leave it out of events.labels"
            ),
        ),
        (
            Score(("no", "yes"), 0.5, events=Events(on=0.3, off=0.4)),
            {"y": (1,)},
            "decision.events.off: 0.4, above on, 0.3",
        ),
        (
            Score(("no", "yes"), 0.5, smoothing=Smoothing("majority", 3), events=Events(on=0.3)),
            {"y": (1,)},
            (
                "decision.events.on: compares scores, and smoothing by majority gives labels; "
                "expected the method 'mean'"
            ),
        ),
    ],
)
def test_what_does_not_fit_is_refused_by_its_key(
    rule: Rule, gives: dict[str, tuple[int, ...]], message: str
) -> None:
    with pytest.raises(ValueError, match=r"^decision\.") as refused:
        check_rule(rule, 640, gives)
    assert str(refused.value) == message


@pytest.mark.parametrize(
    ("rule", "labels"),
    [
        (Classification(("a", "b"), events=Events()), ("a", "b")),
        (Classification(("a", "b"), events=Events(("b",))), ("b",)),
        (Classification(("a", "b"), events=Events(())), ()),
        (Classification(("a", "b")), ()),
        (Classification(("a", "unknown"), events=Events()), ("a",)),
        (Score(("no", "yes"), 0.5, events=Events()), ("yes",)),
        (Anomaly(1.0, events=Events()), ("anomaly",)),
        (Regression((Quantity("t", "K", high=3),), events=Events()), ("low", "high")),
        (face(events=Events()), ("face",)),
    ],
)
def test_labels_that_make_events_are_those_worth_one(rule: Rule, labels: tuple[str, ...]) -> None:
    assert event_labels(rule) == labels


# --- thresholds that a device changes


@pytest.mark.parametrize(
    ("rule", "thresholds"),
    [
        (
            Classification(("a", "b"), threshold=0.5, thresholds={"b": 0.7}),
            {"a": 0.5, "b": 0.7},
        ),
        (YES, {"yes": 0.5}),
        (Anomaly(3.5), {"anomaly": 3.5}),
        (face(threshold=0.6), {"face": 0.6}),
        (Regression((Quantity("t", "K", high=9.0),)), {"low": None, "high": 9.0}),
        (
            Regression((Quantity("t", "K", high=9.0), Quantity("u", "K", low=0.5))),
            {"t.low": None, "t.high": 9.0, "u.low": 0.5, "u.high": None},
        ),
    ],
)
def test_each_threshold_has_a_name_by_which_it_is_changed(
    rule: Rule, thresholds: dict[str, float]
) -> None:
    assert read_thresholds(rule) == thresholds
    assert override(rule, {}) is rule
    for name in thresholds:
        changed = override(rule, {name: 0.875})
        assert read_thresholds(changed) == thresholds | {name: 0.875}


@pytest.mark.parametrize(
    ("rule", "thresholds", "message"),
    [
        (YES, {"no": 0.5}, "thresholds: no 'no'; the model has yes"),
        (ABC, {"a": 1.5}, "thresholds.a: 1.5, expected 0 to 1"),
        (face(labels=("a", "b")), {"a": 0.5}, "thresholds: no 'a'; the model has none to change"),
        (
            Regression((Quantity("t", "K", high=9.0),)),
            {"low": 10.0},
            "decision.values[0].low: 10, above high, 9",
        ),
    ],
)
def test_threshold_that_may_not_be_so_is_refused(
    rule: Rule, thresholds: dict[str, float], message: str
) -> None:
    with pytest.raises(ValueError, match=r"\w") as refused:
        override(rule, thresholds)
    assert str(refused.value) == message
