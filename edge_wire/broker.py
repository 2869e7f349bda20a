"""Where the broker is, who we are to it, and how the connection is kept private."""

import ssl
from typing import Final
from urllib.parse import urlsplit

from msgspec import Struct

PORTS: Final = {"mqtt": 1883, "mqtts": 8883}


class Broker(Struct, frozen=True):
    """Where the broker is and who we are to it."""

    url: str
    """``mqtt://host:port`` or ``mqtts://host:port``."""
    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    user: str | None = None
    password: str | None = None

    def __repr__(self) -> str:
        """Say all but the password, which no log may hold."""
        return f"Broker({self.url!r}, user={self.user!r})"

    def address(self) -> tuple[str, int, bool]:
        """Return host, port, and whether TLS is used.

        Raises: ValueError: not such an address.
        """
        parts = urlsplit(self.url)
        if "@" in parts.netloc:  # not shown: it holds a password
            raise ValueError("broker's address: expected no user or password in it, but beside it")
        if (parts.scheme not in PORTS or not parts.hostname or parts.path not in {"", "/"}) or (
            parts.query or parts.fragment
        ):
            raise ValueError(f"{self.url!r}: expected mqtt://HOST:PORT or mqtts://HOST:PORT")
        try:
            port = PORTS[parts.scheme] if parts.port is None else parts.port
        except ValueError:  # says the range, and not what it found
            port = 0
        if not port:
            found = parts.netloc.rpartition(":")[2]
            raise ValueError(f"{self.url!r}: port {found}, expected 1 to 65535")
        return parts.hostname, port, parts.scheme == "mqtts"


class _TlsSocket(ssl.SSLSocket):
    """Closes itself where the handshake fails; paho leaves that to the garbage collector."""

    def do_handshake(self, block: bool = False) -> None:
        try:
            super().do_handshake(block)
        except BaseException:
            self.close()
            raise


def make_tls(broker: Broker) -> ssl.SSLContext:
    """Return how TLS is done with a broker: its certificate and its name are always checked.

    Raises: OSError: a file that is not there, or not what it should be.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.sslsocket_class = _TlsSocket
    if broker.ca is None:
        context.load_default_certs()
    else:
        context.load_verify_locations(broker.ca)
    if broker.cert is not None:
        context.load_cert_chain(broker.cert, broker.key)
    return context
