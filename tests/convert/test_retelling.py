"""What a build left behind tells again what it found out."""

import json
from pathlib import Path

import msgspec
import pytest

from convert.products import plan as plans
from convert.products.writing import REPORT, Built
from convert.reproduction import read_plan
from convert.retelling import retell
from edge_bundle.errors import ArtifactRefused, BundleRefused, ConfigError
from tests.convert.small_build import open_workshop
from tests.edge_bundle.bundles import write_watch_bundle


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return open_workshop(tmp_path_factory.mktemp("finished")).build()


def test_plan_and_report_tell_the_same(built: Built) -> None:
    plan, report = retell(built.plan), retell(built.plan.parent / REPORT)
    assert plan.findings == report.findings == built.findings
    assert plan.text() == report.text()
    assert plan.page() == report.page() == built.report.read_text()
    assert "onnx-int8" in plan.text()


def test_report_is_one_json_object(built: Built) -> None:
    told = json.loads(retell(built.plan).as_json())
    assert (told["name"], told["chosen"]) == ("small", "onnx-int8")


def test_bundle_tells_what_is_in_its_manifest(built: Built) -> None:
    told = retell(built.paths[0])
    lines = told.text().splitlines()
    assert lines[0] == "small-1.0.0-onnx-int8.bundle"
    assert lines[1].startswith("  static QDQ uint8 activations")
    assert lines[2].startswith("  accuracy 100.00% -> ")
    assert lines[2].endswith(" on 100 samples")
    assert any(line.startswith("  golden vectors by onnxruntime ") for line in lines)
    assert f"  plan sha256 {plans.identify(read_plan(built.plan))}" in lines
    assert json.loads(told.as_json())["variant"] == "onnx-int8"


def test_bundle_that_measured_nothing_tells_what_it_knows(tmp_path: Path) -> None:
    text = retell(write_watch_bundle(tmp_path).path).text()
    assert "accuracy" not in text
    assert "golden vectors by an unknown runtime on an unknown machine, tolerance 0.0001" in text
    assert text.endswith("\n")


def test_bundle_has_too_little_for_a_page(built: Built) -> None:
    with pytest.raises(ConfigError, match="--html: a bundle has no report in it"):
        retell(built.paths[0]).page()


def test_plan_without_findings_is_one_line(built: Built, tmp_path: Path) -> None:
    bare = msgspec.structs.replace(read_plan(built.plan), findings=None)
    (tmp_path / "p.json").write_bytes(plans.encode(bare))
    with pytest.raises(ArtifactRefused, match=r"p\.json: a plan without findings$"):
        retell(tmp_path / "p.json")


@pytest.mark.parametrize("content", [b"", b"x", b"hello", b"\xff\xfe\x00", b"{}", b'"\xff"', b"[1"])
def test_file_that_is_none_of_these_is_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "junk").write_bytes(content)
    with pytest.raises(ArtifactRefused) as stop:
        retell(tmp_path / "junk")
    assert str(stop.value).startswith(f"{tmp_path / 'junk'}: not a plan: ")


def test_damaged_bundle_is_refused(built: Built, tmp_path: Path) -> None:
    (tmp_path / "half.bundle").write_bytes(built.paths[0].read_bytes()[:900])
    with pytest.raises(BundleRefused):
        retell(tmp_path / "half.bundle")


def test_report_of_another_schema_is_refused(built: Built, tmp_path: Path) -> None:
    text = (built.plan.parent / REPORT).read_text().replace('"schema": 1', '"schema": 9')
    (tmp_path / "r.json").write_text(text)
    with pytest.raises(ArtifactRefused, match=r"r\.json: not a report: "):
        retell(tmp_path / "r.json")


def test_file_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none: No such file or directory$"):
        retell(tmp_path / "none")
    with pytest.raises(ConfigError, match=r"Is a directory$"):
        retell(tmp_path)
