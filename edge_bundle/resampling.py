"""Samples at one rate from samples at another, as they come. Pure.

Output k stands at input position k * step, with step a fraction of whole numbers: it never drifts,
and how the samples were cut into chunks changes no bit of the result. No output is made of a
sample that is not there: a run gives nothing for its edges, where the filter would reach beyond.
"""

from typing import TYPE_CHECKING, Final, Literal, Protocol

import numpy as np

from edge_bundle.tensor import Array, Float32Array

if TYPE_CHECKING:
    from fractions import Fraction

Policy = Literal["linear", "polyphase"]
LARGEST: Final = 1000
"""The fraction of the rates is made of numbers up to this: at most a thousandth of one in ten off,
far within what a rate may be off."""
LARGEST_RATIO: Final = 100.0
HALF_TAPS: Final = 10
"""Taps on each side for every input or output sample, whichever are further apart."""
BETA: Final = 5.0
BLOCK: Final = 1024
"""Outputs that are made at once: their inputs stand in memory side by side."""


class Resampler(Protocol):
    """Turns one run of samples after another into samples at another rate."""

    step: "Fraction"
    """Input samples from one output to the next."""
    received: int
    """Input samples of this run."""
    given: int
    """Output samples of this run."""
    first: int
    """Number of the run's first output; it stands at input position ``first * step``."""

    def push(self, samples: Float32Array) -> Float32Array:
        """Take the next samples of the run and return what can be made now.

        Args:
            samples: float32 [n, channels].
        Returns: float32 [m, channels]; m may be 0.
        """

    def restart(self) -> None:
        """Begin a new run."""


def rate_step(from_hz: float, to_hz: float) -> "Fraction":
    """Return how many input samples lie between two outputs, as a fraction of whole numbers.

    Raises: ValueError: the rates are too far apart.
    """
    from fractions import Fraction  # few streams are resampled, and it costs two milliseconds

    ratio = from_hz / to_hz
    if not 1 / LARGEST_RATIO <= ratio <= LARGEST_RATIO:
        raise ValueError(
            f"{from_hz:g} Hz cannot become {to_hz:g} Hz: at most {LARGEST_RATIO:g} times as many "
            "or as few"
        )
    # The larger of the two numbers is what must stay small.
    if ratio > 1:
        return 1 / Fraction(to_hz / from_hz).limit_denominator(LARGEST)
    return Fraction(ratio).limit_denominator(LARGEST)


def make_resampler(policy: Policy, from_hz: float, to_hz: float, channels: int) -> Resampler:
    """Return a resampler; ``linear`` for slow quantities, ``polyphase`` where nothing may alias.

    Raises: ValueError: the rates are too far apart.
    """
    step = rate_step(from_hz, to_hz)
    return Linear(step, channels) if policy == "linear" else Polyphase(step, channels)


class _Run:
    """What both have in common: the samples that the next outputs still need."""

    def __init__(self, step: "Fraction", channels: int, first: int) -> None:
        self.step = step
        self.first = first
        self.received = 0
        self.given = 0
        self._held = np.empty((0, channels), np.float32)

    def restart(self) -> None:
        """Begin a new run."""
        self.received = self.given = 0
        self._held = self._held[:0]

    def _take(self, samples: Float32Array, ahead: int) -> tuple[Float32Array, int, Array]:
        """Return the samples at hand, the position of the first, and the outputs to make.

        Args:
            ahead: how many parts of an input sample an output reaches forward, in steps of
                ``1 / step.denominator``.
        Returns: outputs as their positions, in the same parts; int64.
        """
        at = self.received - len(self._held)
        held = np.concatenate([self._held, samples]) if len(self._held) else samples
        self.received += len(samples)
        parts, up = self.step.numerator, self.step.denominator
        last = ((self.received - 1) * up - ahead) // parts if self.received else -1
        number = self.first + self.given
        # Python's integers begin each block, so that no position can overflow.
        positions = (
            number * parts - at * up + np.arange(max(0, last + 1 - number), dtype=np.int64) * parts
        )
        self.given += len(positions)
        return held, at, positions

    def _keep(self, held: Float32Array, at: int, behind: int) -> None:
        """Hold what the next output reaches back to, ``behind`` parts of an input sample."""
        parts, up = self.step.numerator, self.step.denominator
        needed = ((self.first + self.given) * parts - behind) // up
        self._held = held[min(len(held), max(0, needed - at)) :].copy()


class Linear(_Run):
    """On the straight line between two neighbours. What is faster than the output aliases."""

    def __init__(self, step: "Fraction", channels: int) -> None:
        super().__init__(step, channels, 0)

    def push(self, samples: Float32Array) -> Float32Array:
        """Take samples, return samples; see ``Resampler``."""
        held, at, positions = self._take(samples, 0)
        up = self.step.denominator
        index, part = positions // up, positions % up
        fraction = (part / up)[:, None]
        left = held[index]
        # Where an output stands on a sample there may be no neighbour yet, and it is not needed.
        right = held[np.minimum(index + 1, len(held) - 1)] if len(index) else left
        out = np.where(part[:, None] == 0, left, left * (1 - fraction) + right * fraction)
        self._keep(held, at, 0)
        return np.asarray(out, np.float32)


class Polyphase(_Run):
    """Through a low-pass filter of linear phase below both rates' halves.

    Source: scipy.signal.resample_poly, window ("kaiser", 5.0), 20 * max(up, down) + 1 taps.
    """

    def __init__(self, step: "Fraction", channels: int) -> None:
        down, up = step.numerator, step.denominator
        self._half = HALF_TAPS * max(up, down)
        super().__init__(step, channels, -(-self._half // down))
        # Row p, column j: what the input sample j before counts for an output in phase p.
        taps = -(-(2 * self._half + 1) // up)
        weights = np.zeros(taps * up)
        weights[: 2 * self._half + 1] = _low_pass(self._half, max(up, down)) * up
        self._weights = weights.reshape(taps, up).T.copy()
        self._back = np.arange(taps)

    def push(self, samples: Float32Array) -> Float32Array:
        """Take samples, return samples; see ``Resampler``."""
        held, at, positions = self._take(samples, self._half)
        up = self.step.denominator
        newest, phase = (positions + self._half) // up, (positions + self._half) % up
        out = np.empty((len(positions), samples.shape[1]), np.float32)
        for begin in range(0, len(out), BLOCK):
            part = slice(begin, begin + BLOCK)
            # A tap of weight 0 may reach before the run.
            seen = held[np.maximum(newest[part, None] - self._back, 0)]
            # Not a product of matrices: its last bit may depend on how many there are.
            out[part] = (seen * self._weights[phase[part]][:, :, None]).sum(axis=1)
        self._keep(held, at, self._half)
        return out


def _low_pass(half: int, narrow: int) -> Array:
    """Return a windowed sinc, 2 * half + 1 taps of sum 1, cut off at 1 / narrow of half the rate.

    Source: the window method, as scipy.signal.firwin(2 * half + 1, 1 / narrow, ("kaiser", 5.0)).
    """
    taps = np.sinc(np.arange(-half, half + 1) / narrow) * np.kaiser(2 * half + 1, BETA)
    return np.asarray(taps / taps.sum())
