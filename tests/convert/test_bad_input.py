"""Every bad sample, option and folder is one clear line with its exit code, and leaves nothing."""

import csv
import os
from pathlib import Path

import numpy as np
import pytest

from edge_bundle.archive import read_bundle
from edge_bundle.golden import check_golden
from edge_bundle.inference import Inference
from edge_bundle.tensor import Float32Array
from tests.convert.conftest import (
    GOOD,
    Example,
    Refused,
    Run,
    rows,
    save_samples,
    write_metric,
)
from tests.convert.example import MODEL, RECORDING
from tests.convert.graphs import save_graph, save_text
from tests.convert.tflite.example import INPUT, small_model

CHANNELS = ("ax", "ay", "az", "wx", "wy", "wz")
CHANNELS_LAST = """
<ir_version: 8, opset_import: ["" : 15]>
images (float[1,8,6,3] x) => (float[1,3] scores)
{
    moved = Transpose<perm = [0, 3, 1, 2]>(x)
    scores_wide = ReduceMean<axes = [2, 3], keepdims = 0>(moved)
    scores = Identity(scores_wide)
}
"""
CHANNELS_FIRST = """
<ir_version: 8, opset_import: ["" : 15]>
images (float[1,3,8,6] x) => (float[1,3] scores)
{ scores = ReduceMean<axes = [2, 3], keepdims = 0>(x) }
"""


def write_npz(file: Path, values: Float32Array, label: str) -> Path:
    y_labels = np.asarray([label])
    np.savez(file, values=values, y=np.zeros(1, np.int8), y_labels=y_labels, channels=CHANNELS)
    return file


def real_samples(count: int) -> Float32Array:
    with np.load(RECORDING) as arrays:
        return np.asarray(arrays["values"][:count], np.float32)


# The samples


@pytest.mark.parametrize("name", ["none.npz", "none.npz#0-4", "n" * 300])
def test_missing_recording(example: Example, tmp_path: Path, name: str) -> None:
    assert "no such recording" in example(2, calibration=tmp_path / name)


def test_recording_with_too_few_samples(example: Example, tmp_path: Path) -> None:
    short = write_npz(tmp_path / "short.npz", real_samples(99), "PEN")
    assert "99 samples, one window needs 100" in example(3, evaluation=short)


def test_int8_without_calibration(small: Example) -> None:
    assert "--precision int8 needs --calibration" in small(2, precision="int8")


@pytest.mark.parametrize(("count", "words"), [(0, "0 samples"), (1, "1 sample"), (7, "7 samples")])
@pytest.mark.parametrize("option", ["calibration", "evaluation"])
def test_too_few_samples(
    small: Example, tmp_path: Path, option: str, count: int, words: str
) -> None:
    few = save_samples(tmp_path / "few.npz", rows(count, 6), np.zeros(count, int))
    assert f"few.npz: {words}, expected at least 8" in small(3, **{option: few})


def test_nan_in_a_recording(example: Example, tmp_path: Path) -> None:
    samples = real_samples(300)
    samples[7, 2] = np.nan
    bad = write_npz(tmp_path / "bad.npz", samples, "PEN")
    assert "sample 7, channel az: nan" in example(3, calibration=bad)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_prepared_samples_that_are_not_finite(small: Example, tmp_path: Path, value: float) -> None:
    x = rows(40, 6)
    x[3, 2:4] = value
    bad = save_samples(tmp_path / "bad.npz", x)
    line = small(3, calibration=bad)
    assert f"x[3, 2]: {value}, expected a finite" in line
    assert "(2 of 240 values are not)" in line


@pytest.mark.parametrize(
    ("text", "given", "said"),
    [
        (CHANNELS_LAST, (3, 8, 6), "NCHW, the model is NHWC): give np.transpose(x, (0, 2, 3, 1))"),
        (CHANNELS_FIRST, (8, 6, 3), "NHWC, the model is NCHW): give np.transpose(x, (0, 3, 1, 2))"),
    ],
)
def test_samples_in_the_other_layout(
    small: Example, tmp_path: Path, text: str, given: tuple[int, ...], said: str
) -> None:
    wrong = save_samples(tmp_path / "wrong.npz", rows(9, *given), np.zeros(9, int))
    line = small(3, save_text(tmp_path / "images.onnx", text), evaluation=wrong)
    assert f"x: samples of {'x'.join(map(str, given))}, the model's input x takes 1x" in line
    assert line.endswith(said)


