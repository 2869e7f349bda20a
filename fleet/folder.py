"""The operator's folder: what is in it, how it is made, and how its settings are read.

The key and the settings are for their owner's eyes; ``root.json`` is what devices are given.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path

import msgspec
from msgspec import Struct

from edge_bundle.errors import ConfigError
from edge_bundle.toml import Document, convert_toml, read_toml
from edge_wire import trust
from edge_wire.broker import Broker
from edge_wire.credentials import BrokerTable, read_broker
from fleet.registry import Registry


class Settings(Struct, frozen=True):
    """``fleet.toml``."""

    broker: BrokerTable


@dataclass(frozen=True, slots=True)
class Folder:
    """Where everything of one fleet lies."""

    path: Path

    @property
    def settings(self) -> Path:
        return self.path / "fleet.toml"

    @property
    def key(self) -> Path:
        return self.path / "signing.key"

    @property
    def root(self) -> Path:
        return self.path / "root.json"

    @property
    def database(self) -> Path:
        return self.path / "fleet.db"

    def bundle(self, sha256: str) -> Path:
        return self.path / "bundles" / f"{sha256}.bundle"

    def blob(self, sha256: str) -> Path:
        return self.path / "blobs" / f"{sha256}.blob"


def make_folder(folder: Folder, table: BrokerTable) -> None:
    """Make a fleet: key, root, registry, settings; what was made is removed where it fails.

    Raises: ConfigError: there is one already, or the settings are wrong.
    """
    files = (folder.settings, folder.key, folder.root, folder.database)
    for file in files:
        if file.exists():
            raise ConfigError(f"{file} is there already; a fleet is made once, see --dir")
    _check(folder, table, _Plain())
    made: list[Path] = []
    try:
        folder.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in ("bundles", "blobs"):
            (folder.path / name).mkdir(mode=0o700, exist_ok=True)
        key = trust.make_key()
        made.append(folder.key)
        trust.write_key(key, folder.key)
        made.append(folder.root)
        _write(folder.root, msgspec.json.encode(trust.make_root(key)), 0o644)
        made.append(folder.database)
        Registry.create(folder.database)
        # Last, because a folder with settings is taken for a whole one.
        made.append(folder.settings)
        _write(folder.settings, _to_toml(table).encode(), 0o600)
    except BaseException as error:
        for file in made:
            file.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise ConfigError(f"{error.filename or folder.path}: {error.strerror}") from None
        raise


def read_settings(folder: Folder) -> tuple[BrokerTable, Broker]:
    """Read where the broker is, with its secret.

    Raises: ConfigError: no fleet there, or beginning ``FILE:LINE:COL: KEY.PATH:``.
    """
    if not folder.settings.is_file():
        raise ConfigError(
            f"{folder.settings}: no fleet here; make one with edge-fleet init --broker URL, "
            "or name its folder with --dir or EDGEWARD_FLEET"
        )
    document = read_toml(folder.settings)
    table = convert_toml(document, Settings).broker
    return table, _check(folder, table, document)


class _Plain:
    """Names a wrong option where there is no file yet to point into."""

    @staticmethod
    def error(path: tuple[str | int, ...], message: str) -> ConfigError:
        option = {"url": "broker", "root": "root-topic"}.get(str(path[-1]), str(path[-1]))
        return ConfigError(f"--{option.replace('_', '-')}: {message}")


def _check(folder: Folder, table: BrokerTable, blame: Document | _Plain) -> Broker:
    return read_broker(table, folder.path, lambda key, why: blame.error(("broker", key), why))


def _to_toml(table: BrokerTable) -> str:
    lines = ["# How edge-fleet reaches the broker; made by edge-fleet init.", "[broker]"]
    for name, value in msgspec.structs.asdict(table).items():
        if value is not None:
            # A JSON string is a TOML string where no character is written as a pair of escapes.
            lines.append(f"{name} = {json.dumps(value, ensure_ascii=False)}")
    return "\n".join(lines) + "\n"


def _write(file: Path, data: bytes, mode: int) -> None:
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as out:
        out.write(data)
        out.flush()
        os.fsync(out.fileno())
