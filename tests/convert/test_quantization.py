"""Codes come from real windows, silently, and only where something can be int8."""

import logging
from pathlib import Path

import pytest

from convert.canonical import canonicalise
from convert.quantization import quantize
from edge_bundle.errors import ModelRefused
from tests.convert.example import INPUTS, operators, parity_of, save_small


def test_nothing_to_quantize_is_refused(tmp_path: Path) -> None:
    body = "y = Sin(x) s = ReduceMax <axes = [1]> (y) t = Neg(s) scores = Sum(s, t)"
    file = save_small(tmp_path / "m.onnx", body.replace("scores = Sum(s, t)", "scores = Exp(t)"))
    data = canonicalise(parity_of(file, labels=1))
    with pytest.raises(ModelRefused, match="nothing in it can be int8"):
        quantize(data, INPUTS)


def test_softmax_stays_float(tmp_path: Path) -> None:
    file = save_small(tmp_path / "m.onnx", "y = MatMul(x, w) scores = Softmax(y)")
    assert operators(quantize(canonicalise(parity_of(file)), INPUTS))[-1] == "Softmax"


def test_advice_of_the_library_is_not_shown(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    data = canonicalise(parity_of(save_small(tmp_path / "m.onnx", "scores = MatMul(x, w)")))
    handlers, filters = list(logging.getLogger().handlers), list(logging.getLogger().filters)
    quantize(data, INPUTS)
    assert (logging.getLogger().handlers, logging.getLogger().filters) == (handlers, filters)
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []
