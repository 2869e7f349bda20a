"""The other tools on the same samples, each in a child, its file held against the same judge."""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.conversion import child
from benchmarks.conversion.cases import Case
from benchmarks.conversion.judge import File, Judge, Judgement
from benchmarks.conversion.peer import PEERS
from convert.tflite.flatbuffer import pack, tensor_names, unpack
from convert.tflite.signature import add_signature
from edge_bundle.errors import ModelRefused

VERSION = "import sys, importlib.metadata as m; print(m.version(sys.argv[1]))"


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of one peer on one model."""

    peer: str
    """With its version."""
    why: str
    """Empty, or in one line why there is no figure."""
    seconds: float = 0.0
    peak_bytes: int = 0
    evaluations: int = 0
    """Full labelled passes that it made."""
    judgement: Judgement | None = None


def find_pythons(given: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Return, by package, the first Python that has it and the version there."""
    found: dict[str, tuple[str, str]] = {}
    for package in dict.fromkeys(package for package, _ in PEERS.values()):
        for python in (*given, sys.executable):
            asked = subprocess.run(
                [python, "-c", VERSION, package], capture_output=True, text=True, check=False
            )
            if asked.returncode == 0:
                found[package] = python, asked.stdout.strip()
                break
    return found


def run_peers(
    case: Case,
    data: Path,
    sets: tuple[Path, Path],
    judge: Judge,
    pythons: dict[str, tuple[str, str]],
    limit_s: int,
    folder: Path,
    float_tflite: File | None,
) -> list[Tried]:
    """Run every peer on one model.

    Args:
        case: the model.
        data: the data folder.
        sets: ``cal.npz`` and ``eval.npz``.
        judge: the same that judges ours.
        pythons: from ``find_pythons``.
        limit_s: what each may take.
        folder: to work in.
        float_tflite: our conversion, for those that take TFLite where the case names no other.
    """
    tflite = folder / "float.tflite"
    if case.peer_tflite:
        float_tflite = File((data / case.peer_tflite).read_bytes(), "tflite")
    if float_tflite:
        tflite.write_bytes(_named(float_tflite.data))
    tried = []
    for number, (name, (package, _)) in enumerate(PEERS.items()):
        python, version = pythons.get(package, ("", ""))
        title = f"{name} {version}".strip()
        if not python:
            tried.append(Tried(title, f"{package} is not installed"))
            continue
        if package == "ai-edge-quantizer" and not float_tflite:
            tried.append(Tried(title, "takes TFLite, and there is none of this model"))
            continue
        out = folder / f"peer{number}"
        out.mkdir()
        order = out / "order.json"
        order.write_text(
            json.dumps(
                {
                    "model": str(case.source(data)),
                    "tflite": str(tflite),
                    "calibration": str(sets[0]),
                    "evaluation": str(sets[1]),
                    "metric": case.metric.__name__,
                    "max_drop": float(case.max_drop.removesuffix("pp")) / 100,
                    "out": str(out),
                }
            ),
            encoding="utf-8",
        )
        sys.stderr.write(f"{case.name}: {title}\n")
        command = [python, "-m", "benchmarks.conversion.peer", name, str(order)]
        tried.append(_judge(title, child.run(command, limit_s), out, judge))
    return tried


def _named(data: bytes) -> bytes:
    """Return a TFLite file as ai-edge-quantizer needs it: signed, and every tensor named.

    MLPerf's files have no signature, ours have only the names that a device needs.
    """
    model = unpack(data)
    for graph in model.subgraphs:
        for tensor, name in zip(graph.tensors, tensor_names(graph), strict=True):
            tensor.name = name.encode()
    return add_signature(pack(model))


def _judge(title: str, ran: child.Ran, out: Path, judge: Judge) -> Tried:
    if ran.why:
        return Tried(title, ran.why, ran.seconds, ran.peak_bytes)
    last = (ran.out.strip().splitlines() or [""])[-1]
    if not last.startswith("{"):
        # onnx-neural-compressor exits with 0 where nothing meets the budget.
        return Tried(title, "it found no model within the budget", ran.seconds, ran.peak_bytes)
    said = json.loads(last)
    path = out / said["file"]
    try:
        judgement = judge.judge(File(path.read_bytes(), path.suffix[1:]))
    except (ModelRefused, OSError) as error:
        return Tried(title, f"its file: {error}", ran.seconds, ran.peak_bytes)
    return Tried(title, "", ran.seconds, ran.peak_bytes, said["evaluations"], judgement)
