"""A real Fourier transform in 16 bits, bit for bit that of KISS FFT, in NumPy. Pure.

Each of its stages divides, so that nothing overflows; where it does, it does as there.
"""

from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

Int32Array: TypeAlias = npt.NDArray[np.int32]
LENGTH: Final = 512
HALF: Final = LENGTH // 2


def real_fft(values: npt.NDArray[np.int16]) -> tuple[Int32Array, Int32Array]:
    """Return real and imaginary parts of the transform divided by its length.

    Args:
        values: int16 [n, 512].
    Returns: int32 [n, 257] twice, within 16 bits.
    """
    pairs = values.astype(np.int32).reshape(len(values), HALF, 2)[:, DIGITS_REVERSED]
    real, imaginary = pairs[..., 0], pairs[..., 1]
    for size in (1, 4, 16, 64):
        real, imaginary = _radix_4(real, imaginary, size)
    # The transform of even samples and that of odd ones, one as the other's imaginary part.
    at, mirrored = slice(1, HALF // 2 + 1), slice(HALF - 1, HALF // 2 - 1, -1)
    first_r, first_i = _halved(real[:, at]), _halved(imaginary[:, at])
    second_r, second_i = _halved(real[:, mirrored]), _halved(-imaginary[:, mirrored])
    sum_r, sum_i = wrap(first_r + second_r), wrap(first_i + second_i)
    turned_r, turned_i = _multiply(
        wrap(first_r - second_r), wrap(first_i - second_i), REAL_TWIDDLES
    )
    zero_r, zero_i = _halved(real[:, 0]), _halved(imaginary[:, 0])
    out_r = np.zeros((len(values), HALF + 1), np.int32)
    out_i = np.zeros((len(values), HALF + 1), np.int32)
    out_r[:, 0], out_r[:, HALF] = wrap(zero_r + zero_i), wrap(zero_r - zero_i)
    out_r[:, at], out_i[:, at] = (sum_r + turned_r) >> 1, (sum_i + turned_i) >> 1
    out_r[:, mirrored], out_i[:, mirrored] = (sum_r - turned_r) >> 1, (turned_i - sum_i) >> 1
    return out_r, out_i


def wrap(values: Int32Array) -> Int32Array:
    """Return what 16 bits keep."""
    return values.astype(np.int16).astype(np.int32)


def _radix_4(real: Int32Array, imaginary: Int32Array, size: int) -> tuple[Int32Array, Int32Array]:
    """Join four transforms of a size to one, everywhere in a row."""
    count = len(real)
    real = _quartered(real).reshape(count, -1, 4, size)
    imaginary = _quartered(imaginary).reshape(count, -1, 4, size)
    turned_r, turned_i = _multiply(real[:, :, 1:], imaginary[:, :, 1:], TWIDDLES[size])
    r0, i0 = real[:, :, 0], imaginary[:, :, 0]
    r1, r2, r3 = (turned_r[:, :, n] for n in range(3))
    i1, i2, i3 = (turned_i[:, :, n] for n in range(3))
    even_r, even_i = wrap(r0 + r2), wrap(i0 + i2)
    odd_r, odd_i = wrap(r0 - r2), wrap(i0 - i2)
    sum_r, sum_i = wrap(r1 + r3), wrap(i1 + i3)
    difference_r, difference_i = wrap(r1 - r3), wrap(i1 - i3)
    out_r = np.stack(
        [even_r + sum_r, odd_r + difference_i, even_r - sum_r, odd_r - difference_i], axis=2
    )
    out_i = np.stack(
        [even_i + sum_i, odd_i - difference_r, even_i - sum_i, odd_i + difference_r], axis=2
    )
    return wrap(out_r).reshape(count, -1), wrap(out_i).reshape(count, -1)


def _multiply(
    real: Int32Array,
    imaginary: Int32Array,
    by: tuple[Int32Array, Int32Array],
) -> tuple[Int32Array, Int32Array]:
    """Return the product of complex numbers in 15 bits, rounded."""
    by_r, by_i = by
    return (
        wrap((real * by_r - imaginary * by_i + (1 << 14)) >> 15),
        wrap((real * by_i + imaginary * by_r + (1 << 14)) >> 15),
    )


def _halved(values: Int32Array) -> Int32Array:
    return np.asarray((values * 16383 + (1 << 14)) >> 15)


def _quartered(values: Int32Array) -> Int32Array:
    return np.asarray((values * 8191 + (1 << 14)) >> 15)


def _turn(phases: npt.NDArray[np.float64]) -> tuple[Int32Array, Int32Array]:
    """Return the cosines and sines of angles, in 15 bits."""
    return (
        np.floor(0.5 + 32767 * np.cos(phases)).astype(np.int32),
        np.floor(0.5 + 32767 * np.sin(phases)).astype(np.int32),
    )


def _reversed_digits() -> npt.NDArray[np.int64]:
    """Return the places of 256 values whose four digits to base 4 are read backwards."""
    return np.asarray(np.arange(HALF).reshape(4, 4, 4, 4).transpose(3, 2, 1, 0).reshape(-1))


DIGITS_REVERSED: Final = _reversed_digits()
TWIDDLES: Final = {
    size: _turn(-2 * np.pi * np.outer([1, 2, 3], np.arange(size)) / (4 * size))
    for size in (1, 4, 16, 64)
}
REAL_TWIDDLES: Final = _turn(-np.pi * (np.arange(1, HALF // 2 + 1) / HALF + 0.5))