def test_samples_of_another_size(small: Example, tmp_path: Path) -> None:
    wrong = save_samples(tmp_path / "wrong.npz", rows(9, 5))
    line = small(3, evaluation=wrong)
    assert line.endswith("x: samples of 5, the model's input x takes 1x6")


def test_samples_that_are_no_numbers(small: Example, tmp_path: Path) -> None:
    words = save_samples(tmp_path / "words.npz", np.asarray(["a"] * 9))
    assert "expected real numbers" in small(3, evaluation=words)


def test_file_without_samples(small: Example, tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", data=rows(9, 6))
    line = small(3, evaluation=tmp_path / "other.npz")
    assert "expected a .npz with an array 'x', found data" in line


def test_recording_without_a_spec(small: Example) -> None:
    assert "recordings need a --spec with [stream]" in small(3, evaluation=RECORDING)


@pytest.mark.parametrize("label", [-1, 2])
def test_labels_out_of_range(small: Example, tmp_path: Path, label: int) -> None:
    wrong = save_samples(tmp_path / "wrong.npz", rows(9, 6), np.asarray([0] * 8 + [label]))
    line = small(3, evaluation=wrong)
    assert f"y: class {label}, the model has 2 classes: 0 to 1" in line


def test_labels_that_are_no_classes(small: Example, tmp_path: Path) -> None:
    wrong = save_samples(tmp_path / "wrong.npz", rows(9, 6), rows(9))
    assert "y: float32 [9], expected one class for each of 9 samples" in small(3, evaluation=wrong)


def test_more_labels_than_samples(small: Example, tmp_path: Path) -> None:
    wrong = save_samples(tmp_path / "wrong.npz", rows(9, 6), np.zeros(10, int))
    assert "y: 10 values for 9 samples of x" in small(3, evaluation=wrong)


def test_label_that_the_model_cannot_say(example: Example, tmp_path: Path) -> None:
    other = write_npz(tmp_path / "other.npz", real_samples(1000)[::-1], "RUN")
    assert "label 'RUN' is not in decision.labels: PEN, ABD" in example(3, evaluation=other)


def test_recording_of_few_windows(example: Example, tmp_path: Path) -> None:
    file = tmp_path / "plain.csv"
    with file.open("w", newline="") as text:
        lines = csv.writer(text)
        lines.writerow(CHANNELS)
        lines.writerows(real_samples(120)[::-1].tolist())
    few = "plain.csv: 1 window, expected at least 8 of 100 samples: give a longer recording"
    assert few in example(3, evaluation=file)


def test_evaluation_that_repeats_the_calibration(example: Example) -> None:
    line = example(3, evaluation=f"{RECORDING}#4,5")
    assert "9 of 18 evaluation samples are also in the calibration" in line


def test_prepared_sets_that_overlap(small: Example, tmp_path: Path) -> None:
    cal = save_samples(tmp_path / "cal.npz", np.concatenate([rows(40, 6)[:2], rows(30, 6)]))
    line = small(3, calibration=cal)
    assert "2 of 40 evaluation samples are also in the calibration" in line


def test_selection_that_cannot_be(example: Example) -> None:
    assert "the file has recordings 0 to 13" in example(2, evaluation=f"{RECORDING}#40")


@pytest.mark.parametrize(
    ("part", "said"),
    [("40", "the file has samples 0 to 39"), ("calibratoin", "expected numbers such as 0-99")],
)
def test_part_that_the_file_does_not_have(
    small: Example, tmp_path: Path, part: str, said: str
) -> None:
    assert said in small(2, evaluation=f"{tmp_path / 'x.npz'}#{part}")


# The options


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("name", "Wrist Watch", "--name: 'Wrist Watch', expected such as watch-1"),
        ("version", "1.0", "--version: '1.0', expected a SemVer"),
        ("to", "onnx,torch", "'torch', expected onnx, tflite or onnx,tflite"),
        ("to", "", "'', expected onnx, tflite or onnx,tflite"),
        ("precision", "int4", "'int4' is not one of 'auto', 'int8'"),
        ("max_drop", "a lot", "'a lot', expected such as 1pp or 0.01"),
        ("max_drop", "150%", "'150%', expected such as 1pp or 0.01"),
        ("max_drop", "nan", "'nan', expected such as 1pp or 0.01"),
        ("target", "raspbery-pi-4", "no target 'raspbery-pi-4'; did you mean 'raspberry-pi-4'?"),
        ("metric", "accuracy", "--metric accuracy: expected module:function"),
        ("metric", "no_such:f", "cannot import no_such: ModuleNotFoundError"),
        ("metric", "math:f", "--metric math:f: math has no function 'f'"),
        ("latency", "none.json", "--latency: none.json: No such file"),
        ("precison", "int8", "No such option"),
    ],
)
def test_option_that_cannot_be(small: Example, option: str, value: str, said: str) -> None:
    assert said in small(2, **{option: value})


