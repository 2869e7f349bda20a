"""What a manifest's ``[decision]`` says: a table for each kind. Plain data; ``fit`` checks it.

The kinds are told apart by ``kind``; every kind has what ``Common`` has. A field that came later
than the first bundles is left out of the manifest where it has its default.
"""

from typing import Annotated, Any, Final, Literal, TypeAlias

from msgspec import Meta, Struct

UNKNOWN: Final = "unknown"
"""The label where nothing is known: below the threshold, not finite, too early to say."""
NORMAL: Final = "normal"
ANOMALY: Final = "anomaly"
LOW: Final = "low"
OK: Final = "ok"
HIGH: Final = "high"
NONE: Final = "none"
"""The label of a picture with nothing in it."""

Fraction = Annotated[float, Meta(ge=0, le=1)]
Positive = Annotated[int, Meta(ge=1)]
PositiveFloat = Annotated[float, Meta(gt=0)]
Seconds = Annotated[float, Meta(ge=0, le=1e9)]
Few = Annotated[int, Meta(ge=1, le=1000)]


class Smoothing(Struct, frozen=True):
    """What the last windows have to say in the answer to one; forgotten at a gap."""

    method: Literal["mean", "majority"]
    """Of the scores, or of the labels (of two as frequent the newer one)."""
    windows: Annotated[int, Meta(ge=2, le=1000)]
    """Before there are so many the label is ``unknown``."""


class Events(Struct, frozen=True):
    """When a label that lasts becomes an event, and when that ends."""

    labels: tuple[str, ...] | None = None
    """Which make events; None for those that the kind has for it."""
    on: float | None = None
    """Score that a label needs to begin, beside being the answer."""
    off: float | None = None
    """The event goes on while its score is at least this, whatever the answer is; None: while it
    is the answer."""
    debounce: Few = 1
    """Windows in a row that it takes to begin, and to end, an event, and to change the state."""
    minimum_s: Seconds = 0.0
    """How long a label must last before it is an event."""
    refractory_s: Seconds = 0.0
    """For how long after its end a label makes no event."""
    update_s: Seconds = 0.0
    """How often an event that goes on is told; 0: not at all."""


class Every(Struct, frozen=True):
    """At most one prediction in so many seconds."""

    every_s: Annotated[float, Meta(gt=0, le=1e9)]


class Common(Struct, frozen=True, kw_only=True, tag_field="kind"):
    """What every kind of decision may say."""

    smoothing: Smoothing | None = None
    events: Events | None = None
    """None: neither events nor the state are told."""
    predictions: Literal["all", "changes"] | Every = "all"
    """Which predictions are published: of every window, where the label changes, or few."""


class Classification(Common, frozen=True, tag="classification"):
    """One label for each window, from the scores of one output."""

    labels: Annotated[tuple[str, ...], Meta(min_length=2)]
    output: str = ""
    """Name of the output that holds the scores; empty for the only one."""
    activation: Literal["none", "softmax", "sigmoid"] = "none"
    """What still has to be done to make the output a score in [0, 1]."""
    top: Positive = 3
    """How many of the best labels a prediction lists."""
    threshold: Fraction = 0.0
    """Below it the label is ``unknown``."""
    thresholds: dict[str, Fraction] = {}
    """Instead of ``threshold``, by label."""


class Score(Common, frozen=True, tag="score"):
    """Yes or no, from one value, or from the second of two."""

    labels: tuple[str, str]
    """What it is below the threshold, and what from there on."""
    threshold: float
    output: str = ""
    activation: Literal["none", "sigmoid", "softmax"] = "none"
    """``softmax`` only for two values."""


class Quantity(Struct, frozen=True):
    """A value that a model gives, and what is right of it."""

    name: str
    unit: str
    low: float | None = None
    """Below it the label is ``low``."""
    high: float | None = None
    """Above it the label is ``high``."""


class Regression(Common, frozen=True, tag="regression"):
    """Values with units; a label where bounds are said."""

    values: Annotated[tuple[Quantity, ...], Meta(min_length=1)]
    """In the order of the output."""
    output: str = ""


