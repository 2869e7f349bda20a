"""A stream at another rate: a ring that follows the stream's own, for the models that want it.

Models that want the same rate share one. Not thread-safe: ``feed`` guards it, as the rings.
"""

from collections.abc import Hashable, Sequence
from math import ceil
from typing import Final

from edge_agent.ring import Ring
from edge_bundle.manifest import RATE_TOLERANCE, Stream
from edge_bundle.resampling import Policy, make_resampler
from edge_bundle.tensor import Float32Array

SPARE: Final = 2
"""Room for what one more sample of the stream may become, beside its share."""


class Branch:
    """Resamples what a ring takes into a ring of its own, each run between two breaks by itself."""

    def __init__(self, source: Ring, policy: Policy, rate_hz: float) -> None:
        """Begin with the next sample of ``source``.

        Args:
            rate_hz: wanted, in the stream's own time.

        Raises: ValueError: the rates are too far apart.
        """
        self._resampler = make_resampler(policy, source.rate_hz, rate_hz, source.channels)
        self._source = source
        self._period_ns = source.period_ns
        self._share = 1 / float(self._resampler.step)
        self._lost_before, self._lost = 0, 0
        spare = ceil(self._share) + SPARE
        self.most = max(1, int(source.capacity * self._share))
        """The largest window that there is always room for."""
        self.users: set[Hashable] = set()
        self.ring = Ring(self.most + spare, source.channels, rate_hz, source.speed)

    def write(self, samples: Float32Array, end_ns: int) -> None:
        """Take samples of the stream."""
        resampler = self._resampler
        made = resampler.push(samples)
        if len(made):
            last = (resampler.first + resampler.given - 1) * resampler.step
            behind = float(resampler.received - 1 - last)
            self.ring.span_ns = self._source.span_ns
            self.ring.write(made, end_ns - int(behind * self._period_ns))

    def broke(self, lost: int) -> None:
        """Begin a new run; what is lost is counted at this rate."""
        self._resampler.restart()
        self._lost_before += lost
        total = round(self._lost_before * self._share)  # of all, so that no rounding adds up
        self.ring.broke(total - self._lost)
        self._lost = total

    def room(self, free: int) -> int:
        """Return how many samples of the stream fit into so many free places of the ring."""
        return max(0, int(free / self._share))


def key_of(source: Ring, stream: Stream) -> tuple[Policy, float] | None:
    """Return what a model's branch goes by; None where it takes the stream as it is."""
    if stream.resample == "refuse" or abs(source.rate_hz / stream.rate_hz - 1) <= RATE_TOLERANCE:
        return None
    return stream.resample, stream.rate_hz


def follow(source: Ring, stream: Stream) -> Branch | None:
    """Return the branch that gives a stream its model's rate; None where the rates are equal.

    Raises: ValueError: the rates are too far apart.
    """
    key = key_of(source, stream)
    if key is None:
        return None
    branch = source.followers.get(key)
    if branch is None:
        branch = source.followers[key] = Branch(source, *key)
    assert isinstance(branch, Branch)
    return branch


def release(source: Ring, who: Hashable, wanted: Sequence[Stream]) -> None:
    """Let go of the branches that ``who`` wants no more, and of those that nobody wants."""
    keys = {key_of(source, stream) for stream in wanted}
    for key, branch in list(source.followers.items()):
        assert isinstance(branch, Branch)
        (branch.users.add if key in keys else branch.users.discard)(who)
        if not branch.users:
            del source.followers[key]
