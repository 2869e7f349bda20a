"""One pass sees every float tensor: both ends exactly, and a bounded sample of what is between."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from convert.onnx import calibration
from convert.onnx.calibration import RESERVOIR, Statistics, observe_onnx, sqnr_db
from convert.onnx.canonical import canonicalise
from convert.parity import run_model
from convert.ranges import Seen
from edge_bundle.errors import ModelRefused
from edge_bundle.tensor import Array, Float32Array
from tests.convert.example import IMAGES, load, network_parity
from tests.convert.tflite.graphs import graph, seeded

SMALL = graph(
    "float[1,4] x",
    "h = MatMul (x, w) i = ArgMax <axis = 1> (h) f = Cast <to = 1> (i) r = Relu (h) y = Add (r, f)",
    {"w": (4, 4)},
)
ROWS = [seeded(f"row {n}", (1, 4)) for n in range(6)]


def same(one: Seen, other: Seen) -> bool:
    return (one.low, one.high) == (other.low, other.high) and np.array_equal(
        one.values, other.values
    )


def true_values(data: bytes, name: str, inputs: Sequence[Array]) -> Float32Array:
    """Return a tensor's values by making it the file's output."""
    model = load(data)
    del model.graph.output[:]
    (value,) = [v for v in model.graph.value_info if v.name == name]
    model.graph.output.append(value)
    return run_model(model.SerializeToString(), "onnx", inputs)[0]


def test_every_float_tensor_is_seen_and_no_other() -> None:
    assert set(observe_onnx(SMALL, ROWS)) == {"x", "h", "f", "r", "y"}


def test_tokens_are_no_real_values() -> None:
    data = graph("int64[1,4] x", "f = Cast <to = 1> (x) y = Neg (f)")
    assert set(observe_onnx(data, [np.arange(4).reshape(1, 4)])) == {"f", "y"}


def test_both_ends_are_exact(tmp_path: Path) -> None:
    data = canonicalise(network_parity(tmp_path)).data
    seen = observe_onnx(data, IMAGES)
    inferred = onnx.shape_inference.infer_shapes(load(data)).SerializeToString()
    for name in ("n", "p", "h"):
        expected = true_values(inferred, name, IMAGES)
        # With and without what is fused, float32 rounds differently.
        assert seen[name].low == pytest.approx(float(expected.min()), rel=1e-5, abs=1e-6)
        assert seen[name].high == pytest.approx(float(expected.max()), rel=1e-5, abs=1e-6)
    assert (seen["x"].low, seen["x"].high) == (np.min(IMAGES), np.max(IMAGES))


def test_small_tensors_are_kept_whole() -> None:
    seen = observe_onnx(SMALL, ROWS)["x"]
    assert np.array_equal(seen.values[:-2], np.concatenate(ROWS).ravel())
    assert seen.values[-2:].tolist() == [seen.low, seen.high]


def test_what_is_kept_is_bounded_and_evenly_from_all_samples() -> None:
    statistics = Statistics("t", 10)
    for number in range(10):
        statistics.add(np.full((100, 100), number, np.float32) + seeded("n", (100, 100)) / 100)
    kept = statistics.result().values
    assert kept.size <= RESERVOIR + 2
    counts = np.bincount(np.rint(kept[:-2]).astype(int))
    assert counts.tolist() == [RESERVOIR // 10] * 10


def test_more_samples_than_are_kept_give_one_value_each() -> None:
    statistics = Statistics("t", 10 * RESERVOIR)
    for number in range(100):
        statistics.add(np.full(50, number, np.float32))
    assert np.array_equal(statistics.result().values, [*range(100), 0, 99])


def test_sample_depends_on_the_tensors_name_and_on_nothing_else() -> None:
    values = seeded("t", (200, 200))

    def kept(name: str) -> Float32Array:
        statistics = Statistics(name, 4)
        statistics.add(values)
        return statistics.result().values

    assert np.array_equal(kept("a"), kept("a"))
    assert not np.array_equal(kept("a"), kept("b"))
    assert np.isin(kept("a"), values).all()
    assert np.array_equal(kept("a")[-2:], kept("b")[-2:])


def test_large_tensors_are_looked_at_in_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = observe_onnx(SMALL, ROWS)
    sessions: list[list[str]] = []
    start = onnxruntime.InferenceSession

    def remember(data: bytes, *rest: object, **options: object) -> object:
        sessions.append([o.name for o in load(data).graph.output])
        return start(data, *rest, **options)

    monkeypatch.setattr(onnxruntime, "InferenceSession", remember)
    # Of these tensors h, r and y have 16 bytes, f has 4.
    monkeypatch.setattr(calibration, "GROUP_BYTES", 20)
    told: list[tuple[int, int]] = []
    grouped = observe_onnx(SMALL, ROWS, lambda done, of: told.append((done, of)))
    assert sessions == [["h", "f"], ["r"], ["y"]]
    assert told == [(n + 1, 18) for n in range(18)]
    assert grouped.keys() == whole.keys()
    assert all(same(grouped[name], whole[name]) for name in whole)


@pytest.mark.parametrize(
    "body", ["y = Log (x)", "n = Log (x) i = ArgMax (n) y = Cast <to = 1> (i)"]
)
def test_tensor_that_is_not_finite_is_named_with_its_sample(body: str) -> None:
    rows = [np.abs(row) for row in ROWS]
    rows[4] = -rows[4]
    name = body[0]
    with pytest.raises(ModelRefused, match=f"tensor {name} is not finite on calibration sample 4"):
        observe_onnx(graph("float[1,4] x", body), rows)


def test_input_that_is_not_finite_is_named() -> None:
    data = graph("float[1,4] x", "i = ArgMax (x) y = Cast <to = 1> (i)")
    with pytest.raises(ModelRefused, match="tensor x is not finite on calibration sample 0"):
        observe_onnx(data, [np.array([[1, np.inf, 2, 3]], np.float32)])


def test_tensor_without_a_value_is_seen_as_zero() -> None:
    data = graph(
        "float[1,4] x",
        "e = Slice (x, four, four, one) y = Concat <axis = 1> (x, e)",
        {"four": np.array([4]), "one": np.array([1])},
    )
    seen = observe_onnx(data, ROWS)["e"]
    assert (seen.low, seen.high, seen.values.tolist()) == (0, 0, [0])


def test_model_that_does_not_load_is_refused() -> None:
    data = graph("float[1,4] x", "y = own.Magic (x)", domains=', "own" : 1')
    model = load(data)
    kind = model.graph.output[0].type.tensor_type
    kind.elem_type = onnx.TensorProto.FLOAT
    with pytest.raises(ModelRefused, match=r"onnxruntime: .*Magic"):
        observe_onnx(model.SerializeToString(), ROWS)


def test_decibels() -> None:
    signal = np.array([3, 4], np.float32)
    assert sqnr_db(signal, signal + np.array([0.3, 0.4], np.float32)) == pytest.approx(20, abs=1e-4)
    assert sqnr_db(signal, np.zeros(2, np.float32)) == 0
    assert sqnr_db(signal, signal) == np.inf


@pytest.mark.parametrize("found", [np.nan, np.inf])
def test_what_is_not_finite_is_the_worst(found: float) -> None:
    assert sqnr_db(np.ones(1, np.float32), np.array([found], np.float32)) == -np.inf


def test_noise_without_a_signal_is_the_worst_and_silence_the_best() -> None:
    zeros = np.zeros(3, np.float32)
    assert sqnr_db(zeros, zeros + 1) == -np.inf
    assert sqnr_db(zeros, zeros) == np.inf
