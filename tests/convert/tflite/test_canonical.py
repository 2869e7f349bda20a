"""Canonical files give the same scores, and hold what integer kernels want."""

import numpy as np
import pytest

from convert.tflite.canonical import canonicalise
from convert.tflite.flatbuffer import unpack
from convert.tflite.source import operators
from edge_bundle.runtimes.loader import load_model
from edge_bundle.tensor import Float32Array
from tests.convert.tflite.example import BLOCK, INPUTS, small_model


def scores(data: bytes) -> Float32Array:
    model = load_model(data, "tflite")
    found = []
    for values in INPUTS:
        model.input(0)[...] = values
        model.invoke()
        found.append(model.output(0).ravel().copy())
    return np.stack(found)


@pytest.mark.parametrize("halves", [False, True])
def test_scores_are_the_same(halves: bool) -> None:
    given = small_model(halves=halves)
    assert np.allclose(scores(canonicalise(given)), scores(given), atol=1e-6)


def test_an_activation_joins_the_operator_before_it() -> None:
    found = operators(canonicalise(small_model()))
    assert [operator.name for operator in found] == ["CONV_2D", "FULLY_CONNECTED", "SOFTMAX"]
    assert found[0].output == f"{BLOCK}#4"


def test_half_weights_become_whole() -> None:
    found = operators(canonicalise(small_model(halves=True)))
    assert found[0].name == "CONV_2D"
    assert found[0].weight_bytes == 4 * (4 * 9 + 4)


def test_what_nothing_uses_is_left_out() -> None:
    (graph,) = unpack(canonicalise(small_model(halves=True))).subgraphs
    assert [tensor.name.decode() for tensor in graph.tensors] == [
        *("x", "kernel", "bias", f"{BLOCK}#5", "matrix", "dense", "scores")
    ]


def test_a_canonical_file_is_its_own_form() -> None:
    once = canonicalise(small_model())
    assert canonicalise(once) == once
