"""The device's configuration: strict TOML, the profiles it extends, and nothing ignored."""

import importlib.util
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from edge_agent.source_tables import Identifier, Positive, Source
from edge_bundle.errors import ConfigError
from edge_bundle.positions import Path_
from edge_bundle.runtimes import MAX_THREADS
from edge_bundle.toml import Document, convert_toml, find_value, read_toml
from edge_bundle.wording import word_unknown
from edge_wire.broker import Broker
from edge_wire.credentials import BrokerTable, read_broker

MAX_EXTENDS = 8
MODEL_TWICE = (
    ": a model sees one stream; for another, make its bundle once more with another --name"
)
LEAST_OUTBOX = 16 << 10
"""A prediction with all the boxes of a picture fits, and some wait for their confirmation."""


FilePath = Annotated[
    str, Meta(pattern=r"\A[^\x00]*\Z", description="a path, which has no NUL in it")
]


class DeviceTable(Struct, frozen=True):
    """Who this device is."""

    id: Identifier
    group: Identifier = "default"
    labels: dict[str, str] = {}
    profile: str = "generic"


class RuntimeTable(Struct, frozen=True):
    """How models run."""

    prefer: Annotated[tuple[Literal["onnx", "tflite"], ...], Meta(min_length=1)] = (
        "tflite",
        "onnx",
    )
    threads: Annotated[int, Meta(ge=1, le=MAX_THREADS)] = 1


class StoreTable(Struct, frozen=True):
    """Where bundles and the device's memory of them are kept."""

    path: FilePath
    max_bytes: Positive = 256 << 20


class OutboxTable(Struct, frozen=True):
    """Predictions that wait for the broker."""

    max_bytes: Annotated[int, Meta(ge=0)] = 1 << 20
    """0: predictions are sent once with QoS 0 and never wait; else at least ``LEAST_OUTBOX``."""


class TelemetryTable(Struct, frozen=True):
    """Figures of the device for whoever looks after it."""

    every_s: Annotated[float, Meta(ge=0, le=7 * 86400)] = 60.0
    """0: none."""


class CaptureTable(Struct, frozen=True):
    """Windows kept on the device for retraining; they are never published."""

    path: FilePath
    """Folder."""
    max_bytes: Positive = 64 << 20
    """The oldest files go first."""
    uncertain_below: Annotated[float, Meta(ge=0, le=1)] | None = None
    """Score of the best label below which a window is kept."""
    drifted: bool = False
    """Whether windows are kept while telemetry says that the model has drifted."""
    per_minute: Annotated[float, Meta(gt=0)] = 6.0
    """Of one model, at most."""


class ModelTable(Struct, frozen=True):
    """A model that this device runs on a stream."""

    name: Identifier
    stream: Identifier
    bundle: FilePath | None = None
    """What to run until the fleet assigns something."""
    thresholds: dict[str, float] = {}
    """Instead of the bundle's, by label; see docs/decisions.md."""
    late: Literal["drop", "keep"] | None = None
    """What becomes of windows past due; None: they are dropped where the source drops too and the
    model remembers nothing."""


class Config(Struct, frozen=True, kw_only=True):
    """The whole configuration; paths in it are as written."""

    device: DeviceTable
    broker: BrokerTable = BrokerTable()
    runtime: RuntimeTable = RuntimeTable()
    store: StoreTable
    outbox: OutboxTable = OutboxTable()
    telemetry: TelemetryTable = TelemetryTable()
    capture: CaptureTable | None = None
    source: tuple[Source, ...] = ()
    model: tuple[ModelTable, ...] = ()
    extends: tuple[str, ...] = ()


class LoadedConfig:
    """A configuration with the file it came from, so that later findings can name the place."""

    def __init__(self, config: Config, documents: list[Document]) -> None:
        self.config = config
        self._documents = documents
        self.file = documents[-1].file

    def error(self, path: Path_, message: str) -> ConfigError:
        """Return the error for a key, in the file that set it."""
        return _owner(self._documents, path).error(path, message)

    def resolve(self, path: str) -> Path:
        """Return a path of the configuration, relative to its file."""
        return Path(os.path.normpath(self.file.parent / os.path.expanduser(path)))

    def broker(self) -> Broker:
        """Return the broker with its secret read.

        Raises: ConfigError: as ``read_broker`` refuses.
        """
        return read_broker(
            self.config.broker, self.file.parent, lambda key, why: self.error(("broker", key), why)
        )