class Anomaly(Common, frozen=True, tag="anomaly"):
    """``normal``, or ``anomaly`` from the threshold on."""

    threshold: float
    method: Literal["reconstruction", "direct"] = "reconstruction"
    """Mean squared difference of the model's output from its input, or the output itself."""
    output: str = ""


class Anchors(Struct, frozen=True):
    """Where the boxes of a single-shot detector are relative to.

    Source: MediaPipe, SsdAnchorsCalculator with fixed anchor size and one aspect ratio, and
    TfLiteTensorsToDetectionsCalculator with its order of x, y, width, height.
    """

    strides: Annotated[tuple[Positive, ...], Meta(min_length=1, max_length=16)]
    """Of each layer, in pixels; layers after one another of the same stride share a grid."""
    size: Positive
    """Width and height of the model's picture, in pixels."""
    scale: PositiveFloat
    """What the model's box values are divided by to be fractions of the picture."""


class Detection(Common, frozen=True, tag="detection"):
    """Boxes of things in a picture; the label is that of the best, or ``none``."""

    labels: Annotated[tuple[str, ...], Meta(min_length=1)]
    """One for each score of a box."""
    boxes: str
    """Name of the output of boxes, [..., n, 4 or more]; what follows the four is left."""
    scores: str
    """Name of the output of scores, [..., n, labels]."""
    order: Literal["xywh", "xyxy", "yxyx"] = "xyxy"
    """Centre and size, or two corners, in fractions of the picture; with anchors ``xywh``."""
    anchors: Anchors | None = None
    """None: the boxes are fractions of the picture as they are."""
    activation: Literal["none", "sigmoid"] = "none"
    threshold: Fraction = 0.5
    iou: Fraction = 0.3
    """Of two boxes of a label that overlap by more, the better one is kept."""
    most: Few = 10
    """How many boxes a prediction has, the best first."""


Rule: TypeAlias = Classification | Score | Regression | Anomaly | Detection
"""Any of them."""
LATER: Final[dict[str, Any]] = {
    "smoothing": None,
    "events": None,
    "predictions": "all",
    "thresholds": {},
}
"""Fields that are left out of a manifest where they have this value."""


def event_labels(rule: Rule) -> tuple[str, ...]:
    """Return the labels that make events, none where the rule has no ``events``."""
    if rule.events is None:
        return ()
    if rule.events.labels is not None:
        return rule.events.labels
    # A model may have a class of that name, as keyword spotters do.
    return tuple(label for label in remarkable(rule) if label != UNKNOWN)


def said_labels(rule: Rule) -> tuple[str, ...]:
    """Return all labels that an answer may have but ``unknown``."""
    match rule:
        case Classification() | Score():
            return rule.labels
        case Detection():
            return (*rule.labels, NONE)
        case Anomaly():
            return NORMAL, ANOMALY
        case Regression():
            return LOW, OK, HIGH


def remarkable(rule: Rule) -> tuple[str, ...]:
    """Return the labels of a kind that are worth an event, where nobody says which."""
    match rule:
        case Classification() | Detection():
            return rule.labels
        case Score():
            return rule.labels[1:]
        case Anomaly():
            return (ANOMALY,)
        case Regression():
            return LOW, HIGH


def rising_labels(rule: Rule) -> tuple[str, ...]:
    """Return the labels whose score is the higher, the more they are right."""
    if isinstance(rule, Regression):
        return (HIGH,) if len(rule.values) == 1 else ()
    return remarkable(rule)


def falling_labels(rule: Rule) -> tuple[str, ...]:
    """Return the labels whose score is the lower, the more they are right."""
    match rule:
        case Score():
            return rule.labels[:1]
        case Anomaly():
            return (NORMAL,)
        case Regression():
            return (LOW,)
        case Classification() | Detection():
            return ()


def class_labels(rule: Rule | None) -> tuple[str, ...]:
    """Return the classes that a labelled sample may have; none where there are none."""
    return rule.labels if isinstance(rule, Classification | Score) else ()
