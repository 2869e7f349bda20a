"""A model that wants another rate gets it, from a ring that models of that rate share."""

from math import inf
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.branch import Branch, follow
from edge_agent.ring import Chunk, Ring
from edge_agent.slot import Made
from edge_bundle.resampling import make_resampler
from tests.edge_agent.echo import MS, Bench, echo, read, seen
from tests.edge_agent.test_feed import chunk, make_feed, work, writing

HALF: dict[str, Any] = {"rate_hz": 500.0, "resample": "linear"}
DOUBLE: dict[str, Any] = {"rate_hz": 2000.0, "resample": "linear"}


def branch_of(ring: Ring, policy: Any, rate_hz: float) -> Branch:
    found = follow(ring, echo(4, 4, rate_hz=rate_hz, resample=policy).stream)
    assert found is not None
    return found


def held(ring: Ring) -> np.ndarray[Any, Any]:
    out = np.empty((ring.head - ring.tail, 1), np.float32)
    if len(out):
        ring.read(ring.tail, len(out), out.data.cast("B"))
    return out


@settings(deadline=None)
@given(
    st.sampled_from(["linear", "polyphase"]),
    st.sampled_from([500.0, 441.0, 2000.0]),
    st.lists(st.integers(1, 90), min_size=1, max_size=12),
)
def test_branch_holds_what_a_resampler_gives_of_the_whole(
    policy: Any, rate_hz: float, sizes: list[int]
) -> None:
    ring = Ring(64, 1, 1000.0)
    branch = branch_of(ring, policy, rate_hz)
    samples = np.random.default_rng(sum(sizes)).normal(size=(sum(sizes), 1)).astype(np.float32)
    at = 0
    for size in sizes:
        at += size
        ring.append(Chunk(samples[at - size : at], at * MS))
    expected = make_resampler(policy, 1000.0, rate_hz, 1).push(samples)
    assert branch.ring.head == len(expected)
    np.testing.assert_array_equal(held(branch.ring), expected[branch.ring.tail :])


def test_time_of_a_sample_is_where_it_stands_on_the_stream() -> None:
    ring = Ring(64, 1, 1000.0)
    branch = branch_of(ring, "linear", 400.0)
    ring.append(Chunk(np.zeros((11, 1), np.float32), 10 * MS))  # the first one is at 0
    times = [branch.ring.time_ns(n) for n in range(branch.ring.head)]
    assert times == pytest.approx([0, 2.5 * MS, 5 * MS, 7.5 * MS, 10 * MS])


def test_break_begins_a_new_run_and_its_loss_is_counted_at_the_branchs_rate() -> None:
    ring = Ring(64, 1, 1000.0)
    branch = branch_of(ring, "linear", 400.0)
    for n in range(10):
        ring.append(Chunk(np.full((5, 1), n, np.float32), (n + 1) * 6 * MS, lost=1))
    assert ring.lost == 10
    assert branch.ring.lost == 4
    # Two outputs fit into each run of five, at 0 and 2.5; nothing is mixed across.
    assert held(branch.ring)[:, 0].tolist() == [n for n in range(10) for _ in range(2)]


def test_samples_that_are_not_finite_break_a_branch_too() -> None:
    ring = Ring(64, 1, 1000.0)
    branch = branch_of(ring, "linear", 500.0)
    values = np.zeros((20, 1), np.float32)
    values[10] = np.nan
    ring.append(Chunk(values, 20 * MS))
    assert np.isfinite(held(branch.ring)).all()
    assert branch.ring.breaks == 1


def test_models_of_one_rate_share_a_branch_and_the_same_rate_needs_none() -> None:
    ring = Ring(64, 1, 1000.0)
    assert branch_of(ring, "linear", 500.0) is branch_of(ring, "linear", 500.0)
    assert branch_of(ring, "polyphase", 500.0) is not branch_of(ring, "linear", 500.0)
    assert follow(ring, echo(4, 4, rate_hz=1019.0, resample="linear").stream) is None
    assert follow(ring, echo(4, 4).stream) is None


def test_stream_without_a_time_of_its_own_is_resampled_too() -> None:
    ring = Ring(64, 1, 1000.0, inf)
    branch = branch_of(ring, "linear", 500.0)
    ring.append(Chunk(np.zeros((11, 1), np.float32), 5 * MS))
    assert {branch.ring.time_ns(n) for n in range(6)} == {5 * MS}


