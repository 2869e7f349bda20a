"""Memory has room for every window that may come, and for no more than the configuration says."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from edge_agent.branch import follow
from edge_agent.fit import Refused, StreamShape, check_stream
from edge_agent.retention import BLOCKS_BYTES, count_kept
from edge_agent.ring import Ring
from edge_agent.source_tables import Camera, Host, Source
from edge_bundle.manifest import Channel, Stream
from edge_wire.messages import Reason
from tests.edge_agent.echo import echo

A = Channel("a", "g")


def shape(rate_hz: float, block: int = 1) -> StreamShape:
    return StreamShape(rate_hz, (A,), block=block)


def window(size: int, hop: int, rate_hz: float = 100.0, **changes: Any) -> Stream:
    return Stream(rate_hz=rate_hz, channels=(A,), window=size, hop=hop, **changes)


def host(**changes: Any) -> Source:
    return Host(name="s", **changes)


def camera(**changes: Any) -> Source:
    return Camera(name="s", device=0, width=10, height=10, rate_hz=5.0, **changes)


@pytest.mark.parametrize(
    ("rate_hz", "table", "kept"),
    [
        (1.0, host(), 4096),
        (1000.0, host(), 30_000),
        (1000.0, host(keep_s=0.5), 500),
        (1000.0, host(keep_s=100.0), 100_000),
    ],
)
def test_what_is_kept_is_what_the_source_says(rate_hz: float, table: Source, kept: int) -> None:
    assert count_kept(table, shape(rate_hz)) == kept


@pytest.mark.parametrize("table", [host(), host(keep_s=1.0)])
def test_longest_window_fits_until_it_is_due(table: Source) -> None:
    wanted = [window(10_000, 50), window(20, 20)]
    assert count_kept(table, shape(100.0), wanted) == 10_050
    # Who looks once a day needs no day of samples.
    seldom = count_kept(table, shape(100.0), [window(10_000, 100 * 86400)])
    assert seldom == 10_000 + count_kept(table, shape(100.0))


def test_windows_that_fit_anyway_take_no_more() -> None:
    assert count_kept(host(), shape(100.0), [window(1000, 1000)]) == 4096


def test_frames_are_kept_whole() -> None:
    frame = shape(500.0, block=100)
    assert count_kept(camera(), frame) == 100
    assert count_kept(camera(keep=3), frame) == 300
    assert count_kept(camera(keep_s=0.8), frame) == 400
    assert count_kept(camera(), frame, [window(100, 100, 500.0)]) == 100  # the latest alone
    assert count_kept(camera(), frame, [window(300, 100, 500.0)]) == 300
    assert count_kept(camera(policy="drop_oldest"), frame) == 15_000
    assert count_kept(camera(policy="drop_oldest", keep_s=0.5), frame) == 300
    large = shape(30.0 * 2_000_000, block=2_000_000)
    assert count_kept(camera(policy="drop_oldest"), large) * 4 <= BLOCKS_BYTES
    assert count_kept(camera(policy="drop_oldest", keep_s=1.0), large) == 30 * 2_000_000


@given(
    size=st.integers(1, 3000),
    hop=st.integers(1, 3000),
    from_hz=st.floats(20.0, 2000.0),
    to_hz=st.floats(20.0, 2000.0),
    policy=st.sampled_from(["linear", "polyphase"]),
)
def test_what_is_counted_is_room_enough_at_another_rate(
    size: int, hop: int, from_hz: float, to_hz: float, policy: str
) -> None:
    wanted = echo(size, hop, rate_hz=to_hz, resample=policy, channels=(A,)).stream
    found = shape(from_hz)
    kept = count_kept(host(keep_s=0.001), found, [wanted])
    branch = follow(Ring(kept, 1, from_hz), wanted)
    assert (kept if branch is None else branch.most) >= size
    manifest = msgspec.structs.replace(echo(1, 1).bundle.manifest, stream=wanted)
    check_stream(manifest, replace(found, kept=kept))


def test_window_that_is_longer_than_what_is_kept_is_refused_with_the_key() -> None:
    manifest = echo(6000, 3000, rate_hz=100.0).bundle.manifest
    found = shape(100.0)
    check_stream(manifest, found)
    check_stream(manifest, replace(found, kept=6000))
    with pytest.raises(Refused) as refused:
        check_stream(manifest, replace(found, kept=4096))
    assert refused.value.reason is Reason.STREAM_MISMATCH
    assert str(refused.value) == (
        "the model's window is 60 s of the stream, of which 40.96 s are kept: "
        "say more with keep_s in its [[source]]"
    )
