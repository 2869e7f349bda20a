"""When a label that lasts is an event, when that ends, and which label is the confirmed state.

Every phase of an event's life and every transition is in this file; time comes in with the windows.
"""

from collections.abc import Callable, Container, Iterator, Mapping
from enum import Enum
from typing import Final, Literal

from msgspec import Struct

from edge_bundle.decision.rules import Events

NS_PER_S: Final = 1_000_000_000
NO_SCORE: Final = float("-inf")
"""Of a label in a window that says nothing of it."""
Cause = Literal["over", "gap", "model", "stopped"]
"""Why an event ended: its label, or what could still say so."""


class Phase(str, Enum):
    """Where a label stands."""

    QUIET = "quiet"
    RISING = "rising"
    """Windows speak for it, not enough yet."""
    ACTIVE = "active"
    FALLING = "falling"
    """The event goes on, and windows speak against it, not enough yet."""
    RESTING = "resting"
    """It ended a short while ago, and makes no event."""


class Sign(str, Enum):
    """What a window says of a label."""

    FOR = "for"
    PROVEN = "proven"
    """For it, and so did enough windows before, for long enough."""
    AGAINST = "against"
    DISPROVEN = "disproven"
    """Against it, and so did enough windows before."""
    BROKEN = "broken"
    """No window follows the last one."""
    RESTED = "rested"
    """The time after its end is over."""


TRANSITIONS: Final[dict[Phase, dict[Sign, Phase]]] = {
    Phase.QUIET: {
        Sign.FOR: Phase.RISING,
        Sign.PROVEN: Phase.ACTIVE,
        Sign.AGAINST: Phase.QUIET,
        Sign.BROKEN: Phase.QUIET,
    },
    Phase.RISING: {
        Sign.FOR: Phase.RISING,
        Sign.PROVEN: Phase.ACTIVE,
        Sign.AGAINST: Phase.QUIET,
        Sign.BROKEN: Phase.QUIET,
    },
    Phase.ACTIVE: {
        Sign.FOR: Phase.ACTIVE,
        Sign.AGAINST: Phase.FALLING,
        Sign.DISPROVEN: Phase.RESTING,
        Sign.BROKEN: Phase.RESTING,
    },
    Phase.FALLING: {
        Sign.FOR: Phase.ACTIVE,
        Sign.AGAINST: Phase.FALLING,
        Sign.DISPROVEN: Phase.RESTING,
        Sign.BROKEN: Phase.RESTING,
    },
    Phase.RESTING: {
        Sign.FOR: Phase.RESTING,
        Sign.AGAINST: Phase.RESTING,
        Sign.BROKEN: Phase.RESTING,
        Sign.RESTED: Phase.QUIET,
    },
}
GOES_ON: Final = frozenset({Phase.ACTIVE, Phase.FALLING})
"""Phases in which there is an event."""


class Action(Struct, frozen=True):
    """What is to be told of an event."""

    kind: Literal["new", "update", "end"]
    number: int
    """Of the event: the same from ``new`` to ``end``."""
    label: str
    score: float
    """In the last window that had one; 0 where none had."""
    peak: float
    """The score since it began that speaks most for it: the lowest of a label that falls."""
    start_ns: int
    """Time of the first window that spoke for it."""
    at_ns: int
    """Time of the window that this is told at."""
    cause: Cause | None = None
    """Why it ended."""


