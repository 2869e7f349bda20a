"""Power of preallocated real spectra, and the tapers that are put before them. Pure.

In float64 inside: it is as fast here as float32, and the same with NumPy 1 and 2.
"""

from typing import Any, Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

Float64Array: TypeAlias = npt.NDArray[np.float64]
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
        """To be written; only as much as is given to ``power``."""
        bins = (*shape[:-1], shape[-1] // 2 + 1)
        self._spectra = np.empty(bins, np.complex128)
        self._parts = self._spectra.view(np.float64).reshape(*bins, 2)

    def power(self, count: int, out: npt.NDArray[Any]) -> None:
        """Write the squared magnitudes of the first ``count`` inputs.

        Args:
            count: along the first axis.
            out: float32 or float64 [count, ..., bins].
        """
        spectra, parts = self._spectra[:count], self._parts[:count]
        if WRITES_OUT:
            np.fft.rfft(self.input[:count], out=spectra)
        else:
            spectra[...] = np.fft.rfft(self.input[:count])
        np.square(parts, out=parts)
        np.add(parts[..., 0], parts[..., 1], out=out, casting="same_kind")
