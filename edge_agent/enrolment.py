"""Gives a device the keys that it trusts: by hand, never over the wire."""

from pathlib import Path

from edge_agent.assembly import explain_folder
from edge_agent.config import load_config
from edge_agent.store import Store
from edge_bundle.errors import ConfigError
from edge_wire.errors import TrustRefused
from edge_wire.trust import read_root


def trust_root(config: Path, root: Path) -> Path:
    """Put a root of trust into the store of a configuration; return where it is kept.

    Raises: ConfigError: a file that is not there, or that is no root.
    """
    loaded = load_config(config)
    try:
        data = root.read_bytes()
        read_root(data)
    except OSError as error:
        raise ConfigError(f"{error.filename}: {error.strerror}") from None
    except TrustRefused as error:
        raise ConfigError(f"{root}: {error}") from None
    try:
        store = Store(loaded.resolve(loaded.config.store.path), loaded.config.store.max_bytes)
        store.write(store.root_file(), data)
    except OSError as error:
        raise loaded.error(("store", "path"), explain_folder(error)) from None
    return store.root_file()
