"""A signature is added once, and changes nothing else."""

import numpy as np

from convert.tflite.flatbuffer import unpack
from convert.tflite.signature import add_signature
from edge_bundle.runtimes.loader import load_model
from tests.convert.tflite.example import INPUTS, small_model


def scores(data: bytes) -> list[float]:
    model = load_model(data, "tflite")
    model.input(0)[...] = INPUTS[0]
    model.invoke()
    return [float(score) for score in model.output(0).ravel()]


def test_a_signature_names_inputs_and_outputs() -> None:
    (signature,) = unpack(add_signature(small_model())).signatureDefs
    assert signature.signatureKey == b"serving_default"
    assert [(entry.name, entry.tensorIndex) for entry in signature.inputs] == [(b"x", 0)]
    assert [(entry.name, entry.tensorIndex) for entry in signature.outputs] == [(b"scores", 7)]


def test_the_model_is_the_same() -> None:
    given = small_model()
    assert np.array_equal(scores(add_signature(given)), scores(given))


def test_a_signed_file_comes_back_unchanged() -> None:
    signed = add_signature(small_model())
    assert add_signature(signed) is signed
