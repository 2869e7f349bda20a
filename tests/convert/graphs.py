"""Small ONNX files, for tests that read and run them and convert nothing."""

from collections.abc import Sequence
from pathlib import Path

from onnx import parser

TEXT = """
<ir_version: {ir}, opset_import: [{opsets}]>
small (float[N,6] x) => (float[N,2] scores)
<float[6,2] w = {{1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 1.0, 2.0, 3.0}}>
{{ {body} }}
"""


def save_text(file: Path, text: str) -> Path:
    """Write the model that a text of ONNX's own syntax describes."""
    file.write_bytes(parser.parse_model(text).SerializeToString())
    return file


def save_graph(file: Path, body: str, ir: int = 8, opsets: Sequence[str] = ('"" : 15',)) -> Path:
    """Write a model from x [N, 6] to scores [N, 2], with weights w [6, 2]."""
    return save_text(file, TEXT.format(ir=ir, opsets=", ".join(opsets), body=body))
