"""A Keras file becomes an ONNX model that gives the same outputs, without TensorFlow."""

from pathlib import Path

import numpy as np
import pytest

from convert.given.source import read_onnx
from convert.importers.importer import import_model
from convert.onnx.canonical import canonicalise
from convert.parity import measure_parity
from edge_bundle.errors import ConfigError, ModelRefused
from tests.convert.importers.examples import require_keras, run_onnx, train_elsewhere

PARITY = 1e-5
TRAIN = """
import keras, numpy as np
from keras import layers as L

keras.utils.set_random_seed(0)
window = [
    keras.Input((50, 6)), L.Conv1D(8, 5, padding="same", activation="relu"),
    L.BatchNormalization(), L.MaxPooling1D(5), L.Dropout(0.3), L.Flatten(),
    L.Dense(3, activation="softmax"),
]
models = {
    "window.keras": keras.Sequential(window),
    "window.h5": None,
    "image.keras": keras.Sequential([
        keras.Input((12, 12, 3)), L.Conv2D(4, 3, strides=2, padding="same", activation="relu"),
        L.DepthwiseConv2D(3), L.GlobalAveragePooling2D(), L.Dense(3, activation="softmax"),
    ]),
    "memory.keras": keras.Sequential([keras.Input((8, 6)), L.LSTM(5), L.Dense(3)]),
    "lambda.keras": keras.Sequential([keras.Input((6,)), L.Lambda(lambda x: x * 2), L.Dense(3)]),
}
models["window.h5"] = models["window.keras"]
own = {}
for name, model in models.items():
    x = np.random.default_rng(0).normal(size=(6, *model.inputs[0].shape[1:])).astype("float32")
    model.save(name)
    own[name + ".x"] = x
    own[name + ".y"] = keras.ops.convert_to_numpy(model(x, training=False))
np.savez("own.npz", **own)
free = keras.Sequential([keras.Input((None, 6)), L.GlobalAveragePooling1D(), L.Dense(3)])
free.save("free.keras")
one, two = keras.Input((6,)), keras.Input((6,))
keras.Model([one, two], L.Add()([one, two])).save("two.keras")
models["window.keras"].save_weights("only.weights.h5")
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    require_keras()
    folder = tmp_path_factory.mktemp("keras")
    train_elsewhere(TRAIN, folder)
    return folder


def ignore(text: str) -> None:
    """Show no progress."""


@pytest.mark.parametrize(
    "name", ["window.keras", "window.h5", "image.keras", "memory.keras", "lambda.keras"]
)
def test_outputs_are_keras_own(trained: Path, name: str, capfd: pytest.CaptureFixture[str]) -> None:
    imported = import_model(trained / name, name.startswith("lambda"), ignore)
    assert imported is not None
    assert capfd.readouterr() == ("", "")
    assert imported.framework.startswith("Keras ")
    assert " on PyTorch " in imported.exporter
    assert "differ from Keras's own by at most" in imported.notes[-1]
    own = np.load(trained / "own.npz")
    inputs = [x[None] for x in own[f"{name}.x"]]
    found = np.concatenate([run_onnx(imported.data, x) for x in inputs])
    assert np.abs(found - own[f"{name}.y"]).max() <= PARITY

    source = read_onnx(trained / name, imported.data)
    plain = canonicalise(measure_parity(source, source.outputs, inputs)).data
    found = np.concatenate([run_onnx(plain, x) for x in inputs])
    assert np.abs(found - own[f"{name}.y"]).max() <= PARITY


def test_python_code_in_it_needs_trust(trained: Path) -> None:
    with pytest.raises(ConfigError, match=r"a Lambda layer\), which runs .* add --trust if"):
        import_model(trained / "lambda.keras", False, ignore)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("free.keras", r"its input is \[None, None, 6\], .* given in keras\.Input"),
        ("two.keras", "2 inputs, expected one"),
        ("only.weights.h5", r"No model config found .* model\.export\('model\.onnx'"),
    ],
)
def test_what_cannot_be_exported_is_refused(trained: Path, name: str, why: str) -> None:
    with pytest.raises(ModelRefused, match=why):
        import_model(trained / name, False, ignore)


@pytest.mark.parametrize("name", ["window.keras", "window.h5"])
def test_damaged_file(trained: Path, tmp_path: Path, name: str) -> None:
    data = (trained / name).read_bytes()
    (tmp_path / name).write_bytes(data[: len(data) // 2])
    with pytest.raises(ModelRefused, match=r"damaged: not the ZIP|not a model that Keras"):
        import_model(tmp_path / name, False, ignore)