# --- through a slot


def test_windows_are_of_the_models_rate() -> None:
    bench = Bench(loaded=echo(10, 10, **HALF))
    bench.push(80)
    bench.work()
    assert bench.windows == [(0, 18), (20, 38), (40, 58), (60, 78)]
    assert [(p.window_ms, p.quality) for p in bench.predictions] == [(20.0, "ok")] * 4


def test_gap_invalidates_the_windows_it_touches_and_is_counted_at_the_models_rate() -> None:
    bench = Bench(loaded=echo(10, 10, **HALF))
    bench.push(31)
    bench.push(40, lost=20)
    bench.work()
    assert bench.windows == [(0, 18), (31, 49), (51, 69)]
    told = [(p.lost_samples, p.quality) for p in bench.predictions]
    assert told == [(0, "ok"), (10, "gap"), (0, "ok")]


@pytest.mark.parametrize("other", [HALF, DOUBLE])
@pytest.mark.parametrize(("window", "hop"), [(10, 10), (7, 3)])
@pytest.mark.parametrize("size", [1, 17, 300])
def test_block_loses_nothing_at_another_rate(
    other: dict[str, Any], window: int, hop: int, size: int
) -> None:
    feed = make_feed(40, "block", echo(window, hop, **other), echo(10, 10))
    made: list[Made] = []
    with writing(feed, [chunk(at, size) for at in range(0, 300, size)]) as thread:
        while thread.is_alive() or not feed.drained():
            made += work(feed)
    assert {(read(m).lost_samples, read(m).quality) for m in made} == {(0, "ok")}
    starts = [m.start for m in made if m.model == "echo0"]
    count = int(299 // size * size * other["rate_hz"] / 1000)
    assert starts == [n * hop for n in range(len(starts))]
    assert len(starts) >= (count - window) // hop


def test_largest_window_has_room_and_a_larger_one_is_refused() -> None:
    bench = Bench(capacity=40, loaded=echo(80, 80, **DOUBLE))
    assert bench.unhealthy == []
    for _ in range(5):
        bench.push(8)
    bench.push(1)
    bench.work()
    assert [m.start for m in bench.made] == [0]
    other = Bench(capacity=40, loaded=echo(81, 80, **DOUBLE))
    assert other.unhealthy == [("1.0.0", "a window of 81 samples; 80 are kept of this stream")]


def test_model_of_another_rate_goes_on_with_a_gap_and_the_branch_left_is_let_go() -> None:
    bench = Bench(loaded=echo(10, 10, **HALF))
    bench.push(45)
    bench.work()
    bench.slot.offer(echo(10, 10, "2.0.0"))
    bench.work()
    assert bench.ring.followers == {}
    bench.push(30)
    bench.work()
    assert bench.windows == [(0, 18), (20, 38), (45, 54), (55, 64), (65, 74)]
    assert [p.quality for p in bench.predictions] == ["ok", "ok", "gap", "ok", "ok"]


def test_trial_that_fails_at_another_rate_returns_to_the_rate_before() -> None:
    bench = Bench(loaded=echo(10, 10))
    bench.push(10)
    bench.work()
    bench.slot.offer(echo(10, 10, "2.0.0", lambda call: call > 1, **HALF), trial=True)
    bench.work()
    bench.push(65)
    bench.work()
    bench.push(20)
    bench.work()
    # Windows of 20 ms from 10 on; the second one fails, and the first model goes on from there.
    assert [(p.model.version, p.quality) for p in bench.predictions] == [
        ("1.0.0", "ok"),
        ("2.0.0", "gap"),
        ("1.0.0", "gap"),
        ("1.0.0", "ok"),
    ]
    assert [seen(m) for m in bench.made] == [(0, 9), (10, 28), (75, 84), (85, 94)]
    assert [version for version, _ in bench.unhealthy] == ["2.0.0"]


def test_branch_of_a_trial_is_kept_for_the_one_before_it() -> None:
    bench = Bench(loaded=echo(10, 10, **HALF))
    bench.push(20)
    bench.work()
    bench.slot.offer(echo(10, 10, "2.0.0", lambda call: call > 1), trial=True)
    bench.work()
    assert len(bench.ring.followers) == 1
    bench.push(20)
    bench.work()
    bench.push(40)
    bench.work()
    assert bench.predictions[-1].model.version == "1.0.0"
    assert bench.predictions[-1].window_ms == 20.0
