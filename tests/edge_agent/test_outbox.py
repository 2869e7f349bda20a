"""Every ``seq`` is delivered or announced as lost, once, whatever happens in between."""

from collections import defaultdict
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from edge_agent.outbox import ENTRY_BYTES, Dropped, Entry, Key, Outbox
from edge_wire.messages import LossCause

A, B = ("s", "a"), ("s", "b")


def entry(seq: int, key: Key = A, length: int = 100) -> Entry:
    return Entry(key, seq, b"x" * length)


def full_of(count: int) -> Outbox:
    return Outbox(count * entry(0).cost)


class Story(RuleBasedStateMachine):
    """A device's predictions, a publisher, and a broker that confirms what it likes."""

    @initialize(room=st.integers(0, 3000))
    def begin(self, room: int) -> None:
        self.room = room
        self.filled = 0
        self.outbox = Outbox(room, on_filled=self.on_filled)
        self.costs: dict[Key, list[int]] = {A: [], B: []}
        self.hand: Entry | None = None
        self.flight: dict[int, Entry | Dropped] = {}
        self.tickets = 0
        self.settled: dict[Key, list[int]] = defaultdict(list)

    @rule(key=st.sampled_from([A, B]), length=st.integers(0, 900))
    def predict(self, key: Key, length: int) -> None:
        made = entry(len(self.costs[key]), key, length)
        self.costs[key].append(made.cost)
        filled = self.filled
        self.outbox.put(made)
        assert self.filled == filled + 1

    def on_filled(self) -> None:
        self.filled += 1

    @rule()
    def take(self) -> None:
        self.hand = self.hand or self.outbox.take()

    @rule(works=st.booleans())
    def send(self, works: bool) -> None:
        if self.hand is not None:
            if works:
                self._fly(self.hand)
            else:
                self.outbox.back(self.hand)
            self.hand = None

    @rule(works=st.integers(0, 5), most=st.none() | st.integers(0, 3))
    def announce(self, works: int, most: int | None) -> None:
        losses = self.outbox.take_dropped(most)
        assert most is None or len(losses) <= most
        for loss in losses[:works]:
            self._fly(loss)
        self.outbox.put_dropped(losses[works:])

    @rule(data=st.data())
    def confirm(self, data: Any) -> None:
        if self.flight:
            self._land(data.draw(st.sampled_from(sorted(self.flight))))

    @rule()
    def lose_connection(self) -> None:
        self.outbox.unsent()
        self.flight.clear()

    @rule()
    def confirm_something_unknown(self) -> None:
        assert not self.outbox.confirm(self.tickets + 1)

    @invariant()
    def memory_is_bounded(self) -> None:
        gone = {key: set(numbers) for key, numbers in self.settled.items()}
        waiting = self.outbox.take_dropped()
        self.outbox.put_dropped(waiting)
        for loss in [*waiting, *(x for x in self.flight.values() if isinstance(x, Dropped))]:
            gone.setdefault(loss.key, set()).update(range(loss.first, loss.last + 1))
        held = sum(
            cost
            for key, costs in self.costs.items()
            for seq, cost in enumerate(costs)
            if seq not in gone.get(key, set())
        )
        assert held <= self.room

    @invariant()
    def last_settled_is_the_end_of_the_gapless_beginning(self) -> None:
        expected = {}
        for key, numbers in self.settled.items():
            last = -1
            while last + 1 in numbers:
                last += 1
            if last >= 0:
                expected[key] = last
        assert self.outbox.last_settled() == expected

    def teardown(self) -> None:
        if not hasattr(self, "outbox"):
            return
        if self.hand is not None:
            self.outbox.back(self.hand)
        self.flight.clear()
        self.outbox.give_up(LossCause.STOPPED)
        losses = self.outbox.take_dropped()
        for one, other in pairwise(losses):
            assert (one.key, one.cause, one.last + 1) != (other.key, other.cause, other.first)
        for loss in losses:
            self._fly(loss)
        for ticket in list(self.flight):
            self._land(ticket)
        for key, costs in self.costs.items():
            assert sorted(self.settled[key]) == list(range(len(costs)))
        assert self.outbox.empty
        assert self.outbox.take() is None

    def _fly(self, item: Entry | Dropped) -> None:
        self.tickets += 1
        self.outbox.sent(item, self.tickets)
        self.flight[self.tickets] = item
        assert self.outbox.in_flight == len(self.flight)

    def _land(self, ticket: int) -> None:
        item = self.flight.pop(ticket)
        assert self.outbox.confirm(ticket)
        assert not self.outbox.confirm(ticket)
        numbers = [item.seq] if isinstance(item, Entry) else range(item.first, item.last + 1)
        self.settled[item.key] += numbers


