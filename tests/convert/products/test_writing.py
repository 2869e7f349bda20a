"""A build leaves all its files, whole and fitting each other, or the folder as it was."""

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from convert import findings as reports
from convert.products import plan as plans
from convert.products import writing as products
from convert.products.bundling import stage_bundle
from convert.products.writing import OVER_BUDGET, PLAN, REPORT, REPORT_PAGE, Built
from edge_bundle.archive import Bundle, read_bundle
from edge_bundle.errors import ConfigError, ModelRefused
from edge_bundle.golden import check_golden, pack_golden
from edge_bundle.inference import Inference
from edge_bundle.manifest import Manifest
from tests.convert.small_build import Workshop, open_workshop
from tests.parts import require_module

INT8 = "small-1.0.0-onnx-int8.bundle"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workshop, Built]:
    workshop = open_workshop(tmp_path_factory.mktemp("finished"))
    return workshop, workshop.build()


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return open_workshop(tmp_path)


def contents(folder: Path) -> dict[str, bytes]:
    """Return all files below a folder, hidden ones too."""
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }


# What is there


def test_bundle_plan_and_report_are_all_there_and_nothing_else(
    finished: tuple[Workshop, Built],
) -> None:
    workshop, built = finished
    assert contents(workshop.out).keys() == {INT8, PLAN, REPORT, REPORT_PAGE}
    assert built.paths == (workshop.out / INT8,)
    assert (built.plan, built.report) == (workshop.out / PLAN, workshop.out / REPORT_PAGE)
    assert built.missed == ()


def test_bundle_passes_its_golden_vectors(finished: tuple[Workshop, Built]) -> None:
    bundle = read_bundle(finished[1].paths[0])
    assert check_golden(bundle, Inference.open(bundle)).ok


def test_plan_and_report_name_the_bundle_by_its_digest(finished: tuple[Workshop, Built]) -> None:
    workshop, built = finished
    plan = plans.decode(built.plan.read_bytes(), "plan.json")
    (variant,), (product,) = plan.variants, built.findings.products
    data = built.paths[0].read_bytes()
    assert variant.bundle_sha256 == product.sha256 == hashlib.sha256(data).hexdigest()
    assert product.bundle_bytes == len(data)
    model = read_bundle(built.paths[0]).model()
    assert variant.model_sha256 == hashlib.sha256(model).hexdigest()
    assert product.bytes == len(model)
    assert plan.findings == built.findings
    assert reports.decode((workshop.out / REPORT).read_bytes()) == built.findings


def test_bundle_names_the_plan_that_decided_it(finished: tuple[Workshop, Built]) -> None:
    _, built = finished
    told = read_bundle(built.paths[0]).manifest.provenance
    assert told.plan_sha256 == plans.identify(plans.decode(built.plan.read_bytes(), "plan.json"))


def test_plan_has_the_ranges_and_digests_of_what_was_given(
    finished: tuple[Workshop, Built],
) -> None:
    workshop, built = finished
    plan = plans.decode(built.plan.read_bytes(), "plan.json")
    given = [workshop.folder / name for name in ("small.onnx", "cal.npz", "eval.npz")]
    assert [plan.source_sha256, plan.calibration_sha256, plan.evaluation_sha256] == [
        hashlib.sha256(file.read_bytes()).hexdigest() for file in given
    ]
    assert plan.variants[0].ranges
    assert plan.versions == plans.emitter_versions()


def test_findings_tell_what_was_measured(finished: tuple[Workshop, Built]) -> None:
    workshop, built = finished
    found = built.findings
    assert found.float_bytes == (workshop.folder / "small.onnx").stat().st_size
    assert (found.metric, found.float_score.value) == ("accuracy", 1)
    assert found.measured_on == "a board"
    assert found.evaluations == 2
    assert found.chosen == "onnx-int8"
    assert sum(c.verdict == "chosen" for c in found.candidates) == 1
    assert all(c.why for c in found.candidates)
    assert found.confusion is not None
    assert sum(map(sum, found.confusion.final)) == found.holdout_samples == 100


def test_report_has_no_number_that_json_has_not(finished: tuple[Workshop, Built]) -> None:
    workshop, _ = finished
    text = (workshop.out / REPORT).read_text()
    json.loads(text, parse_constant=lambda name: pytest.fail(name))


def test_the_same_order_gives_the_same_bundle(
    finished: tuple[Workshop, Built], workshop: Workshop
) -> None:
    again = workshop.build()
    assert again.paths[0].read_bytes() == finished[1].paths[0].read_bytes()


def test_two_formats_are_a_set_with_one_plan(workshop: Workshop) -> None:
    require_module("ai_edge_litert")
    require_module("ai_edge_quantizer")
    built = workshop.build(formats=("onnx", "tflite"))
    manifests = [read_bundle(path).manifest for path in built.paths]
    assert {m.variant for m in manifests} == {"onnx-int8", "tflite-int8"}
    assert len({m.provenance.plan_sha256 for m in manifests}) == 1
    assert built.findings.evaluations <= 7
    assert any("give the same answer on" in line for line in built.findings.explanations)


