"""Another clock's times become ours; a gap is counted, and a set clock never goes back."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.fit import StreamShape
from edge_agent.intake import Intake
from edge_agent.ring import Chunk
from edge_agent.sources.sender_clock import Piece, SenderClock
from edge_bundle.manifest import Channel

RATE_HZ = 100.0
SECOND_NS = 1_000_000_000


def at(seconds: float) -> int:
    return round((7 + seconds) * SECOND_NS)


def send(clock: SenderClock, first_s: float, count: int, now_s: float) -> list[Piece]:
    return clock.sent(count, first_s + np.arange(count) / RATE_HZ, at(now_s))


def test_messages_without_times_end_when_they_arrive() -> None:
    clock = SenderClock(RATE_HZ)
    assert clock.arrived(10, at(0)) == [Piece(0, 10, at(0), 0, False)]
    assert clock.arrived(10, at(0.5)) == [Piece(0, 10, at(0.5), 0, False)]  # late, or jitter


def test_silence_is_a_gap_of_what_there_was_room_for() -> None:
    clock = SenderClock(RATE_HZ)
    clock.arrived(10, at(0))
    assert clock.arrived(10, at(5)) == [Piece(0, 10, at(5), 490, True)]


@pytest.mark.parametrize(
    ("at_s", "missed", "lost"),
    [(0.03, 2, 2), (0.05, 1, 4), (0.01, 1, 1), (0.012, 3, 3)],
    ids=["as the time says", "more than messages", "in a burst", "several in a burst"],
)
def test_unreadable_message_without_a_time_is_a_gap_of_one_sample_at_least(
    at_s: float, missed: int, lost: int
) -> None:
    clock = SenderClock(RATE_HZ)
    clock.arrived(1, at(0))
    assert clock.arrived(1, at(at_s), missed) == [Piece(0, 1, at(at_s), lost, True)]
    assert clock.arrived(1, at(at_s + 0.01)) == [Piece(0, 1, at(at_s + 0.01), 0, False)]


def test_unreadable_message_before_all_others_is_counted() -> None:
    assert SenderClock(RATE_HZ).arrived(1, at(0), 2) == [Piece(0, 1, at(0), 2, True)]
    (piece,) = SenderClock(RATE_HZ).sent(1, np.array([5.0]), at(0), 2)
    assert (piece.lost, piece.restart) == (2, True)


@pytest.mark.parametrize(
    ("step_s", "missed", "told"),
    [
        (0.02, 1, (1, True)),
        (0.014, 1, (1, True)),  # the clock is uneven, or it had none: rather a break too many
        (0.014, 0, (0, False)),
        (0.011, 3, (0, False)),  # nothing is missing: they had no samples
        (0.05, 1, (4, True)),
        (0.05, 4, (4, True)),
        (-3.0, 2, (2, True)),
        (86_400.0, 2, (2, True)),
    ],
)
def test_times_tell_what_unreadable_messages_had(
    step_s: float, missed: int, told: tuple[int, bool]
) -> None:
    clock = SenderClock(RATE_HZ)
    clock.sent(1, np.array([50.0]), at(0))
    (piece,) = clock.sent(1, np.array([50.0 + step_s]), at(0.02), missed)
    assert (piece.lost, piece.restart) == told


def test_network_jitter_is_taken_out_by_the_senders_times() -> None:
    clock = SenderClock(RATE_HZ)
    ends = [
        send(clock, 1000 + n / 10, 10, n / 10 + late)[0].end_ns
        for n, late in enumerate([0.3, 0.0, 0.25, 0.1, 0.0])
    ]
    assert ends[1] == at(0.1)
    assert np.diff(ends[1:]) == pytest.approx(0.1 * SECOND_NS, abs=0.001 * SECOND_NS)


def test_samples_that_the_sender_lost_are_counted_between_and_within_messages() -> None:
    clock = SenderClock(RATE_HZ)
    send(clock, 50.0, 10, 0.1)
    (piece,) = send(clock, 50.15, 10, 0.25)
    assert (piece.lost, piece.restart) == (5, True)
    times = np.array([50.25, 50.26, 50.30, 50.31])
    first, second = clock.sent(4, times, at(0.32))
    assert (first.start, first.stop, first.restart) == (0, 2, False)
    assert (second.start, second.stop, second.lost, second.restart) == (2, 4, 3, True)
    assert second.end_ns - first.end_ns == pytest.approx(0.05 * SECOND_NS, abs=1e6)


@pytest.mark.parametrize("day_s", [-86_400.0, 86_400.0])
def test_clock_set_by_a_day_is_a_break_and_time_goes_on(day_s: float) -> None:
    clock = SenderClock(RATE_HZ)
    (before,) = send(clock, 100_000.0, 10, 0.1)
    (after,) = send(clock, 100_000.1 + day_s, 10, 0.2)
    assert after.restart
    assert after.lost == 0
    assert before.end_ns < after.end_ns <= at(0.2)
    assert clock.jumps == 1
    (more,) = send(clock, 100_000.2 + day_s, 10, 0.3)
    assert (more.lost, more.restart) == (0, False)


def test_clock_set_forward_while_samples_were_lost_tells_what_there_was_room_for() -> None:
    clock = SenderClock(RATE_HZ)
    send(clock, 100_000.0, 10, 0.1)
    (after,) = send(clock, 186_400.0, 10, 3.1)
    assert (after.lost, after.restart) == (290, True)


def test_equal_times_are_counted_and_kept() -> None:
    clock = SenderClock(RATE_HZ)
    pieces = clock.sent(4, np.array([5.0, 5.01, 5.01, 5.02]), at(0))
    assert [(p.start, p.stop) for p in pieces] == [(0, 4)]
    assert clock.duplicates == 1


def test_one_time_for_a_message_is_that_of_its_last_sample() -> None:
    clock = SenderClock(RATE_HZ)
    clock.sent(10, np.array([50.09]), at(0))
    (piece,) = clock.sent(10, np.array([50.19]), at(0.1))
    assert (piece.lost, piece.restart) == (0, False)


def send_with_one_time(clock: SenderClock, ends: npt.NDArray[np.float64], count: int) -> list[int]:
    """Send messages of `count` samples; return what was lost before each, -1 for a mere break."""
    told = []
    for end_s in ends.tolist():
        (piece,) = clock.sent(count, np.array([1000 + end_s]), at(end_s + 0.1))
        told.append(piece.lost or -int(piece.restart))
    return told


RATES = [(99.5, 200), (99.0, 100), (98.5, 100), (101.5, 100), (96.0, 20), (91.0, 10), (110.0, 10)]


@pytest.mark.parametrize(("rate_hz", "count"), [*RATES, (119.0, 50), (84.0, 50), (84.0, 1)])
def test_rate_that_is_another_is_neither_a_gap_nor_a_set_clock(rate_hz: float, count: int) -> None:
    clock = SenderClock(RATE_HZ)
    ends = np.arange(1, 41) * count / rate_hz
    assert send_with_one_time(clock, ends, count) == [0] * 40
    assert (clock.jumps, clock.duplicates) == (0, 0)


@pytest.mark.parametrize(("rate_hz", "count"), [(70.0, 20), (140.0, 20)])
def test_rate_that_is_quite_another_is_followed_after_a_few_messages(
    rate_hz: float, count: int
) -> None:
    clock = SenderClock(RATE_HZ)
    ends = np.arange(1, 41) * count / rate_hz
    assert send_with_one_time(clock, ends, count)[4:] == [0] * 36
    assert clock.jumps <= 3


@pytest.mark.parametrize(("rate_hz", "count"), RATES)
@pytest.mark.parametrize("each", [False, True], ids=["one time", "a time for each"])
def test_another_rate_is_told_as_it_is_without_times(
    rate_hz: float, count: int, each: bool
) -> None:
    clock = SenderClock(RATE_HZ)
    intake = Intake(StreamShape(RATE_HZ, (Channel("a", "g"),)))
    for n in range(1, int(65 * rate_hz / count)):
        end_s = n * count / rate_hz
        times_s = 1000 + end_s - np.arange(count if each else 1)[::-1] / rate_hz
        for piece in clock.sent(count, times_s, at(end_s + 0.1)):
            part = np.zeros((piece.stop - piece.start, 1), np.float32)
            intake.accept(Chunk(part, piece.end_ns, piece.lost, piece.restart))
    told = intake.problems()
    if abs(rate_hz / RATE_HZ - 1) > 0.02:
        assert told.endswith("Hz measured, not 100 Hz")
        assert float(told.split()[0]) == pytest.approx(rate_hz, rel=2e-3)
    else:
        assert told == ""


@settings(deadline=None)
@given(
    st.floats(85, 115),
    st.integers(1, 100),
    st.dictionaries(st.integers(10, 59), st.integers(1, 400), max_size=4),
)
def test_sudden_loss_is_counted_exactly_at_whatever_rate(
    rate_hz: float, count: int, losses: dict[int, int]
) -> None:
    lost = np.zeros(60, np.int64)
    # Of nine messages four may have lost the same, and the other five still say the rate.
    lost[list(losses)] = list(losses.values())
    clock = SenderClock(RATE_HZ)
    ends = (np.arange(1, 61) * count + np.cumsum(lost)) / rate_hz
    assert send_with_one_time(clock, ends, count) == lost.tolist()
    assert clock.jumps == 0


def test_rate_that_changes_is_followed() -> None:
    clock = SenderClock(RATE_HZ)
    ends = np.cumsum(np.repeat([1.0, 1.05, 0.97], 20))
    told = send_with_one_time(clock, ends, 100)
    assert told[:20] == told[40:] == [0] * 20
    assert sum(told) <= 5 * 5


def test_times_that_are_written_unevenly_are_no_gaps() -> None:
    rng = np.random.default_rng(5)
    clock = SenderClock(RATE_HZ)
    ends = np.arange(1, 201) + rng.uniform(0, 0.03, 200)
    assert np.count_nonzero(send_with_one_time(clock, ends, 100)) <= 10
    assert clock.jumps == 0


def test_sample_lost_now_and_then_does_not_bend_the_rate() -> None:
    rng = np.random.default_rng(6)
    lost = (rng.random(400) < 0.15).astype(np.int64)
    lost[:10] = 0
    clock = SenderClock(RATE_HZ)
    ends = (np.arange(1, 401) * 10 + np.cumsum(lost)) / 97
    assert send_with_one_time(clock, ends, 10) == lost.tolist()


def test_gap_is_counted_by_the_rate_that_the_times_of_each_sample_have() -> None:
    clock, rate_hz = SenderClock(RATE_HZ), 92.0
    for first in range(0, 200, 10):
        clock.sent(10, 50 + (first + np.arange(10)) / rate_hz, at((first + 10) / rate_hz))
    numbers = np.array([500, 501, 602, 603])
    pieces = clock.sent(4, 50 + numbers / rate_hz, at(604 / rate_hz))
    assert [(p.start, p.lost) for p in pieces] == [(0, 300), (2, 100)]


def test_sender_that_runs_slow_is_followed() -> None:
    clock, lag_ns = SenderClock(RATE_HZ), 0
    for n in range(20_000):
        now_s = n / 10
        (piece,) = send(clock, 1000 + now_s * (1 - 1e-4), 10, now_s + 0.1)
        lag_ns = at(now_s + 0.1) - piece.end_ns
    assert lag_ns < 0.02 * SECOND_NS


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(-1e6, 1e6), st.integers(1, 5), st.floats(0, 100), st.integers(0, 3)),
        min_size=1,
        max_size=20,
    )
)
def test_whatever_a_sender_says_every_sample_is_placed_once_and_none_in_the_future(
    messages: list[tuple[float, int, float, int]],
) -> None:
    clock, now_s = SenderClock(RATE_HZ), 0.0
    for sent_s, count, passed_s, missed in messages:
        now_s += passed_s
        times_s = sent_s + np.arange(count) / RATE_HZ
        pieces = clock.sent(count, times_s, at(now_s), missed)
        assert [n for p in pieces for n in range(p.start, p.stop)] == list(range(count))
        assert all(p.end_ns <= at(now_s) and p.lost >= 0 for p in pieces)
