"""What remembers the stream gives each of several models what it gives to one alone, bit for bit.

Whatever the order they come in, however late they are, whoever is replaced, fails or joins.
"""

import threading
from collections.abc import Callable
from functools import cache
from typing import Literal, TypeAlias

import msgspec
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edge_agent.bell import Bell
from edge_agent.clock import WallClock
from edge_agent.feed import Feed
from edge_agent.ring import Chunk, Ring
from edge_agent.slot import Slot
from edge_agent.succession import Loaded
from edge_bundle.archive import Bundle
from edge_bundle.features.steps import MicroFrontend
from edge_bundle.inference import Inference
from edge_bundle.manifest import Tensor
from edge_bundle.tensor import Float32Array
from tests.edge_agent.echo import EchoModel, echo

HOP = 480
FRAMES = 3
WINDOW = 800
RATE_HZ = 16000.0
SECONDS = 6
Seen = dict[int, Float32Array]
"""By the position of the window: what the model was given."""

Do: TypeAlias = tuple[Literal["work"], int, int]
Change: TypeAlias = tuple[Literal["put", "break", "swap"], int]
Story = list[Do | Change]
MODELS = 3
STORIES = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(1, 3 * HOP)),
        st.tuples(st.just("break"), st.integers(0, 100)),
        st.tuples(st.just("swap"), st.integers(0, MODELS - 1)),
        st.tuples(st.just("work"), st.integers(0, MODELS - 1), st.integers(1, 5)),
    ),
    min_size=20,
    max_size=60,
)


class Listener(EchoModel):
    """Keeps what it was given."""

    def __init__(self, fails: Callable[[int], bool]) -> None:
        super().__init__(FRAMES * 40, fails)
        self.given: Float32Array = np.empty(0, np.float32)

    def invoke(self) -> None:
        self.given = self.input(0).copy()
        super().invoke()


def listener(fails: Callable[[int], bool] = lambda _call: False, window: int = WINDOW) -> Loaded:
    """Return a model that hears three frames of the audio front end."""
    loaded = echo(window, HOP if window == WINDOW else window, rate_hz=RATE_HZ)
    manifest = loaded.bundle.manifest
    taken = msgspec.structs.replace(
        manifest.tensors, inputs=(Tensor("X", (1, FRAMES * 40), "float32"),)
    )
    manifest = msgspec.structs.replace(manifest, features=(MicroFrontend(),), tensors=taken)
    inference = Inference(manifest, Listener(fails))
    return Loaded(Bundle(loaded.bundle.path, loaded.bundle.sha256, 1, manifest), inference)


@cache
def sound() -> Float32Array:
    """Return noise that grows and fades: what came before matters for a while."""
    random = np.random.default_rng(5)
    level = np.repeat(10 ** random.uniform(-4, -1, SECONDS * 20), 800)
    return np.asarray(random.normal(size=(len(level), 1)) * level[:, None], np.float32)


class Room:
    """Several models on one microphone."""

    def __init__(self, *models: Loaded) -> None:
        self.feed = Feed("mic", Ring(len(sound()), 1, RATE_HZ), "block", Bell())
        self.seen: list[Seen] = []
        self.put_so_far = 0
        self._lost = -1
        for loaded in models:
            self.add(loaded)

    def add(self, loaded: Loaded) -> None:
        slot = Slot(f"m{len(self.seen)}", "mic", "boot", WallClock())
        self.feed.add(slot)
        self.seen.append({})
        self.swap(len(self.seen) - 1, loaded)

    def swap(self, number: int, loaded: Loaded) -> None:
        self.feed.slots[number].offer(loaded)
        self.work(number, 1)

    def put(self, count: int) -> None:
        first, lost = self.put_so_far, self._lost
        self.put_so_far, self._lost = first + count, -1
        samples = sound()[first : first + count]
        self.feed.put(Chunk(samples, first, max(0, lost), lost >= 0))

    def break_off(self, lost: int) -> None:
        """Let no window span what was put so far and what is put next."""
        self._lost = lost

    def work(self, number: int, most: int = 1 << 30) -> None:
        """Let a model do its windows, or the first of them."""
        slot = self.feed.slots[number]
        while most and self.feed.take(slot):
            most -= 1
            made = slot.predict()
            if made is not None and slot.running is not None:
                model = slot.running.inference.model
                assert isinstance(model, Listener)
                self.seen[number][made.start] = model.given

    def work_all(self) -> None:
        for number in range(len(self.seen)):
            self.work(number)


