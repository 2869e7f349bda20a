"""What ``edge-convert`` prints, writes and ends with when all is well."""

import hashlib
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from edge_bundle.archive import read_bundle
from tests.convert.conftest import GOOD, Ended, Run, rows, save_samples
from tests.convert.example import CALIBRATION, EVALUATION, MODEL, SPEC
from tests.convert.graphs import save_graph
from tests.edge_bundle.bundles import WAKE_WORD
from tests.parts import require_module

CONTRACT = {
    *("name", "version", "chosen", "variant", "bundle", "sha256", "bundles", "plan", "report"),
    *("float_bytes", "final_bytes", "metric", "float_accuracy", "final_accuracy"),
    *("accuracy_difference", "accuracy_difference_interval", "flips", "proven", "max_drop"),
    *("evaluations", "evaluation_windows", "holdout_windows", "calibration_windows"),
    *("candidates", "missed"),
}
"""What programs may rely on; docs/convert.md says what each is."""
OF_A_CANDIDATE = {
    *("format", "precision", "recipe", "bytes", "latency_ratio", "sqnr_db", "accuracy"),
    *("verdict", "why"),
}
WATCH = ("--spec", SPEC, "--calibration", CALIBRATION, "--evaluation", EVALUATION)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("dist")


@pytest.fixture(scope="module")
def ended(run: Run, out: Path) -> Ended:
    """Build the watch model as int8 into ``out``."""
    options = ("--precision", "int8", "--name", "watch", "--version", "1.0.0", "--out", out)
    return run("build", MODEL, *WATCH, *options, "--json")


@pytest.fixture(scope="module")
def told(ended: Ended) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(ended.out)
    return document


# build


def test_json_is_one_object_and_progress_goes_to_stderr(ended: Ended) -> None:
    assert ended.code == 0
    assert ended.out.count("\n") == 1
    assert "calibrating with 63 samples\n" in ended.err
    assert "edge-convert" not in ended.err


def test_json_has_what_programs_rely_on(told: dict[str, Any], out: Path) -> None:
    assert told.keys() == CONTRACT
    assert (told["name"], told["version"]) == ("watch", "1.0.0")
    assert told["variant"] == told["chosen"] == "onnx-int8"
    bundle = read_bundle(Path(told["bundle"]), told["sha256"])
    assert bundle.path == out / "watch-1.0.0-onnx-int8.bundle"
    assert told["bundles"] == [
        {
            "file": told["bundle"],
            "variant": "onnx-int8",
            "sha256": told["sha256"],
            "bytes": told["final_bytes"],
            "bundle_bytes": bundle.length,
        }
    ]
    assert told["float_bytes"] == MODEL.stat().st_size
    assert told["final_bytes"] == len(bundle.model()) < 20_000


def test_json_counts_and_fractions(told: dict[str, Any]) -> None:
    windows = (told["evaluation_windows"], told["holdout_windows"], told["calibration_windows"])
    assert windows == (63, 63, 63)
    assert (told["metric"], told["max_drop"], told["evaluations"]) == ("accuracy", 0.01, 2)
    assert 0.9 < told["float_accuracy"] <= 1
    assert told["final_accuracy"] - told["float_accuracy"] == told["accuracy_difference"]
    low, high = told["accuracy_difference_interval"]
    assert low <= told["accuracy_difference"] <= high
    # So few windows prove nothing of one point.
    assert told["proven"] is False
    assert isinstance(told["flips"], int)
    assert told["missed"] == []


def test_json_lists_every_candidate(told: dict[str, Any]) -> None:
    assert all(candidate.keys() == OF_A_CANDIDATE for candidate in told["candidates"])
    (chosen,) = (c for c in told["candidates"] if c["verdict"] == "chosen")
    assert chosen["bytes"] == told["final_bytes"]
    assert chosen["accuracy"] == told["final_accuracy"]
    others = [c for c in told["candidates"] if c is not chosen]
    assert others
    assert all(c["verdict"] == "behind" and c["why"] for c in others)


def test_files_are_the_bundle_the_plan_and_the_report(told: dict[str, Any], out: Path) -> None:
    assert {f.name for f in out.iterdir()} == {
        *("watch-1.0.0-onnx-int8.bundle", "plan.json", "report.html", "report.json")
    }
    assert (told["plan"], told["report"]) == (str(out / "plan.json"), str(out / "report.html"))


def test_result_is_told_in_words_and_name_comes_from_the_file(run: Run, tmp_path: Path) -> None:
    ended = run("build", MODEL, *WATCH, "--precision", "fp16", "--out", tmp_path)
    assert ended.code == 0
    assert ended.out.startswith("watch_mlp 0.1.0: Chosen: onnx-fp16\n")
    assert " instead of 65,525 " in ended.out
    assert "on 63 samples" in ended.out
    assert "watch_mlp-0.1.0-onnx-fp16.bundle" in ended.out


