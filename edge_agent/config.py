"""The device's configuration: strict TOML, the profiles it extends, and nothing ignored."""

import os
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from edge_bundle.errors import ConfigError
from edge_bundle.manifest import Channel
from edge_bundle.toml import Document, Path_, convert_toml, read_toml
from edge_wire.link import Broker
from edge_wire.topics import IDENTIFIER, ROOT

Identifier = Annotated[str, Meta(pattern=f"^{IDENTIFIER.pattern}$")]
Positive = Annotated[int, Meta(ge=1)]
PositiveFloat = Annotated[float, Meta(gt=0)]
MAX_EXTENDS = 8


class DeviceTable(Struct, frozen=True):
    """Who this device is."""

    id: Identifier
    group: Identifier = "default"
    labels: dict[str, str] = {}
    profile: str = "generic"


class BrokerTable(Struct, frozen=True):
    """Where the broker is; paths are relative to the configuration file."""

    url: str = "mqtt://127.0.0.1:1883"
    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    user: str | None = None
    password_file: str | None = None
    root: str = ROOT


class RuntimeTable(Struct, frozen=True):
    """How models run."""

    prefer: tuple[Literal["onnx", "tflite"], ...] = ("tflite", "onnx")
    threads: Positive = 1


class StoreTable(Struct, frozen=True):
    """Where bundles and the device's memory of them are kept."""

    path: str
    max_bytes: Positive = 256 << 20


class OutboxTable(Struct, frozen=True):
    """Predictions that wait for the broker."""

    max_bytes: Annotated[int, Meta(ge=0)] = 1 << 20
    """0: predictions are sent once with QoS 0 and never wait."""


class SourceTable(Struct, frozen=True):
    """A stream's sensor: a recording that is replayed."""

    name: Identifier
    kind: Literal["replay"]
    path: str
    factor: PositiveFloat = 1.0
    """How many times faster than the true rate."""
    loop: bool = False
    policy: Literal["block", "drop_oldest"] = "block"
    rate_hz: PositiveFloat | None = None
    channels: tuple[Channel, ...] = ()


class ModelTable(Struct, frozen=True):
    """A model that this device runs on a stream."""

    name: Identifier
    stream: Identifier
    bundle: str | None = None
    """What to run until the fleet assigns something."""


class Config(Struct, frozen=True, kw_only=True):
    """The whole configuration; paths in it are as written."""

    device: DeviceTable
    broker: BrokerTable = BrokerTable()
    runtime: RuntimeTable = RuntimeTable()
    store: StoreTable
    outbox: OutboxTable = OutboxTable()
    source: tuple[SourceTable, ...] = ()
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
        for document in reversed(self._documents):
            if _lookup(document.data, path):
                return document.error(path, message)
        return self._documents[-1].error(path, message)

    def resolve(self, path: str) -> Path:
        """Return a path of the configuration, relative to its file."""
        return Path(os.path.normpath(self.file.parent / Path(path).expanduser()))

    def broker(self) -> Broker:
        """Return the broker with its secret read.

        Raises: ConfigError: a bad address, or a password file that is not there or not private.
        """
        table = self.config.broker
        password = None
        if table.password_file:
            file = self.resolve(table.password_file)
            try:
                if file.stat().st_mode & 0o077:
                    raise self.error(
                        ("broker", "password_file"), f"{file}: others may read it; chmod 600 it"
                    )
                password = file.read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise self.error(("broker", "password_file"), f"{file}: {error}") from None
        files = {k: getattr(table, k) for k in ("ca", "cert", "key")}
        paths = {k: str(self.resolve(v)) if v else None for k, v in files.items()}
        for key, path in paths.items():
            if path and not Path(path).is_file():
                raise self.error(("broker", key), f"{path}: no such file")
        broker = Broker(table.url, **paths, user=table.user, password=password)
        try:
            broker.address()
        except ValueError as error:
            raise self.error(("broker", "url"), str(error)) from None
        return broker


def load_config(file: Path) -> LoadedConfig:
    """Read a configuration and what it extends.

    Raises: ConfigError: beginning ``FILE:LINE:COL: KEY.PATH:``.
    """
    documents: list[Document] = []
    _collect(file, documents, ())
    merged: dict[str, Any] = {}
    for document in documents:
        _refuse_unknown(document)
        merged = _merge(merged, document.data)
    try:
        config = msgspec.convert(merged, Config)
    except msgspec.ValidationError:
        # The same data once more through the reader that knows where each key stands.
        for document in reversed(documents):
            convert_toml(_with_defaults(document, merged), Config)
        raise
    loaded = LoadedConfig(config, documents)
    _check(loaded)
    return loaded


def profile_names() -> list[str]:
    """Return the device profiles that come with the package."""
    folder = resources.files("firmware_configs")
    return sorted(f.name[:-5] for f in folder.iterdir() if f.name.endswith(".toml"))


def _collect(file: Path, documents: list[Document], above: tuple[Path, ...]) -> None:
    if file in above or len(above) > MAX_EXTENDS:
        raise ConfigError(f"{above[-1]}:1:1: extends: {file} extends itself")
    document = read_toml(file)
    extends = document.data.get("extends", [])
    if not isinstance(extends, list) or not all(isinstance(e, str) for e in extends):
        raise document.error(("extends",), "expected a list of profile names or .toml files")
    for name in extends:
        if name.endswith(".toml"):
            _collect(file.parent / name, documents, (*above, file))
        elif name in profile_names():
            with resources.as_file(resources.files("firmware_configs") / f"{name}.toml") as found:
                _collect(found, documents, (*above, file))
        else:
            known = ", ".join(profile_names())
            raise document.error(("extends",), f"no profile {name!r}; known: {known}")
    documents.append(document)


def _refuse_unknown(document: Document) -> None:
    """Refuse this file's unknown keys by its own positions; missing ones may be in another."""
    try:
        convert_toml(document, Config)
    except ConfigError as error:
        if "missing required field" not in str(error):
            raise


def _with_defaults(document: Document, merged: dict[str, Any]) -> Document:
    document.data = merged
    return document


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        inner = merged.get(key)
        both = isinstance(inner, dict) and isinstance(value, dict)
        merged[key] = _merge(inner, value) if both else value  # type: ignore[arg-type]
    return merged


def _lookup(data: Any, path: Path_) -> bool:
    for part in path:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return False
    return True


def _check(loaded: LoadedConfig) -> None:
    config = loaded.config
    names = [s.name for s in config.source]
    for kind, all_names in (("source", names), ("model", [m.name for m in config.model])):
        for i, name in enumerate(all_names):
            if name in all_names[:i]:
                raise loaded.error((kind, i, "name"), f"{name!r} is there twice")
    for i, model in enumerate(config.model):
        if model.stream not in names:
            known = ", ".join(names) or "none"
            raise loaded.error(
                ("model", i, "stream"), f"no source is named {model.stream!r}; known: {known}"
            )
