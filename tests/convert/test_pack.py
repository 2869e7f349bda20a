"""A finished file becomes a bundle as it is, proven by real windows, or by seeded ones."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import numpy_helper, parser

from convert.findings import Precision
from convert.inspection.anatomy import Anatomy
from convert.pack import Packed, PackOrder, judge_precision, pack
from convert.tflite import schema
from edge_bundle.archive import Bundle, read_bundle
from edge_bundle.errors import ArtifactRefused, ConfigError
from edge_bundle.golden import check_golden
from edge_bundle.inference import Inference
from edge_bundle.npz import load_npz
from tests.convert.classifier import Told
from tests.convert.given.test_spec import SPEC
from tests.convert.tflite.example import CODES, Builder
from tests.edge_bundle.bundles import MODEL, RECORDING, STREAM, WAKE_WORD
from tests.parts import require_module

TOKENS = """
<ir_version: 8, opset_import: ["" : 15]>
tokens (int64[N,4] ids) => (float[N,4,2] vectors)
{ vectors = Gather(table, ids) }
"""
EMPTY_INPUT = """
<ir_version: 8, opset_import: ["" : 15]>
empty (float[0,2] x) => (float[0,2] y) { y = Neg(x) }
"""
TWO_INPUTS = """
<ir_version: 8, opset_import: ["" : 15]>
two (float[N,2] a, float[N,2] b) => (float[N,2] y) { y = Add(a, b) }
"""


def packed(order: PackOrder, told: Told | None = None) -> tuple[Packed, Bundle]:
    """Pack, and prove what came of it as a device does."""
    result = pack(order, told or Told())
    bundle = read_bundle(result.bundle, result.sha256)
    assert list(order.out.iterdir()) == [result.bundle]
    assert bundle.model() == order.model.read_bytes()
    assert bundle.manifest.provenance.source_sha256 == hashlib.sha256(bundle.model()).hexdigest()
    assert check_golden(bundle, Inference.open(bundle)).largest == 0
    return result, bundle


def golden_of(bundle: Bundle, folder: Path) -> dict[str, Any]:
    (folder / "g.npz").write_bytes(bundle.read("golden.npz"))
    return load_npz(folder / "g.npz")


def token_model(folder: Path, rows: int = 300) -> Path:
    """Write a model that gives row n of a table, [2n, 2n + 1], for token n."""
    table = np.arange(2 * rows, dtype=np.float32).reshape(rows, 2)
    model = parser.parse_model(TOKENS)
    model.graph.initializer.append(numpy_helper.from_array(table, "table"))
    (folder / "tokens.onnx").write_bytes(model.SerializeToString())
    return folder / "tokens.onnx"


def test_watch_model_with_its_spec_and_real_windows(tmp_path: Path) -> None:
    source = f"{RECORDING}#0-6"
    order = PackOrder(MODEL, SPEC, golden=source, name="watch", version="1.2.0", out=tmp_path / "d")
    result, bundle = packed(order)
    assert (bundle.manifest.stream, bundle.manifest.file_name) == (STREAM, result.bundle.name)
    assert result.bundle.name == "watch-1.2.0-onnx-float.bundle"
    assert (result.golden_windows, result.golden_source, result.accuracy) == (16, source, None)
    assert bundle.manifest.provenance.recipe == "as it is"
    assert result.tolerance == bundle.manifest.golden.tolerance == 1e-4
    assert golden_of(bundle, tmp_path)["windows"].shape == (16, 100, 6)


def test_recording_of_one_window_proves_a_device_and_is_told_to_be_little(tmp_path: Path) -> None:
    source = tmp_path / "short.npz"
    np.savez(source, values=np.load(RECORDING)["values"][:120])
    told = Told()
    _, bundle = packed(PackOrder(MODEL, SPEC, golden=str(source), out=tmp_path / "d"), told)
    assert golden_of(bundle, tmp_path)["windows"].shape == (1, 100, 6)
    few = "short.npz: 1 golden window: enough for a proof, but 16 of all classes would prove more"
    assert any(few in line for line in told.texts)


def test_evaluation_is_measured_kept_and_gives_the_golden_windows(tmp_path: Path) -> None:
    source = f"{RECORDING}#5,7-10,12,13"
    result, bundle = packed(PackOrder(MODEL, SPEC, evaluation=source, out=tmp_path / "d"))
    told = bundle.manifest.provenance
    assert told.final_accuracy == result.accuracy == 60 / 63
    assert told.evaluation_windows == result.evaluation_samples == 63
    assert (told.metric, told.evaluation_sha256) == (
        "accuracy",
        hashlib.sha256(RECORDING.read_bytes()).hexdigest(),
    )
    assert result.golden_source == source


def test_answer_below_the_threshold_is_wrong(tmp_path: Path) -> None:
    spec = tmp_path / "s.toml"
    spec.write_text(SPEC.read_text().replace("[decision]", "[decision]\nthreshold = 0.99"))
    order = PackOrder(MODEL, spec, evaluation=f"{RECORDING}#5,7-10,12,13", out=tmp_path / "d")
    accuracy = packed(order)[0].accuracy
    assert accuracy is not None
    assert 0 < accuracy < 60 / 63


def test_wake_word_without_a_spec_keeps_its_codes_and_its_state(tmp_path: Path) -> None:
    require_module("ai_edge_litert")
    told = Told()
    result = pack(PackOrder(WAKE_WORD, out=tmp_path / "d"), told)
    bundle = read_bundle(result.bundle)
    assert result.bundle.name == "hey_jarvis-0.1.0-tflite-int8.bundle"
    assert result.stateful
    assert bundle.manifest.stateful
    assert result.golden_source == "seeded golden windows"
    assert bundle.manifest.provenance.recipe == "as it is, seeded golden windows"
    assert any("every golden score is 0" in line for line in told.texts)
    golden = golden_of(bundle, tmp_path)
    assert (golden["windows"].dtype, golden["windows"].shape) == (np.int8, (16, 1, 3, 40))
    assert check_golden(bundle, Inference.open(bundle)).largest == 0


def test_layer_with_a_memory_is_stateful_whatever_it_says_to_one_input(tmp_path: Path) -> None:
    require_module("ai_edge_litert")
    made = Builder()
    taken, heard = made.tensor("x", (1, 2)), made.tensor("y", (1, 1))
    # Of positive inputs the sum is below 0, and so the output 0, whatever is remembered.
    feature = made.tensor("feature", (1, 2), np.array([[-1, -1]], np.float32))
    over_time = made.tensor("time", (1, 3), np.ones((1, 3), np.float32))
    memory = made.tensor("memory", (1, 3))
    made.graph.tensors[memory].isVariable = True
    options = schema.SVDFOptionsT()
    options.rank = 1
    options.fusedActivationFunction = schema.ActivationFunctionType.RELU
    made.operator(CODES.SVDF, [taken, feature, over_time, -1, memory], [heard], options)
    file = tmp_path / "heard.tflite"
    file.write_bytes(made.data([taken], [heard]))
    x = -np.arange(32, dtype=np.float32).reshape(16, 1, 2)
    np.savez(tmp_path / "x.npz", x=x)
    _, bundle = packed(PackOrder(file, golden=str(tmp_path / "x.npz"), out=tmp_path / "d"))
    assert bundle.manifest.stateful
    sums = -x.sum(axis=(1, 2))
    kept = np.convolve(sums, np.ones(3))[:16]
    np.testing.assert_allclose(golden_of(bundle, tmp_path)["scores"][:, 0], kept, rtol=1e-6)


def test_golden_windows_of_a_stateful_model_are_one_piece_of_stream(tmp_path: Path) -> None:
    require_module("ai_edge_litert")
    x = np.random.default_rng(0).integers(-128, 128, (20, 3, 40)).astype(np.int8)
    np.savez(tmp_path / "x.npz", x=x)
    order = PackOrder(WAKE_WORD, golden=str(tmp_path / "x.npz"), out=tmp_path / "d")
    _, bundle = packed(order)
    np.testing.assert_array_equal(golden_of(bundle, tmp_path)["windows"], x[:, None])


def test_golden_windows_of_the_wake_word_hear_its_phrase(tmp_path: Path) -> None:
    require_module("ai_edge_litert")
    told = Told()
    spec, clip = WAKE_WORD.with_name("stream.toml"), WAKE_WORD.with_suffix(".wav")
    result = pack(PackOrder(WAKE_WORD, spec, golden=str(clip), out=tmp_path / "d"), told)
    bundle = read_bundle(result.bundle)
    golden = golden_of(bundle, tmp_path)
    assert result.golden_windows == 30
    assert golden["fresh"].tolist() == [0] + [480] * 29
    assert golden["scores"][0] == 0
    assert golden["scores"].max() > 0.97
    assert check_golden(bundle, Inference.open(bundle)).largest == 0
    assert not any("they prove little" in line for line in told.texts)


def test_tokens_stay_whole_numbers(tmp_path: Path) -> None:
    x = np.random.default_rng(0).integers(0, 300, (9, 4))
    np.savez(tmp_path / "x.npz", x=x)
    model = token_model(tmp_path)
    _, bundle = packed(PackOrder(model, golden=str(tmp_path / "x.npz"), out=tmp_path / "d"))
    golden = golden_of(bundle, tmp_path)
    windows = golden["windows"].reshape(-1, 4)
    assert windows.dtype == np.int64
    np.testing.assert_array_equal(golden["scores"][:, ::2], windows * 2)
    assert bundle.manifest.golden.tolerance == pytest.approx(1e-4 * golden["scores"].max())


def test_the_same_order_gives_the_same_bytes(tmp_path: Path) -> None:
    model = token_model(tmp_path)
    first, second = (packed(PackOrder(model, out=tmp_path / n))[0] for n in "ab")
    assert first.sha256 == second.sha256


def test_limits_of_the_spec_are_the_bundle_s(tmp_path: Path) -> None:
    spec = tmp_path / "s.toml"
    spec.write_text("[limits]\nlatency_ms = {default = 5.0}\n")
    _, bundle = packed(PackOrder(token_model(tmp_path), spec, out=tmp_path / "d"))
    assert bundle.manifest.limits.latency_ms == {"default": 5.0}


@pytest.mark.parametrize(
    ("arithmetic", "precision"),
    [
        ({}, "float"),
        ({"float32": 3}, "float"),
        ({"float16": 3}, "fp16"),
        ({"float32": 1, "float16": 1}, "fp16"),
        ({"int8 weights": 3}, "dynamic"),
        ({"dynamic int8": 2, "float32": 1}, "dynamic"),
        ({"int8": 1, "float32": 9}, "int8"),
        ({"int16 activations": 1}, "int8"),
    ],
)
def test_the_coarsest_arithmetic_sets_the_precision(
    arithmetic: dict[str, int], precision: Precision
) -> None:
    anatomy = Anatomy(
        format="onnx",
        producer="",
        inputs=(),
        outputs=(),
        operators=(),
        parameters=0,
        weight_bytes={},
        arithmetic=arithmetic,
    )
    assert judge_precision(anatomy) == precision


# --- refused, and nothing left behind


def refusal(order: PackOrder, kind: type[Exception]) -> str:
    with pytest.raises(kind) as refused:
        pack(order, Told())
    assert not order.out.exists()
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_model_of_two_inputs(tmp_path: Path) -> None:
    model = tmp_path / "two.onnx"
    model.write_bytes(parser.parse_model(TWO_INPUTS).SerializeToString())
    assert refusal(PackOrder(model, out=tmp_path / "d"), ArtifactRefused) == (
        f"{model}: 2 inputs (a, b), expected one beside those that [[state]] and [constants] of a "
        "--spec name"
    )


@pytest.mark.parametrize("data", [b"", b"no model", WAKE_WORD.read_bytes()[:3000]])
def test_file_that_is_no_model(tmp_path: Path, data: bytes) -> None:
    require_module("ai_edge_litert")
    model = tmp_path / "m.tflite"
    model.write_bytes(data)
    assert refusal(PackOrder(model, out=tmp_path / "d"), ArtifactRefused).startswith(f"{model}: ")


@pytest.mark.parametrize("with_spec", [False, True])
def test_model_whose_input_holds_no_value(tmp_path: Path, with_spec: bool) -> None:
    model = parser.parse_model(EMPTY_INPUT)
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    spec = tmp_path / "s.toml"
    spec.write_text(
        '[stream]\nrate_hz = 50.0\nwindow = 2\nhop = 1\nchannels = [{ name = "ax", unit = "g" }]\n'
    )
    order = PackOrder(tmp_path / "m.onnx", spec if with_spec else None)
    with pytest.raises(ArtifactRefused, match=r"m\.onnx: input x: 0x2, which holds no value"):
        pack(order, Told())


def test_model_that_is_not_there(tmp_path: Path) -> None:
    said = refusal(PackOrder(tmp_path / "m.onnx", out=tmp_path / "d"), ConfigError)
    assert said == f"{tmp_path / 'm.onnx'}: No such file or directory"


def test_spec_that_does_not_fit_the_model(tmp_path: Path) -> None:
    spec, out = tmp_path / "s.toml", tmp_path / "d"
    text = SPEC.read_text()
    spec.write_text(text.replace("window = 100", "window = 50"))
    assert refusal(PackOrder(MODEL, spec, out=out), ArtifactRefused) == (
        f"{MODEL}: input X takes 1x600 = 600 values, the stream's windows are 50x6 = 300 values"
    )
    spec.write_text(text.replace('"PEN", ', ""))
    assert "decision.labels: 6 labels, the model gives 7 scores" in refusal(
        PackOrder(MODEL, spec, out=out), ConfigError
    )
    spec.write_text(text.replace('output = "probabilities"', 'output = "logits"'))
    assert "decision.output: 'logits', the model has label, probabilities" in refusal(
        PackOrder(MODEL, spec, out=out), ConfigError
    )


def test_labels_for_a_model_that_remembers(tmp_path: Path) -> None:
    require_module("ai_edge_litert")
    order = PackOrder(WAKE_WORD, evaluation="x.npz", out=tmp_path / "d")
    assert "is stateful" in refusal(order, ConfigError)


def test_labels_without_a_word_on_which_output_they_are_of(tmp_path: Path) -> None:
    order = PackOrder(MODEL, evaluation=str(RECORDING), out=tmp_path / "d")
    assert refusal(order, ConfigError) == (
        "decision: must say which output holds the scores, to be evaluated; say it in a --spec"
    )


def test_recording_without_a_spec(tmp_path: Path) -> None:
    order = PackOrder(MODEL, golden=str(RECORDING), out=tmp_path / "d")
    assert "recordings need a --spec" in refusal(order, ArtifactRefused)


def test_model_that_seeded_windows_do_not_suit_asks_for_real_ones(tmp_path: Path) -> None:
    model = token_model(tmp_path, rows=3)
    said = refusal(PackOrder(model, out=tmp_path / "d"), ArtifactRefused)
    assert said.endswith("; give real windows with --golden")


def test_scores_whose_number_depends_on_the_values(tmp_path: Path) -> None:
    require_module("ai_edge_litert")
    from convert.tflite import schema
    from tests.convert.tflite.example import CODES, TYPES, Builder

    made = Builder()
    taken, unique = made.tensor("x", (4,)), made.tensor("y", (1,))
    places = made.tensor("places", (4,), kind=TYPES.INT32)
    made.operator(CODES.UNIQUE, [taken], [unique, places], schema.UniqueOptionsT())
    (tmp_path / "m.tflite").write_bytes(made.data([taken], [unique]))
    with pytest.raises(ArtifactRefused, match=r"m\.tflite: golden windows: .*shape"):
        pack(PackOrder(tmp_path / "m.tflite", out=tmp_path / "d"), Told())


def test_score_that_is_complex(tmp_path: Path) -> None:
    require_module("ai_edge_litert")
    from convert.tflite import schema
    from tests.convert.tflite.example import CODES, TYPES, Builder

    made = Builder()
    taken = made.tensor("x", (1, 4, 8))
    length = made.tensor("length", (2,), np.array([4, 8], np.int32), TYPES.INT32)
    spectrum = made.tensor("y", (1, 4, 5), kind=TYPES.COMPLEX64)
    code = made.operator(CODES.RFFT2D, [taken, length], [spectrum], schema.Rfft2dOptionsT())
    code.deprecatedBuiltinCode, code.builtinCode = 127, CODES.RFFT2D  # too new for the short field
    (tmp_path / "m.tflite").write_bytes(made.data([taken], [spectrum]))
    with pytest.raises(ArtifactRefused, match="output y: complex64, expected real numbers"):
        pack(PackOrder(tmp_path / "m.tflite", out=tmp_path / "d"), Told())


def test_score_that_is_no_number(tmp_path: Path) -> None:
    model = tmp_path / "log.onnx"
    text = TWO_INPUTS.replace(", float[N,2] b", "").replace("Add(a, b)", "Log(a)")
    model.write_bytes(parser.parse_model(text).SerializeToString())
    said = refusal(PackOrder(model, out=tmp_path / "d"), ArtifactRefused)
    assert "gives a score that is not a finite number; give real windows with --golden" in said


@pytest.mark.parametrize(
    ("name", "version", "said"),
    [
        ("Watch", "1.0.0", "--name: 'Watch', expected such as watch-1"),
        ("watch", "1.0", "--version: '1.0', expected a SemVer such as 1.0.0"),
    ],
)
def test_identity_that_cannot_be(tmp_path: Path, name: str, version: str, said: str) -> None:
    order = PackOrder(MODEL, name=name, version=version, out=tmp_path / "d")
    assert refusal(order, ConfigError) == said
