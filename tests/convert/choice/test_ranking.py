"""Candidates are ranked without labels; what few samples do not tell apart, more do."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from convert.choice import ranking
from convert.choice.ranking import Ranking, Yardstick
from convert.choice.recipes import FloatModel
from convert.choice.sensitivity import quality
from convert.parity import Parity, run_model
from convert.targets import read_target
from tests.convert.choice.test_selection import calibrate
from tests.convert.classifier import Told, inputs_of


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory: pytest.TempPathFactory) -> tuple[FloatModel, Parity]:
    return calibrate(tmp_path_factory.mktemp("model"))


def open_ranking(model: FloatModel, stick: Yardstick, told: Told) -> Ranking:
    return Ranking(model, read_target("generic"), stick, None, told, forced=True)


def test_tie_is_settled_by_all_calibration_samples(
    calibrated: tuple[FloatModel, Parity], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, parity = calibrated
    monkeypatch.setattr(ranking, "TIE_DB", 100.0)
    more = [row[None] for row in inputs_of(64, seed=9)]
    told = Told()
    stick = Yardstick(parity.inputs, parity.found, more)
    ranked = open_ranking(model, stick, told).rank("int8", ())
    assert f"ranking the {len(ranked)} best again, on 64 samples" in told.texts
    expected = run_model(model.data, "onnx", more)
    for one in ranked:
        assert one.data is not None
        found = quality(run_model(one.data, "onnx", more), expected)
        assert one.sqnr_db == pytest.approx(found, abs=0.01)
    assert [t.sqnr_db for t in ranked] == sorted((t.sqnr_db for t in ranked), reverse=True)


def test_clear_leader_costs_no_further_run(
    calibrated: tuple[FloatModel, Parity], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, parity = calibrated
    monkeypatch.setattr(ranking, "TIE_DB", 0.0)
    told = Told()
    stick = Yardstick(parity.inputs, parity.found, [row[None] for row in inputs_of(64)])
    open_ranking(model, stick, told).rank("int8", ())
    assert not any("again" in text for text in told.texts)


def test_outputs_without_noise_lead_and_are_not_ranked_again(tmp_path: Path) -> None:
    model, parity = calibrate(tmp_path)
    told = Told()
    stick = Yardstick(parity.inputs, parity.found, [row[None] for row in inputs_of(64)])
    (kept,) = open_ranking(replace(model, ranges={}), stick, told).rank("float", ())
    assert kept.sqnr_db > 100 or np.isinf(kept.sqnr_db)
