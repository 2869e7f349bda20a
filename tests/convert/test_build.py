"""Whole builds: of the real float model with its spec, and of small ones without."""

import hashlib
import io
import json
import os
import re
import subprocess
import sys
from math import prod
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from convert.build import MOST_PASSES, Order, build
from convert.findings import Precision
from convert.given.samples import read_samples
from convert.given.spec import read_spec
from convert.products import plan as plans
from convert.products.writing import Built
from convert.tflite.emission import emit_tflite
from edge_bundle.archive import Bundle, read_bundle
from edge_bundle.decision.rules import Classification
from edge_bundle.errors import ArtifactRefused
from edge_bundle.golden import check_golden
from edge_bundle.inference import Inference
from edge_bundle.latency import Profile
from edge_bundle.tensor import TensorSpec
from tests.convert.classifier import Told
from tests.convert.conftest import GOOD, rows, save_samples, write_metric
from tests.convert.example import CALIBRATION, EVALUATION, MODEL, RECORDING, SPEC
from tests.convert.graphs import save_graph, save_text
from tests.parts import require_module

WEIGHTS = np.asarray([[1, 2], [3, 4], [5, 6], [7, 8], [9, 1], [2, 3]], np.float32)
"""Of the small model."""
REPORTS = {"plan.json", "report.html", "report.json"}
EXACTNESS = "return 1 - float(abs(outputs['scores'] - reference['scores']).max())"
"""A metric that nothing but the float model's own answers satisfies."""


def build_watch(out: Path, **changes: Any) -> Built:
    given = {"calibration": CALIBRATION, "spec": SPEC, "name": "watch", "version": "1.0.0"}
    return build(Order(MODEL, EVALUATION, out=out, **{**given, **changes}), Told())


def build_small(folder: Path, **changes: Any) -> Built:
    """Build a model [1, 6] to [1, 2] from prepared samples without labels."""
    given = {"calibration": str(save_samples(folder / "cal.npz", rows(30, 6))), **changes}
    model = given.pop("model", None) or save_graph(folder / "small.onnx", GOOD)
    evaluation = given.pop("evaluation", None) or save_samples(folder / "x.npz", rows(40, 6))
    return build(Order(model, str(evaluation), out=folder / "dist", **given), Told())


def refuse_early(folder: Path, evaluation: Path) -> str:
    """Return why a build of the small model is refused, which must be before all long work."""
    told = Told()
    model = save_graph(folder / "small.onnx", GOOD)
    order = Order(model, str(evaluation), out=folder / "dist")
    with pytest.raises(ArtifactRefused) as refused:
        build(order, told)
    assert told.texts == []
    return str(refused.value)


def only_bundle(built: Built) -> Bundle:
    """Return the one bundle of a build, proven as a device does."""
    (path,) = built.paths
    (product,) = built.findings.products
    bundle = read_bundle(path, product.sha256)
    assert check_golden(bundle, Inference.open(bundle)).ok
    assert {f.name for f in path.parent.iterdir()} == {path.name, *REPORTS}
    return bundle


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return build_watch(tmp_path_factory.mktemp("int8"), precision="int8")


@pytest.fixture(scope="module")
def bundle(built: Built) -> Bundle:
    return only_bundle(built)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Built:
    require_module("ai_edge_quantizer")
    formats = ("onnx", "tflite")
    return build_watch(tmp_path_factory.mktemp("both"), precision="int8", formats=formats)


# The watch model as int8


def test_int8_is_at_least_2_4_times_smaller(built: Built, bundle: Bundle) -> None:
    (product,) = built.findings.products
    assert built.findings.float_bytes == MODEL.stat().st_size
    assert product.bytes == len(bundle.model())
    assert built.findings.float_bytes / product.bytes >= 2.4


def test_int8_loses_at_most_one_and_a_half_points(built: Built) -> None:
    found = built.findings
    (chosen,) = (c for c in found.candidates if c.verdict == "chosen")
    assert found.metric == "accuracy"
    assert found.evaluation.samples == found.holdout_samples == 63
    assert found.float_score.value > 0.9
    assert chosen.score is not None
    assert chosen.score.value >= found.float_score.value - 0.015
    # Float and the leader: nothing else had to be judged by labels.
    assert found.evaluations == 2


