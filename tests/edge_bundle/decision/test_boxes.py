"""Anchors as MediaPipe makes them, and suppression as the textbook has it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_bundle.decision.boxes import BoxReader, make_anchors, suppress
from edge_bundle.decision.decider import Decider
from edge_bundle.decision.outcome import Decision
from edge_bundle.decision.rules import UNKNOWN, Anchors, Detection
from edge_bundle.tensor import Float32Array

BLAZE_FACE = Anchors(strides=(8, 16, 16, 16), size=128, scale=128.0)
Box = tuple[float, float, float, float]


def test_anchors_are_the_896_of_the_face_model() -> None:
    anchors = make_anchors(BLAZE_FACE)
    assert anchors.shape == (896, 2)
    # 2 anchors in each cell of 16 x 16, then 6 in each of 8 x 8, row by row.
    for number, (x, y) in {
        0: (0.5 / 16, 0.5 / 16),
        1: (0.5 / 16, 0.5 / 16),
        2: (1.5 / 16, 0.5 / 16),
        32: (0.5 / 16, 1.5 / 16),
        511: (15.5 / 16, 15.5 / 16),
        512: (0.5 / 8, 0.5 / 8),
        517: (0.5 / 8, 0.5 / 8),
        518: (1.5 / 8, 0.5 / 8),
        895: (7.5 / 8, 7.5 / 8),
    }.items():
        assert anchors[number] == pytest.approx((x, y))


def overlap(one: Box, other: Box) -> float:
    """Return intersection over union, 0 of two boxes without an area."""
    width = max(0.0, min(one[2], other[2]) - max(one[0], other[0]))
    height = max(0.0, min(one[3], other[3]) - max(one[1], other[1]))
    union = sum(max(0.0, b[2] - b[0]) * max(0.0, b[3] - b[1]) for b in (one, other))
    return width * height / (union - width * height) if union else 0.0


def suppress_naively(boxes: list[Box], scores: list[float], iou: float, most: int) -> list[int]:
    kept: list[int] = []
    for i in sorted(range(len(boxes)), key=lambda i: (-scores[i], i)):
        if all(overlap(boxes[i], boxes[k]) <= iou for k in kept):
            kept.append(i)
    return kept[:most]


eighths = st.integers(0, 8).map(lambda n: n / 8)  # so that all sums and products are exact
corner = st.tuples(eighths, eighths, eighths, eighths)


@given(
    st.lists(st.tuples(corner, st.sampled_from([0.25, 0.5, 0.75])), min_size=1, max_size=25),
    st.sampled_from([0.0, 0.25, 0.5, 1.0]),
    st.integers(1, 8),
)
def test_suppression_agrees_with_the_naive_one(
    boxes: list[tuple[Box, float]], iou: float, most: int
) -> None:
    corners, scores = [b for b, _ in boxes], [s for _, s in boxes]
    found = suppress(np.array(corners, np.float32), np.array(scores, np.float32), iou, most)
    assert found == suppress_naively(corners, scores, iou, most)


@pytest.mark.parametrize(
    ("order", "raw"),
    [
        ("xyxy", [0.1, 0.2, 0.5, 0.8]),
        ("yxyx", [0.2, 0.1, 0.8, 0.5]),
        ("xywh", [0.3, 0.5, 0.4, 0.6]),
    ],
)
def test_orders_of_a_box_say_the_same(order: str, raw: list[float]) -> None:
    reader = BoxReader(Detection(("a",), "b", "s", order=order))  # type: ignore[arg-type]
    rows = np.array([raw, [0, 0, 0, 0]], np.float32)
    np.testing.assert_allclose(reader.read(rows, np.array([0])), [[0.1, 0.2, 0.5, 0.8]], atol=1e-6)


FACE = Detection(
    ("face",), "boxes", "scores", order="xywh", anchors=BLAZE_FACE, activation="sigmoid"
)


def decide(rule: Detection, raw: Float32Array, scores: Float32Array) -> Decision:
    decider = Decider(rule, [raw.shape, scores.shape])
    return decider.decide(np.concatenate((raw.reshape(-1), scores.reshape(-1))))


def test_a_face_is_where_its_anchor_and_its_offsets_say() -> None:
    raw, scores = np.zeros((1, 896, 16), np.float32), np.full((1, 896, 1), -9.0, np.float32)
    raw[0, 300, :4] = 4.0, -8.0, 32.0, 16.0  # pixels
    scores[0, 300] = 2.0
    raw[0, 301], scores[0, 301] = raw[0, 300], 1.0  # the other anchor there saw it too
    found = decide(FACE, raw, scores)
    x, y = make_anchors(BLAZE_FACE)[300] + np.array([4.0, -8.0]) / 128
    assert found.boxes
    (box,) = found.boxes
    assert box[:2] == ("face", found.score)
    assert box[2:] == pytest.approx((x - 0.125, y - 0.0625, x + 0.125, y + 0.0625), abs=1e-5)
    assert found.label == "face"
    assert found.score == pytest.approx(1 / (1 + np.exp(-2)), abs=1e-6)


def test_an_empty_picture_has_no_boxes_and_says_how_near_it_was() -> None:
    raw, scores = np.zeros((896, 16), np.float32), np.full((896, 1), -1.0, np.float32)
    found = decide(FACE, raw, scores)
    assert found == Decision("none", round(1 / (1 + np.exp(1)), 6), [], boxes=[])


TWO = Detection(("cat", "dog"), "b", "s", most=3)


def test_boxes_of_two_labels_do_not_suppress_each_other_and_the_best_come_first() -> None:
    raw = np.array([[0, 0, 0.5, 0.5]] * 2 + [[0.5, 0.5, 1, 1]] * 2, np.float32)
    scores = np.array([[0.6, 0.9], [0.7, 0.2], [0.0, 0.8], [0.55, 0.1]], np.float32)
    found = decide(TWO, raw, scores)
    assert found.boxes == [
        ("dog", 0.9, 0, 0, 0.5, 0.5),
        ("dog", 0.8, 0.5, 0.5, 1, 1),
        ("cat", 0.7, 0, 0, 0.5, 0.5),
    ]
    assert (found.label, found.top) == ("dog", [("dog", 0.9), ("cat", 0.7)])


@pytest.mark.parametrize("place", [0, 20])
def test_picture_with_a_number_that_is_none_is_unknown(place: int) -> None:
    values = np.zeros(24, np.float32)
    values[place] = np.nan
    decider = Decider(TWO, [(4, 4), (4, 2)])
    assert decider.decide(values) == Decision(UNKNOWN, 0.0, [])
    assert decider.level("cat") == decider.level("none") == -np.inf
