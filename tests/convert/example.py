"""The real example that these tests build from, and small models for what it does not show."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import onnx
from onnx import parser

from convert.choice.recipes import FloatModel
from convert.given.samples import Samples
from convert.given.source import read_onnx
from convert.onnx.calibration import observe_onnx
from convert.onnx.canonical import canonicalise
from convert.parity import Parity, measure_parity, run_model
from convert.ranges import METHODS, choose_ranges
from edge_bundle.tensor import Array, Float32Array
from tests.convert.tflite.graphs import graph

FOLDER = Path(__file__).parents[2] / "examples" / "watch"
MODEL = FOLDER / "watch_mlp.onnx"
RECORDING = FOLDER / "watch_example.npz"
SPEC = FOLDER / "stream.toml"
CALIBRATION = f"{RECORDING}#0-4,6,11"
"""One recording of each of the seven exercises."""
EVALUATION = f"{RECORDING}#5,7-10,12,13"
"""The others: again one of each."""
INPUTS = list(np.random.default_rng(7).normal(size=(5, 1, 6)).astype(np.float32))
"""Windows for the small models, each of shape [1, 6]."""
IMAGES = list(np.random.default_rng(11).normal(size=(16, 1, 1, 8, 8)).astype(np.float32))
"""What the network takes."""

SMALL = """
<ir_version: {ir}, opset_import: [{opsets}]>
small (float[N,6] x) => (float[N,2] scores)
<float[6,2] w = {{1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 1.0, 2.0, 3.0}}>
{{ {body} }}
{functions}
"""
NETWORK: Final = """
    c = Conv <pads = [1, 1, 1, 1]> (x, kernel)
    n = BatchNormalization (c, gain, shift, mean, variance)
    r = Relu (n)
    p = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (r)
    f = Flatten (p)
    h = Gemm (f, matrix, bias)
    y = Softmax (h)
"""
WEIGHTS: Final = {
    "kernel": (4, 1, 3, 3),
    "gain": (4,),
    "shift": (4,),
    "mean": (4,),
    "variance": np.array([1.0, 0.5, 2.0, 0.1], np.float32),
    "matrix": (64, 3),
    "bias": (3,),
}


def save_small(
    file: Path,
    body: str,
    ir: int = 8,
    opsets: Sequence[str] = ('"" : 15',),
    functions: str = "",
) -> Path:
    """Write a model from x [N, 6] to scores [N, 2], with weights w [6, 2]."""
    text = SMALL.format(ir=ir, opsets=", ".join(opsets), body=body, functions=functions)
    file.write_bytes(parser.parse_model(text).SerializeToString())
    return file


def save(file: Path, data: bytes) -> Path:
    """Write a model file."""
    file.write_bytes(data)
    return file


def parity_of(file: Path, inputs: Sequence[Array] = INPUTS) -> Parity:
    """Run a model file as it is."""
    source = read_onnx(file)
    return measure_parity(source, source.outputs, inputs)


def network() -> bytes:
    """Return a small image classifier: [1, 1, 8, 8] to [1, 3]."""
    return graph("float[1,1,8,8] x", NETWORK, WEIGHTS)


def network_parity(folder: Path) -> Parity:
    """Run the network as it is, saved in a folder."""
    return parity_of(save(folder / "net.onnx", network()), IMAGES)


def calibrated(folder: Path) -> FloatModel:
    """Return the network in canonical form, with its ranges."""
    data = canonicalise(network_parity(folder)).data
    seen = observe_onnx(data, IMAGES)
    return FloatModel("onnx", data, {m: choose_ranges(seen, m) for m in METHODS}, {})


def samples(inputs: Sequence[Array]) -> Samples:
    """Return prepared tensors as samples without labels."""
    return Samples("made by a test", "", inputs, inputs, None)


def output(data: bytes, inputs: Sequence[Array], kind: str = "onnx") -> Float32Array:
    """Return a model's first output, float32 [samples, ...]."""
    return run_model(data, kind, inputs)[0]


def load(data: bytes) -> onnx.ModelProto:
    """Return the model of an ONNX file."""
    return onnx.load_model_from_string(data)


def operators(data: bytes) -> list[str]:
    """Return what a model's nodes do, in order."""
    return [node.op_type for node in load(data).graph.node]
