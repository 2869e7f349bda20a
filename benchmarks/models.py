"""Makes the models that benchmarks time: real graphs of a wanted cost, seeded, with no meaning."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edge_bundle import manifest as m
from edge_bundle.archive import Bundle, write_bundle
from edge_bundle.decision.rules import Classification
from edge_bundle.golden import pack_golden
from edge_bundle.inference import Inference
from edge_bundle.runtimes.loader import load_model

WINDOW, HOP, CHANNELS, CLASSES = 100, 50, 6, 7
SEED = 20261123


def make_mlp(hidden: tuple[int, ...]) -> bytes:
    """Return an ONNX file: float32 [1, 600] through dense layers to 7 probabilities."""
    rng = np.random.default_rng(SEED)
    nodes, weights, name, width = [], [], "x", WINDOW * CHANNELS
    for i, n in enumerate((*hidden, CLASSES)):
        w = rng.standard_normal((width, n), np.float32) / np.float32(np.sqrt(width))
        weights.append(numpy_helper.from_array(w, f"w{i}"))
        nodes.append(helper.make_node("MatMul", [name, f"w{i}"], [f"m{i}"]))
        name, width = f"m{i}", n
        if i < len(hidden):
            nodes.append(helper.make_node("Relu", [name], [f"r{i}"]))
            name = f"r{i}"
    nodes.append(helper.make_node("Softmax", [name], ["probabilities"], axis=-1))
    graph = helper.make_graph(
        nodes,
        "mlp",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, WINDOW * CHANNELS])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [1, CLASSES])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    data: bytes = model.SerializeToString()
    return data


def make_bundle(
    folder: Path, name: str, data: bytes, rate_hz: float = 50.0, hop: int = HOP
) -> Bundle:
    """Return a bundle around a model of ``make_mlp``, without features."""
    labels = tuple(f"class{i}" for i in range(CLASSES))
    channels = tuple(m.Channel(c, "g") for c in ("ax", "ay", "az", "wx", "wy", "wz"))
    manifest = m.Manifest(
        name=name,
        version="1.0.0",
        variant="onnx-float",
        format="onnx",
        model="model.onnx",
        files={},
        tensors=m.Tensors(
            inputs=(m.Tensor("x", (1, WINDOW * CHANNELS), "float32"),),
            outputs=(m.Tensor("probabilities", (1, CLASSES), "float32"),),
        ),
        stream=m.Stream(rate_hz, channels, WINDOW, hop),
        decision=Classification(labels),
        golden=m.Golden("golden.npz", 1e-4),
        provenance=m.Provenance(source_sha256="0" * 64, recipe="benchmark"),
    )
    inference = Inference(manifest, load_model(data, "onnx"))
    windows = make_samples(2).reshape(2, WINDOW, CHANNELS)
    golden = pack_golden(inference, windows)
    return write_bundle(folder, manifest, {"model.onnx": data, "golden.npz": golden})


def make_samples(windows: int) -> "np.ndarray[tuple[int, int], np.dtype[np.float32]]":
    """Return float32 [windows * 100, 6] of noise."""
    rng = np.random.default_rng(SEED)
    return rng.standard_normal((windows * WINDOW, CHANNELS), np.float32)
