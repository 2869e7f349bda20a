"""A source is woken by its device for each sample, where that is not too often, and rests then."""

import os

import pytest

from edge_agent.fit import StreamShape
from edge_agent.sources.device import LOOK_S, TICK_S, rest_s, until_readable
from edge_bundle.manifest import Channel


@pytest.mark.parametrize(("rate_hz", "expected"), [(1, 0.5), (100, 0.005), (201, TICK_S)])
def test_rest_ends_before_the_next_sample_unless_they_are_taken_several_at_once(
    rate_hz: float, expected: float
) -> None:
    assert rest_s(StreamShape(rate_hz, (Channel("a", "g"),))) == expected


def test_data_is_seen_after_the_rest_and_a_stop_ends_it() -> None:
    reading, writing = os.pipe()
    waits: list[float] = []

    def wait(seconds: float) -> bool:
        waits.append(seconds)
        if len(waits) == 2:  # nothing came in the first look: the next one does not rest
            os.write(writing, b"x")
        return len(waits) > 2

    try:
        assert not until_readable(reading, wait, 0.005)
        assert waits == [0.005, 0.0]
        os.read(reading, 1)
        assert until_readable(reading, wait, 0.005)
    finally:
        os.close(reading)
        os.close(writing)
    assert LOOK_S > TICK_S
