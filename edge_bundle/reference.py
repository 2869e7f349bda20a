"""What a bundle says of its training inputs, read for who watches the drift from them."""

import io

from edge_bundle.archive import Bundle
from edge_bundle.drift import Drift, ScoreChanges, StabilityIndex
from edge_bundle.errors import BundleRefused
from edge_bundle.npz import load_npz


def watch_drift(bundle: Bundle) -> Drift:
    """Return what watches a bundle's stream; without a reference it watches the scores alone.

    Raises: BundleRefused: the reference is damaged, or of other channels than the stream.
    """
    channels = tuple(c.name for c in bundle.manifest.expect_stream().channels)
    reference, index = bundle.manifest.reference, None
    if reference is not None:
        where = f"{bundle.path}: {reference.file}"
        try:
            arrays = load_npz(io.BytesIO(bundle.read(reference.file)))
        except ValueError as error:
            raise BundleRefused(f"{where}: {error}") from None
        if "deciles" in arrays and "decile_counts" in arrays:  # earlier converters wrote none
            try:
                index = StabilityIndex(arrays["deciles"], arrays["decile_counts"])
            except BundleRefused as error:
                raise BundleRefused(f"{where}: {error}") from None
            if index.channels != len(channels):
                raise BundleRefused(
                    f"{where}: {index.channels} channels, the stream has {len(channels)}"
                )
    return Drift(channels, index, ScoreChanges())
