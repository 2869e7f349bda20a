"""Models are timed in turns; what a board wrote of that is read, or refused in one line."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from edge_bundle import latency
from edge_bundle.errors import ConfigError
from edge_bundle.latency import Profile, read_profile, time_in_turns
from edge_bundle.tensor import TensorSpec

BOARD = Profile("Raspberry Pi 4, onnxruntime 1.32", {"a" * 64: 200.0, "b" * 64: 90.0})


def test_profile_is_what_a_board_wrote(tmp_path: Path) -> None:
    file = tmp_path / "pi.json"
    file.write_bytes(msgspec.json.encode(BOARD))
    assert read_profile(file) == BOARD


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "truncated"),
        (b"hello", "malformed"),
        (b'"\xff"', "expected {machine, latency_us by sha256}"),
        (b'{"machine": "\xff", "latency_us": {}}', "expected {machine, latency_us by sha256}"),
        (b"{}", "missing required field `machine`"),
        (b'{"machine": "m", "latency_us": {"abc": 1}}', "matching regex"),
        (b'{"machine": "m", "latency_us": {"%s": 0}}' % (b"a" * 64), "> 0"),
        (b'{"machine": "m", "latency_us": {"%s": "1"}}' % (b"a" * 64), "Expected `float`"),
        (b'{"machine": "m", "latency_us": {}, "unit": "ms"}', "unknown field `unit`"),
        (b" " * (latency.MAX_PROFILE_BYTES + 1), "larger than 1048576 bytes"),
    ],
)
def test_file_that_is_no_profile_is_one_line(tmp_path: Path, content: bytes, said: str) -> None:
    file = tmp_path / "pi.json"
    file.write_bytes(content)
    with pytest.raises(ConfigError) as stop:
        read_profile(file)
    assert str(stop.value).startswith(f"{file}: ")
    assert said in str(stop.value)


def test_profile_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"pi\.json: No such file or directory"):
        read_profile(tmp_path / "pi.json")
    with pytest.raises(ConfigError, match="Is a directory"):
        read_profile(tmp_path)


class Clocked:
    """A model that takes as long as it is told, on a clock that only it moves."""

    inputs = (TensorSpec("x", (1, 2), "float32"), TensorSpec("n", (1,), "int64"))

    def __init__(self, world: "World", number: int, times_ns: Any) -> None:
        self._world, self._number, self._times_ns = world, number, times_ns
        self.given = [np.zeros((1, 2), np.float32), np.zeros(1, np.int64)]

    def input(self, index: int) -> Any:
        return self.given[index]

    def invoke(self) -> None:
        self._world.order.append(self._number)
        self._world.now_ns += self._times_ns(self._world.order.count(self._number))


class World:
    """The clock, and who ran when."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_ns, self.order = 0, list[int]()
        monkeypatch.setattr(latency, "perf_counter_ns", lambda: self.now_ns)


SAMPLE = (np.ones(2, np.float32), np.asarray([7]))


def test_models_have_their_turns_and_a_hiccup_is_not_the_median(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World(monkeypatch)
    quick: Any = Clocked(world, 0, lambda run: 50_000 if run % 10 == 0 else 1_000)
    slow: Any = Clocked(world, 1, lambda _: 2_000)
    told: list[tuple[int, int]] = []
    rounds = time_in_turns(
        [quick, slow], [[SAMPLE], [SAMPLE]], 5, 1e-3, lambda *at: told.append(at)
    )
    assert rounds == [(1_000, 2_000)] * 5
    assert told == [(done, 5) for done in range(1, 6)]
    changes = sum(a != b for a, b in zip(world.order, world.order[1:], strict=False))
    assert changes == 2 * (2 + 5) - 1  # two warm-ups, then each round: one block of each
    assert quick.given[0].tolist() == [[1, 1]]
    assert quick.given[1].tolist() == [7]


@pytest.mark.parametrize("seconds", [0.0, 1e-9, 1e9])
def test_block_is_one_run_at_least_and_bounded(
    monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    world = World(monkeypatch)
    only: Any = Clocked(world, 0, lambda _: 1_000)
    assert time_in_turns([only], [[SAMPLE]], 2, seconds) == [(1_000,)] * 2
    assert 6 + 2 <= len(world.order) <= 6 + 2 * latency.BLOCK_MOST
