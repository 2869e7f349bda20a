"""Brokers that ask for a password, and those that speak TLS."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from edge_wire.broker import Broker
from edge_wire.errors import LinkError
from edge_wire.link import Message
from tests.brokers import find_mosquitto, free_port, listens
from tests.edge_wire.link.owner import PATIENCE_S, Owner, eventually, refusal
from tests.parts import require


@contextmanager
def mosquitto(folder: Path, *settings: str) -> Iterator[int]:
    """Run mosquitto with settings of the test's own; gives the port."""
    program = find_mosquitto()
    require("mosquitto", program is not None, "apt-get install mosquitto")
    port = free_port()
    config = folder / "own.conf"
    lines = [f"listener {port} 127.0.0.1", "log_dest none", "user root", *settings]
    config.write_text("\n".join(lines) + "\n")
    with subprocess.Popen([program or "", "-c", str(config)]) as process:
        try:
            eventually(lambda: listens(port))
            yield port
        finally:
            process.kill()


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[str]:
    """A broker that asks for a password, which is anna's ``secret``."""
    passwords = tmp_path / "passwords"
    passwords.touch(mode=0o600)
    require("mosquitto", find_mosquitto() is not None, "apt-get install mosquitto")
    subprocess.run(
        ["mosquitto_passwd", "-b", str(passwords), "anna", "secret"],
        check=True,
        stderr=subprocess.DEVNULL,
    )
    with mosquitto(tmp_path, "allow_anonymous false", f"password_file {passwords}") as port:
        yield f"mqtt://127.0.0.1:{port}"


def test_says_that_the_password_is_wrong(guarded: str) -> None:
    assert "refused: Not authorized" in refusal(Broker(guarded, user="anna", password="no"))
    assert "refused: Not authorized" in refusal(Broker(guarded))


def test_connects_with_user_and_password(guarded: str) -> None:
    with Owner(Broker(guarded, user="anna", password="secret"), "t/#") as owner:
        owner.send("t/x")


# --- TLS


def write_identity(folder: Path) -> tuple[Path, Path]:
    """Write a certificate of this host that vouches for itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(timezone.utc)
    host = x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(host, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "host.crt").write_bytes(certificate.public_bytes(pem))
    (folder / "host.key").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return folder / "host.crt", folder / "host.key"


@pytest.fixture
def secured(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A broker that speaks TLS, and the certificate to know it by."""
    certificate, key = write_identity(tmp_path)
    settings = ["allow_anonymous true", f"certfile {certificate}", f"keyfile {key}"]
    with mosquitto(tmp_path, *settings) as port:
        yield f"mqtts://127.0.0.1:{port}", certificate


def test_large_messages_pass_through_tls(secured: tuple[str, Path]) -> None:
    url, certificate = secured
    with Owner(Broker(url, ca=str(certificate)), "t/#") as owner:
        sent = [bytes([i]) * 200_000 for i in range(20)]
        for payload in sent:
            owner.link.publish(Message("t/large", payload))
        eventually(lambda: len(owner.messages) == len(owner.acks) == len(sent))
        assert [payload for _, payload, _ in owner.messages] == sent


def test_a_broker_that_nobody_vouches_for_is_refused(secured: tuple[str, Path]) -> None:
    assert "certificate verify failed" in refusal(Broker(secured[0]))


def test_plain_speech_to_a_broker_with_tls_is_refused(secured: tuple[str, Path]) -> None:
    url = secured[0].replace("mqtts", "mqtt")
    assert "hung up without an answer" in refusal(Broker(url))


@pytest.mark.parametrize("content", [None, b"not a certificate"])
def test_a_bad_certificate_file_is_a_problem_until_it_is_mended(
    content: bytes | None, secured: tuple[str, Path], tmp_path: Path
) -> None:
    url, certificate = secured
    ca = tmp_path / "ca.crt"
    if content is not None:
        ca.write_bytes(content)
    owner = Owner(Broker(url, ca=str(ca)))
    owner.link.start()
    eventually(lambda: owner.link.problem != "no answer yet")
    with pytest.raises(LinkError, match="No such file" if content is None else "SSL|X509|PEM"):
        owner.link.wait(0.05)
    ca.write_bytes(certificate.read_bytes())
    owner.link.wait(PATIENCE_S)
    owner.link.stop()
    assert owner.told == ["connected", "disconnected"]
