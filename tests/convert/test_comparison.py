"""Two models on the same samples: layouts, types and names are matched, all changes are said."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from convert import comparison, sides
from convert.comparison import Comparison, describe_comparison
from edge_bundle.errors import ConfigError, ModelRefused, RecordingRefused
from tests.convert.graphs import save_graph, save_text
from tests.edge_bundle.bundles import MODEL, WAKE_WORD, watch_windows, write_watch_bundle

GOOD = "scores = MatMul(x, w)"
RNG = np.random.default_rng(5)
X = RNG.normal(size=(20, 6)).astype(np.float32)

IMAGE = """
<ir_version: 8, opset_import: ["" : 15]>
g (float[N,{shape}] image) => (float[N,2,4,5] map, float[N,2] means)
<float[2,3,1,1] w = {{1.0, 2.0, 3.0, 4.0, 5.0, 6.5}}>
{{
  {turn}
  map = Conv(nchw, w)
  pooled = GlobalAveragePool(map)
  means = Flatten(pooled)
}}
"""
CODES = """
<ir_version: 8, opset_import: ["" : 15]>
g ({kind}[1,6] q) => (float[1,6] y)
<float s = {{0.5}}, {kind} p = {{0}}>
{{ y = DequantizeLinear(q, s, p) }}
"""


@pytest.fixture(autouse=True)
def trusted(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Load these models without a trial in a child, which takes most of a test's time."""
    if "untrusted" not in request.fixturenames:
        monkeypatch.setattr(sides, "require_safe", lambda *_: None)


@pytest.fixture
def untrusted() -> None:
    """Try each model in a child first, as always outside these tests."""


def save_arrays(file: Path, **arrays: Any) -> Path:
    np.savez(file, **arrays)
    return file


def compare(a: Path, b: Path, inputs: Path, part: str = "") -> Comparison:
    return comparison.compare(a, b, f"{inputs}{part}")


def image_model(file: Path, shape: str, turn: str) -> Path:
    return save_text(file, IMAGE.format(shape=shape, turn=turn))


@pytest.fixture
def same(tmp_path: Path) -> Comparison:
    model = save_graph(tmp_path / "m.onnx", GOOD)
    return compare(model, model, save_arrays(tmp_path / "x.npz", x=X))


def test_model_is_identical_to_itself(same: Comparison) -> None:
    assert (same.samples, same.largest_relative, same.agreement) == (20, 0, 1)
    assert same.outputs[0].sqnr_db is None
    assert same.verdict == "identical on 20 samples"
    assert msgspec.json.decode(msgspec.json.encode(same), type=Comparison) == same


def test_numbers_of_a_known_difference(tmp_path: Path) -> None:
    a = save_graph(tmp_path / "a.onnx", GOOD)
    body = "c = Constant <value = float[2] {0.5, -0.5}> () y = MatMul(x, w) scores = Add(y, c)"
    b = save_graph(tmp_path / "b.onnx", body)
    result = compare(a, b, save_arrays(tmp_path / "x.npz", x=X))
    w = np.array([1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3], np.float32).reshape(6, 2)
    expected = X @ w
    changed = np.flatnonzero(expected.argmax(1) != (expected + np.array([0.5, -0.5])).argmax(1))
    (output,) = result.outputs
    assert output.largest == pytest.approx(0.5, rel=1e-5)
    assert output.mean == pytest.approx(0.5, rel=1e-5)
    assert output.relative == pytest.approx(0.5 / np.ptp(expected), rel=1e-5)
    assert output.sqnr_db == pytest.approx(10 * np.log10(np.mean(expected**2) / 0.25), rel=1e-4)
    assert output.first == tuple(changed)
    assert result.agreement == pytest.approx(1 - len(changed) / 20)
    assert "different" in result.verdict
    assert f"{len(changed)} samples differ" in describe_comparison(result)


def test_layouts_are_turned_and_it_is_said(tmp_path: Path) -> None:
    first = image_model(tmp_path / "a.onnx", "3,4,5", "nchw = Identity(image)")
    last = image_model(tmp_path / "b.onnx", "4,5,3", "nchw = Transpose <perm = [0,3,1,2]> (image)")
    images = RNG.integers(0, 256, (4, 3, 4, 5)).astype(np.uint8)
    arrays = save_arrays(tmp_path / "x.npz", x=images)
    result = compare(first, last, arrays)
    assert result.largest_relative == 0
    assert result.notes == ("x is turned from NCHW to NHWC for B",)
    turned = save_arrays(tmp_path / "t.npz", x=images.transpose(0, 2, 3, 1))
    assert compare(first, last, turned).notes == ("x is turned from NHWC to NCHW for A",)


