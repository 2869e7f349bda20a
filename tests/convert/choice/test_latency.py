"""Two models are timed in turns, or a board has done it before; real figures are a benchmark's."""

from pathlib import Path

import msgspec
import pytest

from convert.choice import latency
from convert.choice.latency import Pace, Profile, compare_pace, look_up, read_profile
from edge_bundle.errors import ConfigError, ModelRefused
from tests.convert.classifier import echo, say

FLOAT, INT8 = "a" * 64, "b" * 64
BOARD = Profile("Raspberry Pi 4, onnxruntime 1.32", {FLOAT: 200.0, INT8: 90.0})


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
    assert str(stop.value).startswith(f"--latency: {file}: ")
    assert said in str(stop.value)


def test_profile_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--latency: .*pi\.json: No such file or directory"):
        read_profile(tmp_path / "pi.json")
    with pytest.raises(ConfigError, match="Is a directory"):
        read_profile(tmp_path)


def test_board_knows_what_it_has_run() -> None:
    assert look_up(BOARD, FLOAT, INT8) == Pace(200.0, 90.0, 0.45, slower=False)
    assert look_up(BOARD, INT8, FLOAT) == Pace(90.0, 200.0, 200 / 90, slower=True)
    assert look_up(BOARD, FLOAT, FLOAT) == Pace(200.0, 200.0, 1.0, slower=False)


def test_board_that_has_not_run_both_knows_nothing() -> None:
    assert look_up(BOARD, FLOAT, "c" * 64) is None
    assert look_up(BOARD, "c" * 64, INT8) is None


def test_the_same_model_takes_about_as_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency, "SECONDS", 0.05)
    same = echo(), "onnx"
    pace = compare_pace(same, same, list(say([0, 1, 2])[:, None]))
    assert pace.ratio == pace.latency_us / pace.reference_us
    assert 0.05 < pace.ratio < 20
    assert pace.latency_us > 0


def test_rounds_of_the_slower_model_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    # A simulated clock: the second model takes twice as long, and one round is a hiccup of float's.
    models: dict[int, int] = {}

    def run(model: object, _inputs: object, times: int) -> float:
        number = models.setdefault(id(model), len(models))
        calls.append(number)
        hiccup = number == 0 and calls.count(0) == 5
        return [100.0, 200.0][number] * (50 if hiccup else 1) if times > 3 else 1e5

    calls: list[int] = []
    monkeypatch.setattr(latency, "_run", run)
    data = echo(), "onnx"
    pace = compare_pace(data, data, [])
    assert pace == Pace(0.1, 0.2, 2.0, slower=True)
    # In turns, so that what slows one slows both.
    assert calls == [0, 1] * (len(calls) // 2)


def test_model_that_does_not_run_is_refused() -> None:
    with pytest.raises(ModelRefused):
        compare_pace((echo(), "onnx"), (b"", "onnx"), list(say([0])[:, None]))