def test_weights_are_int8_with_one_scale_for_each_channel(bundle: Bundle) -> None:
    graph = onnx.load_model_from_string(bundle.model()).graph
    sizes = {t.name: (t.data_type, prod(t.dims)) for t in graph.initializer}
    scales = {
        sizes[node.input[0]][1]: sizes[node.input[1]][1]
        for node in graph.node
        if node.op_type == "DequantizeLinear"
        and sizes.get(node.input[0], (0,))[0] == onnx.TensorProto.INT8
    }
    assert scales == {600 * 24: 24, 24 * 7: 7}


def test_model_loads_in_the_oldest_runtime(bundle: Bundle) -> None:
    model = onnx.load_model_from_string(bundle.model())
    assert model.ir_version <= 10
    assert [o.domain for o in model.opset_import] == [""]


def test_manifest_says_where_the_model_came_from(built: Built, bundle: Bundle) -> None:
    manifest, told = bundle.manifest, bundle.manifest.provenance
    assert manifest.file_name == built.paths[0].name == "watch-1.0.0-onnx-int8.bundle"
    assert told.source_sha256 == hashlib.sha256(MODEL.read_bytes()).hexdigest()
    assert told.calibration_sha256 == hashlib.sha256(RECORDING.read_bytes()).hexdigest()
    assert told.evaluation_sha256 == told.calibration_sha256
    assert told.recipe.startswith("static QDQ uint8 activations, int8 weights by channel, ")
    assert (told.evaluation_windows, told.holdout_windows, told.metric) == (63, None, "accuracy")
    (chosen,) = (c for c in built.findings.candidates if c.verdict == "chosen")
    assert chosen.score is not None
    assert told.float_accuracy == built.findings.float_score.value
    assert told.final_accuracy == chosen.score.value
    assert told.plan_sha256 == plans.identify(plans.decode(built.plan.read_bytes(), "plan.json"))
    assert [t.name for t in manifest.tensors.outputs] == ["probabilities"]


def test_golden_windows_show_every_class_and_pass(bundle: Bundle) -> None:
    inference = Inference.open(bundle)
    assert check_golden(bundle, inference).largest == 0
    with np.load(io.BytesIO(bundle.read("golden.npz"))) as golden:
        assert len(golden["windows"]) == 16
        said = {inference.decide(window).label for window in golden["windows"]}
    assert isinstance(bundle.manifest.decision, Classification)
    assert said == set(bundle.manifest.decision.labels)


def test_reference_counts_every_calibration_sample(built: Built, bundle: Bundle) -> None:
    assert bundle.manifest.stream is not None
    assert built.findings.calibration is not None
    with np.load(io.BytesIO(bundle.read("reference.npz"))) as reference:
        samples = built.findings.calibration.samples * bundle.manifest.stream.window
        assert (reference["counts"].sum(axis=1) == samples).all()
        assert reference["edges"].shape == (6, reference["counts"].shape[1] + 1)
        assert (reference["std"] > 0).all()
        assert reference["deciles"].shape == (6, 9)
        assert (reference["decile_counts"].sum(axis=1) == samples).all()