def test_outputs_are_matched_by_name_then_by_shape(tmp_path: Path) -> None:
    a = image_model(tmp_path / "a.onnx", "3,4,5", "nchw = Identity(image)")
    text = IMAGE.format(shape="3,4,5", turn="nchw = Identity(image)")
    text = text.replace(
        "(float[N,2,4,5] map, float[N,2] means)", "(float[N,2] means, float[N,2,4,5] z)"
    )
    b = save_text(tmp_path / "b.onnx", text.replace("map", "z"))
    images = RNG.normal(size=(3, 3, 4, 5))
    result = compare(a, b, save_arrays(tmp_path / "x.npz", image=images))
    assert [(o.a, o.b) for o in result.outputs] == [("map", "z"), ("means", "means")]
    assert result.largest_relative == 0


def test_output_without_a_match_is_said(tmp_path: Path) -> None:
    a = save_graph(tmp_path / "a.onnx", GOOD)
    text = """
    <ir_version: 8, opset_import: ["" : 15]>
    g (float[N,6] x) => (float[N,2] scores, float[N,6] more)
    <float[6,2] w = {1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 1.0, 2.0, 3.0}>
    { scores = MatMul(x, w) more = Relu(x) }
    """
    b = save_text(tmp_path / "b.onnx", text)
    result = compare(a, b, save_arrays(tmp_path / "x.npz", x=X))
    assert result.notes == ("B's output more [1, 6] has no match",)


def test_bundle_takes_raw_windows_and_the_other_what_its_features_make(tmp_path: Path) -> None:
    bundle = write_watch_bundle(tmp_path)
    arrays = save_arrays(tmp_path / "x.npz", x=watch_windows(5))
    result = compare(MODEL, bundle.path, arrays)
    assert result.largest_relative == 0
    assert result.notes == (
        "A takes what B's features give",
        "B takes raw windows, through its own features",
    )


def test_bundle_takes_prepared_tensors_as_well(tmp_path: Path) -> None:
    bundle = write_watch_bundle(tmp_path)
    arrays = save_arrays(tmp_path / "x.npz", x=watch_windows(5).reshape(5, 600))
    result = compare(bundle.path, MODEL, arrays)
    assert (result.largest_relative, result.notes) == (0, ())


def test_stateful_model_forgets_between_samples(tmp_path: Path) -> None:
    one = RNG.integers(-128, 128, (1, 3, 40)).astype(np.int8)
    x = np.concatenate([one, one, one])
    result = compare(WAKE_WORD, WAKE_WORD, save_arrays(tmp_path / "x.npz", x=x))
    assert (result.samples, result.largest_relative) == (3, 0)


def test_codes_stay_codes_where_both_take_them(tmp_path: Path) -> None:
    a = save_text(tmp_path / "a.onnx", CODES.format(kind="int8"))
    b = save_text(tmp_path / "b.onnx", CODES.format(kind="uint8"))
    codes = save_arrays(tmp_path / "x.npz", x=RNG.integers(0, 100, (4, 6)).astype(np.int8))
    assert compare(a, b, codes).largest_relative == 0
    below = save_arrays(tmp_path / "b.npz", x=np.full((4, 6), -1, np.int8))
    with pytest.raises(RecordingRefused, match=r"x: values from -1 to -1, B's input q takes uint8"):
        compare(a, b, below)
    real = save_arrays(tmp_path / "r.npz", x=np.zeros((4, 6), np.float32))
    with pytest.raises(RecordingRefused, match="x: float32, A's input q takes int8"):
        compare(a, b, real)


