"""Which model runs in a slot, which one is to follow it, and which one it would fall back to.

Rules alone; what they mean for the windows is the slot's. A model under trial keeps the one before
it, until the trial is settled:

    what happens          runs then                     falls back to
    --------------------  ----------------------------  -----------------------------------------
    offered, under trial  what was offered              the named one, else what ran; where that
                                                        is under trial itself, what it has
    offered, proven       what was offered              nothing
    offered, has no room  what ran, else the named one  as before
    change broke off      the named one, else what it   nothing
                          falls back to, else what ran
    settled               as before                     nothing
    fails under trial     what it falls back to, or     nothing
                          nothing
    fails, proven         as before                     nothing
"""

from msgspec import Struct

from edge_bundle.archive import Bundle
from edge_bundle.drift import Drift
from edge_bundle.inference import Inference
from edge_bundle.manifest import Stream
from edge_wire.messages import ModelId


class Loaded(Struct):
    """A bundle whose model is in memory."""

    bundle: Bundle
    inference: Inference
    drift: Drift | None = None
    """None: nobody watches."""

    @property
    def stream(self) -> Stream:
        """What the model is to see; a bundle without it comes through no door of the agent."""
        return self.bundle.manifest.expect_stream()

    def identify(self) -> ModelId:
        """Name it as it goes over the wire."""
        manifest = self.bundle.manifest
        return ModelId(manifest.name, manifest.version, self.bundle.sha256[:8])


class Offer(Struct, frozen=True):
    """A model that is to run from the next window."""

    loaded: Loaded
    trial: bool = False
    """Whether the one before is kept to fall back to."""
    fallback: Loaded | None = None
    """What to fall back to, where it is not the one before."""


class Succession:
    """The models of one slot. Any thread may ``offer`` and ``settle``."""

    def __init__(self) -> None:
        self.running: Loaded | None = None
        """What makes the predictions now."""
        self.fallback: Loaded | None = None
        self.trial = False
        """Whether what runs is still to be proven."""
        self.offered: Offer | None = None

    def offer(self, offer: Offer) -> None:
        """Let a model follow."""
        pending, fallback = self.offered, offer.fallback
        if pending is not None and fallback is None:
            # What was offered before never ran, but is what would run now.
            fallback = pending.fallback if pending.trial else pending.loaded
        self.offered = Offer(offer.loaded, offer.trial, fallback)

    def settle(self) -> None:
        """End the trial well."""
        self.trial = False
        self.fallback = None

    def draw(self) -> Offer | None:
        """Take what was offered."""
        offered, self.offered = self.offered, None
        return offered

    def admit(self, offer: Offer) -> None:
        """Keep what an offered model falls back to; it runs when ``running`` is set."""
        if not offer.trial:
            self.fallback = None
        elif offer.fallback is not None:
            self.fallback = offer.fallback
        elif not self.trial:
            self.fallback = self.running
        self.trial = offer.trial

    def refuse(self, offer: Offer) -> Loaded | None:
        """Return what is to run, where nothing does, in place of what there is no room for."""
        return offer.fallback if self.running is None else None

    def break_off(self, offer: Offer) -> Loaded | None:
        """Return what is to run where the change to a model broke off; until then nothing does."""
        running = None if self.running is offer.loaded else self.running
        before = offer.fallback or self.fallback or running
        self.running = None
        self.settle()
        return before

    def fail(self) -> Loaded | None:
        """Return what is to run in place of the model that failed, if there is such a one.

        A model under trial that has none no longer runs.
        """
        fallback = self.fallback
        if fallback is None and self.trial:
            self.running = None
        self.settle()
        return fallback
