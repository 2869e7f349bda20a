"""Whatever order a broker delivers in, a device's newest report stands."""

import random

from hypothesis import given
from hypothesis import strategies as st

from edge_wire.messages import Availability, Info, Reported, encode
from edge_wire.topics import Topics
from fleet.observer import Observer

TOPICS = Topics()


def report(boot: int, n: int) -> bytes:
    return encode(Reported(1, f"{boot:06d}-{'ab' * 8}", n, "2026-01-01T00:00:00Z", {}))


def birth(boot: int) -> bytes:
    return encode(Info(1, "d", "0.1.0", f"{boot:06d}-{'ab' * 8}", "g", {}, "generic", {}, {}))


@given(
    st.lists(st.tuples(st.integers(1, 3), st.integers(1, 5)), min_size=1, unique=True),
    st.randoms(use_true_random=False),
)
def test_duplicates_and_disorder_do_not_bring_an_old_report_back(
    order: list[tuple[int, int]], chance: random.Random
) -> None:
    observer = Observer(TOPICS)
    delivered = order * 2
    chance.shuffle(delivered)
    for now, (boot, n) in enumerate(delivered):
        observer.take(TOPICS.device("d", "reported"), report(boot, n), False, now)
    found = observer.views["d"].reported
    assert found is not None
    assert (int(found.boot[:6]), found.n) == max(order)


def test_a_device_that_was_wiped_begins_anew() -> None:
    observer = Observer(TOPICS)
    observer.take(TOPICS.device("d", "info"), birth(17), True, 0)
    observer.take(TOPICS.device("d", "reported"), report(17, 900), True, 0)
    observer.take(TOPICS.device("d", "info"), birth(1), False, 1)
    observer.take(TOPICS.device("d", "reported"), report(1, 1), False, 1)
    view = observer.views["d"]
    assert view.reported is not None
    assert view.reported.n == 1
    assert view.live


def test_what_cannot_be_read_changes_nothing() -> None:
    observer = Observer(TOPICS)
    observer.take(TOPICS.device("d", "availability"), b"online", True, 0)
    for topic, payload in (
        (TOPICS.device("d", "availability"), b"\xff"),
        (TOPICS.device("d", "availability"), b"elsewhere"),
        (TOPICS.device("d", "info"), b"{}"),
        (TOPICS.device("d", "reported"), b"[" * 100_000),
        (TOPICS.device("\x1b[2J", "availability"), b"online"),
        ("edge/v1/dev", b"online"),
    ):
        assert observer.take(topic, payload, False, 1) is None
    assert list(observer.views) == ["d"]
    assert observer.views["d"].availability is Availability.ONLINE
    assert observer.take_changed() == {"d"}
    assert observer.take_changed() == set()
