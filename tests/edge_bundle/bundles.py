"""Bundles of the committed example, for the tests of every room."""

import hashlib
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from edge_bundle.archive import Bundle, write_bundle
from edge_bundle.decision.rules import Classification
from edge_bundle.golden import pack_golden
from edge_bundle.inference import Inference
from edge_bundle.manifest import (
    Channel,
    Golden,
    Manifest,
    Member,
    Provenance,
    Stream,
    Tensor,
    Tensors,
)
from edge_bundle.recording import read_recordings
from edge_bundle.runtimes.loader import load_model
from edge_bundle.tensor import Float32Array

EXAMPLES = Path(__file__).parents[2] / "examples"
MODEL = EXAMPLES / "watch" / "watch_mlp.onnx"
RECORDING = EXAMPLES / "watch" / "watch_example.npz"
WAKE_WORD = EXAMPLES / "wake_word" / "hey_jarvis.tflite"
LABELS = ("PEN", "ABD", "FEL", "IR", "ER", "TRAP", "ROW")
CHANNELS = {"ax": "g", "ay": "g", "az": "g", "wx": "rad/s", "wy": "rad/s", "wz": "rad/s"}
STREAM = Stream(
    rate_hz=50.0, channels=tuple(Channel(*c) for c in CHANNELS.items()), window=100, hop=50
)


def watch_manifest(**changes: Any) -> Manifest:
    """Return the manifest of the watch example; its ``files`` are made up until it is written."""
    model = MODEL.read_bytes()
    made_up = {n: Member("0" * 64, 1) for n in ("model.onnx", "golden.npz")}
    manifest = Manifest(
        name="watch",
        version="1.0.0",
        variant="onnx-float",
        format="onnx",
        model="model.onnx",
        files=made_up,
        tensors=Tensors(
            inputs=(Tensor("X", (1, 600), "float32"),),
            outputs=(Tensor("label", (1,), "int64"), Tensor("probabilities", (1, 7), "float32")),
        ),
        stream=STREAM,
        decision=Classification(labels=LABELS, output="probabilities"),
        golden=Golden(file="golden.npz", tolerance=1e-4),
        provenance=Provenance(source_sha256=hashlib.sha256(model).hexdigest(), recipe="float"),
    )
    return msgspec.structs.replace(manifest, **changes)


def watch_windows(count: int = 3) -> Float32Array:
    """Return real windows, float32 [count, 100, 6]."""
    recordings = read_recordings(RECORDING, STREAM)
    return np.stack([r.samples[: STREAM.window] for r in recordings[:count]])


def write_watch_bundle(folder: Path, **changes: Any) -> Bundle:
    """Write a bundle of the watch example with true golden vectors."""
    manifest, model = watch_manifest(**changes), MODEL.read_bytes()
    inference = Inference(manifest, load_model(model, "onnx"))
    golden = pack_golden(inference, watch_windows())
    inference.close()
    return write_bundle(folder, manifest, {"model.onnx": model, "golden.npz": golden})


def prepared_manifest(**changes: Any) -> Manifest:
    """Return the manifest of the wake word: prepared int8 tensors in, bare scores out."""
    model = WAKE_WORD.read_bytes()
    tensors = Tensors(
        inputs=(Tensor("serving_default_input_audio:0", (1, 3, 40), "int8", 0.1, -128),),
        outputs=(Tensor("StatefulPartitionedCall:0", (1, 1), "uint8", 0.00390625, 0),),
    )
    made_up = {n: Member("0" * 64, 1) for n in ("model.tflite", "golden.npz")}
    return watch_manifest(
        **{
            "name": "jarvis",
            "variant": "tflite-int8",
            "format": "tflite",
            "model": "model.tflite",
            "files": made_up,
            "tensors": tensors,
            "stateful": True,
            "stream": None,
            "decision": None,
            "provenance": Provenance(hashlib.sha256(model).hexdigest(), "as it is"),
        }
        | changes
    )


def write_small_bundle(folder: Path, **changes: Any) -> Bundle:
    """Write a bundle of a few hundred bytes whose model no runtime loads: structure only."""
    files = {"model.onnx": b"not a model", "golden.npz": b"no vectors"}
    return write_bundle(folder, watch_manifest(**changes), files)
