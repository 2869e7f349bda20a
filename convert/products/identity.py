"""What a bundle is called."""

import re
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edge_bundle.errors import ConfigError
from edge_bundle.manifest import Name, Version


@dataclass(frozen=True, slots=True)
class Identity:
    """What tells a bundle from all others."""

    name: str
    version: str
    variant: str


def choose_name(name: str | None, model: Path) -> str:
    """Return the name that ``--name`` gives, else one after the model file.

    Raises: ConfigError: it is no name of a bundle, or the file gives none.
    """
    if name is not None:
        return _checked("--name", name, Name, "such as watch-1")
    cleaned = re.sub(r"[^a-z0-9._-]+", "-", model.stem.lower()).lstrip("._-")[:64]
    if not cleaned:
        raise ConfigError(f"{model}: gives no name for the bundle: say --name")
    return cleaned


def check_version(version: str) -> str:
    """Return ``--version`` as it is.

    Raises: ConfigError: it is no SemVer.
    """
    return _checked("--version", version, Version, "a SemVer such as 1.0.0")


def _checked(option: str, text: str, kind: object, expected: str) -> str:
    try:
        return str(msgspec.convert(text, kind))
    except msgspec.ValidationError:
        raise ConfigError(f"{option}: {text!r}, expected {expected}") from None
