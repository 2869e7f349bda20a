"""Numbers and foreign text are readable, and a rounded number never claims too much."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convert.report import wording


@pytest.mark.parametrize(
    ("fraction", "text"),
    [
        *((0.9155, "91.5 %"), (1, "100.0 %"), (0.9997, "99.97 %"), (0, "0.0 %")),
        *((0.0002, "0.02 %"), (1 - 1e-16, "100.0 %")),
    ],
)
def test_percent_has_one_decimal_unless_that_lies(fraction: float, text: str) -> None:
    assert wording.say_percent(fraction) == text


@pytest.mark.parametrize(
    ("fraction", "text"),
    [
        *((-0.00111, "\u22120.11"), (0.02, "+2.00"), (0.0, "0.00")),
        *((-0.00001, "\u22120.001"), (1e-17, "0.00")),
    ],
)
def test_points_have_a_sign_and_no_false_zero(fraction: float, text: str) -> None:
    assert wording.say_points(fraction) == text


@given(st.floats(-1, 1, allow_subnormal=False))
def test_points_shown_are_the_points_given(fraction: float) -> None:
    shown = float(wording.say_points(fraction).replace(wording.MINUS, "-"))
    assert abs(shown - 100 * fraction) <= 0.005 + 1e-9


@pytest.mark.parametrize(
    ("drop", "text"), [(0.01, "1.0 points"), (0.0025, "0.25 points"), (0.07, "7.0 points")]
)
def test_budget_is_shown_as_it_was_given(drop: float, text: str) -> None:
    assert wording.say_budget(drop) == text


def test_other_numbers() -> None:
    assert wording.say_bytes(102635) == "102,635"
    assert wording.say_bytes(None) == "\u2013"
    assert wording.say_decibels(-3.26) == "\u22123.3"
    assert wording.say_ratio(0.5666) == "0.57"
    assert wording.say_ratio(None) == "\u2013"
    assert [wording.say_time(t) for t in (4.25, 148.2, 8310)] == ["4.2 µs", "148 µs", "8.3 ms"]
    assert wording.say_probability(0.0001) == "p < 0.001"
    assert wording.say_list(["a", "b", "c"], 2) == "a, b and 1 more"


@given(st.text(), st.integers(3, 30))
def test_shortened_text_fits_and_is_printable(text: str, room: int) -> None:
    short = wording.shorten(text, room)
    assert wording.measure(short) <= room
    assert short.isprintable()
    assert wording.measure(wording.clean(text)) > room or short == wording.clean(text)


def test_the_end_of_a_name_stays() -> None:
    assert wording.shorten("/backbone/blocks.3/conv_19/Conv", 20).endswith("conv_19/Conv")
