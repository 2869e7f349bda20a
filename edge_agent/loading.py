"""Loads versions into this process: none before it fits its place and has proven itself here."""

from collections.abc import Callable

from edge_agent.download import Cancelled
from edge_agent.fit import Refused, Site
from edge_agent.place import Place
from edge_agent.records import Proof
from edge_agent.staging import StagingFailed, stage
from edge_agent.store import Store
from edge_agent.succession import Loaded
from edge_bundle.archive import Bundle
from edge_bundle.errors import ArtifactRefused, ConfigError
from edge_bundle.inference import Inference
from edge_bundle.reference import watch_drift
from edge_bundle.runtimes.loader import runtime_version
from edge_wire.messages import Reason


class Loader:
    """Makes of a bundle in the store what a slot can run."""

    def __init__(self, site: Site, store: Store) -> None:
        self._site = site
        self._store = store

    def prove(self, bundle: Bundle, cancelled: Callable[[], bool]) -> None:
        """Let a bundle prove itself in a child, unless it has, with this runtime and this agent.

        Args:
            bundle: in the store.
            cancelled: asked again and again; true breaks it off.
        Raises: Refused: it failed, or nothing here runs it. Cancelled.
        """
        try:
            runtime = runtime_version(bundle.manifest.format)
            proof = Proof(bundle.sha256, runtime, self._site.agent)
            if not self._store.is_proven(proof):
                if not stage(bundle, self._site.threads, self._site.profile, cancelled):
                    raise Cancelled
                self._store.save_proof(proof)
        except StagingFailed as failed:
            raise Refused(failed.reason, failed.detail) from None
        except ConfigError as error:
            raise Refused(Reason.NO_VARIANT, str(error)) from None

    def load(self, place: Place, bundle: Bundle) -> Loaded:
        """Load a bundle that has proven itself, with the thresholds of its place.

        Raises: Refused: it does not load here.
        """
        try:
            inference = Inference.open(bundle, self._site.threads)
            inference.override(place.thresholds)
            return Loaded(bundle, inference, watch_drift(bundle))
        except (ArtifactRefused, ConfigError) as error:
            raise Refused(Reason.LOAD_FAILED, str(error)) from None

    def reload(self, place: Place, sha256: str) -> Loaded:
        """Load what the store has, whatever it went through before.

        Raises: Refused: it is not there, is damaged, does not fit any more, or is not proven.
        """
        try:
            bundle = self._store.open(sha256)
        except ArtifactRefused as error:
            raise Refused(Reason.BAD_BUNDLE, str(error)) from None
        place.check_fit(bundle)
        # Proven long ago, but for what the configuration names, or after a new runtime or agent.
        self.prove(bundle, lambda: False)
        return self.load(place, bundle)
