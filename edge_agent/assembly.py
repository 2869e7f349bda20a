"""The parts of an agent, each made from the configuration; nothing is started here."""

import platform
import threading
from collections.abc import Mapping
from math import inf
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent import source_tables as tables
from edge_agent.config import Config, LoadedConfig
from edge_agent.feed import Feed, Policy
from edge_agent.fit import Refused, Site, StreamShape, check_stream, check_thresholds
from edge_agent.ring import Ring
from edge_agent.source_tables import Camera, Source
from edge_agent.store import Store, StoreInUse
from edge_bundle import VERSION
from edge_bundle.errors import ArtifactRefused
from edge_bundle.manifest import Manifest
from edge_bundle.runtimes.loader import installed_formats
from edge_wire.messages import ChannelInfo, Info, ModelInfo, PreviousBoot, StreamInfo

if TYPE_CHECKING:
    from edge_agent.collection import Collection

RING_S: Final = 30.0
"""How many seconds of a stream are kept for the models on it."""
RING_SAMPLES: Final = 4096
"""At least so many, so that slow streams have room for a window too."""
BLOCKS_BYTES: Final = 16 << 20
"""At most so much of a stream of blocks, such as frames, but one."""

Shapes = Mapping[str, StreamShape]
"""What each source, by name, says of its samples."""


def open_store(loaded: LoadedConfig) -> Store:
    """Open the store, for this process alone.

    Raises: ConfigError: it cannot be written, or another agent uses it.
    """
    table = loaded.config.store
    try:
        store = Store(loaded.resolve(table.path), table.max_bytes)
        store.lock()
    except StoreInUse as error:
        raise loaded.error(("store", "path"), str(error)) from None
    except OSError as error:
        raise loaded.error(("store", "path"), f"{error.filename}: {error.strerror}") from None
    return store


def open_collection(loaded: LoadedConfig, boot: str) -> "Collection | None":
    """Return what keeps windows for retraining; None where nothing is to be kept.

    Raises: ConfigError: its folder cannot be made.
    """
    table = loaded.config.capture
    if table is None:
        return None
    from edge_agent.collection import Collection  # few devices collect

    try:
        return Collection(table, loaded.resolve(table.path), boot)
    except OSError as error:
        raise loaded.error(("capture", "path"), f"{error.filename}: {error.strerror}") from None


def take_in_bundles(loaded: LoadedConfig, store: Store, shapes: Shapes) -> dict[str, str]:
    """Copy the bundles that the configuration names into the store; return sha256 by model.

    Raises: ConfigError: not there, or of another model. ArtifactRefused: damaged, or trained to
        see another stream.
    """
    taken = {}
    for i, model in enumerate(loaded.config.model):
        if model.bundle is None:
            continue
        place, path = ("model", i, "bundle"), loaded.resolve(model.bundle)
        try:
            bundle = store.take_in(path)
            check_stream(bundle.manifest, shapes[model.stream])
            _check_thresholds(loaded, i, bundle.manifest)
        except OSError as error:
            raise loaded.error(place, f"{path}: {error.strerror}") from None
        except (ArtifactRefused, Refused) as error:
            raise ArtifactRefused(str(loaded.error(place, str(error)))) from None
        if bundle.manifest.name != model.name:
            raise loaded.error(place, f"{path} is of model {bundle.manifest.name!r}")
        taken[model.name] = bundle.sha256
    return taken


def _check_thresholds(loaded: LoadedConfig, index: int, manifest: Manifest) -> None:
    for name, value in loaded.config.model[index].thresholds.items():
        try:
            check_thresholds(manifest, {name: value})
        except Refused as refused:
            why = str(refused).removeprefix(f"thresholds.{name}: ").removeprefix("thresholds: ")
            raise loaded.error(("model", index, "thresholds", name), why) from None


def describe_device(
    config: Config, shapes: Shapes, boot: str, previous: PreviousBoot | None
) -> Info:
    """Return the birth message."""
    formats = describe_site(config).formats
    return Info(
        v=1,
        device=config.device.id,
        agent=VERSION,
        boot=boot,
        group=config.device.group,
        labels=config.device.labels,
        profile=config.device.profile,
        runtimes={"python": platform.python_version(), "formats": " ".join(formats)},
        streams={
            table.name: StreamInfo(
                shapes[table.name].rate_hz,
                tuple(ChannelInfo(c.name, c.unit) for c in shapes[table.name].channels),
                str(table.__struct_config__.tag),
            )
            for table in config.source
        },
        previous=previous,
        models={m.name: ModelInfo(m.stream, m.thresholds) for m in config.model},
    )


def describe_site(config: Config) -> Site:
    """Return what a version can find on this device."""
    installed = installed_formats()
    return Site(
        device=config.device.id,
        group=config.device.group,
        labels=config.device.labels,
        profile=config.device.profile,
        agent=VERSION,
        formats=tuple(f for f in config.runtime.prefer if f in installed),
        threads=config.runtime.threads,
    )


def speed(table: tables.Source) -> float:
    """Return how many times faster than in its own time a source gives its samples."""
    if not isinstance(table, tables.Replay):
        return 1.0
    return inf if table.factor == "max" else table.factor


def make_feeds(config: Config, shapes: Shapes, wake: threading.Event) -> dict[str, Feed]:
    """Return the memory of each stream."""
    feeds = {}
    for table in config.source:
        shape = shapes[table.name]
        ring = Ring(_capacity(table, shape), len(shape.channels), shape.rate_hz, speed(table))
        # A memory of the newest blocks alone is what makes ``latest``.
        policy: Policy = "block" if table.policy == "block" else "drop_oldest"
        feeds[table.name] = Feed(table.name, ring, policy, wake)
    return feeds


def _capacity(table: Source, shape: StreamShape) -> int:
    """Return how many samples are kept of a stream: whole blocks."""
    if isinstance(table, Camera) and table.policy == "latest":
        return table.keep * shape.block
    samples = max(RING_SAMPLES, int(RING_S * shape.rate_hz))
    if shape.block == 1:
        return samples
    block_bytes = shape.block * len(shape.channels) * np.dtype(np.float32).itemsize
    return max(1, min(samples // shape.block, BLOCKS_BYTES // block_bytes)) * shape.block
