"""Where one model runs on this device, and what the configuration asks of whatever runs there."""

from collections.abc import Mapping

from msgspec import Struct

from edge_agent.fit import StreamShape, check_stream, check_thresholds
from edge_agent.life import Life
from edge_agent.slot import Slot
from edge_agent.succession import Loaded
from edge_bundle.archive import Bundle


class Place(Struct):
    """One slot of a stream, and the life of the model in it."""

    slot: Slot
    shape: StreamShape
    life: Life
    thresholds: Mapping[str, float]
    """Those that the configuration changes."""
    counted: Loaded | None = None
    """What ``good_windows`` are of; both are the worker's alone."""
    good_windows: int = 0

    def check_fit(self, bundle: Bundle) -> None:
        """Refuse a version that does not fit what the configuration says of this place.

        Raises: Refused.
        """
        check_stream(bundle.manifest, self.shape)
        check_thresholds(bundle.manifest, self.thresholds)

    def count_good(self, loaded: Loaded) -> int:
        """Count a window that went well; return how many have gone well of this very load."""
        if self.counted is not loaded:
            self.counted, self.good_windows = loaded, 0
        self.good_windows += 1
        return self.good_windows