StoryTest = Story.TestCase
StoryTest.settings = settings(max_examples=120, stateful_step_count=40)


@given(order=st.permutations(range(12)))
def test_ranges_merge_in_whatever_order_they_come(order: list[int]) -> None:
    outbox = full_of(0)
    for seq in order:
        outbox.put(entry(seq))
    assert outbox.take_dropped() == [Dropped(A, 0, 11, LossCause.OUTBOX_FULL)]
    assert outbox.take_dropped() == []


def test_losses_of_two_models_in_turn_stay_two_ranges() -> None:
    outbox = full_of(2)
    for seq in range(1000):
        outbox.put(entry(seq, A))
        outbox.put(entry(seq, B))
    assert outbox.take_dropped() == [
        Dropped(A, 0, 998, LossCause.OUTBOX_FULL),
        Dropped(B, 0, 998, LossCause.OUTBOX_FULL),
    ]


def test_oldest_goes_first_and_the_newest_is_kept() -> None:
    outbox = full_of(3)
    for seq in range(10):
        outbox.put(entry(seq))
    taken = [outbox.take() for _ in range(4)]
    assert [t and t.seq for t in taken] == [7, 8, 9, None]


def test_who_can_wait_is_told_from_half_full_until_a_quarter_full() -> None:
    told: list[bool] = []
    outbox = Outbox(8 * entry(0).cost, lambda: told.append(outbox.tight))
    tight = []
    for seq in range(7):
        outbox.put(entry(seq))
        tight.append(outbox.tight)
    assert tight == [False] * 4 + [True] * 3
    assert told == []
    for ticket in range(5):
        taken = outbox.take()
        assert taken is not None
        outbox.sent(taken, ticket)
        outbox.confirm(ticket)
        tight.append(outbox.tight)
    assert tight[7:] == [True] * 4 + [False]
    assert told == [False]


def test_room_that_comes_of_giving_up_is_told_too() -> None:
    told: list[str] = []
    outbox = Outbox(4 * entry(0).cost, lambda: told.append("room"))
    for seq in range(4):
        outbox.put(entry(seq))
    outbox.give_up(LossCause.STOPPED)
    assert (outbox.tight, told) == (False, ["room"])


def test_what_was_unconfirmed_is_sent_again_before_the_rest() -> None:
    outbox = full_of(9)
    for seq in range(5):
        outbox.put(entry(seq))
    for ticket in range(3):
        taken = outbox.take()
        assert taken is not None
        outbox.sent(taken, ticket)
    outbox.confirm(1)
    outbox.unsent()
    assert [t.seq for t in iter(outbox.take, None)] == [0, 2, 3, 4]


def test_causes_are_told_apart() -> None:
    outbox = full_of(1)
    for seq in range(3):
        outbox.put(entry(seq))
    outbox.give_up(LossCause.STOPPED)
    assert outbox.take_dropped() == [
        Dropped(A, 0, 1, LossCause.OUTBOX_FULL),
        Dropped(A, 2, 2, LossCause.STOPPED),
    ]


def test_loss_counts_as_settled_only_when_the_broker_has_it() -> None:
    outbox = full_of(0)
    outbox.put(entry(0))
    assert outbox.last_settled() == {}
    (loss,) = outbox.take_dropped()
    outbox.sent(loss, "ticket")
    assert (outbox.last_settled(), outbox.empty) == ({}, False)
    assert outbox.confirm("ticket")
    assert (outbox.last_settled(), outbox.empty) == ({A: 0}, True)


def test_entry_costs_more_than_its_payload() -> None:
    assert entry(0, length=7).cost == 7 + ENTRY_BYTES


# --- events and states


def event(n: int, key: Key = A, length: int = 100) -> Entry:
    return Entry(key, n, b"e" * length, "event")


def state(name: str, key: Key = A) -> Entry:
    return Entry(key, 0, name.encode(), "state")


