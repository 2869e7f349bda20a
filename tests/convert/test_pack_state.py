"""A model whose state goes in and comes out is packed with what its spec says of them."""

from pathlib import Path

import numpy as np
import pytest

from convert.inspection.survey import inspect_model
from convert.pack import PackOrder, pack
from edge_agent.measurement import measure
from edge_bundle.archive import read_bundle
from edge_bundle.errors import ConfigError, ModelRefused
from edge_bundle.golden import check_golden
from edge_bundle.inference import Inference
from edge_bundle.npz import load_npz
from tests.convert.classifier import Told
from tests.edge_bundle.accumulator import GAIN, SPEC, WINDOW, accumulator, accumulator_manifest


def order(folder: Path, spec: str = SPEC, golden: str | None = None) -> PackOrder:
    (folder / "m.onnx").write_bytes(accumulator())
    (folder / "s.toml").write_text(spec)
    return PackOrder(folder / "m.onnx", folder / "s.toml", golden=golden, out=folder / "d")


def refusal(given: PackOrder, kind: type[Exception]) -> str:
    with pytest.raises(kind) as caught:
        pack(given, Told())
    return str(caught.value)


def test_free_dimensions_are_fixed_and_golden_windows_are_one_piece_of_stream(
    tmp_path: Path,
) -> None:
    samples = np.random.default_rng(0).normal(size=(40, 1)).astype(np.float32)
    np.savez(tmp_path / "r.npz", values=samples)
    result = pack(order(tmp_path, golden=str(tmp_path / "r.npz")), Told())
    bundle = read_bundle(result.bundle)
    assert result.stateful
    assert bundle.manifest.tensors == accumulator_manifest().tensors
    assert bundle.manifest.state == accumulator_manifest().state
    (tmp_path / "g.npz").write_bytes(bundle.read("golden.npz"))
    scores = load_npz(tmp_path / "g.npz")["scores"][:, 0]
    sums = [samples[at : at + WINDOW].sum() for at in range(0, 37, 3)]
    np.testing.assert_allclose(scores, GAIN * np.cumsum(sums), rtol=1e-4)
    assert check_golden(bundle, Inference.open(bundle)).largest == 0


def test_golden_windows_are_where_the_stream_moves_the_model(tmp_path: Path) -> None:
    samples = np.random.default_rng(1).normal(0, 1e-4, (1200, 1)).astype(np.float32)
    samples[900:903] += 1
    np.savez(tmp_path / "r.npz", values=samples)
    given = order(tmp_path, golden=str(tmp_path / "r.npz"))
    first = pack(given, Told())
    bundle = read_bundle(first.bundle)
    (tmp_path / "g.npz").write_bytes(bundle.read("golden.npz"))
    golden = load_npz(tmp_path / "g.npz")
    assert golden["windows"].shape == (64, WINDOW, 1)
    assert golden["windows"].sum() > 2.9
    assert golden["scores"][0] < 0.1
    assert golden["scores"][-1] > 2.9 * GAIN
    assert check_golden(bundle, Inference.open(bundle)).largest == 0
    assert pack(given, Told()).sha256 == first.sha256


def test_inputs_that_nothing_fills_are_refused(tmp_path: Path) -> None:
    spec = SPEC.replace("constants = { gain = 3 }", "")
    assert refusal(order(tmp_path, spec), ModelRefused) == (
        f"{tmp_path}/m.onnx: 2 inputs (x, gain), expected one beside those that [[state]] and "
        "[constants] of a --spec name"
    )


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ('input = "state"', 'input = "sttae"', "2:12: state[0].input: no input 'sttae'; did you"),
        ('"stateN"', '"stateM"', "state[0].output: no output 'stateM'; did you mean 'stateN'?"),
        ("gain =", "gian =", "3:15: constants.gian: no input 'gian'; did you mean 'gain'?"),
    ],
)
def test_name_that_the_model_has_not_is_refused_by_its_place(
    tmp_path: Path, before: str, after: str, message: str
) -> None:
    found = refusal(order(tmp_path, SPEC.replace(before, after)), ConfigError)
    assert found.startswith(f"{tmp_path}/s.toml:")
    assert message in found


def test_last_free_dimension_takes_any_window(tmp_path: Path) -> None:
    result = pack(order(tmp_path, SPEC.replace("window = 4", "window = 9")), Told())
    inputs = read_bundle(result.bundle).manifest.tensors.inputs
    assert [t.shape for t in inputs] == [(1, 9), (2, 1), ()]


def test_packed_model_is_inspected_and_timed_with_what_its_bundle_says(tmp_path: Path) -> None:
    spec = SPEC.replace("window = 4", "window = 9")
    bundle = pack(order(tmp_path, spec), Told()).bundle
    assert inspect_model(bundle).trial.ran
    (timed,) = measure([bundle], 1, 0.1, lambda _done: None)
    assert timed.latency_us > 0


def test_decision_reads_the_one_output_that_is_no_state_without_naming_it(tmp_path: Path) -> None:
    rule = '\n[decision]\nkind = "score"\nlabels = ["little", "much"]\nthreshold = 0.5\n'
    bundle = read_bundle(pack(order(tmp_path, SPEC + rule), Told()).bundle)
    assert bundle.manifest.scores_shapes == ((1, 1),)
