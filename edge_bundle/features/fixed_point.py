"""The arithmetic of TensorFlow Lite Micro's audio front end, bit for bit, in NumPy. Pure.

Source: the algorithm of tensorflow/lite/experimental/microfrontend with the settings of
micro_speech and microWakeWord. Integers overflow as they do there.
"""

from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from edge_bundle.features.integer_fft import HALF, LENGTH, real_fft
from edge_bundle.features.micro_frontend import CHANNELS, FRAME, RATE_HZ
from edge_bundle.tensor import Float32Array

IntArray: TypeAlias = npt.NDArray[np.int64]
STEP_VALUE: Final = 0.0390625
"""What a unit of the integer result counts as, by microWakeWord's convention."""
LOW_HZ, HIGH_HZ = 125.0, 7500.0
WINDOW_BITS: Final = 12
BAND_BITS: Final = 12
NOISE_BITS: Final = 14
SMOOTHING_BITS: Final = 10
SMOOTHING: Final = np.resize(np.array([409, 983]), CHANNELS)
"""Of even and odd channels: 0.025 and 0.06 in 14 bits."""
MIN_REMAINING: Final = 819
"""0.05 in 14 bits."""
CORRECTION_BITS: Final = 3
"""By which the square root of energies is too small for the logarithm."""
GAIN_BITS, GAIN_STRENGTH, GAIN_OFFSET = 21, 0.95, 80.0
SNR_BITS, OUTPUT_BITS = 12, 6
LOG_BITS: Final = 16
LOG_SEGMENT_BITS: Final = 9
LOG_E: Final = 45426
"""The natural logarithm of 2 in 16 bits."""
SCALE_BITS: Final = 6
U32: Final = 0xFFFFFFFF


