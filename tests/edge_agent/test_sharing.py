"""Models with the same features on the same windows have them worked out once, and see the same."""

import msgspec
import numpy as np
import pytest

from edge_agent.bell import Bell
from edge_agent.clock import WallClock
from edge_agent.feed import Feed
from edge_agent.ring import Ring
from edge_agent.sharing import MOST_HELD, Group
from edge_agent.slot import Slot
from edge_agent.succession import Loaded
from edge_bundle.archive import Bundle
from edge_bundle.features.chain import Chain
from edge_bundle.features.runner import Fresh
from edge_bundle.features.steps import Standardise
from edge_bundle.inference import Inference
from edge_bundle.tensor import Float32Array
from tests.edge_agent.echo import RATE_HZ, EchoModel, echo, seen
from tests.edge_agent.test_feed import chunk

Runs = list[tuple[Float32Array, Fresh]]


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Runs:
    """What the real steps were run on."""
    made: Runs = []
    run = Chain.run

    def counted(chain: Chain, samples: Float32Array, fresh: Fresh = None) -> Float32Array:
        made.append((samples.copy(), fresh))
        return run(chain, samples, fresh)

    monkeypatch.setattr(Chain, "run", counted)
    return made


def scaled(window: int, hop: int, mean: float = 0.0, rate_hz: float = RATE_HZ) -> Loaded:
    """Return a model that sees its window less ``mean``."""
    loaded = echo(window, hop, rate_hz=rate_hz)
    features = (Standardise((mean,), (1.0,)),)
    manifest = msgspec.structs.replace(loaded.bundle.manifest, features=features)
    inference = Inference(manifest, EchoModel(window, lambda _call: False))
    return Loaded(Bundle(loaded.bundle.path, loaded.bundle.sha256, 1, manifest), inference)


def feed_of(*models: Loaded) -> Feed:
    feed = Feed("s", Ring(1000, 1, 1000.0), "block", Bell())
    for i, loaded in enumerate(models):
        slot = Slot(f"m{i}", "s", "boot", WallClock())
        feed.add(slot)
        slot.offer(loaded)
        feed.take(slot)
    return feed


def starts(feed: Feed, number: int, most: int = 1000) -> list[int]:
    """Let one model do its windows; return the values that they began with."""
    slot = feed.slots[number]
    made: list[int] = []
    while len(made) < most and feed.take(slot):
        one = slot.predict()
        assert one is not None
        made.append(seen(one)[0])
    return made


def in_turns(feed: Feed) -> list[list[int]]:
    """Let the models do a window each in turn, as long as there are any."""
    made: list[list[int]] = [[] for _ in feed.slots]
    while not feed.drained():
        for number in range(len(made)):
            made[number] += starts(feed, number, 1)
    return made


def test_three_models_in_turns_run_the_steps_once(runs: Runs) -> None:
    feed = feed_of(scaled(10, 5), scaled(10, 5), scaled(10, 5))
    feed.put(chunk(0, 100))
    made = in_turns(feed)
    assert made == [list(range(0, 91, 5))] * 3
    assert [int(samples[0, 0]) for samples, _ in runs] == made[0]
    assert [fresh for _, fresh in runs] == [None] + [5] * 18


@pytest.mark.parametrize(
    "other",
    # A rate a little off fits the stream; features of frequencies are others there.
    [scaled(10, 5, 1.0), scaled(10, 10), scaled(20, 5), scaled(10, 5, rate_hz=1010.0)],
    ids=["features", "hop", "window", "rate"],
)
def test_models_that_differ_share_nothing(runs: Runs, other: Loaded) -> None:
    feed = feed_of(scaled(10, 5), other)
    feed.put(chunk(0, 40))
    made = in_turns(feed)
    assert len(runs) == sum(len(each) for each in made)


def test_models_of_other_streams_share_nothing(runs: Runs) -> None:
    for feed in (feed_of(scaled(10, 5)), feed_of(scaled(10, 5))):
        feed.put(chunk(0, 10))
        starts(feed, 0)
    assert len(runs) == 2


