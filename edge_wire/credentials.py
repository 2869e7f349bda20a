"""The table that says where the broker is and who we are to it, and how its secrets are read."""

import os
import ssl
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from msgspec import Struct

from edge_wire.broker import Broker
from edge_wire.topics import IDENTIFIER, NAME, ROOT

MAX_SECRET_BYTES: Final = 65_535
"""MQTT has no room for more."""
Refuse = Callable[[str, str], Exception]
"""Makes the error for a key of the table: the caller knows the file, or the option."""


class BrokerTable(Struct, frozen=True):
    """``[broker]``; paths are relative to the file that it is in."""

    url: str = "mqtt://127.0.0.1:1883"
    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    user: str | None = None
    password_file: str | None = None
    root: str = ROOT


def read_broker(table: BrokerTable, folder: Path, refuse: Refuse) -> Broker:
    """Return the broker with its secret read.

    Args:
        table: as written.
        folder: that its paths are relative to.
        refuse: makes the error that is raised for a bad address or root, a file that is not there
            or cannot be used, or a password file that others may read.
    """
    if not all(IDENTIFIER.fullmatch(part) for part in table.root.split("/")):
        shown = repr(table.root if len(table.root) <= 80 else table.root[:80] + "…")
        raise refuse("root", f"{shown}, expected between slashes {NAME}")
    files = {"ca": table.ca, "cert": table.cert, "key": table.key}
    paths = {name: str(_resolve(folder, v)) if v else None for name, v in files.items()}
    password = None
    if table.password_file:
        password = _read_password(_resolve(folder, table.password_file), refuse)
    broker = Broker(table.url, **paths, user=table.user, password=password)
    if "@" in table.url:  # before any message that would show the url
        raise refuse("url", "user and password have keys of their own here")
    try:
        tls = broker.address()[2]
    except ValueError as error:
        raise refuse("url", str(error)) from None
    if table.password_file and not table.user:
        raise refuse("password_file", "a password needs a user")
    _check_tls(paths, tls, refuse)
    return broker


def _resolve(folder: Path, path: str) -> Path:
    return Path(os.path.normpath(folder / os.path.expanduser(path)))


def _read_password(file: Path, refuse: Refuse) -> str:
    try:
        if file.stat().st_mode & 0o077:
            raise refuse("password_file", f"{file}: others may read it; chmod 600 it")
        with file.open(encoding="utf-8") as opened:
            password = opened.read(MAX_SECRET_BYTES + 1).strip()
    except OSError as error:
        raise refuse("password_file", f"{file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise refuse("password_file", f"{file}: not UTF-8 text") from None
    except ValueError as error:  # a NUL in the path
        raise refuse("password_file", f"{str(file)!r}: {error}") from None
    if len(password.encode()) > MAX_SECRET_BYTES:
        raise refuse(
            "password_file", f"{file}: expected a password of at most {MAX_SECRET_BYTES} bytes"
        )
    return password


def _check_tls(paths: Mapping[str, str | None], tls: bool, refuse: Refuse) -> None:
    for name, path in paths.items():
        if path and not tls:
            raise refuse(name, "is for a url that begins mqtts://")
        if path and not os.path.isfile(path):  # Path's own raises for a name that is too long
            raise refuse(name, f"{path}: no such file")
    if not tls:
        return  # or the certificates of all authorities would be read, and kept, for nothing
    ca, cert, key = paths["ca"], paths["cert"], paths["key"]
    if key and not cert:
        raise refuse("key", "a key needs a cert")
    place = "ca"
    try:
        context = ssl.create_default_context(cafile=ca)
        place = "cert"
        if cert:
            # With a password, or OpenSSL asks the terminal for that of an encrypted key.
            context.load_cert_chain(cert, key, password="")
    except OSError as error:
        why = error.strerror or str(error)
        raise refuse(place, f"{paths[place]}: cannot be used: {why}") from None
