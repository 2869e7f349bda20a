"""The real float model, through the whole build."""

import hashlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from convert.build import Built, Order, build
from convert.pack import Precision
from edge_bundle.archive import Bundle, read_bundle
from edge_bundle.golden import check_golden
from edge_bundle.inference import Inference
from tests.convert.conftest import Run
from tests.convert.example import CALIBRATION, EVALUATION, MODEL, RECORDING, SPEC


def build_example(out: Path, precision: Precision = "int8") -> Built:
    order = Order(MODEL, SPEC, CALIBRATION, EVALUATION, precision, "watch", "1.0.0", out)
    return build(order, lambda _: None)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return build_example(tmp_path_factory.mktemp("int8"))


@pytest.fixture(scope="module")
def bundle(built: Built) -> Bundle:
    return read_bundle(built.bundle, built.sha256)


def test_int8_is_at_least_2_4_times_smaller(built: Built, bundle: Bundle) -> None:
    assert built.float_bytes == MODEL.stat().st_size
    assert built.final_bytes == len(bundle.model())
    assert built.float_bytes / built.final_bytes >= 2.4


def test_int8_loses_at_most_one_and_a_half_points(built: Built) -> None:
    assert built.evaluation_windows == 63
    assert built.float_accuracy > 0.9
    assert built.final_accuracy >= built.float_accuracy - 0.015


def test_weights_are_int8_with_one_scale_for_each_channel(bundle: Bundle) -> None:
    weights = {
        tuple(t.dims)
        for t in onnx.load_model_from_string(bundle.model()).graph.initializer
        if t.data_type == onnx.TensorProto.INT8 and len(t.dims) == 2
    }
    assert weights == {(600, 24), (24, 7)}


def test_model_loads_in_the_oldest_runtime(bundle: Bundle) -> None:
    model = onnx.load_model_from_string(bundle.model())
    assert model.ir_version <= 10
    assert [o.domain for o in model.opset_import] == [""]


def test_manifest_says_where_the_model_came_from(built: Built, bundle: Bundle) -> None:
    manifest, told = bundle.manifest, bundle.manifest.provenance
    assert manifest.file_name == built.bundle.name == "watch-1.0.0-onnx-int8.bundle"
    assert told.source_sha256 == hashlib.sha256(MODEL.read_bytes()).hexdigest()
    assert told.calibration_sha256 == hashlib.sha256(RECORDING.read_bytes()).hexdigest()
    assert told.evaluation_sha256 == told.calibration_sha256
    assert told.recipe == "static-qdq u8s8 per-channel minmax"
    assert told.evaluation_windows == 63
    assert (told.float_accuracy, told.final_accuracy) == (
        built.float_accuracy,
        built.final_accuracy,
    )
    assert [t.name for t in manifest.tensors.outputs] == ["probabilities"]


def test_golden_windows_show_every_class_and_pass(bundle: Bundle) -> None:
    inference = Inference.open(bundle)
    assert check_golden(bundle, inference).largest == 0
    with np.load(io.BytesIO(bundle.read("golden.npz"))) as golden:
        assert len(golden["windows"]) == 16
        said = {inference.decide(window).label for window in golden["windows"]}
    assert said == set(bundle.manifest.decision.labels)


def test_reference_counts_every_calibration_sample(built: Built, bundle: Bundle) -> None:
    with np.load(io.BytesIO(bundle.read("reference.npz"))) as reference:
        samples = built.calibration_windows * bundle.manifest.stream.window
        assert (reference["counts"].sum(axis=1) == samples).all()
        assert reference["edges"].shape == (6, reference["counts"].shape[1] + 1)
        assert (reference["std"] > 0).all()


def test_float_bundle_keeps_every_decision(tmp_path: Path) -> None:
    built = build_example(tmp_path, "float")
    assert built.bundle.name == "watch-1.0.0-onnx-float.bundle"
    assert built.final_accuracy == built.float_accuracy
    assert read_bundle(built.bundle).manifest.golden.tolerance == 1e-4


def test_same_inputs_give_the_same_bytes_in_another_process(built: Built, tmp_path: Path) -> None:
    again = build_example(tmp_path)
    assert again.bundle.read_bytes() == built.bundle.read_bytes()
    command = [
        *(sys.executable, "-m", "convert", "build", MODEL, "--spec", SPEC, "--json"),
        *("--calibration", CALIBRATION, "--evaluation", EVALUATION),
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
    assert json.loads(ended.stdout)["sha256"] == built.sha256


def test_json_is_one_object_and_progress_goes_to_stderr(
    run: Run, built: Built, tmp_path: Path
) -> None:
    ended = run(
        *("build", MODEL, "--spec", SPEC, "--calibration", CALIBRATION),
        *("--evaluation", EVALUATION, "--name", "watch", "--version", "1.0.0"),
        *("--out", tmp_path, "--json"),
    )
    assert ended.code == 0
    assert json.loads(ended.out) == {
        "name": "watch",
        "version": "1.0.0",
        "variant": "onnx-int8",
        "bundle": str(tmp_path / "watch-1.0.0-onnx-int8.bundle"),
        "sha256": built.sha256,
        "float_bytes": built.float_bytes,
        "final_bytes": built.final_bytes,
        "float_accuracy": built.float_accuracy,
        "final_accuracy": built.final_accuracy,
        "evaluation_windows": 63,
        "calibration_windows": 63,
    }
    assert "quantizing to int8" in ended.err
    assert [f.name for f in tmp_path.iterdir()] == ["watch-1.0.0-onnx-int8.bundle"]


def test_result_is_told_in_words_and_name_comes_from_the_file(run: Run, tmp_path: Path) -> None:
    ended = run(
        *("build", MODEL, "--spec", SPEC, "--calibration", CALIBRATION),
        *("--evaluation", EVALUATION, "--out", tmp_path),
    )
    assert ended.code == 0
    assert ended.out.startswith(f"{tmp_path / 'watch_mlp-0.1.0-onnx-int8.bundle'}\n")
    assert "65,525 ->" in ended.out
    assert "on 63 windows" in ended.out
