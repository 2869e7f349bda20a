"""The life of one model version on a device.

Every state and every transition is in this file; no clock, disk or network is.
"""

from enum import Enum


class State(str, Enum):
    """Where a version stands; the values cross the wire in ``reported``."""

    OFFERED = "offered"
    DOWNLOADING = "downloading"
    VERIFIED = "verified"
    STAGED = "staged"
    TRIAL = "trial"
    COMMITTED = "committed"
    REJECTED = "rejected"
    ROLLED_BACK = "rolled_back"
    RETIRED = "retired"


class Event(str, Enum):
    """What can happen to a version."""

    FETCH = "fetch"
    HELD = "held"
    VERIFIED = "verified"
    PROVEN = "proven"
    ACTIVATED = "activated"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    REFUSED = "refused"
    SUPERSEDED = "superseded"
    OFFERED_AGAIN = "offered_again"


class Resume(str, Enum):
    """What a restart does with a version that it finds in a state."""

    WAIT = "wait"
    """The retained assignment comes again, and what is on disk shortens the way."""
    TRY_AGAIN = "try_again"
    """Run it in trial again, unless it was on trial at too many boots already."""
    RUN = "run"


TRANSITIONS: dict[State, dict[Event, State]] = {
    State.OFFERED: {
        Event.FETCH: State.DOWNLOADING,
        Event.HELD: State.VERIFIED,
        Event.REFUSED: State.REJECTED,
        Event.SUPERSEDED: State.RETIRED,
    },
    State.DOWNLOADING: {
        Event.VERIFIED: State.VERIFIED,
        Event.REFUSED: State.REJECTED,
        Event.SUPERSEDED: State.RETIRED,
    },
    State.VERIFIED: {
        Event.PROVEN: State.STAGED,
        Event.REFUSED: State.REJECTED,
        Event.SUPERSEDED: State.RETIRED,
    },
    State.STAGED: {
        Event.ACTIVATED: State.TRIAL,
        Event.REFUSED: State.REJECTED,
        Event.SUPERSEDED: State.RETIRED,
    },
    State.TRIAL: {
        Event.HEALTHY: State.COMMITTED,
        Event.UNHEALTHY: State.ROLLED_BACK,
        Event.SUPERSEDED: State.ROLLED_BACK,
    },
    State.COMMITTED: {Event.SUPERSEDED: State.RETIRED, Event.UNHEALTHY: State.ROLLED_BACK},
    State.REJECTED: {Event.OFFERED_AGAIN: State.OFFERED},
    State.ROLLED_BACK: {Event.OFFERED_AGAIN: State.OFFERED},
    State.RETIRED: {},
}

RESUME: dict[State, Resume] = {
    State.OFFERED: Resume.WAIT,
    State.DOWNLOADING: Resume.WAIT,
    State.VERIFIED: Resume.WAIT,
    State.STAGED: Resume.WAIT,
    State.TRIAL: Resume.TRY_AGAIN,
    State.COMMITTED: Resume.RUN,
    State.REJECTED: Resume.WAIT,
    State.ROLLED_BACK: Resume.WAIT,
    State.RETIRED: Resume.WAIT,
}


class IllegalTransition(Exception):
    """A bug: the table has no such edge."""


def next_state(state: State, event: Event) -> State:
    """Return where an event leads.

    Raises: IllegalTransition: nowhere; nothing has changed.
    """
    try:
        return TRANSITIONS[state][event]
    except KeyError:
        raise IllegalTransition(f"{state.value}: no edge for {event.value}") from None