@pytest.mark.parametrize(("said", "fraction"), [("2pp", 0.02), ("2.5 %", 0.025), ("0.03", 0.03)])
def test_budget_in_points_percent_or_as_a_fraction(
    run: Run, tmp_path: Path, said: str, fraction: float
) -> None:
    model = save_graph(tmp_path / "m.onnx", GOOD)
    x = save_samples(tmp_path / "x.npz", rows(40, 6))
    options = ("--precision", "float", "--max-drop", said, "--out", tmp_path / "d", "--json")
    ended = run("build", model, "--evaluation", x, *options)
    assert json.loads(ended.out)["max_drop"] == pytest.approx(fraction)


def test_missed_budget_is_told_in_json_as_well(run: Run, tmp_path: Path) -> None:
    model = save_graph(tmp_path / "m.onnx", GOOD)
    cal = save_samples(tmp_path / "cal.npz", rows(30, 6))
    # Of so many answers int8 changes some.
    x = save_samples(tmp_path / "x.npz", rows(400, 6))
    out = tmp_path / "d"
    ended = run(
        *("build", model, "--evaluation", x, "--calibration", cal, "--precision", "int8"),
        *("--max-drop", "0", "--out", out, "--json"),
    )
    assert ended.code == 5
    told = json.loads(ended.out)
    assert told["chosen"] is told["bundle"] is told["final_bytes"] is None
    assert told["bundles"] == []
    (missed,) = told["missed"]
    assert str(out / "over-budget" / "m-0.1.0-onnx-int8.bundle") in missed
    assert ended.err.splitlines()[-1] == f"edge-convert: {missed}"


def test_a_request_to_end_while_bundles_are_written_leaves_nothing(tmp_path: Path) -> None:
    out = tmp_path / "dist"
    command = [sys.executable, "-m", "convert", "build", str(MODEL), *map(str, WATCH)]
    with subprocess.Popen(
        [*command, "--precision", "int8", "--out", str(out)],
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        deadline = time.monotonic() + 60
        while not list(out.glob(".edge-convert-*")):
            assert child.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.001)
        child.terminate()
        _, said = child.communicate(timeout=30)
    assert child.returncode == 6, said
    assert said.endswith("\nedge-convert: interrupted\n")
    assert "Traceback" not in said
    assert list(out.iterdir()) == []


# What comes of a build


def test_emit_makes_the_same_bytes_again(
    run: Run, told: dict[str, Any], out: Path, tmp_path: Path
) -> None:
    ended = run("emit", out / "plan.json", MODEL, "--out", tmp_path / "again", "--json")
    assert ended.code == 0
    (file,) = json.loads(ended.out)["files"]
    assert file == str(tmp_path / "again" / "watch-1.0.0-onnx-int8.onnx")
    assert Path(file).read_bytes() == read_bundle(Path(told["bundle"])).model()


def test_emit_of_another_model_is_refused(run: Run, told: dict[str, Any], tmp_path: Path) -> None:
    other = MODEL.with_name("watch_mlp_v2.onnx")
    ended = run("emit", told["plan"], other, "--out", tmp_path / "again")
    assert ended.code == 3
    assert f"{other}: sha256 " in ended.err
    assert not (tmp_path / "again").exists()


def test_emit_of_a_changed_plan_is_refused(run: Run, told: dict[str, Any], tmp_path: Path) -> None:
    plan = json.loads(Path(told["plan"]).read_text())
    for ends in plan["variants"][0]["ranges"].values():
        ends[1] += 1
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    ended = run("emit", tmp_path / "plan.json", MODEL, "--out", tmp_path / "again")
    assert ended.code == 3
    assert "edge-convert: onnx-int8: other bytes come out" in ended.err
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize("file", ["plan.json", "report.json"])
def test_report_tells_a_plan_as_the_build_did(
    run: Run, told: dict[str, Any], out: Path, tmp_path: Path, file: str
) -> None:
    ended = run("report", out / file, "--html", tmp_path / "page.html")
    assert ended.code == 0
    assert ended.out.startswith("watch 1.0.0: Chosen: onnx-int8\n")
    assert (tmp_path / "page.html").read_bytes() == (out / "report.html").read_bytes()
    assert json.loads(run("report", out / file, "--json").out)["chosen"] == told["chosen"]


def test_report_of_a_bundle_is_what_its_manifest_says(run: Run, told: dict[str, Any]) -> None:
    ended = run("report", told["bundle"])
    assert ended.out.startswith("watch-1.0.0-onnx-int8.bundle\n")
    assert "on 63 samples" in ended.out
    document = json.loads(run("report", told["bundle"], "--json").out)
    assert document["provenance"]["final_accuracy"] == told["final_accuracy"]
    assert run("report", told["bundle"], "--html", "page.html").code == 2


# The other commands


