"""Wall time for the wire, and an honest word on how far it is to be believed."""

import subprocess
import sys
import time
from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.clock import REFRESH_NS, WallClock, kernel_synchronised

EPOCH_NS = 1_793_614_530_000_000_000
"""2026-11-02T10:15:30Z."""


class World:
    """The two clocks of a machine, and whether a time service disciplines one of them."""

    def __init__(self) -> None:
        self.monotonic_ns = 5_000_000_000
        self.wall_ns = EPOCH_NS
        self.synced = True
        self.asked = 0
        self.clock = WallClock(self._synchronised, lambda: self.monotonic_ns, lambda: self.wall_ns)

    def pass_ns(self, ns: int) -> None:
        self.monotonic_ns += ns
        self.wall_ns += ns

    def _synchronised(self) -> bool:
        self.asked += 1
        return self.synced


def test_synchronised_clock_that_loses_its_service_holds_over_until_it_is_back() -> None:
    world = World()
    states = []
    for synced in (True, False, False, True):
        world.synced = synced
        states.append(world.clock.state())
        world.pass_ns(REFRESH_NS)
    assert states == ["synced", "holdover", "holdover", "synced"]


def test_clock_that_never_was_synchronised_says_so() -> None:
    world = World()
    world.synced = False
    assert world.clock.state() == "unsynced"
    world.pass_ns(100 * REFRESH_NS)
    assert world.clock.state() == "unsynced"


def test_kernel_is_asked_at_most_once_a_second() -> None:
    world = World()
    for _ in range(30):
        world.clock.state()
        world.clock.utc(0)
        world.pass_ns(REFRESH_NS // 10)
    assert world.asked == 3


@pytest.mark.parametrize(
    ("ns", "expected"),
    [
        (0, "2026-11-02T10:15:30.000Z"),
        (999_999, "2026-11-02T10:15:30.000Z"),
        (1_000_000, "2026-11-02T10:15:30.001Z"),
        (999_999_999, "2026-11-02T10:15:30.999Z"),
        (1_000_000_000, "2026-11-02T10:15:31.000Z"),
        (-1, "2026-11-02T10:15:29.999Z"),
        (-1_000_000_000, "2026-11-02T10:15:29.000Z"),
        (30_000_000_000, "2026-11-02T10:16:00.000Z"),
    ],
)
def test_utc_is_right_around_the_boundaries_of_a_second(ns: int, expected: str) -> None:
    world = World()
    assert world.clock.utc(world.monotonic_ns + ns) == expected


def test_step_of_the_wall_clock_is_followed_within_a_second() -> None:
    world = World()
    assert world.clock.now() == "2026-11-02T10:15:30.000Z"
    world.wall_ns += 3600 * REFRESH_NS
    assert world.clock.now() == "2026-11-02T10:15:30.000Z"
    world.pass_ns(REFRESH_NS)
    assert world.clock.now() == "2026-11-02T11:15:31.000Z"


@given(steps=st.lists(st.tuples(st.integers(-3 * 10**9, 10**10), st.integers(-(10**12), 10**12))))
def test_time_is_that_of_the_last_look_at_the_wall_clock(steps: list[tuple[int, int]]) -> None:
    """Whatever was asked for before, and however the wall clock was set between the looks."""
    world = World()
    for back_ns, set_ns in steps:
        world.pass_ns(REFRESH_NS)
        world.wall_ns += set_ns
        wall_ms = (world.wall_ns - back_ns) // 10**6
        expected = datetime.fromtimestamp(wall_ms // 1000, timezone.utc)
        told = f"{expected:%Y-%m-%dT%H:%M:%S}.{wall_ms % 1000:03d}Z"
        assert world.clock.utc(world.monotonic_ns - back_ns) == told


def test_other_thread_never_sees_a_clock_that_is_half_set() -> None:
    """The second caller comes in the middle of the first one's refresh."""
    seen: list[str] = []

    def wall_ns() -> int:
        if not seen:
            seen.append("")
            seen.append(clock.utc(0))
        return EPOCH_NS

    clock = WallClock(lambda: True, lambda: 0, wall_ns)
    assert clock.utc(0) == seen[1] == "2026-11-02T10:15:30.000Z"


def test_second_that_another_thread_began_before_the_clock_was_set_is_not_used_after(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The clock is set, and that is seen, while the first one is still writing its second."""
    world, real = World(), time.strftime

    def strftime(form: str, of: time.struct_time) -> str:
        monkeypatch.setattr(time, "strftime", real)
        world.wall_ns += 3600 * REFRESH_NS
        world.pass_ns(REFRESH_NS)
        world.clock.utc(world.monotonic_ns)
        return real(form, of)

    monkeypatch.setattr(time, "strftime", strftime)
    world.clock.utc(world.monotonic_ns)
    assert world.clock.utc(world.monotonic_ns) == "2026-11-02T11:15:31.000Z"


def test_kernel_is_asked_without_starting_a_program() -> None:
    code = (
        "import sys; seen = []; sys.addaudithook(lambda name, _: seen.append(name));"
        "from edge_agent.clock import kernel_synchronised as k;"
        "assert k() in (True, False); assert 'subprocess.Popen' not in seen, seen"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert kernel_synchronised() in {True, False}
