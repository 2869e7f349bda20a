"""The nodes that int8 hurts are told before anything is built."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from convert.diagnosis import DiagnosisOrder, diagnose
from convert.findings import Damage
from edge_bundle.errors import ConfigError, RecordingRefused
from tests.convert.classifier import NODES, Told, inputs_of, perceptron
from tests.edge_bundle.bundles import EXAMPLES, MODEL, RECORDING
from tests.parts import require_module


@pytest.fixture
def order(tmp_path: Path) -> DiagnosisOrder:
    np.savez(tmp_path / "cal.npz", x=inputs_of(40))
    return DiagnosisOrder(perceptron(tmp_path / "m.onnx"), str(tmp_path / "cal.npz"))


def names(damages: list[Damage]) -> list[str]:
    return [d.node for d in damages]


def test_every_node_with_weights_has_its_damage(order: DiagnosisOrder) -> None:
    told = Told()
    found = diagnose(order, told)
    assert names(found) == list(NODES)
    assert all(d.sqnr_db is not None and 20 < d.sqnr_db < 80 for d in found)
    assert not any(d.kept_float for d in found)
    assert told.texts[-1] == "measuring which nodes int8 hurts"


def test_the_same_order_finds_the_same(order: DiagnosisOrder) -> None:
    assert diagnose(order, Told()) == diagnose(order, Told())


def test_another_format_is_converted_first(order: DiagnosisOrder) -> None:
    require_module("ai_edge_litert")
    require_module("ai_edge_quantizer")
    found = diagnose(replace(order, form="tflite"), Told())
    assert [d.operator for d in found] == ["FULLY_CONNECTED"] * 3


def test_windows_of_a_stream_go_through_its_features() -> None:
    spec = EXAMPLES / "watch" / "stream.toml"
    found = diagnose(DiagnosisOrder(MODEL, f"{RECORDING}#0-4", spec=spec), Told())
    assert len(found) == 2
    assert {d.operator for d in found} <= {"Gemm", "MatMul"}


def test_calibration_that_the_model_does_not_take_is_refused(order: DiagnosisOrder) -> None:
    np.savez(order.calibration, x=np.zeros((20, 3), np.float32))
    with pytest.raises(RecordingRefused, match="samples of 3, the model's input x takes 1x16"):
        diagnose(order, Told())


def test_missing_files_are_named(order: DiagnosisOrder, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.onnx: No such file"):
        diagnose(replace(order, model=tmp_path / "none.onnx"), Told())
    with pytest.raises(ConfigError, match="--target: "):
        diagnose(replace(order, target="toaster"), Told())