@pytest.mark.parametrize(
    "text", ["", "pi", "[]", '{"machine": "pi"}', '{"machine": "pi", "latency_us": {"a": 1}}']
)
def test_latency_profile_that_is_none(small: Example, tmp_path: Path, text: str) -> None:
    profile = tmp_path / "pi.json"
    profile.write_text(text)
    line = small(2, latency=profile)
    assert f"--latency: {profile}: " in line
    assert line.endswith("expected {machine, latency_us by sha256}")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("raise KeyError('f1')", "raised KeyError: 'f1'"),
        ("return 'good'", "raised ValueError: could not convert string to float: 'good'"),
        ("return float('nan')", "expected finite numbers"),
        ("return [1.0, 2.0]", "gives [2], expected one number or [40], one for each sample"),
    ],
)
def test_metric_that_fails(
    small: Example,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    body: str,
    said: str,
) -> None:
    # A module is imported once in a process.
    module = f"failing_{request.node.callspec.indices['body']}"
    line = small(2, metric=write_metric(tmp_path, monkeypatch, module, body))
    assert f"edge-convert: --metric {module}:f: " in line
    assert said in line


# The output folder


def test_out_that_is_a_file(small: Example, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    assert "not a folder" in small(2, out=file / "dist")


def test_out_with_a_name_that_no_folder_can_have(small: Example, tmp_path: Path) -> None:
    assert "File name too long" in small(2, out=tmp_path / ("x" * 300))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_out_that_may_not_be_written(small: Example, tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    assert "not writable" in small(2, out=tmp_path / "locked")


def test_out_where_a_file_cannot_take_its_place(run: Run, tmp_path: Path) -> None:
    """What fails at the very end takes back what had its place already."""
    out = tmp_path / "dist"
    (out / "report.html").mkdir(parents=True)
    (out / "plan.json").write_text("of an earlier build")
    x = save_samples(tmp_path / "x.npz", rows(40, 6))
    model = save_graph(tmp_path / "m.onnx", GOOD)
    ended = run("build", model, "--evaluation", x, "--precision", "float", "--out", out)
    assert ended.code == 2
    assert ended.err.splitlines()[-1].endswith("report.html: Is a directory")
    assert sorted(f.name for f in out.rglob("*")) == ["plan.json", "report.html"]
    assert (out / "plan.json").read_text() == "of an earlier build"


# The budget


def test_budget_that_nothing_meets(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The best that was found is whole and proven, and stands aside from what is to be released."""
    body = "return 1 - float(abs(outputs['scores'] - reference['scores']).max())"
    metric = write_metric(tmp_path, monkeypatch, "exactness", body)
    x, out = save_samples(tmp_path / "x.npz", rows(40, 6)), tmp_path / "dist"
    cal = save_samples(tmp_path / "cal.npz", rows(30, 6))
    ended = run(
        *("build", save_graph(tmp_path / "m.onnx", GOOD), "--out", out, "--metric", metric),
        *("--calibration", cal, "--evaluation", x, "--precision", "int8", "--max-drop", "0"),
    )
    assert ended.code == 5
    bundle = out / "over-budget" / "m-0.1.0-onnx-int8.bundle"
    *_, line = ended.err.splitlines()
    assert line.startswith("edge-convert: onnx-int8: It loses ")
    assert line.endswith(f"at most 0.0 points may be lost. The best found is kept at {bundle}")
    whole = read_bundle(bundle)
    assert check_golden(whole, Inference.open(whole)).ok
    assert sorted(f.name for f in out.iterdir()) == [
        *("over-budget", "plan.json", "report.html", "report.json")
    ]
    assert list((out / "over-budget").iterdir()) == [bundle]
    assert "Nothing" in ended.out


# What a build left behind


@pytest.mark.parametrize("command", ["report", "inspect"])
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 and no more", b"{}", b'{"schema": 1}'])
def test_file_that_is_nothing_of_ours(
    refused: Refused, tmp_path: Path, command: str, content: bytes
) -> None:
    (tmp_path / "thing").write_bytes(content)
    assert str(tmp_path / "thing") in refused(3, command, tmp_path / "thing")


@pytest.mark.parametrize("command", ["report", "inspect"])
def test_file_that_is_not_there(refused: Refused, tmp_path: Path, command: str) -> None:
    assert "No such file" in refused(2, command, tmp_path / "none")


def test_damaged_bundle(run: Run, refused: Refused, tmp_path: Path) -> None:
    model = save_graph(tmp_path / "m.onnx", GOOD)
    assert run("pack", model, "--out", tmp_path / "packed").code == 0
    (bundle,) = (tmp_path / "packed").iterdir()
    whole = bundle.read_bytes()
    bundle.write_bytes(whole[: len(whole) // 2])
    assert f"{bundle}: not a whole bundle" in refused(3, "report", bundle)
    bundle.write_bytes(whole.replace(b"scores", b"sc0res"))
    assert str(bundle) in refused(3, "report", bundle)


def test_plan_of_nothing(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text("{}")
    line = refused(3, "emit", tmp_path / "plan.json", MODEL, "--out", refused.out)
    assert "plan.json: not a plan: " in line


def test_parity_of_samples_that_do_not_fit(refused: Refused, tmp_path: Path) -> None:
    wrong = save_samples(tmp_path / "wrong.npz", rows(9, 5))
    assert "wrong.npz" in refused(3, "parity", MODEL, MODEL, "--inputs", wrong)


def test_sensitivity_page_in_a_folder_that_is_not_there(refused: Refused, tmp_path: Path) -> None:
    x = save_samples(tmp_path / "x.npz", rows(40, 6))
    page = tmp_path / "none" / "page.html"
    model = save_graph(tmp_path / "m.onnx", GOOD)
    line = refused(2, "sensitivity", model, "--calibration", x, "--html", page)
    assert line == f"edge-convert: {page}: No such file or directory"


def test_samples_that_are_one_sample(small: Example, tmp_path: Path) -> None:
    same = save_samples(tmp_path / "same.npz", np.repeat(rows(1, 6), 50, axis=0))
    assert "1 different sample among 50, expected at least 8" in small(3, calibration=same)
    x = save_samples(tmp_path / "x.npz", rows(50, 6), np.zeros(50, int))
    assert "'y': expected numbers such as 0-99,120" in small(2, evaluation=f"{x}#y")


def test_labels_of_what_gives_no_classes(small: Example, tmp_path: Path) -> None:
    labelled = save_samples(tmp_path / "y.npz", rows(40, 6), np.zeros(40, int))
    model = save_graph(tmp_path / "one.onnx", "s = MatMul(x, w) scores = Concat<axis = 0>(s, s)")
    assert "say --metric module:function, or leave y out" in small(3, model, evaluation=labelled)


def test_precision_of_which_no_file_can_be_made(refused: Refused, tmp_path: Path) -> None:
    text = (
        '<ir_version: 8, opset_import: ["" : 15]>\n'
        "g (float[N,6] x) => (float[N,6] scores) { scores = Cos(x) }"
    )
    model = save_text(tmp_path / "m.onnx", text)
    x = save_samples(tmp_path / "x.npz", rows(40, 6))
    cal = save_samples(tmp_path / "c.npz", rows(40, 6) + 1)
    given = ("--evaluation", x, "--calibration", cal, "--out", refused.out)
    line = refused(3, "build", model, *given, "--precision", "int8")
    assert "m.onnx: onnx int8: " in line


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("import sys; sys.exit(0)", "raised SystemExit: 0"),
        ("return 90.3", "gives 90.3, expected at most 1"),
        ("return 1j", "complex numbers are in no order"),
    ],
)
def test_metric_that_ends_the_program_or_is_no_share(
    small: Example, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, said: str
) -> None:
    name = f"odd_{len(body)}"
    assert said in small(2, metric=write_metric(tmp_path, monkeypatch, name, body))


def test_tflite_has_no_way_to_onnx(refused: Refused, tmp_path: Path) -> None:
    file = tmp_path / "m.tflite"
    file.write_bytes(small_model())
    cal = save_samples(tmp_path / "c.npz", rows(40, *INPUT[1:]))
    line = refused(2, "sensitivity", file, "--calibration", cal, "--to", "onnx")
    assert line.endswith("m.tflite is TFLite and gives TFLite alone")


def test_files_given_by_mistake_are_named(refused: Refused, tmp_path: Path) -> None:
    x = save_samples(tmp_path / "x.npz", rows(40, 6))
    given = ("--evaluation", x, "--out", refused.out)
    assert "it is a ZIP file, such as a bundle or a .npz" in refused(3, "build", x, *given)
    file = tmp_path / "text.onnx"
    file.write_text('{"plan": 1}')
    assert "it is JSON text" in refused(3, "build", file, *given)
