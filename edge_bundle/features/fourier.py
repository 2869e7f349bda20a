"""Preallocated real spectra, and the tapers that are put before them. Pure.

In float64 inside: it is as fast here as float32, and the same with NumPy 1 and 2.
"""

from typing import Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from edge_bundle.tensor import Float32Array

Float64Array: TypeAlias = npt.NDArray[np.float64]
Complex128Array: TypeAlias = npt.NDArray[np.complex128]
Taper = Literal["none", "hann", "hann_symmetric", "hamming", "hamming_symmetric"]
MAX_FFT: Final = 1 << 15

WRITES_OUT: Final = int(np.__version__.partition(".")[0]) >= 2
"""Whether NumPy's FFT writes into memory that it is given."""


def taper(kind: Taper, length: int) -> Float64Array:
    """Return a window function, float64 [length].

    Periodic, as for spectra (scipy.signal.get_window, tf.signal), where it is not called symmetric
    (numpy.hanning, numpy.hamming).
    """
    name, _, symmetric = kind.partition("_")
    if name == "none" or length == 1:
        return np.ones(length)
    angles = 2 * np.pi * np.arange(length) / (length - 1 if symmetric else length)
    mean = 0.5 if name == "hann" else 0.54
    return np.asarray(mean - (1 - mean) * np.cos(angles))


class Fft:
    """The spectra of several rows, in memory of its own."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        """Prepare the memory.

        Args:
            shape: of what is transformed, along its last axis.
        """
        self.input: Float64Array = np.zeros(shape)
        """To be written; only as much as is given to ``transform``."""
        self._spectra = np.empty((*shape[:-1], shape[-1] // 2 + 1), np.complex128)

    def transform(self, count: int) -> Complex128Array:
        """Return the spectra of the first ``count`` inputs, until the next call.

        Args:
            count: along the first axis.
        Returns: complex128 [count, ..., bins].
        """
        spectra = self._spectra[:count]
        if WRITES_OUT:
            np.fft.rfft(self.input[:count], out=spectra)
        else:
            spectra[...] = np.fft.rfft(self.input[:count])
        return spectra


class WholeFft:
    """The magnitudes of a window's columns, each transformed as a whole."""

    def __init__(self, kind: Taper, rows: int, columns: int) -> None:
        """Prepare the memory."""
        self.taper = taper(kind, rows)
        # As large as what it is multiplied with: NumPy takes memory where it has to repeat.
        self._tapers = None if kind == "none" else np.tile(self.taper, (columns, 1))
        self._fft = Fft((columns, rows))
        self._magnitudes = np.empty((columns, rows // 2 + 1))

    def run(self, values: Float32Array) -> Float64Array:
        """Return float64 [columns, bins] of float32 [rows, columns]; it may be written to."""
        samples = self._fft.input
        np.copyto(samples, values.T)  # first: NumPy buffers where it mixes types
        if self._tapers is not None:
            np.multiply(samples, self._tapers, out=samples)
        return np.abs(self._fft.transform(len(samples)), out=self._magnitudes)
