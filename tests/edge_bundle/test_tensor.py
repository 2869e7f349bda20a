"""Codes stand for real values as the LiteRT specification says, and saturate."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edge_bundle.tensor import Coder, TensorSpec, dequantize

dtypes = st.sampled_from(["int8", "uint8", "int16"])


def spec_of(dtype: str, size: int, scale: float = 0.5, zero_point: int = 3) -> TensorSpec:
    return TensorSpec("x", (1, size), dtype, scale, zero_point)


def test_size_is_the_number_of_elements() -> None:
    assert TensorSpec("x", (2, 3, 4), "float32").size == 24
    assert TensorSpec("x", (), "float32").size == 1


@given(dtypes, st.data(), st.floats(2**-10, 16, width=32))
def test_every_code_comes_back_from_its_value(
    dtype: str, data: st.DataObject, scale: float
) -> None:
    limits = np.iinfo(dtype)
    zero_point = data.draw(st.integers(limits.min, limits.max))
    codes = np.arange(limits.min, limits.max + 1, 1 if limits.bits == 8 else 97, dtype=dtype)
    spec = spec_of(dtype, codes.size, scale, zero_point)
    values = dequantize(codes, spec)
    assert values.dtype == np.float32
    expected = scale * (codes.astype(np.float64) - zero_point)
    np.testing.assert_allclose(values, expected, rtol=1e-6)
    again = np.zeros((1, codes.size), dtype)
    Coder(spec).encode(values, again)
    np.testing.assert_array_equal(again[0], codes)


@given(dtypes, st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=20))
def test_a_value_moves_by_half_a_step_at_most_or_saturates(dtype: str, values: list[float]) -> None:
    spec, given_ = spec_of(dtype, len(values)), np.array(values, np.float32)
    codes = np.zeros(spec.shape, dtype)
    Coder(spec).encode(given_, codes)
    limits = np.iinfo(dtype)
    low, high = (limits.min - 3) * 0.5, (limits.max - 3) * 0.5
    moved = np.abs(dequantize(codes, spec)[0] - np.clip(given_, low, high))
    assert moved.max() <= 0.25


def test_far_values_saturate_and_do_not_wrap() -> None:
    values = np.array([-1e30, 1e30, -np.inf, np.inf], np.float32)
    for dtype in ("int8", "uint8", "int16"):
        codes = np.zeros((1, 4), dtype)
        Coder(spec_of(dtype, 4)).encode(values, codes)
        limits = np.iinfo(dtype)
        assert codes.tolist() == [[limits.min, limits.max] * 2]
    wide = np.zeros((1, 4), np.int32)
    Coder(spec_of("int32", 4)).encode(values, wide)
    assert wide.tolist() == [[-(1 << 31), (1 << 31) - 128] * 2]  # the largest float32 below


def test_without_a_scale_values_are_rounded_and_do_not_wrap() -> None:
    values = np.array([254.6, -0.4, 300.0, -1e10, 33000.0, -33000.0], np.float32)
    for dtype, expected in (
        ("uint8", [255, 0, 255, 0, 255, 0]),
        ("int16", [255, 0, 300, -32768, 32767, -32768]),
    ):
        codes = np.zeros((1, 6), dtype)
        Coder(TensorSpec("x", (1, 6), dtype)).encode(values, codes)
        assert codes.tolist() == [expected]


def test_without_a_scale_codes_are_the_values() -> None:
    plain = TensorSpec("x", (1, 2), "int64")
    values = dequantize(np.array([[3, -4]]), plain)
    assert values.dtype == np.float32
    assert values.tolist() == [[3.0, -4.0]]
    codes = np.zeros((1, 2), np.int64)
    Coder(plain).encode(np.array([3, -4], np.float32), codes)
    assert codes.tolist() == [[3, -4]]


def test_float32_comes_back_uncopied() -> None:
    values = np.zeros((1, 2), np.float32)
    assert dequantize(values, TensorSpec("x", (1, 2), "float32")) is values
