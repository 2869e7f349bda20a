"""What a source gives wrongly is counted as lost, flagged, and does not end its stream."""

from math import inf

import numpy as np
import pytest

from edge_agent.fit import StreamShape
from edge_agent.intake import Intake
from edge_agent.ring import Chunk
from edge_bundle.manifest import Channel

SHAPE = StreamShape(100.0, (Channel("a", "g"), Channel("b", "g")))
PERIOD_NS = 10_000_000


def chunk(end: int, count: int = 10, channels: int = 2, lost: int = 0) -> Chunk:
    return Chunk(np.zeros((count, channels), np.float32), end * PERIOD_NS, lost)


def test_good_chunk_goes_through_untouched() -> None:
    intake, given = Intake(SHAPE), chunk(10, lost=3)
    assert intake.accept(given) is given
    assert intake.problems() == ""


@pytest.mark.parametrize("channels", [1, 3])
def test_samples_of_another_width_count_as_lost_before_the_next(channels: int) -> None:
    intake = Intake(SHAPE)
    assert intake.accept(chunk(10, 10, channels)) is None
    assert intake.accept(chunk(20, 7, channels, lost=2)) is None
    accepted = intake.accept(chunk(30))
    assert accepted is not None
    assert (accepted.lost, len(accepted.samples)) == (19, 10)
    assert intake.problems() == f"17 samples of {channels} channels instead of 2"


def test_no_samples_at_all_are_no_chunk() -> None:
    intake = Intake(SHAPE)
    assert intake.accept(chunk(10, 0, lost=4)) is None
    accepted = intake.accept(chunk(20))
    assert accepted is not None
    assert accepted.lost == 4


def test_time_never_goes_back_and_the_place_is_a_break() -> None:
    intake = Intake(SHAPE)
    intake.accept(chunk(8_640_010))
    accepted = intake.accept(chunk(20))
    assert accepted is not None
    assert (accepted.end_ns, accepted.restart) == (8_640_010 * PERIOD_NS, True)
    assert intake.problems() == "1 times samples were older than those before"


def test_what_came_while_a_source_was_away_is_lost() -> None:
    intake = Intake(SHAPE)
    intake.interrupted()  # before its first sample nothing is missing
    first = intake.accept(chunk(10))
    intake.interrupted()
    back = intake.accept(chunk(130))
    assert first is not None
    assert back is not None
    assert (first.lost, first.restart) == (0, False)
    assert (back.lost, back.restart) == (110, True)


def test_rate_ten_percent_off_is_told_and_forgotten_when_it_is_right_again() -> None:
    intake, end = Intake(SHAPE), 0
    for _ in range(400):
        end += 9
        intake.accept(chunk(end))
    assert intake.problems() == "111.1 Hz measured, not 100 Hz"
    for _ in range(800):
        end += 10
        intake.accept(chunk(end))
    assert intake.problems() == ""


def test_lost_samples_do_not_make_a_rate_wrong() -> None:
    intake, end = Intake(SHAPE), 0
    for _ in range(800):
        end += 15
        intake.accept(chunk(end, lost=5))
    assert intake.problems() == ""


@pytest.mark.parametrize(("speed", "said"), [(10.0, ""), (1.0, "1000 Hz measured, not 100 Hz")])
def test_rate_is_that_of_the_streams_own_time(speed: float, said: str) -> None:
    intake = Intake(SHAPE, speed)
    for n in range(8000):
        intake.accept(chunk(n))
    assert intake.problems() == said


def test_stream_without_a_time_of_its_own_has_no_rate() -> None:
    intake = Intake(SHAPE, inf)
    for n in range(8000):
        intake.accept(chunk(n * 100))
    assert intake.problems() == ""