def test_model_that_is_late_finds_what_was_made(runs: Runs) -> None:
    feed = feed_of(scaled(10, 5), scaled(10, 5))
    feed.put(chunk(0, 100))
    assert starts(feed, 0) == starts(feed, 1) == list(range(0, 91, 5))
    assert len(runs) == 19


def test_model_that_is_far_behind_works_out_its_own_until_it_is_in_step(runs: Runs) -> None:
    feed = feed_of(scaled(4, 1), scaled(4, 1))
    feed.put(chunk(0, 1000))
    assert starts(feed, 0) == starts(feed, 1) == list(range(997))
    # The last of the first one's were still held when the second came to them.
    assert [(int(s[0, 0]), fresh) for s, fresh in runs[997:]] == [
        (start, 1 if start else None) for start in range(997 - MOST_HELD)
    ]
    made = len(runs)
    feed.put(chunk(1000, 1))
    assert starts(feed, 0) == starts(feed, 1) == [997]
    assert len(runs) == made + 1


def test_steps_see_every_window_whichever_model_comes_first(runs: Runs) -> None:
    feed = feed_of(scaled(10, 5), scaled(10, 5))
    feed.put(chunk(0, 15))
    starts(feed, 0)
    starts(feed, 1)  # both from what the first one made
    feed.put(chunk(15, 5))
    starts(feed, 1)
    feed.put(chunk(20, 5))
    starts(feed, 1)
    starts(feed, 0)  # the next for it is what the second one made
    assert [(int(s[0, 0]), fresh) for s, fresh in runs] == [(0, None), (5, 5), (10, 5), (15, 5)]


def test_sharing_follows_a_change_of_model(runs: Runs) -> None:
    feed = feed_of(scaled(10, 5), scaled(10, 5))
    feed.put(chunk(0, 10))
    assert in_turns(feed) == [[0], [0]]
    feed.slots[1].offer(scaled(10, 5, 2.0))
    feed.put(chunk(10, 5))
    assert in_turns(feed) == [[5], [3]]
    feed.slots[1].offer(scaled(10, 5))
    feed.put(chunk(15, 5))
    assert in_turns(feed) == [[10], [10]]
    assert len(runs) == 1 + 2 + 2  # the first one was still alone when it began
    feed.put(chunk(20, 5))
    assert in_turns(feed) == [[15], [15]]
    assert len(runs) == 1 + 2 + 2 + 1
    np.testing.assert_array_equal(runs[-1][0][:, 0], np.arange(15, 25))


def test_model_that_leaves_makes_one_behind_it_forget_nothing(runs: Runs) -> None:
    feed = feed_of(scaled(10, 5), scaled(10, 5))
    feed.put(chunk(0, 30))
    starts(feed, 0)
    starts(feed, 1, 2)
    feed.slots[0].offer(scaled(10, 10, 2.0))
    feed.take(feed.slots[0])
    assert starts(feed, 1) == [10, 15, 20]
    feed.put(chunk(30, 5))
    assert starts(feed, 1) == [25]
    assert [(int(s[0, 0]), fresh) for s, fresh in runs] == [
        (start, 5 if start else None) for start in range(0, 30, 5)
    ]


def test_versions_that_come_and_go_leave_nothing_behind() -> None:
    feed = feed_of(scaled(10, 10), scaled(10, 10))
    groups: dict[object, Group] = vars(feed.slots[0].sharing)["_groups"]
    for _ in range(5):
        feed.slots[1].offer(scaled(10, 10))
        feed.take(feed.slots[1])
    (group,) = groups.values()
    assert (len(group.shares), len(group.chains())) == (2, 2)
    for slot in feed.slots:
        slot.offer(scaled(20, 20))
        feed.take(slot)
    assert [len(other.shares) for other in groups.values()] == [2]
    assert group not in groups.values()
