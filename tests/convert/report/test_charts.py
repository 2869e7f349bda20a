"""Pictures hold what they show, whatever the numbers are."""

from xml.etree import ElementTree as ET

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from convert.findings import Candidate, Findings
from convert.report.charts import draw_closeness, draw_latencies, draw_scores, trace_front
from convert.report.entries import list_entries
from convert.report.page import render_page
from convert.report.scales import fit_ratio_scale, fit_scale
from tests.convert.report.cases import CASES, difference, int8, keyword_spotting, nothing_met, score
from tests.convert.report.reading import read_pictures

SIZES = st.integers(1, 10**10)
DECIBELS = st.floats(-50, 150)
RATIOS = st.floats(0.001, 1000)
PLACES = ("x", "x1", "x2", "cx", "y", "y1", "y2", "cy")


def assert_inside(svg: ET.Element) -> None:
    width, height = (float(v) for v in svg.get("viewBox", "").split()[2:])
    for part in svg.iter():
        for name in PLACES:
            value = float(part.get(name, 0))
            assert 0 <= value <= (width if "x" in name else height), ET.tostring(part)
        assert float(part.get("x", 0)) + float(part.get("width", 0)) <= width


@settings(max_examples=40)
@given(st.lists(st.tuples(SIZES, DECIBELS, RATIOS), min_size=1, max_size=12))
def test_everything_is_drawn_inside_the_picture(figures: list[tuple[int, float, float]]) -> None:
    tried = tuple(int8("r", "behind", "w", size, ratio, db) for size, db, ratio in figures)
    found = msgspec.structs.replace(keyword_spotting(), candidates=tried)
    pictures = read_pictures(render_page(found))
    for svg in pictures.values():
        assert_inside(svg)
    assert len(pictures["Size and closeness to float"].findall("circle")) == len(tried)


def test_every_case_is_drawn_inside_the_picture() -> None:
    for case in CASES.values():
        for svg in read_pictures(render_page(case())).values():
            assert_inside(svg)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=5), st.floats(1e-3, 1e3))
def test_scale_holds_its_values_and_ticks(values: list[float], least: float) -> None:
    scale = fit_scale(values, "x", least).over(10, 90)
    assert all(10 <= scale.at(v) <= 90 for v in values)
    assert 1 <= len(scale.ticks) <= 6
    assert all(scale.low - 1e-9 <= t <= scale.high + 1e-9 for t in scale.ticks)
    assert list(scale.ticks) == sorted(scale.ticks)


@given(st.lists(RATIOS, min_size=1, max_size=5))
def test_ratio_scale_doubles_at_equal_steps_round_one(ratios: list[float]) -> None:
    scale = fit_ratio_scale(ratios, "x").over(0, 100)
    assert all(scale.low <= r <= scale.high for r in ratios)
    assert 1.0 in scale.ticks
    assert abs((scale.at(1.0) - scale.at(0.5)) - (scale.at(2.0) - scale.at(1.0))) < 1e-9


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=20))
def test_nothing_is_above_the_front(points: list[tuple[float, float]]) -> None:
    front = trace_front(points)
    for x, y in points:
        reached = [b for a, b in front if a <= x]
        assert y <= max(reached)
    assert front == sorted(front)
    assert set(front[::2]) <= set(points)


def test_only_what_was_scored_is_on_the_score_axis() -> None:
    found = keyword_spotting()
    picture = draw_scores(found, list_entries(found))
    assert picture
    # Two of ONNX, one of TFLite, and float.
    assert [picture.count(mark) for mark in ("<circle", "<rect", "<path")] == [2, 1, 1]
    unscored = msgspec.structs.replace(found, candidates=(int8("r", "behind", "w", 9, 1, 1),))
    assert draw_scores(unscored, list_entries(unscored)) is None


def test_what_lies_far_out_is_an_arrow_and_does_not_flatten_the_rest() -> None:
    pictures = read_pictures(render_page(nothing_met()))
    differences = pictures["Difference from float, with its 95 % interval"]
    assert len(differences.findall("path")) == 2
    assert len(differences.findall("circle")) == 2


def test_a_number_that_is_none_is_not_drawn() -> None:
    found = keyword_spotting()
    unknown = int8("r", "behind", "w", 9, float("nan"), float("inf"))
    entries = list_entries(msgspec.structs.replace(found, candidates=(unknown,)))
    assert draw_closeness(found, entries) is None
    assert draw_latencies(entries) is None


def _judge(samples: int) -> tuple[Findings, Candidate]:
    found = keyword_spotting()
    c = int8(
        "r", "chosen", "w", 9, 1, 1, score=score(90, samples), difference=difference(5, 4, 0.001)
    )
    return msgspec.structs.replace(found, candidates=(c,)), c


def test_other_samples_than_floats_are_said() -> None:
    page = render_page(_judge(100)[0])
    assert "Float is on 900 samples, others on 100: compare them by their differences" in page
    assert "not proven" in page