def test_values_and_tokens_without_labels_build_too(workshop: Workshop) -> None:
    with np.load(workshop.folder / "eval.npz") as arrays:
        np.savez(workshop.folder / "plain.npz", x=arrays["x"])
    found = workshop.build(evaluation=str(workshop.folder / "plain.npz")).findings
    assert found.metric == "agreement with float"


# Nothing half-written


class Failure(Exception):
    """What no one expects."""


@pytest.fixture
def before(workshop: Workshop) -> dict[str, bytes]:
    """Put an earlier build's files into the output folder."""
    workshop.out.mkdir()
    for name in (INT8, PLAN, "notes.txt"):
        (workshop.out / name).write_text(f"earlier {name}")
    return contents(workshop.out)


@pytest.mark.parametrize(
    "name", ["stage_bundle", "render_page", "_make_findings", "_write", "move_into_place"]
)
def test_failure_in_the_middle_leaves_the_folder_as_it_was(
    workshop: Workshop, before: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def fail(*_: Any) -> None:
        raise Failure

    monkeypatch.setattr(products, name, fail)
    with pytest.raises(Failure):
        workshop.build()
    assert contents(workshop.out) == before
    assert [f for f in workshop.out.iterdir() if f.is_dir()] == []


def test_bundle_that_does_not_prove_itself_leaves_the_folder_as_it_was(
    workshop: Workshop, before: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    def pack_wrong(inference: Inference, windows: Any, fresh: Any) -> bytes:
        with np.load(io.BytesIO(pack_golden(inference, windows, fresh))) as golden:
            changed = io.BytesIO()
            np.savez(changed, windows=golden["windows"], scores=golden["scores"] + np.float32(9))
        return changed.getvalue()

    monkeypatch.setattr(products, "pack_golden", pack_wrong)
    with pytest.raises(ModelRefused, match="golden vectors: a score differs"):
        workshop.build()
    assert contents(workshop.out) == before


def test_disk_that_fills_up_is_one_line(
    workshop: Workshop, before: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(file: Path, _data: bytes, mode: int) -> None:
        assert mode == 0o644
        raise OSError(28, "No space left on device", str(file))

    monkeypatch.setattr(products, "replace_file", full)
    with pytest.raises(ConfigError, match=r"plan\.json: No space left on device$"):
        workshop.build()
    assert contents(workshop.out) == before


def test_files_of_an_earlier_build_are_replaced_and_others_stay(
    workshop: Workshop, before: dict[str, bytes]
) -> None:
    workshop.build()
    after = contents(workshop.out)
    assert after["notes.txt"] == before["notes.txt"]
    assert after[INT8] != before[INT8]
    assert after.keys() == before.keys() | {REPORT, REPORT_PAGE}


# Over budget


@pytest.fixture
def strict(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> Workshop:
    """A workshop whose metric finds every model but the float one worthless."""
    monkeypatch.chdir(workshop.folder)
    (workshop.folder / "exacting.py").write_text(
        "def judge(outputs, y, reference):\n"
        "    return float((outputs['scores'] == reference['scores']).all())\n"
    )
    return workshop


def test_what_does_not_keep_the_budget_is_kept_aside_and_named(strict: Workshop) -> None:
    built = strict.build(metric="exacting:judge", precision="int8")
    aside = strict.out / OVER_BUDGET / INT8
    (line,) = built.missed
    assert str(aside) in line
    assert line.startswith("onnx-int8: It ")
    assert built.paths == ()
    assert built.findings.chosen is None
    assert contents(strict.out).keys() == {f"{OVER_BUDGET}/{INT8}", PLAN, REPORT, REPORT_PAGE}
    bundle = read_bundle(aside)
    assert check_golden(bundle, Inference.open(bundle)).ok


def test_float_keeps_a_budget_that_nothing_else_keeps(strict: Workshop) -> None:
    built = strict.build(metric="exacting:judge", precision="auto")
    assert built.missed == ()
    assert built.findings.chosen == "onnx-float"
    assert [c.verdict for c in built.findings.candidates].count("kept") == 1
    assert not (strict.out / OVER_BUDGET).exists()
    assert built.findings.evaluations <= 7


def test_failure_while_the_best_are_put_aside_leaves_none_of_them(
    strict: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_module("ai_edge_litert")
    require_module("ai_edge_quantizer")

    def stage_once(folder: Path, manifest: Manifest, files: Any) -> Bundle:
        if manifest.format == "tflite":
            raise Failure
        return stage_bundle(folder, manifest, files)

    monkeypatch.setattr(products, "stage_bundle", stage_once)
    with pytest.raises(Failure):
        strict.build(metric="exacting:judge", precision="int8", formats=("onnx", "tflite"))
    assert contents(strict.out) == {}


def test_findings_of_a_missed_budget_can_be_encoded(strict: Workshop) -> None:
    found = strict.build(metric="exacting:judge", precision="int8").findings
    assert reports.decode(msgspec.json.encode(found)) == found


def test_variants_of_an_earlier_build_of_the_version_go(workshop: Workshop) -> None:
    workshop.build(precision="float")
    other = workshop.out / "small-1.0.0-rc-onnx-float.bundle"
    other.write_bytes(b"of another version")
    (before,) = workshop.out.glob("small-1.0.0-onnx-*.bundle")
    built = workshop.build()
    assert set(workshop.out.glob("*.bundle")) == {*built.paths, other}
    assert before not in built.paths