def test_pack_takes_a_file_as_it_is(run: Run, tmp_path: Path) -> None:
    require_module("ai_edge_litert")
    ended = run("pack", WAKE_WORD, "--out", tmp_path, "--json")
    assert ended.code == 0
    told = json.loads(ended.out)
    assert told["model_bytes"] == WAKE_WORD.stat().st_size
    assert read_bundle(Path(told["bundle"]), told["sha256"]).model() == WAKE_WORD.read_bytes()


def test_inspect_tells_the_model(run: Run) -> None:
    told = json.loads(run("inspect", MODEL, "--json").out)
    assert told["sha256"] == hashlib.sha256(MODEL.read_bytes()).hexdigest()
    assert told["model_bytes"] == 65_525
    words = run("inspect", MODEL)
    assert words.code == 0
    assert "raspberry-pi-4" in words.out


def test_sensitivity_names_the_layers_and_plots_them(run: Run, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    order = ("sensitivity", MODEL, "--spec", SPEC, "--calibration", CALIBRATION)
    ended = run(*order, "--json", "--html", page)
    assert ended.code == 0
    nodes = json.loads(ended.out)["nodes"]
    assert [node["operator"] for node in nodes] == ["Gemm", "Gemm"]
    assert all(node["sqnr_db"] > 20 for node in nodes)
    assert "<svg" in page.read_text("utf-8")
    assert run(*order).out.count("Gemm") == 2


def test_parity_compares_a_model_with_its_bundle(
    run: Run, told: dict[str, Any], tmp_path: Path
) -> None:
    x = save_samples(tmp_path / "x.npz", rows(20, 100, 6))
    ended = run("parity", MODEL, told["bundle"], "--inputs", x, "--json")
    assert ended.code == 0
    comparison = json.loads(ended.out)
    assert comparison["samples"] == 20
    assert 0 < comparison["largest_relative"] < 0.2
    assert run("parity", MODEL, told["bundle"], "--inputs", x).out.startswith(f"A  {MODEL}\n")


# The command itself


def test_every_command_has_help(run: Run) -> None:
    commands = ("build", "pack", "inspect", "sensitivity", "parity", "report", "emit")
    listed = run("--help").out
    for command in (*commands, "setup-tflite"):
        assert f"  {command} " in listed
        ended = run(command, "--help")
        assert (ended.code, ended.err) == (0, "")


def test_help_loads_nothing_heavy() -> None:
    script = (
        "import sys; sys.argv[1:] = ['--help']; from convert.__main__ import cli\n"
        "cli.main(standalone_mode=False)\n"
        "print(sorted({'onnx', 'onnxruntime', 'rich', 'numpy'} & sys.modules.keys()))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=True, text=True
    )
    assert ended.stdout.endswith("[]\n")


@pytest.mark.parametrize("module", ["onnx", "onnxslim"])
def test_missing_extra_is_named(module: str) -> None:
    script = (
        f"import sys; sys.modules['{module}'] = None\n"
        "sys.argv[1:] = 'build m --evaluation e'.split()\n"
        "from convert.__main__ import main; main()"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=False, text=True
    )
    assert ended.returncode == 2
    assert ended.stderr == (
        f"edge-convert: {module} is not installed: pip install 'edgeward[convert]'\n"
    )


NO_TFLITE = """
import sys
for name in ("ai_edge_litert", "ai_edge_quantizer", "flatbuffers"):
    sys.modules[name] = None
import importlib.util
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name in sys.modules and (
    sys.modules[name] is None
) else find(name, package)
from convert.__main__ import main
main()
"""


def run_without_tflite(*words: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", NO_TFLITE, *map(str, words)],
        capture_output=True,
        check=False,
        text=True,
    )


def test_onnx_needs_nothing_of_tflite(tmp_path: Path) -> None:
    ended = run_without_tflite("build", MODEL, *WATCH, "--max-drop", "5pp", "--out", tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert list(tmp_path.glob("*-onnx-*.bundle"))
    for words in (("inspect", MODEL), ("pack", MODEL, "--spec", SPEC, "--out", tmp_path)):
        assert run_without_tflite(*words).returncode == 0


def test_missing_tflite_is_named_before_the_work_begins(tmp_path: Path) -> None:
    file = tmp_path / "m.tflite"
    file.write_bytes(WAKE_WORD.read_bytes())
    sensitivity = ("sensitivity", MODEL, *WATCH[:4], "--to", "tflite")
    for words in (
        ("build", MODEL, *WATCH, "--to", "onnx,tflite"),
        ("build", file, "--evaluation", "x.npz"),
        sensitivity,
    ):
        ended = run_without_tflite(*words)
        assert ended.returncode == 2
        assert ended.stderr.splitlines()[-1] == (
            "edge-convert: ai-edge-litert is not installed: pip install 'edgeward[convert-tflite]'"
        )
        assert "calibrating" not in ended.stderr