def test_two_inputs_come_by_name_or_by_order(tmp_path: Path) -> None:
    text = """
    <ir_version: 8, opset_import: ["" : 15]>
    g (float[N,6] {p}, float[N,6] {q}) => (float[N,6] y)
    {{ y = Sub({p}, {q}) }}
    """
    a = save_text(tmp_path / "a.onnx", text.format(p="left", q="right"))
    b = save_text(tmp_path / "b.onnx", text.format(p="one", q="two"))
    arrays = save_arrays(tmp_path / "x.npz", left=X, right=X[::-1])
    assert compare(a, b, arrays).largest_relative == 0
    uneven = save_arrays(tmp_path / "u.npz", left=X, right=X[1:])
    with pytest.raises(RecordingRefused, match="numbers of samples differ: left 20, right 19"):
        compare(a, b, uneven)
    lacking = save_arrays(tmp_path / "l.npz", left=X)
    with pytest.raises(
        RecordingRefused, match="arrays left; A expects one for each input: left, r"
    ):
        compare(a, b, lacking)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.full((2, 6), np.nan, np.float32), "x: NaN or infinite in 2 of 2 samples, first in"),
        (np.zeros((0, 6), np.float32), r"x: \[0, 6\], it has no sample"),
        (np.zeros((3, 5), np.float32), r"x: samples \[5\], A's input x takes \[6\]"),
        (np.zeros((3, 6), complex), r"x: complex128 \[3, 6\], expected real numbers"),
        (np.array(["a", "b"]), "expected real numbers"),
        (np.float32(3), r"x: float32 \[\], expected real numbers"),
    ],
)
def test_samples_that_do_not_fit_are_refused(tmp_path: Path, x: Any, message: str) -> None:
    model = save_graph(tmp_path / "m.onnx", GOOD)
    with pytest.raises(RecordingRefused, match=rf"x\.npz: .*{message}") as caught:
        compare(model, model, save_arrays(tmp_path / "x.npz", x=x))
    assert "\n" not in str(caught.value)


def test_arrays_that_are_missing_or_unreadable(tmp_path: Path) -> None:
    model = save_graph(tmp_path / "m.onnx", GOOD)
    with pytest.raises(RecordingRefused, match="arrays y; A expects 'x'"):
        compare(model, model, save_arrays(tmp_path / "y.npz", y=X))
    with pytest.raises(ConfigError, match=r"none\.npz: no such file"):
        compare(model, model, tmp_path / "none.npz")
    with pytest.raises(ConfigError, match=r"nnn\.npz: no such file"):
        compare(model, model, tmp_path / f"{'n' * 300}.npz")
    (tmp_path / "d.npz").write_bytes(b"damaged")
    with pytest.raises(RecordingRefused, match=r"d\.npz: not a readable"):
        compare(model, model, tmp_path / "d.npz")


def test_outputs_that_are_not_finite_count_as_far_apart(tmp_path: Path) -> None:
    a = save_graph(tmp_path / "a.onnx", GOOD)
    b = save_graph(tmp_path / "b.onnx", "y = MatMul(x, w) scores = Log(y)")
    result = compare(a, b, save_arrays(tmp_path / "x.npz", x=-np.abs(X)))
    assert result.largest_relative == np.inf
    assert compare(b, b, tmp_path / "x.npz").largest_relative == 0


@pytest.mark.usefixtures("untrusted")
def test_model_that_does_not_run_is_refused_before_it_is_loaded_here(tmp_path: Path) -> None:
    custom = save_graph(tmp_path / "b.onnx", "scores = own.Magic(x)", 8, ['"" : 15', '"own" : 1'])
    with pytest.raises(ModelRefused, match=r"b\.onnx: onnxruntime .*Magic"):
        compare(custom, custom, save_arrays(tmp_path / "x.npz", x=X))


def test_outputs_of_no_common_shape_are_refused(tmp_path: Path) -> None:
    a = save_graph(tmp_path / "a.onnx", GOOD)
    text = (
        '<ir_version: 8, opset_import: ["" : 15]> g (float[N,6] x) => (float[N,6] y) {y = Relu(x)}'
    )
    b = save_text(tmp_path / "b.onnx", text)
    with pytest.raises(ModelRefused, match=r"A gives scores \[1, 2\], B gives y \[1, 6\]"):
        compare(a, b, save_arrays(tmp_path / "x.npz", x=X))


def test_part_of_the_samples_is_compared(tmp_path: Path) -> None:
    model = save_graph(tmp_path / "m.onnx", GOOD)
    arrays = save_arrays(tmp_path / "x.npz", x=X, y=np.arange(20), few=np.asarray([3, 5]))
    assert compare(model, model, arrays, "#0-4,19").samples == 6
    assert compare(model, model, arrays, "#few").samples == 2
    named = save_arrays(tmp_path / "named.npz", x_in=X, few=np.asarray([3, 5]))
    with pytest.raises(RecordingRefused, match="arrays x_in; A expects 'x'"):
        compare(model, model, named, "#few")
    with pytest.raises(ConfigError, match="20-21, the file has samples 0 to 19"):
        compare(model, model, arrays, "#20-21")
    with pytest.raises(ConfigError, match="did you mean 'few'"):
        compare(model, model, arrays, "#fwe")