def live(story: Story, models: int) -> list[Seen]:
    """Return what each of so many models was given."""
    room = Room(*(listener() for _ in range(models)))
    for what, number, *rest in story:
        if what == "put":
            room.put(number)
        elif what == "break":
            room.break_off(number)
        elif models == 1:
            room.work(0)  # it is never late, and never replaced
        elif what == "swap":
            room.swap(number, listener())
        else:
            room.work(number, *rest)
    room.work_all()
    return room.seen


def assert_same(found: Seen, expected: Seen) -> None:
    assert found.keys() <= expected.keys()
    for start, given_ in found.items():
        np.testing.assert_array_equal(given_, expected[start], err_msg=f"window at {start}")


@settings(max_examples=60)
@given(STORIES)
@example(
    [("put", 5000), ("work", 0, 9), ("swap", 1), ("put", 5000), ("work", 1, 20), ("work", 0, 9)]
)
def test_each_is_given_what_it_gets_alone(story: Story) -> None:
    story = [("put", 4800), *story, ("put", 4800)]
    (alone,) = live(story, 1)
    for seen in live(story, MODELS):
        assert_same(seen, alone)


@pytest.mark.parametrize("seed", range(4))
def test_order_does_not_matter(seed: int) -> None:
    random = np.random.default_rng(seed)
    story: Story = []
    for _ in range(SECONDS * 16000 // HOP):
        story.append(("put", HOP))
        if random.random() < 0.02:
            story.append(("break", 7))
        late = random.random() < 0.5
        story += [("work", int(i), 9) for i in random.permutation(MODELS) if i or not late]
    (alone,) = live(story, 1)
    for seen in live(story, MODELS):
        assert seen.keys() == alone.keys()
        assert_same(seen, alone)


def test_two_threads_at_once_give_each_what_it_gets_alone() -> None:
    room, alone = Room(listener(), listener()), Room(listener())
    for one in (room, alone):
        for _ in range(10):
            one.put(8000)
            one.break_off(0)
    threads = [threading.Thread(target=room.work, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    alone.work_all()
    for seen in room.seen:
        assert seen.keys() == alone.seen[0].keys()
        assert_same(seen, alone.seen[0])


@pytest.mark.parametrize("window", [WINDOW, FRAMES * 160 + 320])
def test_model_that_fails_makes_the_others_forget_nothing(window: int) -> None:
    # A window that it makes no prediction of is a gap for it, and for nobody else.
    room = Room(listener(lambda call: call % 3 == 0, window), listener(window=window))
    alone = Room(listener(window=window))
    for _ in range(30):
        for one in (room, alone):
            one.put(800)
            one.work_all()
    assert room.seen[1].keys() == alone.seen[0].keys()
    assert room.seen[0].keys() < alone.seen[0].keys()
    for seen in room.seen:
        assert_same(seen, alone.seen[0])


def test_model_at_another_place_goes_alone_until_a_break() -> None:
    room, first, second = Room(listener()), Room(listener()), Room()
    for step in range(40):
        for one in (room, first, second):
            if step == 20:
                one.break_off(0)
            one.put(500)
            if step == 3 and one is not first:  # 2,000 is no multiple of the hop
                one.add(listener())
            one.work_all()
    assert_same(room.seen[0], first.seen[0])
    assert_same(room.seen[1], second.seen[0])
    assert min(room.seen[1]) == 2000
    assert {start for start in room.seen[0] if start >= 10000} == {
        start for start in room.seen[1] if start >= 10000
    }


def test_who_stays_goes_on_as_if_it_had_been_alone() -> None:
    room, alone = Room(listener(), listener()), Room(listener())
    for step in range(30):
        for one in (room, alone):
            one.put(HOP)
        if step == 10:
            room.swap(0, listener(window=480))  # which shares nothing with the other
        if step == 20:
            room.swap(0, listener())
        room.work(step % 2)
        room.work((step + 1) % 2)
        alone.work(0)
    assert_same(room.seen[1], alone.seen[0])
    assert room.seen[1].keys() == alone.seen[0].keys()
