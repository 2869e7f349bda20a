"""Makes the models that benchmarks time: real graphs of a wanted cost, seeded, with no meaning."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from edge_bundle import manifest as m
from edge_bundle.archive import Bundle, write_bundle
from edge_bundle.decision.rules import Classification
from edge_bundle.features.steps import Step
from edge_bundle.golden import pack_golden
from edge_bundle.inference import Inference
from edge_bundle.runtimes.loader import load_model

WINDOW, HOP, CHANNELS, CLASSES = 100, 50, 6, 7
MOTION = m.Stream(
    50.0, tuple(m.Channel(c, "g") for c in ("ax", "ay", "az", "wx", "wy", "wz")), WINDOW, HOP
)
SEED = 20261123
KERNEL = 5

Float32Array = npt.NDArray[np.float32]


def make_mlp(hidden: tuple[int, ...], inputs: int = WINDOW * CHANNELS) -> bytes:
    """Return an ONNX file: float32 [1, inputs] through dense layers to 7 probabilities."""
    rng = np.random.default_rng(SEED)
    nodes, weights, name, width = [], [], "x", inputs
    for i, n in enumerate((*hidden, CLASSES)):
        w = rng.standard_normal((width, n), np.float32) / np.float32(np.sqrt(width))
        weights.append(numpy_helper.from_array(w, f"w{i}"))
        nodes.append(helper.make_node("MatMul", [name, f"w{i}"], [f"m{i}"]))
        name, width = f"m{i}", n
        if i < len(hidden):
            nodes.append(helper.make_node("Relu", [name], [f"r{i}"]))
            name = f"r{i}"
    return _finish(nodes, weights, name, inputs)


def make_cnn(filters: tuple[int, ...], stride: int = 2) -> bytes:
    """Return an ONNX file: float32 [1, 600], 100 samples of 6 channels, through convolutions along
    time to 7 probabilities.

    Args:
        filters: of each convolution.
        stride: 2 halves the samples with each of them, 1 keeps all.
    """
    rng = np.random.default_rng(SEED)
    weights = [numpy_helper.from_array(np.array([1, WINDOW, CHANNELS], np.int64), "shape")]
    nodes = [
        helper.make_node("Reshape", ["x", "shape"], ["rows"]),
        helper.make_node("Transpose", ["rows"], ["c"], perm=[0, 2, 1]),
    ]
    name, width = "c", CHANNELS
    for i, n in enumerate(filters):
        w = rng.standard_normal((n, width, KERNEL), np.float32) / np.float32(
            np.sqrt(width * KERNEL)
        )
        weights.append(numpy_helper.from_array(w, f"k{i}"))
        nodes.append(
            helper.make_node(
                "Conv",
                [name, f"k{i}"],
                [f"v{i}"],
                kernel_shape=[KERNEL],
                strides=[stride],
                pads=[0, 0] if stride > 1 else [KERNEL // 2, KERNEL // 2],
            )
        )
        nodes.append(helper.make_node("Relu", [f"v{i}"], [f"a{i}"]))
        name, width = f"a{i}", n
    nodes.append(helper.make_node("GlobalAveragePool", [name], ["pooled"]))
    nodes.append(helper.make_node("Flatten", ["pooled"], ["flat"]))
    w = rng.standard_normal((width, CLASSES), np.float32)
    weights.append(numpy_helper.from_array(w, "last"))
    nodes.append(helper.make_node("MatMul", ["flat", "last"], ["logits"]))
    return _finish(nodes, weights, "logits", WINDOW * CHANNELS)


def make_bundle(
    folder: Path, name: str, data: bytes, steps: tuple[Step, ...] = (), stream: m.Stream = MOTION
) -> Bundle:
    """Return a bundle around a model made here.

    Args:
        steps: from the stream's windows to what the model takes.
    """
    labels = tuple(f"class{i}" for i in range(CLASSES))
    model = load_model(data, "onnx")
    manifest = m.Manifest(
        name=name,
        version="1.0.0",
        variant="onnx-float",
        format="onnx",
        model="model.onnx",
        files={},
        tensors=m.Tensors(
            inputs=(m.Tensor("x", model.inputs[0].shape, "float32"),),
            outputs=(m.Tensor("probabilities", (1, CLASSES), "float32"),),
        ),
        stream=stream,
        features=steps,
        decision=Classification(labels),
        golden=m.Golden("golden.npz", 1e-4),
        provenance=m.Provenance(source_sha256="0" * 64, recipe="benchmark"),
    )
    inference = Inference(manifest, model)
    shape = 2, stream.window, len(stream.channels)
    golden = pack_golden(inference, make_noise(shape[0] * shape[1], shape[2]).reshape(shape))
    return write_bundle(folder, manifest, {"model.onnx": data, "golden.npz": golden})


def make_noise(samples: int, channels: int = CHANNELS) -> Float32Array:
    """Return float32 [samples, channels]."""
    return np.random.default_rng(SEED).standard_normal((samples, channels), np.float32)


def _finish(
    nodes: list[onnx.NodeProto], weights: list[onnx.TensorProto], logits: str, inputs: int
) -> bytes:
    nodes.append(helper.make_node("Softmax", [logits], ["probabilities"], axis=-1))
    graph = helper.make_graph(
        nodes,
        "benchmark",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, inputs])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [1, CLASSES])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    data: bytes = model.SerializeToString()
    return data
