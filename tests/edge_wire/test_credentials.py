"""What is wrong with the broker's table is refused by the name of the key that is at fault."""

import datetime as dt
import ssl
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from edge_wire.broker import Broker
from edge_wire.credentials import BrokerTable, read_broker

TLS = "mqtts://broker.example"


class Refused(Exception):
    """What the caller makes of a key and what is wrong with it."""


@dataclass(frozen=True)
class Files:
    """A certificate that is its own authority, and its key with and without a passphrase."""

    ca: str = "ca.pem"
    cert: str = "cert.pem"
    key: str = "key.pem"
    locked: str = "locked.pem"


FILES = Files()


def make_files(folder: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "broker.example")])
    now = dt.datetime(2026, 1, 1, tzinfo=dt.timezone.utc)
    cert = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + dt.timedelta(days=36_500))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    open_key = key.private_bytes(pem, pkcs8, serialization.NoEncryption())
    locked = key.private_bytes(pem, pkcs8, serialization.BestAvailableEncryption(b"secret"))
    for file, data in zip(
        (FILES.ca, FILES.cert, FILES.key, FILES.locked), (cert, cert, open_key, locked), strict=True
    ):
        (folder / file).write_bytes(data)


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the files of ``FILES``."""
    folder = tmp_path_factory.mktemp("tls")
    make_files(folder)
    return folder


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """Return a good password file."""
    file = tmp_path / "password"
    file.write_text("geheim-ä\n", encoding="utf-8")
    file.chmod(0o600)
    return file


def read(folder: Path, table: BrokerTable) -> Broker:
    return read_broker(table, folder, lambda key, why: Refused(f"{key}: {why}"))


def refusal(folder: Path, table: BrokerTable) -> str:
    with pytest.raises(Refused) as refused:
        read(folder, table)
    return str(refused.value)


def test_usual_table_is_the_local_broker(tmp_path: Path) -> None:
    assert read(tmp_path, BrokerTable()) == Broker("mqtt://127.0.0.1:1883")


def test_password_is_read_beside_the_table_and_not_shown(secret: Path) -> None:
    table = BrokerTable(user="press-07", password_file=secret.name)
    broker = read(secret.parent, table)
    assert (broker.user, broker.password) == ("press-07", "geheim-ä")
    assert "geheim" not in repr(broker)
    elsewhere = BrokerTable(user="press-07", password_file=str(secret))
    assert read(Path("/"), elsewhere) == broker


def test_password_file_may_stand_in_the_home(secret: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(secret.parent))
    table = BrokerTable(user="press-07", password_file="~/password")
    assert read(Path("/"), table).password == "geheim-ä"


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o620, 0o601, 0o644, 0o666])
def test_password_that_others_may_read_is_refused(secret: Path, mode: int) -> None:
    secret.chmod(mode)
    why = refusal(secret.parent, BrokerTable(user="u", password_file="password"))
    assert why == f"password_file: {secret}: others may read it; chmod 600 it"


def test_password_that_is_not_there_is_refused(tmp_path: Path) -> None:
    why = refusal(tmp_path, BrokerTable(user="u", password_file="none"))
    assert why == f"password_file: {tmp_path / 'none'}: No such file or directory"


def test_password_that_is_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir(mode=0o700)
    why = refusal(tmp_path, BrokerTable(user="u", password_file="folder"))
    assert why.startswith("password_file: ")


def test_password_whose_path_no_file_can_have_is_refused(tmp_path: Path) -> None:
    why = refusal(tmp_path, BrokerTable(user="u", password_file="pass\0word"))
    assert why.startswith("password_file: ")


def test_password_that_is_not_utf8_is_refused_and_not_shown(secret: Path) -> None:
    secret.write_bytes(b"geheim\xff")
    why = refusal(secret.parent, BrokerTable(user="u", password_file="password"))
    assert why == f"password_file: {secret}: not UTF-8 text"


def test_password_that_mqtt_has_no_room_for_is_refused_and_not_shown(secret: Path) -> None:
    secret.write_text("p" * 65_536)
    why = refusal(secret.parent, BrokerTable(user="u", password_file="password"))
    assert why == f"password_file: {secret}: expected a password of at most 65535 bytes"


def test_password_without_a_user_is_refused(secret: Path) -> None:
    why = refusal(secret.parent, BrokerTable(password_file="password"))
    assert why == "password_file: a password needs a user"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:1883",
        "http://broker.example",
        "mqtt://",
        "mqtt://:1883",
        "mqtt://broker.example:0",
        "mqtt://broker.example:65536",
        "mqtt://broker.example:port",
        "mqtt://broker.example/topic",
        "mqtt://[::1",
    ],
)
def test_url_that_is_no_address_is_refused(tmp_path: Path, url: str) -> None:
    assert refusal(tmp_path, BrokerTable(url)).startswith("url: ")


@pytest.mark.parametrize("port", ["0", "65536", "188390", "-1", "port"])
@pytest.mark.parametrize("host", ["broker.example", "[::1]"])
def test_port_that_is_none_is_named(tmp_path: Path, host: str, port: str) -> None:
    url = f"mqtt://{host}:{port}"
    why = refusal(tmp_path, BrokerTable(url))
    assert why == f"url: {url!r}: port {port}, expected 1 to 65535"


def test_port_may_be_left_out() -> None:
    for url, port in (("mqtt://x", 1883), ("mqtts://x:", 8883), ("mqtt://[::1]:65535", 65535)):
        assert Broker(url).address()[1] == port


@pytest.mark.parametrize("scheme", ["mqtt", "mqtts"])
@pytest.mark.parametrize("who", ["user@", "user:geheim@", ":geheim@", "@"])
def test_url_with_a_user_is_refused_and_not_shown(tmp_path: Path, scheme: str, who: str) -> None:
    why = refusal(tmp_path, BrokerTable(f"{scheme}://{who}broker.example"))
    assert why.startswith("url: ")
    assert "geheim" not in why


@pytest.mark.parametrize(
    "root",
    ["", "/", "edge/", "/edge", "edge//v1", "edge/+", "#", "edge/#", "ed ge", "edge\n", "$x"],
)
def test_root_that_cannot_be_a_topic_is_refused(tmp_path: Path, root: str) -> None:
    why = refusal(tmp_path, BrokerTable(root=root))
    assert why.startswith(f"root: {root!r}, expected between slashes 1 to 64 letters, digits, ")


def test_root_that_is_too_long_is_not_shown_whole(tmp_path: Path) -> None:
    assert "1 to 64 letters" in refusal(tmp_path, BrokerTable(root="e" * 65))
    why = refusal(tmp_path, BrokerTable(root="edge/" + "e" * 70_000))
    assert why.startswith("root: 'edge/eee")
    assert "eee…', expected between slashes 1 to 64 letters" in why
    assert len(why) < 250


@pytest.mark.parametrize("root", ["edge/v1", "e", "plant-7/edge.v1/x_y"])
def test_root_of_names_is_taken(tmp_path: Path, root: str) -> None:
    table = BrokerTable(root=root)
    assert read(tmp_path, table) == read(tmp_path, BrokerTable()), "it is no part of the address"
    assert table.root == root


@pytest.mark.parametrize(
    "table",
    [
        BrokerTable(TLS),
        BrokerTable(TLS, ca=FILES.ca),
        BrokerTable(TLS, ca=FILES.ca, cert=FILES.cert, key=FILES.key),
        BrokerTable(TLS, cert=FILES.cert, key=FILES.key),
    ],
)
def test_tls_files_are_found_beside_the_table(tls: Path, table: BrokerTable) -> None:
    broker = read(tls, table)
    for name in ("ca", "cert", "key"):
        given, found = getattr(table, name), getattr(broker, name)
        assert found == (str(tls / given) if given else None)


@pytest.mark.parametrize("key", ["ca", "cert", "key"])
def test_tls_file_without_tls_is_refused(tls: Path, key: str) -> None:
    table = BrokerTable("mqtt://broker.example", **{key: f"{key}.pem"})
    assert refusal(tls, table) == f"{key}: is for a url that begins mqtts://"


@pytest.mark.parametrize("missing", ["ca", "cert", "key"])
def test_tls_file_that_is_not_there_is_refused(tls: Path, missing: str) -> None:
    files = {"ca": FILES.ca, "cert": FILES.cert, "key": FILES.key, missing: "none.pem"}
    assert refusal(tls, BrokerTable(TLS, **files)) == f"{missing}: {tls / 'none.pem'}: no such file"


@pytest.mark.parametrize("path", [".", "ca\0.pem", "c" * 300])
def test_tls_file_that_is_no_file_is_refused(tls: Path, path: str) -> None:
    assert refusal(tls, BrokerTable(TLS, ca=path)).startswith("ca: ")


def test_key_without_a_cert_is_refused(tls: Path) -> None:
    assert refusal(tls, BrokerTable(TLS, key=FILES.key)) == "key: a key needs a cert"


@pytest.mark.parametrize(
    ("table", "key"),
    [
        (BrokerTable(TLS, ca=FILES.key), "ca"),
        (BrokerTable(TLS, ca="text"), "ca"),
        (BrokerTable(TLS, ca="empty"), "ca"),
        (BrokerTable(TLS, cert=FILES.cert), "cert"),
        (BrokerTable(TLS, cert="text", key=FILES.key), "cert"),
        (BrokerTable(TLS, cert=FILES.cert, key="text"), "cert"),
        (BrokerTable(TLS, cert=FILES.cert, key="other.pem"), "cert"),
    ],
)
def test_tls_file_that_cannot_be_used_is_refused(tls: Path, table: BrokerTable, key: str) -> None:
    (tls / "text").write_text("not a certificate\n")
    (tls / "empty").write_bytes(b"")
    other = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (tls / "other.pem").write_bytes(other)
    assert "cannot be used: " in (why := refusal(tls, table))
    assert why.startswith(f"{key}: {tls}")


def test_certificates_are_read_for_tls_alone(monkeypatch: pytest.MonkeyPatch, tls: Path) -> None:
    class Read(Exception):
        """The system's certificates were."""

    def read(*_: object, **__: object) -> None:
        raise Read

    monkeypatch.setattr(ssl, "create_default_context", read)
    broker = read_broker(BrokerTable("mqtt://broker.example"), tls, Refused)
    assert broker.url == "mqtt://broker.example"
    with pytest.raises(Read):
        read_broker(BrokerTable(TLS), tls, Refused)


def test_key_with_a_passphrase_is_refused_and_nobody_is_asked(tls: Path) -> None:
    why = refusal(tls, BrokerTable(TLS, cert=FILES.cert, key=FILES.locked))
    assert "cannot be used: " in why