def test_same_inputs_give_the_same_bytes_in_another_process(built: Built, tmp_path: Path) -> None:
    command = [
        *(sys.executable, "-m", "convert", "build", MODEL, "--spec", SPEC, "--json"),
        *("--calibration", CALIBRATION, "--evaluation", EVALUATION, "--precision", "int8"),
        *("--name", "watch", "--version", "1.0.0", "--out", tmp_path / "other"),
    ]
    # Sets of names are walked in another order under another seed.
    ended = subprocess.run(
        [str(part) for part in command],
        env=os.environ | {"PYTHONHASHSEED": "1"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        check=True,
        text=True,
    )
    assert json.loads(ended.stdout)["sha256"] == built.findings.products[0].sha256


def test_page_needs_nothing_but_itself(built: Built) -> None:
    page = built.report.read_text("utf-8")
    assert page.startswith("<!doctype html>")
    assert re.findall(r"<(?:script|link|iframe|img|object)\b|\bsrc=|@import|url\(", page) == []
    assert "watch 1.0.0" in page
    assert built.findings.products[0].sha256 in page


# Two formats from one plan


def test_two_formats_agree(both: Built) -> None:
    bundles = [read_bundle(path) for path in both.paths]
    assert {b.manifest.variant for b in bundles} == {"onnx-int8", "tflite-int8"}
    tensor = TensorSpec("X", (1, 600), "float32")
    windows = read_samples(EVALUATION, read_spec(SPEC).spec, tensor, to_judge=True).raw
    said = []
    for one in bundles:
        inference = Inference.open(one)
        assert check_golden(one, inference).ok
        said.append([inference.decide(window).label for window in windows])
    # A single window may lie between two classes.
    assert sum(a != b for a, b in zip(*said, strict=True)) <= 1
    assert any("give the same answer on " in line for line in both.findings.explanations)


def test_two_formats_share_calibration_float_pass_and_plan(both: Built) -> None:
    plan = plans.decode(both.plan.read_bytes(), "plan.json")
    assert both.findings.evaluations == 3
    assert {v.variant: v.recipe.format for v in plan.variants} == {
        "onnx-int8": "onnx",
        "tflite-int8": "tflite",
    }
    assert [v.bundle_sha256 for v in plan.variants] == [p.sha256 for p in both.findings.products]
    assert all(v.ranges for v in plan.variants)
    # Which is faster here is no part of what was decided.
    swapped = msgspec.structs.replace(plan, variants=plan.variants[::-1])
    assert plans.identify(swapped) == plans.identify(plan)
    told = {read_bundle(path).manifest.provenance.plan_sha256 for path in both.paths}
    assert told == {plans.identify(plan)}


def test_preferred_bundle_is_the_faster_one(both: Built) -> None:
    chosen = {
        f"{c.format}-{c.precision}": c.latency_us or 0.0
        for c in both.findings.candidates
        if c.verdict == "chosen"
    }
    variants = [p.variant for p in both.findings.products]
    assert variants == sorted(variants, key=chosen.__getitem__)
    assert both.findings.chosen == variants[0]


# What is asked for


@pytest.mark.parametrize("precision", ["dynamic", "fp16", "float"])
def test_precision_that_is_asked_for(tmp_path: Path, precision: Precision) -> None:
    built = build_watch(tmp_path / "dist", precision=precision, calibration=None)
    bundle = only_bundle(built)
    assert bundle.manifest.file_name == f"watch-1.0.0-onnx-{precision}.bundle"
    assert [c.precision for c in built.findings.candidates] == [precision]
    assert "reference.npz" not in bundle.manifest.files
    told = bundle.manifest.provenance
    if precision == "float":
        assert told.final_accuracy == told.float_accuracy
        assert bundle.manifest.golden.tolerance == 1e-4
    else:
        assert len(bundle.model()) < 0.55 * MODEL.stat().st_size


@pytest.mark.parametrize(("int8_us", "chosen"), [(50.0, "onnx-int8"), (150.0, "onnx-fp16")])
def test_board_s_latencies_decide(
    built: Built, tmp_path: Path, int8_us: float, chosen: str
) -> None:
    """What is slower than float on the board is not taken, whatever is faster here."""
    plain = build_watch(tmp_path / "float", precision="float")
    dynamic = build_watch(tmp_path / "dynamic", precision="dynamic")
    times = {str(c.sha256): int8_us for c in built.findings.candidates}
    times |= {str(c.sha256): 200.0 for c in dynamic.findings.candidates}
    times |= {str(c.sha256): 100.0 for c in plain.findings.candidates}
    profile = tmp_path / "pi.json"
    profile.write_text(json.dumps({"machine": "a board", "latency_us": times}))
    found = build_watch(tmp_path / "auto", latency=str(profile)).findings
    assert (found.chosen, found.measured_on) == (chosen, "a board")
    ratios = {c.precision: c.latency_ratio for c in found.candidates if c.latency_ratio}
    assert ratios["int8"] == int8_us / 100
    slower = {c.precision for c in found.candidates if c.verdict == "slower"}
    assert slower == (set() if chosen == "onnx-int8" else {"int8", "dynamic"})


def test_jetson_takes_fp16_first_and_says_why(tmp_path: Path) -> None:
    fp16 = build_watch(tmp_path / "fp16", precision="fp16")
    plain = build_watch(tmp_path / "float", precision="float")
    # Else it would depend on how fast float16 is on the machine that tests.
    times = {str(c.sha256): 80.0 for c in fp16.findings.candidates}
    times |= {str(c.sha256): 100.0 for c in plain.findings.candidates}
    profile = tmp_path / "orin.json"
    profile.write_text(json.dumps({"machine": "an Orin", "latency_us": times}))
    found = build_watch(tmp_path, target="jetson-orin", latency=str(profile)).findings
    assert found.chosen == "onnx-fp16"
    assert any("jetson-orin: fp16 comes first: " in line for line in found.explanations)


def test_without_calibration_static_int8_is_not_tried(tmp_path: Path) -> None:
    found = build_small(tmp_path, calibration=None).findings
    assert "onnx: static int8 was not tried: it needs --calibration." in found.explanations
    assert {c.precision for c in found.candidates} <= {"dynamic", "fp16", "float"}


def test_budget_of_nothing_takes_what_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    metric = write_metric(tmp_path, monkeypatch, "exactness_here", EXACTNESS)
    built = build_small(tmp_path, metric=metric, max_drop=0.0)
    # So few weights are no smaller in float16.
    assert built.findings.chosen == "onnx-float"
    assert built.missed == ()
    verdicts = {c.precision: c.verdict for c in built.findings.candidates}
    # What speaks against it first depends on how fast it was found here.
    assert verdicts["int8"] in {"missed", "slower", "behind"}
    assert built.findings.metric == metric
    assert built.findings.evaluations <= MOST_PASSES
    assert only_bundle(built).manifest.provenance.metric == metric


def test_own_metric_gets_outputs_labels_and_reference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = (
        "assert outputs.keys() == reference.keys() == {'scores'}\n"
        "    return abs(outputs['scores'][:, 0, 0] - y[:, 1]) < 1e-3"
    )
    metric = write_metric(tmp_path, monkeypatch, "own_metric", body)
    x = rows(40, 6)
    y = np.stack([np.zeros(40), x @ WEIGHTS[:, 0]], axis=1)
    samples = save_samples(tmp_path / "xy.npz", x, y)
    built = build_small(tmp_path, evaluation=samples, metric=metric, precision="float")
    assert built.findings.float_score.value == 1.0


# What is given


def test_agreement_with_float_judges_where_nobody_said_what_is_right(tmp_path: Path) -> None:
    built = build_small(tmp_path, precision="int8", max_drop=0.1)
    assert built.findings.metric == "agreement with float"
    assert built.findings.float_score.value == 1.0
    assert only_bundle(built).manifest.provenance.metric == "agreement with float"


def test_closeness_judges_where_outputs_are_values(tmp_path: Path) -> None:
    text = '<ir_version: 8, opset_import: ["" : 15]> m (float[N,6] x) => (float[N,1] v)'
    text += "{ v = ReduceMean<axes = [1], keepdims = 1>(x) }"
    built = build_small(tmp_path, model=save_text(tmp_path / "mean.onnx", text), precision="float")
    assert built.findings.metric == "closeness to float"
    assert built.findings.float_score.value == 1.0


def test_without_a_spec_the_bundle_takes_prepared_tensors(tmp_path: Path) -> None:
    bundle = only_bundle(build_small(tmp_path, precision="int8", max_drop=0.1))
    manifest = bundle.manifest
    assert manifest.file_name == "small-0.1.0-onnx-int8.bundle"
    assert (manifest.stream, manifest.decision, manifest.reference) == (None, None, None)
    with np.load(io.BytesIO(bundle.read("golden.npz"))) as golden:
        assert golden["windows"].shape[1:] == (1, 6)
    scores = Inference.open(bundle).scores(rows(1, 6))
    np.testing.assert_allclose(scores.reshape(-1), rows(1, 6)[0] @ WEIGHTS, atol=0.3)


def test_samples_that_happen_to_be_equal_are_left_out_and_told(tmp_path: Path) -> None:
    x = rows(400, 6)
    evaluation = save_samples(tmp_path / "many.npz", x)
    calibration = save_samples(tmp_path / "some.npz", np.concatenate([rows(30, 6), x[:1]]))
    found = build_small(
        tmp_path, evaluation=evaluation, calibration=str(calibration), precision="int8"
    ).findings
    assert found.calibration is not None
    assert found.calibration.samples == 30
    assert any("1 of 31 calibration samples also in" in line for line in found.explanations)


@pytest.mark.parametrize("precision", ["int8", "fp16"])
def test_tflite_model_becomes_a_tflite_bundle(tmp_path: Path, precision: Precision) -> None:
    require_module("ai_edge_quantizer")
    from tests.convert.tflite.example import INPUT, small_model

    model = tmp_path / "small.tflite"
    model.write_bytes(small_model())
    bundle = only_bundle(
        build_small(
            tmp_path,
            model=model,
            precision=precision,
            max_drop=0.1,
            calibration=str(save_samples(tmp_path / "c.npz", rows(30, *INPUT[1:]))),
            evaluation=save_samples(tmp_path / "e.npz", rows(40, *INPUT[1:])),
        )
    )
    assert bundle.manifest.file_name == f"small-0.1.0-tflite-{precision}.bundle"
    assert len(bundle.model()) < len(small_model())


def test_candidates_that_a_board_timed_decide_what_is_slow(tmp_path: Path) -> None:
    require_module("ai_edge_quantizer")
    folder = tmp_path / "candidates"
    given: dict[str, Any] = {"formats": ("onnx", "tflite"), "max_drop": 0.05}
    build_watch(tmp_path / "first", candidates=folder, **given)
    files = {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in folder.iterdir()}
    assert len(files) == 2 * (3 + 6)
    # A board on which int8 is slow in ONNX, and fast in TFLite.
    slow = {d: 300.0 if n.startswith("onnx-int8") else 90.0 for n, d in files.items()}
    floats = {files[f"{form}-float.{form}"]: 100.0 for form in ("onnx", "tflite")}
    board = tmp_path / "profile.json"
    board.write_bytes(msgspec.json.encode(Profile("a board", slow | floats)))
    found = build_watch(tmp_path / "second", latency=str(board), **given).findings
    assert found.measured_on == "a board"
    paces = {(c.format, c.precision): (c.verdict, c.latency_ratio) for c in found.candidates}
    assert paces["onnx", "int8"] == ("slower", 3.0)
    assert paces["tflite", "int8"][1] == 0.9


def test_output_of_a_tflite_file_that_the_decision_reads_is_the_only_one_kept(
    tmp_path: Path,
) -> None:
    require_module("ai_edge_quantizer")
    model = tmp_path / "two.tflite"
    model.write_bytes(two_headed())
    spec = tmp_path / "spec.toml"
    spec.write_text('[decision]\nlabels = ["a", "b", "c"]\noutput = "right"\n')
    built = build_small(
        tmp_path,
        model=model,
        spec=spec,
        formats=("tflite",),
        calibration=str(save_samples(tmp_path / "c.npz", rows(30, 4))),
        evaluation=save_samples(tmp_path / "e.npz", rows(40, 4) + 1),
    )
    (output,) = only_bundle(built).manifest.tensors.outputs
    assert (output.name, output.shape) == ("right", (1, 3))


def two_headed() -> bytes:
    """Return a float TFLite file of two products of one input, the second one of three classes."""
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["left"]),
            helper.make_node("MatMul", ["x", "v"], ["right"]),
        ],
        "two",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 4])],
        [
            helper.make_tensor_value_info("left", onnx.TensorProto.FLOAT, [1, 2]),
            helper.make_tensor_value_info("right", onnx.TensorProto.FLOAT, [1, 3]),
        ],
        [
            numpy_helper.from_array(rows(4, 2), "w"),
            numpy_helper.from_array(rows(4, 3), "v"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return emit_tflite(model.SerializeToString())


@pytest.mark.parametrize(
    ("y", "why"),
    [
        (np.zeros(40, np.float32), "x.npz: y: float32 [40], expected one class for each of 40"),
        (np.zeros((40, 2), np.int64), "x.npz: y: int64 [40, 2], expected one class for each of 40"),
        (np.asarray(["p"] * 40), "x.npz: y: names such as 'p'; name the classes in a --spec"),
        (np.full(40, 2), "x.npz: y: class 2, the model has 2 classes: 0 to 1"),
    ],
)
def test_labels_that_the_model_cannot_say_are_refused_before_the_work(
    tmp_path: Path, y: Any, why: str
) -> None:
    assert why in refuse_early(tmp_path, save_samples(tmp_path / "x.npz", rows(40, 6), y))


def test_outputs_that_would_fill_the_memory_are_refused_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("convert.judgement.judge.MAX_OUTPUT_BYTES", 40 * 2 * 4 - 1)
    said = refuse_early(tmp_path, save_samples(tmp_path / "x.npz", rows(40, 6)))
    assert "small.onnx: its outputs on 40 evaluation samples need" in said
