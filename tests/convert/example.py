"""The real example that these tests build from, and small models for what it does not show."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import parser

from convert.parity import Parity, measure_parity
from convert.source import read_source
from edge_bundle.tensor import Float32Array

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

SMALL = """
<ir_version: {ir}, opset_import: [{opsets}]>
small (float[N,6] x) => (float[N,2] scores)
<float[6,2] w = {{1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 1.0, 2.0, 3.0}}>
{{ {body} }}
{functions}
"""


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


def parity_of(file: Path, inputs: Sequence[Float32Array] = INPUTS, labels: int = 2) -> Parity:
    """Run a model file as it is."""
    return measure_parity(read_source(file), "scores", labels, inputs)


def operators(data: bytes) -> list[str]:
    """Return what a model's nodes do, in order."""
    return [node.op_type for node in onnx.load_model_from_string(data).graph.node]
