"""The parts of an agent, each made from the configuration; nothing is started here."""

import platform
from collections.abc import Callable, Mapping
from contextlib import suppress
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from edge_agent import source_tables as tables
from edge_agent.bell import Bell
from edge_agent.config import Config, LoadedConfig
from edge_agent.feed import Feed, Policy
from edge_agent.fit import Refused, Site, StreamShape, check_stream, check_thresholds
from edge_agent.lifecycle import RESUME, Resume
from edge_agent.retention import count_kept
from edge_agent.ring import Ring
from edge_agent.store import Store, StoreInUse
from edge_bundle import VERSION
from edge_bundle.errors import ArtifactRefused
from edge_bundle.manifest import Manifest, Stream
from edge_bundle.runtimes.loader import installed_formats
from edge_wire.messages import ChannelInfo, Info, ModelInfo, PreviousBoot, StreamInfo

if TYPE_CHECKING:
    from edge_agent.collection import Collection

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
        raise loaded.error(("store", "path"), explain_folder(error)) from None
    return store


def begin_boot(loaded: LoadedConfig, store: Store) -> tuple[str, PreviousBoot | None]:
    """Count a start; return this boot's name, and how the one before ended.

    Raises: ConfigError: it cannot be written down, as on a full disk.
    """
    try:
        return store.begin_boot()
    except OSError as error:
        why = f"{error.filename or store.path}: {error.strerror}"
        raise loaded.error(("store", "path"), why) from None


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
        raise loaded.error(("capture", "path"), explain_folder(error)) from None


def explain_folder(error: OSError) -> str:
    """Say why a folder cannot be used; of a file in its place the system says that it exists."""
    if isinstance(error, FileExistsError | NotADirectoryError):
        path = Path(error.filename)
        for place in (path, *path.parents):
            if place.is_file():
                return f"{place}: is a file, expected a folder"
    return f"{error.filename}: {error.strerror}"


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
            raise loaded.error(
                place,
                f"{path} is of model {bundle.manifest.name!r}, not {model.name!r}: a bundle's name "
                "is given by edge-convert's --name",
            )
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


def keep_enough(
    config: Config, store: Store, shapes: Shapes, configured: Mapping[str, str]
) -> dict[str, StreamShape]:
    """Return what each source says of its samples, with how many of them are kept.

    Args:
        configured: sha256, in the store, of the bundle that the configuration names for a model.
    """
    kept = {}
    for table in config.source:
        shape = shapes[table.name]
        models = (m.name for m in config.model if m.stream == table.name)
        wanted = [w for m in models for w in _wanted_streams(store, m, shape, configured.get(m))]
        kept[table.name] = replace(shape, kept=count_kept(table, shape, wanted))
    return kept


def _wanted_streams(
    store: Store, model: str, shape: StreamShape, configured: str | None
) -> list[Stream]:
    """Return what the versions of a model want to see that may run without being fetched."""
    record = store.record(model)
    target = record.target if RESUME[record.state] is Resume.TRY_AGAIN else None
    wanted = []
    for sha256 in {record.running, record.previous, target, configured} - {None}:
        assert sha256 is not None
        # What cannot be used here is told by who would run it.
        with suppress(ArtifactRefused, Refused, OSError):
            manifest = store.open(sha256).manifest
            check_stream(manifest, shape)
            wanted.append(manifest.expect_stream())
    return wanted


def make_feeds(
    loaded: LoadedConfig,
    shapes: Shapes,
    wake: Bell,
    held: Callable[[], bool] = lambda: False,
) -> dict[str, Feed]:
    """Return the memory of each stream.

    Args:
        wake: rung when there may be a window to take.
        held: whether a stream that comes as fast as it is taken is to wait.
    Raises: ConfigError: there is not so much memory.
    """
    feeds = {}
    for i, table in enumerate(loaded.config.source):
        shape = shapes[table.name]
        kept = count_kept(table, shape) if shape.kept is None else shape.kept
        try:
            ring = Ring(kept, len(shape.channels), shape.rate_hz, speed(table))
        except (MemoryError, OverflowError, ValueError):
            raise loaded.error(
                ("source", i, "keep_s"), f"no memory for {kept} samples of {table.name!r}"
            ) from None
        # A memory of the newest blocks alone is what makes ``latest``.
        policy: Policy = "block" if table.policy == "block" else "drop_oldest"
        feed = feeds[table.name] = Feed(table.name, ring, policy, wake)
        if ring.speed == inf:
            feed.held = held
    return feeds