class _Life:
    """One label's way through the phases."""

    def __init__(self, label: str, rule: Events, falls: bool) -> None:
        self.label = label
        self.phase = Phase.QUIET
        self.number = -1
        self._rule = rule
        self._further = min if falls else max
        self._count = 0
        """Windows in a row that spoke for it while rising, against it while falling."""
        self.start_ns = self._told_ns = self._rests_until_ns = 0
        self._score = 0.0
        self._peak: float | None = None
        """None: no window that spoke for it had a score."""

    def push(
        self, at_ns: int, said: bool, level: float, numbers: Iterator[int]
    ) -> Iterator[Action]:
        """Take what a window says, and yield what is to be told."""
        if self.phase is Phase.RESTING and at_ns >= self._rests_until_ns:
            self._move(Sign.RESTED)
        before = self.phase
        self._move(self._sign(at_ns, said, level))
        if before in GOES_ON:
            self._note(level)
            if self.phase not in GOES_ON:
                yield self._end(at_ns, "over")
            elif self._rule.update_s and at_ns - self._told_ns >= _ns(self._rule.update_s):
                self._told_ns = at_ns
                yield self._action("update", at_ns)
        elif self.phase is Phase.ACTIVE:
            self.number, self._told_ns = next(numbers), at_ns
            yield self._action("new", at_ns)

    def break_off(self, at_ns: int, cause: Cause) -> Iterator[Action]:
        """Let no window follow, and yield the end of what went on."""
        before = self.phase
        self._move(Sign.BROKEN)
        if before in GOES_ON:
            yield self._end(at_ns, cause)

    def _sign(self, at_ns: int, said: bool, level: float) -> Sign:
        rule = self._rule
        if self.phase in GOES_ON:
            if said if rule.off is None else level >= rule.off:
                self._count = 0
                return Sign.FOR
            self._count += 1
            return Sign.DISPROVEN if self._count >= rule.debounce else Sign.AGAINST
        if not (said and (rule.on is None or level >= rule.on)):
            return Sign.AGAINST
        if self.phase is Phase.RESTING:
            return Sign.FOR
        if self.phase is Phase.QUIET:
            self._count, self.start_ns, self._score, self._peak = 0, at_ns, 0.0, None
        self._count += 1
        self._note(level)
        if self._count < rule.debounce or at_ns - self.start_ns < _ns(rule.minimum_s):
            return Sign.FOR
        self._count = 0
        return Sign.PROVEN

    def _note(self, level: float) -> None:
        """Keep a window's score; a window that says nothing has none."""
        if level > NO_SCORE:
            self._score = level
            self._peak = level if self._peak is None else self._further(level, self._peak)

    def _move(self, sign: Sign) -> None:
        self.phase = TRANSITIONS[self.phase][sign]

    def _end(self, at_ns: int, cause: Cause) -> Action:
        self._rests_until_ns = at_ns + _ns(self._rule.refractory_s)
        return self._action("end", at_ns, cause)

    def _action(
        self, kind: Literal["new", "update", "end"], at_ns: int, cause: Cause | None = None
    ) -> Action:
        peak = self._score if self._peak is None else self._peak
        return Action(kind, self.number, self.label, self._score, peak, self.start_ns, at_ns, cause)


class Tracker:
    """Follows the labels of one model on one stream."""

    def __init__(
        self,
        rule: Events,
        labels: tuple[str, ...],
        numbers: Iterator[int],
        falling: Container[str] = (),
    ) -> None:
        """Take the labels that make events, and where the events' numbers come from.

        Args:
            falling: those that a low score speaks for.
        """
        self._lives = [_Life(label, rule, label in falling) for label in labels]
        self._numbers = numbers
        self._debounce = rule.debounce
        self._said = ""
        self._count = 0
        self.state: str | None = None
        """The label confirmed last: of the newest event that goes on, else what enough windows in
        a row said; kept over a gap."""

    def push(self, at_ns: int, label: str, level: Callable[[str], float]) -> list[Action]:
        """Take the answer to the next window.

        Args:
            at_ns: monotonic time of its end, never before that of the window before.
            label: the answer.
            level: the score of a label there, the answer or not; ``NO_SCORE``: it has none.
        """
        actions: list[Action] = []
        newest: _Life | None = None
        for life in self._lives:
            if life.phase is Phase.QUIET and life.label != label:
                continue  # against a quiet label: it stays so, and nothing is told
            actions += life.push(at_ns, life.label == label, level(life.label), self._numbers)
            if life.phase in GOES_ON and (newest is None or life.number > newest.number):
                newest = life
        if len(actions) > 1:  # what ends is told before what begins
            actions.sort(key=lambda action: action.kind != "end")
        self._count = self._count + 1 if label == self._said else 1
        self._said = label
        if newest is not None:
            self.state = newest.label
        elif self._count >= self._debounce:
            self.state = label
        return actions

    def break_off(self, at_ns: int, cause: Cause) -> list[Action]:
        """Let no window follow the last one: what goes on ends, and counting begins anew."""
        self._said, self._count = "", 0
        return [action for life in self._lives for action in life.break_off(at_ns, cause)]

    @property
    def rising_ns(self) -> set[int]:
        """When the labels that may become events were first said: see ``Action.start_ns``."""
        return {life.start_ns for life in self._lives if life.phase is Phase.RISING}

    @property
    def phases(self) -> Mapping[str, Phase]:
        """Where each label that makes events stands."""
        return {life.label: life.phase for life in self._lives}


def _ns(seconds: float) -> int:
    return int(seconds * NS_PER_S)