class FixedPointFrontend:
    """A stream's front end: samples in, frames out, and the noise kept from frame to frame."""

    def __init__(self, step: int) -> None:
        """Begin a stream.

        Args:
            step: samples from the start of one frame to the start of the next.
        """
        self._step = step
        self._held = np.empty(0, np.int16)
        self._noise = np.zeros(CHANNELS, np.int64)

    def reset(self) -> None:
        """Forget the stream."""
        self._held = self._held[:0]
        self._noise[:] = 0

    def push(self, samples: npt.NDArray[np.int16], out: Float32Array) -> None:
        """Take samples that follow those before, and write the frames that they end.

        Args:
            samples: int16 [n].
            out: float32 [frames, 40], for the last of them.
        """
        held = np.concatenate([self._held, samples])
        count = max(0, (len(held) - FRAME) // self._step + 1)
        self._held = held[count * self._step :]
        if count:
            frames = np.lib.stride_tricks.sliding_window_view(held, FRAME)[:: self._step][:count]
            signal = band_signals(frames)
            gains = np.empty_like(signal)
            for frame in range(count):
                signal[frame] = self._reduce_noise(signal[frame])
                gains[frame] = self._noise
            levels = logarithm(compress(signal, gains))
            np.multiply(levels[count - len(out) :], STEP_VALUE, out=out, casting="unsafe")

    def _reduce_noise(self, signal: IntArray) -> IntArray:
        """Follow each channel's noise, and take it off; never all of the signal."""
        raised = (signal << SMOOTHING_BITS) & U32
        kept = (1 << NOISE_BITS) - SMOOTHING
        self._noise = ((raised * SMOOTHING + self._noise * kept) >> NOISE_BITS) & U32
        cleaned = (raised - np.minimum(self._noise, raised)) >> SMOOTHING_BITS
        return np.asarray(np.maximum(cleaned, (signal * MIN_REMAINING) >> NOISE_BITS))


def band_signals(frames: npt.NDArray[np.int16]) -> IntArray:
    """Return the amplitude in each band.

    Args:
        frames: int16 [n, 480].
    Returns: int64 [n, 40].
    """
    windowed = ((frames.astype(np.int32) * WINDOW) >> WINDOW_BITS).astype(np.int16)
    # In int16 the least value has no opposite, and so is not the largest.
    largest = np.abs(windowed).max(axis=1).astype(np.int64)
    shift = 15 - _bit_length(largest)
    padded = np.zeros((len(frames), LENGTH), np.int16)
    padded[:, :FRAME] = windowed.astype(np.int32) << shift[:, None]
    real, imaginary = real_fft(padded)
    energy = real.astype(np.float64) ** 2 + imaginary.astype(np.float64) ** 2
    # Sums stay below 2**53: float64 is exact, and has a fast product.
    sums = (energy @ BANDS).astype(np.int64)
    return np.asarray(_rounded_root(sums) >> shift[:, None])


def compress(signal: IntArray, noise: IntArray) -> IntArray:
    """Return the signal by the gain that its noise asks for, large ones pressed together."""
    snr = ((signal * _gain(noise)) >> (GAIN_BITS - CORRECTION_BITS - SNR_BITS)) & U32
    low = (snr * snr) >> (2 + 2 * SNR_BITS - OUTPUT_BITS)
    high = (snr >> (SNR_BITS - OUTPUT_BITS)) - (1 << OUTPUT_BITS)
    return np.where(snr < 2 << SNR_BITS, low, high)


def logarithm(signal: IntArray) -> IntArray:
    """Return 64 times the natural logarithm of 8 times the signal; 0 for 0."""
    values = np.maximum((signal << CORRECTION_BITS) & U32, 1)
    whole = _bit_length(values) - 1
    above = values - (1 << whole)
    part = np.where(
        whole < LOG_BITS,
        above << np.maximum(LOG_BITS - whole, 0),
        above >> np.maximum(whole - LOG_BITS, 0),
    )
    segment = part >> LOG_SEGMENT_BITS
    base = LOG_TABLE[segment]
    rise = (LOG_TABLE[segment + 1] - base) * (part - (segment << LOG_SEGMENT_BITS))
    log2 = (whole << LOG_BITS) + part + base + (rise >> LOG_BITS)
    half = 1 << (LOG_BITS - 1)
    loge = (LOG_E * log2 + half) >> LOG_BITS
    return np.asarray(np.minimum(((loge << SCALE_BITS) + half) >> LOG_BITS, 0xFFFF))


def _gain(noise: IntArray) -> IntArray:
    """Return the gain by tables of parabolas, one for each power of two."""
    interval = _bit_length(noise)
    constant, linear, square = GAIN_TABLE[interval].transpose(2, 0, 1)
    spread = np.where(
        interval < 11, noise << np.maximum(11 - interval, 0), noise >> np.maximum(interval - 11, 0)
    )
    part = spread & 0x3FF
    curve = (((square * part) >> 5) + (linear << 5)) * part
    return np.asarray(np.where(noise > 2, ((curve + (1 << 14)) >> 15) + constant, constant))


def _bit_length(values: IntArray) -> IntArray:
    return np.frexp(values.astype(np.float64))[1].astype(np.int64)


def _rounded_root(values: IntArray) -> IntArray:
    """Return square roots, rounded; of less than 2**32 never more than 16 bits."""
    root = np.sqrt(values.astype(np.float64)).astype(np.int64)
    up = (values - root * root > root) & ((root != 0xFFFF) | (values > U32))
    return np.asarray(root + up)


def _window() -> npt.NDArray[np.int32]:
    """Return a raised cosine sampled between its points, in 12 bits."""
    angles = np.float32(np.pi * 2 / FRAME) * (np.arange(FRAME, dtype=np.float32) + np.float32(0.5))
    shape = np.float32(0.5) - np.float32(0.5) * np.cos(angles)
    return np.asarray(np.floor(shape * (1 << WINDOW_BITS) + np.float32(0.5)), np.int32)


def _bands() -> npt.NDArray[np.float64]:
    """Return how much of each bin is in each channel, in 12 bits: [257, 40].

    Each bin is shared by two bands, the shares rounded one by one.
    """

    def mel(hz: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return np.asarray(np.float32(1127) * np.log1p(hz / np.float32(700)))

    low, high = mel(np.array([LOW_HZ, HIGH_HZ], np.float32))
    spacing = (high - low) / np.float32(CHANNELS + 1)
    edges = low + spacing * np.arange(CHANNELS + 2, dtype=np.float32)
    hz_per_bin = RATE_HZ / LENGTH
    bins = np.arange(int(1.5 + LOW_HZ / hz_per_bin), HALF + 1)
    at = mel((bins * hz_per_bin).astype(np.float32))
    table = np.zeros((HALF + 1, CHANNELS + 2))
    for number, position in zip(bins, at, strict=True):
        upper = int(np.searchsorted(edges, position))
        if upper > CHANNELS + 1:
            break
        share = (edges[upper] - position) / (edges[upper] - edges[upper - 1])
        one = np.float32(1 << BAND_BITS)
        table[number, upper - 1] = np.floor(share * one + np.float32(0.5))
        table[number, upper] = np.floor((np.float32(1) - share) * one + np.float32(0.5))
    return np.asarray(table[:, 1:-1].copy())


def _gains() -> IntArray:
    """Return a parabola for each number of bits of the noise: [33, 3].

    Through the gain at a power of two, half way and at the next; 0, 1 and 2 have the gain alone.
    """

    def gain(noise: int) -> int:
        level = np.float32(noise) / np.float32(1 << (SMOOTHING_BITS - CORRECTION_BITS))
        power = (level + np.float32(GAIN_OFFSET)) ** np.float32(-GAIN_STRENGTH)
        return min(int(np.float32(1 << GAIN_BITS) * power + np.float32(0.5)), 0x7FFF)

    table = np.zeros((33, 3), np.int64)
    table[0, 0], table[1, 0] = gain(0), gain(1)
    for bits in range(2, 33):
        low = 1 << (bits - 1)
        begin, middle = gain(low), gain(low + (low >> 1))
        end = gain(2 * low - 1 if bits == 32 else 2 * low)
        linear = 4 * (middle - begin) - (end - begin)
        table[bits] = begin, linear, (end - begin) - linear
    return table


WINDOW: Final = _window()
BANDS: Final = _bands()
GAIN_TABLE: Final = _gains()
LOG_TABLE: Final = np.append(
    np.rint((np.log2(1 + np.arange(129) / 128) - np.arange(129) / 128) * (1 << LOG_BITS)), 0
).astype(np.int64)
