"""No model starves, and a slow one costs a fast one no window, in simulated time."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.schedule import Job, Thread, choose, count_late

MS = 1_000_000


@dataclass
class Simulated:
    """A model on a stream of its own, whose windows all take the same time."""

    hop_ns: int
    cost_ns: int
    drops: bool = True
    phase_ns: int = 0
    number: int = 0
    """Of the next window; the first is whole one hop after the phase."""
    finished_ns: int = 0
    begun: list[tuple[int, int, int]] = field(default_factory=list)
    """When each window that ran was ready, when it was its turn, and when it began."""
    late: int = 0

    def ready_ns(self) -> int:
        return max(self.phase_ns + (self.number + 1) * self.hop_ns, self.finished_ns)

    def job(self, now_ns: int) -> Job:
        end_ns = self.phase_ns + (self.number + 1) * self.hop_ns
        deadline_ns = end_ns + self.hop_ns if end_ns <= now_ns else None
        return Job(deadline_ns, self.hop_ns, self.cost_ns, self.finished_ns)

    def begin(self, now_ns: int) -> int:
        """Run the next window; return when it ends."""
        job = self.job(now_ns)
        assert job.deadline_ns is not None
        self.begun.append((self.ready_ns(), job.due_ns, now_ns))
        late = count_late(now_ns - job.deadline_ns, max(1, self.hop_ns))
        self.late += late
        self.number += 1
        if self.drops:
            self.number += late
        return now_ns + self.cost_ns


def simulate(models: list[Simulated], until_ns: int) -> None:
    """Let the two threads run the models as the worker does."""
    running: dict[Thread, tuple[int, Simulated]] = {}
    now_ns = 0
    while now_ns < until_ns:
        for thread, (ends_ns, model) in list(running.items()):
            if ends_ns <= now_ns:
                model.finished_ns = ends_ns
                del running[thread]
        busy = [model for _, model in running.values()]
        resting = [m for m in models if all(m is not b for b in busy)]
        chosen = None
        if Thread.FIRST not in running:
            chosen = choose([m.job(now_ns) for m in resting], Thread.SECOND not in running)
        if chosen is not None:
            number, thread = chosen
            assert thread not in running
            running[thread] = resting[number].begin(now_ns), resting[number]
            continue
        ends = [ends_ns for ends_ns, _ in running.values()]
        starts = [m.ready_ns() for m in resting]
        now_ns = min(n for n in (*ends, *starts, until_ns) if n > now_ns)


@st.composite
def _models(draw: st.DrawFn) -> list[Simulated]:
    count = draw(st.integers(1, 5))
    return [
        Simulated(
            hop_ns=draw(st.integers(1, 200)) * MS,
            cost_ns=draw(st.integers(1, 400)) * MS // 2,
            drops=draw(st.booleans()),
            phase_ns=draw(st.integers(0, 50)) * MS,
        )
        for _ in range(count)
    ]


@settings(deadline=None, max_examples=150)
@given(_models())
def test_no_model_starves_whatever_the_others_are(models: list[Simulated]) -> None:
    simulate(models, 5_000 * MS)
    for model in models:
        others_ns = sum(m.cost_ns for m in models if m is not model)
        assert model.begun
        for ready_ns, due_ns, began_ns in model.begun:
            # What runs already, and then each other model at most once before it.
            assert began_ns <= max(ready_ns, due_ns) + 2 * others_ns


@pytest.mark.parametrize("cost_ms", [1, 4, 9])
@pytest.mark.parametrize("phase_ms", [0, 3, 7])
def test_slow_model_costs_a_fast_one_nothing(cost_ms: int, phase_ms: int) -> None:
    fast = Simulated(10 * MS, cost_ms * MS)
    slow = Simulated(1000 * MS, 300 * MS, phase_ns=phase_ms * MS)
    simulate([fast, slow], 10_000 * MS)
    assert (fast.late, slow.late) == (0, 0)
    assert len(fast.begun) >= 998
    assert len(slow.begun) == 9


def test_two_slow_models_take_turns_beside_a_fast_one() -> None:
    fast = Simulated(10 * MS, MS)
    slow = [Simulated(1000 * MS, 300 * MS), Simulated(700 * MS, 250 * MS)]
    simulate([fast, *slow], 20_000 * MS)
    assert fast.late == 0
    assert [m.late for m in slow] == [0, 0]


def test_one_that_cannot_keep_up_takes_what_the_others_leave() -> None:
    fast = Simulated(10 * MS, MS)
    endless = Simulated(1, 20 * MS, drops=False)
    simulate([fast, endless], 2_000 * MS)
    assert fast.late == 0
    assert len(endless.begun) > 90


def test_stream_without_a_pace_is_not_waited_for() -> None:
    long, endless = Job(15, 1000, 300, 0), Job(None, 0, 2, 0)
    assert choose([long, endless], second_free=True) == (0, Thread.FIRST)


@pytest.mark.parametrize("hops_ms", [(10,), (10, 40), (5, 10, 100)])
def test_one_that_is_behind_catches_up_beside_a_stream_without_a_pace(
    hops_ms: tuple[int, ...],
) -> None:
    # Together they take half of the time, and are a second behind.
    models = [
        Simulated(hop * MS, hop * MS // (2 * len(hops_ms)), drops=False, phase_ns=-1000 * MS)
        for hop in hops_ms
    ]
    endless = Simulated(0, MS // 10, drops=False)
    simulate([*models, endless], 4_000 * MS)
    assert [m.number for m in models] == [pytest.approx(5000 / hop, abs=2) for hop in hops_ms]
    assert len(endless.begun) * endless.cost_ns > 1_000 * MS


def test_stream_without_a_pace_takes_turns_with_one_that_cannot_keep_up() -> None:
    hopeless = Simulated(100 * MS, 190 * MS, drops=False)
    rare = Simulated(5_000 * MS, 400 * MS)
    endless = Simulated(0, 100 * MS, drops=False)
    simulate([hopeless, rare, endless], 20_000 * MS)
    assert rare.begun
    assert len(endless.begun) > 50
    assert len(hopeless.begun) > 50


def test_models_that_fit_on_one_thread_stay_on_it() -> None:
    jobs = [Job(20, 10, 2, 0), Job(15, 10, 3, 0), Job(None, 10, 1, 0)]
    assert choose(jobs, second_free=True) == (1, Thread.FIRST)
    assert choose(jobs, second_free=False) == (1, Thread.FIRST)


def test_of_equally_urgent_ones_the_cheaper_goes_first() -> None:
    jobs = [Job(20, 10, 3, 0), Job(20, 10, 2, 0)]
    assert choose(jobs, second_free=True) == (1, Thread.FIRST)


def test_what_would_delay_another_waits_for_the_second_thread() -> None:
    slow, fast = Job(15, 1000, 300, 0), Job(None, 10, 2, 0)
    assert choose([slow, fast], second_free=True) == (0, Thread.SECOND)
    assert choose([slow, fast], second_free=False) is None
    assert choose([slow], second_free=False) == (0, Thread.FIRST)


@pytest.mark.parametrize(
    ("behind", "late"), [(-5, 0), (0, 0), (1, 1), (10, 1), (11, 2), (20, 2), (21, 3)]
)
def test_windows_past_due_are_counted(behind: int, late: int) -> None:
    assert count_late(behind, 10) == late