def load_config(file: Path) -> LoadedConfig:
    """Read a configuration and what it extends.

    Raises: ConfigError: beginning ``FILE:LINE:COL: KEY.PATH:``.
    """
    documents: list[Document] = []
    _collect(read_toml(file), documents, ())
    merged: dict[str, Any] = {}
    for document in documents:
        merged = _merge(merged, document.data)
        with suppress(_Missing):  # it may be in another
            convert_toml(_Joined([document], document.data), Config)
    loaded = LoadedConfig(convert_toml(_Joined(documents, merged), Config), documents)
    _check(loaded)
    return loaded


def profile_names() -> list[str]:
    """Return the device profiles that come with the package."""
    # Where the package is installed and also beside us, it is found twice.
    return sorted({f.stem for folder in _profile_folders() for f in folder.glob("*.toml")})


def _profile_folders() -> list[Path]:
    # It is no Python package: importlib.resources cannot open it from an editable installation.
    spec = importlib.util.find_spec("firmware_configs")
    places = spec.submodule_search_locations if spec else None
    return [Path(p) for p in places or () if Path(p).is_dir()]


def _collect(document: Document, documents: list[Document], above: tuple[str, ...]) -> None:
    above = (*above, os.path.realpath(document.file))
    extends = document.data.get("extends", [])
    if not isinstance(extends, list) or not all(isinstance(e, str) for e in extends):
        raise document.error(("extends",), "expected a list of profile names or .toml files")
    for i, name in enumerate(extends):
        place = ("extends", i)
        files = [document.file.parent / name]
        if not name.endswith(".toml"):
            files = [f / f"{name}.toml" for f in _profile_folders() if name in profile_names()]
        if not files:
            raise document.error(place, word_unknown(name, "profile", profile_names()))
        if not os.path.isfile(files[0]):  # Path's own raises for a name that is too long
            raise document.error(place, f"{files[0]}: no such file")
        if os.path.realpath(files[0]) in above:
            raise document.error(place, f"{name} extends itself")
        if len(above) > MAX_EXTENDS:
            raise document.error(place, f"more than {MAX_EXTENDS} files deep")
        _collect(read_toml(files[0]), documents, above)
    documents.append(document)


class _Missing(ConfigError):
    """A key that must be there is not."""


class _Joined(Document):
    """Several files as one: an error is placed in the file that set the key."""

    def __init__(self, documents: list[Document], data: dict[str, Any]) -> None:
        super().__init__(documents[-1].file, "", data)
        self._documents = documents

    def error(self, path: Path_, message: str) -> ConfigError:
        return _owner(self._documents, path).error(path, message)

    def missing(self, path: Path_) -> ConfigError:
        return _Missing(str(super().missing(path)))


def _owner(documents: list[Document], path: Path_) -> Document:
    """Return the file whose word counts for a key, or for the nearest table above it."""
    owner = documents[-1]
    having: list[tuple[Document, Any]] = [(d, d.data) for d in documents]
    for part in path:
        having = [(d, v) for d, data in having if (v := find_value(data, (part,))) is not None]
        if not having:
            break
        owner = having[-1][0]
        if not isinstance(having[-1][1], dict):
            having = having[-1:]  # a list replaces one that it extends
    return owner


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        inner = merged.get(key)
        both = isinstance(inner, dict) and isinstance(value, dict)
        merged[key] = _merge(inner, value) if both else value  # type: ignore[arg-type]
    return merged


def _check(loaded: LoadedConfig) -> None:
    config = loaded.config
    names = [s.name for s in config.source]
    for kind, all_names, advice in (
        ("source", names, ""),
        ("model", [m.name for m in config.model], MODEL_TWICE),
    ):
        for i, name in enumerate(all_names):
            if name in all_names[:i]:
                raise loaded.error((kind, i, "name"), f"{name!r} is there twice{advice}")
    room = config.outbox.max_bytes
    if 0 < room < LEAST_OUTBOX:
        raise loaded.error(
            ("outbox", "max_bytes"), f"{room}, expected 0, or at least {LEAST_OUTBOX}"
        )
    capture = config.capture
    if capture is not None and capture.uncertain_below is None and not capture.drifted:
        raise loaded.error(
            ("capture",), "keeps nothing: say uncertain_below = 0.6, or drifted = true"
        )
    for i, model in enumerate(config.model):
        if model.stream not in names:
            raise loaded.error(("model", i, "stream"), word_unknown(model.stream, "source", names))
