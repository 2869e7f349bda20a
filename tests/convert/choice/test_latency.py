"""Two models are timed in turns, or a board has done it before; real figures are a benchmark's."""

import pytest

from convert.choice import latency
from convert.choice.latency import Pace, compare_pace, look_up
from edge_bundle.errors import ModelRefused
from edge_bundle.latency import Profile
from tests.convert.classifier import echo, say

FLOAT, INT8 = "a" * 64, "b" * 64
BOARD = Profile("Raspberry Pi 4, onnxruntime 1.32", {FLOAT: 200.0, INT8: 90.0})


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


def test_one_hiccup_does_not_make_a_model_slower(monkeypatch: pytest.MonkeyPatch) -> None:
    steady = [(100.0, 50.0)] * (latency.ROUNDS - 2) + [(100.0, 5000.0)] * 2
    monkeypatch.setattr(latency, "time_in_turns", lambda *_: steady)
    data = echo(), "onnx"
    assert compare_pace(data, data, []) == Pace(0.1, 0.05, 0.5, slower=False)
    monkeypatch.setattr(latency, "time_in_turns", lambda *_: [(100.0, 200.0)] * latency.ROUNDS)
    assert compare_pace(data, data, []) == Pace(0.1, 0.2, 2.0, slower=True)


def test_model_that_does_not_run_is_refused() -> None:
    with pytest.raises(ModelRefused):
        compare_pace((echo(), "onnx"), (b"", "onnx"), list(say([0])[:, None]))
