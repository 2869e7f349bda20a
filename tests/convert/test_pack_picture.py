"""A camera's frame reaches a model in the layout, size and range that it was trained on.

The specs are those of docs/features.md.
"""

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from onnx import parser

from convert.pack import PackOrder, pack
from edge_bundle.archive import read_bundle
from edge_bundle.inference import Inference
from edge_bundle.tensor import Float32Array
from tests.convert.classifier import Told

PAGE = (Path(__file__).parents[2] / "docs" / "features.md").read_text(encoding="utf-8")
SPEC = re.findall(r"^```toml\n(\[stream\].*?)^```$", PAGE, re.DOTALL | re.MULTILINE)[-1]
TRANSPOSE = re.compile(r'\[\[features\]\]\nkind = "transpose".*\n\n')
ECHO = """
<ir_version: 8, opset_import: ["" : 17]>
echo (float[{shape}] picture) => (float[{shape}] seen) {{ seen = Identity(picture) }}
"""
"""Gives what it takes, so that a test sees what a model would have seen."""


def seen(folder: Path, spec: str, shape: tuple[int, ...], frame: Float32Array) -> Float32Array:
    """Return what a model of an input's shape is given of a frame."""
    model = parser.parse_model(ECHO.format(shape=",".join(map(str, shape))))
    (folder / "m.onnx").write_bytes(model.SerializeToString())
    (folder / "s.toml").write_text(spec.partition("[decision]")[0])
    packed = pack(PackOrder(folder / "m.onnx", folder / "s.toml", out=folder / "d"), Told())
    inference = Inference.open(read_bundle(packed.bundle))
    return np.array(inference.scores(frame.reshape(-1, 3)), np.float32).reshape(shape)


@pytest.fixture
def frame() -> Float32Array:
    """Return a frame of 240 lines of 320 pixels, no two sides or colours of it alike."""
    return np.random.default_rng(3).uniform(0, 255, (240, 320, 3)).astype(np.float32)


@pytest.fixture
def expected(frame: Float32Array) -> Float32Array:
    small = np.asarray(cv2.resize(frame, (96, 96), interpolation=cv2.INTER_LINEAR)) / 255
    return np.asarray((small - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225], np.float32)


def test_colour_planes_for_a_model_of_pytorch(
    tmp_path: Path, frame: Float32Array, expected: Float32Array
) -> None:
    found = seen(tmp_path, SPEC, (1, 3, 96, 96), frame)
    np.testing.assert_allclose(found[0], expected.transpose(2, 0, 1), atol=1e-3)


def test_pixel_after_pixel_for_a_model_of_tensorflow(
    tmp_path: Path, frame: Float32Array, expected: Float32Array
) -> None:
    found = seen(tmp_path, TRANSPOSE.sub("", SPEC), (1, 96, 96, 3), frame)
    np.testing.assert_allclose(found[0], expected, atol=1e-3)


@pytest.mark.parametrize(
    ("weights", "code", "colours"),
    [
        ("[[0, 0, 1], [0, 1, 0], [1, 0, 0]]", cv2.COLOR_RGB2BGR, 3),
        ("[[0.299, 0.587, 0.114]]", cv2.COLOR_RGB2GRAY, 1),
    ],
)
def test_other_colours(
    tmp_path: Path, frame: Float32Array, weights: str, code: int, colours: int
) -> None:
    assert f"`weights = {weights}`" in PAGE
    spec = f'{SPEC.partition("[[features]]")[0]}[[features]]\nkind = "mix"\nweights = {weights}\n'
    found = seen(tmp_path, spec, (1, 240, 320, colours), frame)
    wanted = np.asarray(cv2.cvtColor(frame, code)).reshape(240, 320, colours)
    np.testing.assert_allclose(found[0], wanted, atol=1e-3)
