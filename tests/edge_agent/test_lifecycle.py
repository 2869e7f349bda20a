import pytest

from edge_agent.lifecycle import (
    RESUME,
    TRANSITIONS,
    Event,
    IllegalTransition,
    Resume,
    State,
    next_state,
)
from edge_agent.store import Store

EDGES = [(s, e) for s in State for e in Event]


def test_both_tables_have_a_row_for_every_state_and_for_nothing_else() -> None:
    assert set(TRANSITIONS) == set(State)
    assert set(RESUME) == set(State)


def test_every_edge_leads_to_a_state_by_an_event_that_there_is() -> None:
    for row in TRANSITIONS.values():
        assert set(row) <= set(Event)
        assert set(row.values()) <= set(State)


def test_every_state_can_be_reached() -> None:
    reached, todo = set[State](), [State.OFFERED]
    while todo:
        state = todo.pop()
        if state not in reached:
            reached.add(state)
            todo.extend(TRANSITIONS[state].values())
    assert reached == set(State)


def test_what_is_retired_stays_so() -> None:
    assert [s for s, row in TRANSITIONS.items() if not row] == [State.RETIRED]


def test_what_was_refused_or_left_only_begins_anew() -> None:
    for state in (State.REJECTED, State.ROLLED_BACK):
        assert TRANSITIONS[state] == {Event.OFFERED_AGAIN: State.OFFERED}


def test_nothing_runs_without_having_been_proven() -> None:
    before_trial = [s for s, row in TRANSITIONS.items() if State.TRIAL in row.values()]
    before_commit = [s for s, row in TRANSITIONS.items() if State.COMMITTED in row.values()]
    assert before_trial == [State.STAGED]
    assert before_commit == [State.TRIAL]


def test_every_unfinished_version_can_be_refused_or_superseded() -> None:
    for state in (State.OFFERED, State.DOWNLOADING, State.VERIFIED, State.STAGED):
        assert next_state(state, Event.REFUSED) is State.REJECTED
        assert next_state(state, Event.SUPERSEDED) is State.RETIRED


@pytest.mark.parametrize(("state", "event"), EDGES)
def test_an_edge_is_in_the_table_or_raises_and_changes_nothing(state: State, event: Event) -> None:
    before = {s: dict(row) for s, row in TRANSITIONS.items()}
    if event in TRANSITIONS[state]:
        assert next_state(state, event) is TRANSITIONS[state][event]
    else:
        with pytest.raises(IllegalTransition, match=f"{state.value}: no edge for {event.value}"):
            next_state(state, event)
    assert before == TRANSITIONS


def test_only_a_trial_is_tried_again_and_only_what_was_committed_runs_unasked() -> None:
    assert [s for s in State if RESUME[s] is Resume.TRY_AGAIN] == [State.TRIAL]
    assert [s for s in State if RESUME[s] is Resume.RUN] == [State.COMMITTED]


def test_a_device_that_knows_nothing_of_a_model_waits(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    state = Store(tmp_path_factory.mktemp("store"), 1 << 20).record("watch").state
    assert RESUME[state] is Resume.WAIT