class ClassStory(RuleBasedStateMachine):
    """Predictions, events and states of two models, and a link that comes and goes."""

    @initialize(room=st.integers(0, 4000))
    def begin(self, room: int) -> None:
        self.room = room
        self.outbox = Outbox(room)
        self.next: dict[tuple[str, Key], int] = defaultdict(int)
        self.states: dict[Key, bytes] = {}
        self.flight: dict[int, Entry] = {}
        self.tickets = 0
        self.sent_states: dict[Key, bytes] = {}

    @rule(key=st.sampled_from([A, B]), length=st.integers(0, 900))
    def predict(self, key: Key, length: int) -> None:
        self.outbox.put(entry(self._number("pred", key), key, length))

    @rule(key=st.sampled_from([A, B]), length=st.integers(0, 900))
    def tell_event(self, key: Key, length: int) -> None:
        dropped = self.outbox.dropped_events
        self.outbox.put(event(self._number("event", key), key, length))
        if self.outbox.dropped_events > dropped:
            assert not self.outbox._waiting, "no event is dropped while a prediction waits"

    @rule(key=st.sampled_from([A, B]))
    def confirm_state(self, key: Key) -> None:
        name = str(self._number("state", key))
        self.states[key] = name.encode()
        self.outbox.put(state(name, key))

    @rule()
    def send(self) -> None:
        taken = self.outbox.take()
        if taken is not None:
            self.tickets += 1
            self.outbox.sent(taken, self.tickets)
            self.flight[self.tickets] = taken

    @rule()
    def confirm(self) -> None:
        if self.flight:
            ticket = min(self.flight)
            taken = self.flight.pop(ticket)
            assert self.outbox.confirm(ticket)
            if taken.kind == "state":
                self.sent_states[taken.key] = taken.payload

    @rule()
    def reconnect(self) -> None:
        self.outbox.unsent()
        self.flight.clear()
        self.outbox.repeat_states()
        self.outbox.repeat_states()

    @invariant()
    def memory_is_bounded(self) -> None:
        waiting = [*self.outbox._first, *self.outbox._waiting]
        held = sum(e.cost for e in (*waiting, *self.flight.values()) if e.kind != "state")
        flying = sum(e.cost for e in self.flight.values() if e.kind != "state")
        assert held == self.outbox._bytes
        assert held <= max(self.room, flying)
        assert sum(e.kind == "state" for e in waiting) <= len(self.states) + self.tickets

    def teardown(self) -> None:
        if not hasattr(self, "outbox"):
            return
        self.reconnect()
        order: dict[tuple[str, Key], list[int]] = defaultdict(list)
        while taken := self.outbox.take():
            self.tickets += 1
            self.outbox.sent(taken, self.tickets)
            self.outbox.confirm(self.tickets)
            order[taken.kind, taken.key].append(taken.seq)
            if taken.kind == "state":
                self.sent_states[taken.key] = taken.payload
        for numbers in order.values():
            assert numbers == sorted(numbers)
        # After a connect the broker has the newest state of each, whatever happened before.
        assert self.sent_states == self.states
        lost = {x.key for x in self.outbox.take_dropped()}
        assert lost <= {A, B}
        assert self.outbox.empty

    def _number(self, kind: str, key: Key) -> int:
        self.next[kind, key] += 1
        return self.next[kind, key] - 1


ClassStoryTest = ClassStory.TestCase
ClassStoryTest.settings = settings(max_examples=120, stateful_step_count=40)


def test_events_go_first_and_outlive_predictions() -> None:
    outbox = full_of(3)
    for seq in range(5):
        outbox.put(entry(seq))
        outbox.put(event(seq))
    assert outbox.dropped_events == 2
    assert [(t.kind, t.seq) for t in iter(outbox.take, None)] == [("event", n) for n in (2, 3, 4)]
    assert outbox.take_dropped() == [Dropped(A, 0, 4, LossCause.OUTBOX_FULL)]


def test_of_states_the_newest_waits_whatever_the_room() -> None:
    outbox = Outbox(0)
    for name in ("idle", "walking"):
        outbox.put(state(name))
        outbox.put(state(name, B))
    taken = list(iter(outbox.take, None))
    assert [(t.key, t.payload) for t in taken] == [(A, b"walking"), (B, b"walking")]


def test_what_is_no_prediction_is_never_announced_as_lost() -> None:
    outbox = full_of(1)
    outbox.put(event(0))
    outbox.put(state("idle"))
    outbox.give_up(LossCause.STOPPED)
    assert (outbox.take_dropped(), outbox.empty, outbox.dropped_events) == ([], True, 1)
    assert outbox.last_settled() == {}
