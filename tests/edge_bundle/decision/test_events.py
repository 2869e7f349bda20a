"""Every event begins once, ends once, and overlaps with no other of its label."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import count, pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_bundle.decision.events import GOES_ON, NO_SCORE, TRANSITIONS, Action, Phase, Sign, Tracker
from edge_bundle.decision.rules import Events

S = 1_000_000_000
LABELS = ("a", "b")


def tracker(labels: tuple[str, ...] = LABELS, **rule: Any) -> Tracker:
    return Tracker(Events(**rule), labels, count())


def run(
    tracked: Tracker, windows: list[tuple[str, float]], step_s: float = 1.0
) -> Iterator[Action]:
    """Push (label, score of it) once a second; another label's score is what is left to 1."""
    for i, (label, score) in enumerate(windows):
        yield from tracked.push(int(i * step_s * S), label, levels(label, score))


def levels(label: str, score: float) -> Callable[[str], float]:
    return lambda asked: score if asked == label else 1 - score


def told(actions: Iterator[Action]) -> list[tuple[str, int, str, float]]:
    return [(a.kind, a.number, a.label, a.at_ns / S) for a in actions]


def test_every_phase_has_a_row_and_leads_to_phases() -> None:
    assert set(TRANSITIONS) == set(Phase)
    reached = {after for row in TRANSITIONS.values() for after in row.values()}
    assert reached == set(Phase)
    for phase, row in TRANSITIONS.items():
        assert Sign.BROKEN in row
        assert row[Sign.BROKEN] not in GOES_ON
        assert (Sign.RESTED in row) == (phase is Phase.RESTING)


def test_a_label_that_comes_and_goes_is_an_event() -> None:
    windows = [("a", 0.9), ("a", 0.8), ("x", 0.9), ("b", 0.7), ("x", 0.9)]
    actions = list(run(tracker(), windows))
    assert told(iter(actions)) == [
        ("new", 0, "a", 0),
        ("end", 0, "a", 2),
        ("new", 1, "b", 3),
        ("end", 1, "b", 4),
    ]
    assert actions[1].cause == "over"
    assert actions[1].peak == 0.9


@pytest.mark.parametrize(("falling", "peaks"), [((), [3.0, 3.0, 9.0]), (("a",), [3.0, -2.0, -2.0])])
def test_peak_is_what_spoke_most_for_the_label(
    falling: tuple[str, ...], peaks: list[float]
) -> None:
    tracked = Tracker(Events(update_s=1), ("a",), count(), falling)
    windows = [("a", 3.0), ("a", -2.0), ("x", 9.0)]
    actions = [
        a
        for i, (label, score) in enumerate(windows)
        for a in tracked.push(i * S, label, _at(score))
    ]
    assert [a.kind for a in actions] == ["new", "update", "end"]
    assert [a.peak for a in actions] == peaks


def test_peak_of_while_it_rose_counts_and_of_the_event_before_does_not() -> None:
    tracked = Tracker(Events(debounce=2), ("low",), count(), ("low",))
    scores = [("low", -9.0), ("low", 1.0), ("ok", 5.0), ("ok", 6.0), ("low", 2.0), ("low", 3.0)]
    actions = [a for i, (said, v) in enumerate(scores) for a in tracked.push(i, said, _at(v))]
    assert [(a.kind, a.score, a.peak) for a in actions] == [
        ("new", 1.0, -9.0),
        ("end", 6.0, -9.0),
        ("new", 3.0, 2.0),
    ]


def test_event_of_windows_without_a_score_is_told_with_a_number() -> None:
    """A majority says a label at a window whose own values are not finite."""
    tracked = Tracker(Events(update_s=1), ("a",), count())
    levels_ = [NO_SCORE, NO_SCORE, 0.75]
    actions = [a for i, v in enumerate(levels_) for a in tracked.push(i * S, "a", _at(v))]
    assert [(a.score, a.peak) for a in actions] == [(0.0, 0.0), (0.0, 0.0), (0.75, 0.75)]


def _at(score: float) -> Callable[[str], float]:
    return lambda _asked: score


def test_it_takes_enough_windows_in_a_row_to_begin_and_to_end() -> None:
    said = "aaxaaaxxaxxxaaa"
    windows = [(s, 0.9) for s in said]
    assert told(run(tracker(debounce=3), windows)) == [
        ("new", 0, "a", 5),
        ("end", 0, "a", 11),
        ("new", 1, "a", 14),
    ]


def test_score_has_to_rise_to_on_and_to_fall_below_off() -> None:
    scores = [0.6, 0.8, 0.9, 0.6, 0.4, 0.3, 0.29, 0.85, 0.9]
    windows = [("a" if s >= 0.5 else "x", s if s >= 0.5 else 1 - s) for s in scores]
    found = told(run(tracker(("a",), on=0.85, off=0.3), windows))
    assert found == [("new", 0, "a", 2), ("end", 0, "a", 6), ("new", 1, "a", 7)]


def test_it_must_last_and_begins_when_it_was_first_seen() -> None:
    windows = [(s, 0.9) for s in "aaaxaaaaa"]
    (new,) = run(tracker(minimum_s=3), windows)
    assert (new.kind, new.start_ns / S, new.at_ns / S) == ("new", 4, 7)


def test_after_its_end_it_rests() -> None:
    windows = [(s, 0.9) for s in "axaaaaxa"]
    assert told(run(tracker(refractory_s=4), windows)) == [
        ("new", 0, "a", 0),
        ("end", 0, "a", 1),
        ("new", 1, "a", 5),
        ("end", 1, "a", 6),
    ]


def test_an_event_that_goes_on_is_told_now_and_then() -> None:
    windows = [("a", 0.5 + i / 100) for i in range(8)]
    found = list(run(tracker(update_s=3), windows))
    assert [(a.kind, a.at_ns / S, a.score) for a in found] == [
        ("new", 0, 0.5),
        ("update", 3, 0.53),
        ("update", 6, 0.56),
    ]


@pytest.mark.parametrize("cause", ["gap", "model", "stopped"])
def test_what_goes_on_ends_where_no_window_follows(cause: Any) -> None:
    tracked = tracker(debounce=2)
    list(run(tracked, [("a", 0.9)] * 3 + [("x", 0.9)]))
    (end,) = tracked.break_off(5 * S, cause)
    assert (end.kind, end.cause, end.number, end.at_ns) == ("end", cause, 0, 5 * S)
    assert tracked.break_off(5 * S, cause) == []


def test_windows_before_a_gap_do_not_count_after_it() -> None:
    tracked = tracker(debounce=3)
    assert list(run(tracked, [("a", 0.9)] * 2)) == []
    tracked.break_off(2 * S, "gap")
    assert tracked.push(3 * S, "a", levels("a", 0.9)) == []
    assert tracked.state is None


def test_state_is_what_enough_windows_said_and_outlives_a_gap() -> None:
    tracked = tracker((), debounce=2)
    states = []
    for label in "aabbaba":
        tracked.push(0, label, levels(label, 0.9))
        states.append(tracked.state)
    assert states == [None, "a", "a", "b", "b", "b", "b"]
    tracked.break_off(0, "gap")
    assert tracked.state == "b"


def test_state_is_that_of_an_event_while_it_goes_on() -> None:
    tracked = tracker(("a",), off=0.2)
    states = []
    for label, score in [("x", 0.9), ("a", 0.9), ("x", 0.6), ("x", 0.7), ("x", 0.9)]:
        tracked.push(0, label, levels(label, score))
        states.append(tracked.state)
    assert states == ["x", "a", "a", "a", "x"]


steps = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "x", "unknown", "gap"]),
        st.integers(0, 10).map(lambda n: n / 10),
        st.integers(0, 3),
    ),
    max_size=80,
)
rules = st.builds(
    Events,
    on=st.sampled_from([None, 0.5, 0.8]),
    off=st.sampled_from([None, 0.2, 0.5]),
    debounce=st.integers(1, 4),
    minimum_s=st.sampled_from([0.0, 2.0, 5.0]),
    refractory_s=st.sampled_from([0.0, 3.0]),
    update_s=st.sampled_from([0.0, 1.0, 4.0]),
)


@given(rules, steps)
def test_events_of_any_stream_begin_once_end_once_and_keep_their_rules(
    rule: Events, windows: list[tuple[str, float, int]]
) -> None:
    tracked = Tracker(rule, LABELS, count())
    actions: list[Action] = []
    at_ns = 0
    for label, score, wait_s in windows:
        at_ns += wait_s * S
        before = dict(tracked.phases)
        if label == "gap":
            actions += tracked.break_off(at_ns, "gap")
        else:
            actions += tracked.push(at_ns, label, levels(label, score))
        for name, phase in tracked.phases.items():  # no step that is in no row
            assert phase in {*TRANSITIONS[before[name]].values(), *_rested(before[name])}
        active = [name for name, phase in tracked.phases.items() if phase in GOES_ON]
        assert not active or tracked.state in active
    actions += tracked.break_off(at_ns, "stopped")
    by_number = defaultdict(list)
    for action in actions:
        by_number[action.number].append(action)
    assert sorted(by_number) == list(range(len(by_number)))
    for story in by_number.values():
        first, *between, last = story
        assert (first.kind, last.kind) == ("new", "end")
        assert {a.kind for a in between} <= {"update"}
        assert len({(a.label, a.start_ns) for a in story}) == 1
        assert last.cause is not None
        assert first.cause is None
        assert first.at_ns - first.start_ns >= rule.minimum_s * S
        assert rule.on is None or first.peak >= rule.on
        assert all(b.at_ns - a.at_ns >= rule.update_s * S for a, b in pairwise(story[:-1]))
        assert [a.at_ns for a in story] == sorted(a.at_ns for a in story)
        assert first.peak <= last.peak
        assert all(a.score <= a.peak for a in story)
    for label in LABELS:
        stories = [s for s in by_number.values() if s[0].label == label]
        for one, other in pairwise(stories):
            assert other[0].start_ns >= one[-1].at_ns + rule.refractory_s * S


def _rested(phase: Phase) -> set[Phase]:
    """Return where a label gets that first rests no more and then takes a window."""
    return set(TRANSITIONS[Phase.QUIET].values()) if phase is Phase.RESTING else set()


@given(st.lists(st.sampled_from("abx"), max_size=60), st.integers(1, 4))
def test_numbers_are_never_given_twice_by_two_that_share_them(said: list[str], one: int) -> None:
    numbers = count()
    first, second = (Tracker(Events(debounce=d), LABELS, numbers) for d in (one, 1))
    new = [
        a.number
        for i, s in enumerate(said)
        for t in (first, second)
        for a in t.push(i * S, s, levels(s, 0.9))
        if a.kind == "new"
    ]
    assert new == list(range(len(new)))
