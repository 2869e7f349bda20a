"""What the ONNX pass saw is taken over by name; only what it does not know is looked at."""

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from convert.onnx.calibration import observe_onnx
from convert.onnx.canonical import canonicalise
from convert.ranges import Seen
from convert.tflite import calibration
from convert.tflite.calibration import observe
from convert.tflite.emission import emit_tflite
from convert.tflite.observation import observe_tflite
from edge_bundle.errors import ModelRefused
from edge_bundle.tensor import Array, Float32Array
from tests.convert.example import IMAGES, network_parity
from tests.convert.tflite.example import (
    BLOCK,
    CODES,
    INPUT,
    INPUTS,
    LOGITS,
    SCORES,
    Builder,
    small_model,
)


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count the inputs of each pass over a TFLite file."""
    counted: list[int] = []

    def count(data: bytes, inputs: Sequence[Array]) -> Iterator[tuple[str, Float32Array]]:
        counted.append(len(inputs))
        return observe_tflite(data, inputs)

    monkeypatch.setattr(calibration, "observe_tflite", count)
    return counted


def seen(value: float) -> Seen:
    return Seen(-value, value, np.asarray([-value, value], np.float32))


def negation(*names: str) -> bytes:
    """Return a file that negates [1, 2] again and again, with these names of its tensors."""
    made = Builder()
    tensors = [made.tensor(name, (1, 2)) for name in names]
    for taken, given in itertools.pairwise(tensors):
        made.operator(CODES.NEG, [taken], [given])
    return made.data([tensors[0]], [tensors[-1]])


def test_activations_of_a_file_of_its_own_are_seen(passes: list[int]) -> None:
    found = observe(small_model(), INPUTS, {})
    assert set(found) == {"x", BLOCK, f"{BLOCK}#4", LOGITS, SCORES}
    assert (found["x"].low, found["x"].high) == (np.min(INPUTS), np.max(INPUTS))
    values = [v for name, v in observe_tflite(small_model(), INPUTS) if name == LOGITS]
    assert found[LOGITS].low == float(np.min(values))
    assert found[LOGITS].high == float(np.max(values))
    assert passes == [len(INPUTS)]


def test_nothing_is_run_for_what_the_onnx_pass_saw(tmp_path: Path, passes: list[int]) -> None:
    canonical = canonicalise(network_parity(tmp_path)).data
    known = observe_onnx(canonical, IMAGES)
    found = observe(emit_tflite(canonical), IMAGES, known)
    assert passes == []
    assert found["x"] is known["x"]
    assert all(value in known.values() for value in [found["h"], found["y"]])


def test_copy_in_another_layout_has_the_range_of_its_origin(passes: list[int]) -> None:
    known = {"x": seen(1), "y": seen(2)}
    found = observe(negation("x", "x@1", "y@12", "y"), [], known)
    assert [found[n] for n in ("x@1", "y@12")] == [known["x"], known["y"]]
    assert passes == []


def test_tensor_that_onnx_itself_calls_so_is_no_copy(passes: list[int]) -> None:
    known = {"x": seen(1), "t@1": seen(3), "y": seen(2)}
    found = observe(negation("x", "t@1", "y"), [], known)
    assert found["t@1"] is known["t@1"]
    assert passes == []


def test_tensor_that_could_be_either_is_looked_at(passes: list[int]) -> None:
    known = {"x": seen(1), "t": seen(9), "t@1": seen(3), "y": seen(2)}
    inputs = [np.array([[5, -7]], np.float32)]
    found = observe(negation("x", "t@1", "y"), inputs, known)
    assert (found["t@1"].low, found["t@1"].high) == (-5, 7)
    assert found["x"] is known["x"]
    assert passes == [1]


def test_only_what_is_not_known_is_kept_of_a_pass(passes: list[int]) -> None:
    found = observe(small_model(), INPUTS, {"x": seen(99)})
    assert found["x"].high == 99
    assert found[SCORES].high <= 1
    assert passes == [len(INPUTS)]


def test_tensor_that_is_not_finite_is_named() -> None:
    made = Builder()
    names = [made.tensor(name, INPUT) for name in ("x", "inside", "y")]
    made.operator(CODES.LOG, names[:1], names[1:2])
    made.operator(CODES.EXP, names[1:2], names[2:])
    inputs = [np.abs(INPUTS[0]), -np.abs(INPUTS[1])]
    with pytest.raises(ModelRefused, match="tensor inside is not finite on calibration sample 1"):
        observe(made.data(names[:1], names[2:]), inputs, {})
