"""Our own command on one model, as a user runs it, and what its bundles hold."""

import hashlib
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from benchmarks.conversion import child
from benchmarks.conversion.cases import Case
from benchmarks.conversion.judge import File, Judge, Judgement
from benchmarks.conversion.metrics import agreement
from edge_bundle.archive import read_bundle
from edge_bundle.errors import ArtifactRefused

LIMIT_S = 600


@dataclass(frozen=True, slots=True)
class Ours:
    """What came of our command on one model."""

    why: str = ""
    """Empty, or in one line why there is no bundle."""
    float_score: float = 0.0
    said: dict[str, Any] = field(default_factory=dict)
    """What ``build --json`` printed."""
    ran: child.Ran | None = None
    final: Judgement | None = None
    """Of the bundle that ``build`` chose."""
    others: tuple[Judgement, ...] = ()
    """Of its other bundles."""
    figures: dict[str, float] = field(default_factory=dict)
    """By the names that bounds use."""
    float_tflite: File | None = None
    notes: tuple[str, ...] = ()


def convert(case: Case, data: Path, sets: tuple[Path, Path], judge: Judge, folder: Path) -> Ours:
    """Build a model's bundles and judge what is in them.

    Args:
        case: the model.
        data: the data folder.
        sets: ``cal.npz`` and ``eval.npz``.
        judge: with the float model's answers.
        folder: to build into.
    """
    float_score = judge.score(judge.reference)
    notes = []
    formats = "onnx,tflite"
    ran, files = _build(case, data, sets, folder / "out", formats)
    if ran.why and not case.tflite:
        notes.append(f"--to {formats}: {ran.why}")
        formats = "onnx"
        ran, files = _build(case, data, sets, folder / "out-onnx", formats)
    if ran.why:
        return Ours(ran.why, float_score, notes=tuple(notes), ran=ran)
    said = json.loads(ran.out)
    floats = _build_float(case, data, sets, folder / "float", formats)
    try:
        judged = [judge.judge(file) for file in files.values()]
    except ArtifactRefused as error:
        return Ours(f"its bundle: {error}", float_score, said, ran, notes=tuple(notes))
    number = _final(said, list(files), [j.bytes for j in judged])
    final = judged.pop(number)
    figures = _figures(float_score, said, ran, final)
    for other in judged:
        same = agreement(other.outputs, None, final.outputs)
        if other.format != final.format:
            figures["arg_max_agreement"] = float(np.mean(same))
    if "tflite" in floats:
        figures["tflite_float_error"] = judge.error(floats["tflite"])
    figures["valid_graph"] = float(all(_is_valid(file) for file in files.values()))
    if any(bound.figure == "same_bytes_again" for bound in case.bounds):
        figures["same_bytes_again"] = float(
            _emit_again(case, data, said, folder / "again") == _digests(files)
        )
    return Ours(
        why="",
        float_score=float_score,
        said=said,
        ran=ran,
        final=final,
        others=tuple(judged),
        figures=figures,
        float_tflite=floats.get("tflite"),
        notes=tuple(notes),
    )


def _figures(
    float_score: float, said: dict[str, Any], ran: child.Ran, final: Judgement
) -> dict[str, float]:
    return {
        "accuracy": final.score,
        "f1": final.score,
        "drop": float_score - final.score,
        "agreement": final.agreement,
        "bytes": final.bytes,
        "latency_ratio": final.latency_ratio,
        "evaluations": said["evaluations"],
        "claim_error": _outside(said["accuracy_difference_interval"], final.score - float_score),
        "build_seconds": ran.seconds,
        "build_peak_bytes": ran.peak_bytes,
    }


def _outside(interval: list[float], value: float) -> float:
    """Return how far a value is outside of the interval that was claimed for it."""
    low, high = interval
    return max(0.0, low - value, value - high)


def _build(
    case: Case,
    data: Path,
    sets: tuple[Path, Path],
    out: Path,
    formats: str,
    *more: str,
) -> tuple[child.Ran, dict[str, File]]:
    """Run the command; return the model files of its bundles by variant."""
    sys.stderr.write(f"{case.name}: build --to {formats} {' '.join(more)}\n")
    calibration, evaluation = case.recordings or map(str, sets)
    command = [sys.executable, "-m", "convert", "build", str(case.source(data))]
    command += ["--calibration", calibration, "--evaluation", evaluation]
    command += ["--to", formats, "--max-drop", case.max_drop, "--target", "host"]
    command += ["--name", case.name, "--version", "1.0.0", "--out", str(out), "--json", *more]
    if case.spec:
        command += ["--spec", str(case.spec)]
    if case.metric.__name__ == "frame_f1":
        command += ["--metric", "benchmarks.conversion.metrics:frame_f1"]
    ran = child.run(command, LIMIT_S)
    bundles = [read_bundle(path) for path in sorted(out.glob("*.bundle"))] if not ran.why else []
    return ran, {b.manifest.variant: File(b.model(), b.manifest.format) for b in bundles}


def _build_float(
    case: Case, data: Path, sets: tuple[Path, Path], out: Path, formats: str
) -> dict[str, File]:
    """Return the float files by format, to time against and to hold against the original."""
    _, files = _build(case, data, sets, out, formats, "--precision", "float")
    return {file.format: file for file in files.values()}


def _emit_again(case: Case, data: Path, said: dict[str, Any], out: Path) -> set[str]:
    """Return the digests of the files that the plan gives when it is carried out again."""
    sys.stderr.write(f"{case.name}: emit\n")
    command = [sys.executable, "-m", "convert", "emit", said["plan"], str(case.source(data))]
    ran = child.run([*command, "--out", str(out), "--json"], LIMIT_S)
    files = json.loads(ran.out)["files"] if not ran.why else []
    return {hashlib.sha256(Path(file).read_bytes()).hexdigest() for file in files}


def _final(said: dict[str, Any], variants: list[str], sizes: list[int]) -> int:
    """Return which bundle the command said that it chose."""
    if said["chosen"] in variants:
        return variants.index(said["chosen"])
    return sizes.index(said["final_bytes"])


def _is_valid(file: File) -> bool:
    if file.format != "onnx":
        return True
    try:
        onnx.checker.check_model(onnx.load_from_string(file.data), full_check=True)
    except Exception:  # the checker and shape inference raise classes that share no base
        return False
    return True


def _digests(files: dict[str, File]) -> set[str]:
    return {hashlib.sha256(file.data).hexdigest() for file in files.values()}
