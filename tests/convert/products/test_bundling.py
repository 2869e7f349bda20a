"""A bundle is proven by itself before it is seen, and files appear whole, all or none."""

import io
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from convert.given.spec import EMPTY, Spec, read_spec
from convert.products.bundling import (
    GOLDEN,
    REFERENCE,
    check_folder,
    draft_manifest,
    move_into_place,
    stage_bundle,
    staging_folder,
)
from convert.products.evidence import pack_reference
from convert.products.identity import Identity
from edge_bundle.errors import BundleRefused, ConfigError, ModelRefused
from edge_bundle.golden import pack_golden
from edge_bundle.inference import Inference
from edge_bundle.manifest import Manifest, Provenance
from edge_bundle.runtimes.loader import load_model
from tests.convert.given.test_spec import SPEC
from tests.edge_bundle.bundles import MODEL, WAKE_WORD, watch_windows
from tests.parts import require_module

IDENTITY = Identity("watch", "1.0.0", "onnx-float")
ORIGIN = Provenance("0" * 64, "as it is")


def draft(spec: Spec) -> Manifest:
    return draft_manifest(IDENTITY, spec, MODEL.read_bytes(), "onnx", ORIGIN, 1e-4)


def members(manifest: Manifest) -> dict[str, bytes]:
    model = MODEL.read_bytes()
    golden = pack_golden(Inference(manifest, load_model(model, "onnx")), watch_windows())
    return {"model.onnx": model, GOLDEN: golden}


def test_draft_says_what_the_file_and_the_spec_say() -> None:
    spec = read_spec(SPEC).spec
    manifest = draft(spec)
    assert manifest.file_name == "watch-1.0.0-onnx-float.bundle"
    assert (manifest.stream, manifest.decision) == (spec.stream, spec.decision)
    assert [t.name for t in manifest.tensors.outputs] == ["label", "probabilities"]
    assert manifest.provenance.machine == os.uname().machine
    assert str(manifest.provenance.runtime).startswith("onnxruntime ")
    assert not manifest.stateful


def test_draft_of_a_stateful_tflite_file_says_so_with_its_codes() -> None:
    require_module("ai_edge_litert")
    data = WAKE_WORD.read_bytes()
    manifest = draft_manifest(IDENTITY, EMPTY.spec, data, "tflite", ORIGIN, 0.02)
    assert (manifest.stateful, manifest.model) == (True, "model.tflite")
    (taken,) = manifest.tensors.inputs
    assert (taken.shape, taken.dtype, taken.zero_point) == ((1, 3, 40), "int8", -128)
    assert taken.scale == pytest.approx(0.10196, abs=1e-5)
    assert (manifest.stream, manifest.decision) == (None, None)


def test_staged_bundle_is_proven_and_hidden(tmp_path: Path) -> None:
    manifest = draft(read_spec(SPEC).spec)
    files = members(manifest) | {REFERENCE: pack_reference(list(watch_windows()))}
    with staging_folder(tmp_path / "dist") as folder:
        bundle = stage_bundle(folder, manifest, files)
        assert folder.name.startswith(".")
        assert bundle.manifest.reference is not None
        (path,) = move_into_place([bundle.path], tmp_path / "dist")
    assert path == tmp_path / "dist" / "watch-1.0.0-onnx-float.bundle"
    assert list((tmp_path / "dist").iterdir()) == [path]


def stage(folder: Path, manifest: Manifest, files: Mapping[str, bytes]) -> None:
    with staging_folder(folder) as staging:
        stage_bundle(staging, manifest, files)


def test_bundle_that_contradicts_its_golden_vectors_leaves_no_file(tmp_path: Path) -> None:
    manifest = draft(read_spec(SPEC).spec)
    files = members(manifest)
    with np.load(io.BytesIO(files[GOLDEN])) as golden:
        changed = io.BytesIO()
        np.savez(changed, windows=golden["windows"], scores=golden["scores"] + np.float32(0.1))
    with pytest.raises(ModelRefused, match=r"a score differs by 0\.1, at most 0\.0001"):
        stage(tmp_path, manifest, files | {GOLDEN: changed.getvalue()})
    assert list(tmp_path.iterdir()) == []


def test_bundle_without_its_model_is_refused(tmp_path: Path) -> None:
    manifest = draft(read_spec(SPEC).spec)
    with pytest.raises(BundleRefused, match=r"model\.onnx is not listed"):
        stage(tmp_path, manifest, {GOLDEN: b"x"})
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def staged(tmp_path: Path) -> list[Path]:
    folder = tmp_path / "out" / ".staged"
    folder.mkdir(parents=True)
    for name in ("a", "b"):
        (folder / name).write_text(f"new {name}")
    return [folder / "a", folder / "b"]


def test_files_replace_those_of_their_name(tmp_path: Path, staged: list[Path]) -> None:
    out = tmp_path / "out"
    (out / "b").write_text("old b")
    assert move_into_place(staged, out) == [out / "a", out / "b"]
    assert (out / "a").read_text() + (out / "b").read_text() == "new anew b"
    assert sorted(p.name for p in out.iterdir()) == [".staged", "a", "b"]


@pytest.mark.parametrize("before", [None, "old a"])
def test_a_file_that_cannot_be_moved_takes_back_the_others(
    tmp_path: Path, staged: list[Path], monkeypatch: pytest.MonkeyPatch, before: str | None
) -> None:
    out = tmp_path / "out"
    if before:
        (out / "a").write_text(before)
    replace = os.replace

    def fail_at_b(source: Path, target: Path) -> None:
        if source.name == "b":
            raise OSError(28, "No space left on device", str(target))
        replace(source, target)

    monkeypatch.setattr(os, "replace", fail_at_b)
    with pytest.raises(ConfigError, match=r"out/b: No space left on device$"):
        move_into_place(staged, out)
    found = {p.name: p.read_text() for p in out.iterdir() if p.is_file()}
    assert found == ({"a": before} if before else {})


def test_folder_in_the_way_of_a_bundle_is_one_line(tmp_path: Path, staged: list[Path]) -> None:
    out = tmp_path / "out"
    (out / "b").mkdir()
    with pytest.raises(ConfigError, match=r"out/b: Is a directory$"):
        move_into_place(staged, out)
    assert not (out / "a").exists()


def test_output_that_is_a_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="file: not a folder"):
        check_folder(tmp_path / "file" / "dist")
    with (
        pytest.raises(ConfigError, match=r"file.*: (Not a directory|File exists)"),
        staging_folder(tmp_path / "file"),
    ):
        pass


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_output_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(ConfigError, match="not writable"):
        check_folder(tmp_path / "dist")
    with pytest.raises(ConfigError, match="Permission denied"), staging_folder(tmp_path):
        pass
