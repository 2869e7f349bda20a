"""Who may say what the fleet runs: a signature over the assignment, checked before it is parsed.

One ed25519 key for now, in a DSSE envelope. TUF will replace what is inside ``verify``; its
callers stay as they are.
"""

import base64
import hashlib
import os
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from msgspec import Meta, Struct

from edge_wire.assignment import Assignment
from edge_wire.errors import MessageRefused, TrustRefused
from edge_wire.messages import MAX_DESIRED_BYTES, decode

PAYLOAD_TYPE: Final = "application/vnd.edgeward.assignment+json"
MAX_ROOT_BYTES: Final = 64 << 10


class PublicKey(Struct, frozen=True):
    """A key that a root names."""

    keytype: Literal["ed25519"]
    public: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$", max_length=64)]
    """32 bytes, hexadecimal."""


class Root(Struct, frozen=True):
    """The keys that a device trusts; it is given to a device by hand, never over the wire."""

    v: Literal[1]
    keys: Annotated[dict[str, PublicKey], Meta(min_length=1)]
    threshold: Literal[1] = 1


class Signature(Struct, frozen=True):
    """One signature of an envelope."""

    keyid: str
    sig: str
    """64 bytes, base64."""


class Envelope(Struct, frozen=True, rename={"payload_type": "payloadType"}):
    """DSSE's envelope, version 1."""

    payload_type: str
    payload: str
    """Base64."""
    signatures: list[Signature]


def make_key() -> Ed25519PrivateKey:
    """Return a new signing key."""
    return Ed25519PrivateKey.generate()


def write_key(key: Ed25519PrivateKey, file: Path) -> None:
    """Write a signing key for its owner's eyes only; a file that is there is never replaced.

    Raises: FileExistsError, OSError.
    """
    data = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        out.write(data)


def read_key(file: Path) -> Ed25519PrivateKey:
    """Read a signing key.

    Raises: TrustRefused: others may read the file, or it holds no ed25519 key. OSError.
    """
    if file.stat().st_mode & 0o077:
        raise TrustRefused(f"{file}: others may read it; expected mode 0600: chmod 600 '{file}'")
    try:
        key = serialization.load_pem_private_key(file.read_bytes(), None)
    except (ValueError, TypeError) as error:
        raise TrustRefused(f"{file}: not a signing key: {error}") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise TrustRefused(f"{file}: expected an ed25519 key")
    return key


def make_root(key: Ed25519PrivateKey) -> Root:
    """Return the root that trusts this key."""
    keyid, public = _identify(key)
    return Root(v=1, keys={keyid: PublicKey("ed25519", public)})


def read_root(data: bytes) -> Root:
    """Read a root.

    Raises: TrustRefused: too large, malformed, or a key whose id is not its own.
    """
    try:
        root = decode(data, Root, MAX_ROOT_BYTES)
    except MessageRefused as error:
        raise TrustRefused(str(error)) from None
    for keyid, key in root.keys.items():
        if _keyid(key.public) != keyid:
            raise TrustRefused(f"Root: key {keyid[:16]!r} is not the id of its public key")
    return root


def sign(assignment: Assignment, key: Ed25519PrivateKey) -> bytes:
    """Return the desired message that carries an assignment.

    Raises: MessageRefused: larger than a desired message may be.
    """
    payload = msgspec.json.encode(assignment)
    signature = Signature(_identify(key)[0], _b64(key.sign(_pae(payload))))
    message = msgspec.json.encode(Envelope(PAYLOAD_TYPE, _b64(payload), [signature]))
    if len(message) > MAX_DESIRED_BYTES:
        raise MessageRefused(f"desired: {len(message)} bytes, at most {MAX_DESIRED_BYTES}")
    return message


def verify(message: bytes, root: Root) -> Assignment:
    """Return the assignment of a desired message that a trusted key signed.

    Raises: TrustRefused: no valid signature of a trusted key.
        MessageRefused: too large, or what was signed is no assignment.
    """
    envelope = decode(message, Envelope, MAX_DESIRED_BYTES)
    if envelope.payload_type != PAYLOAD_TYPE:
        raise TrustRefused(f"desired: of type {envelope.payload_type[:80]!r}")
    try:
        payload = _from_b64(envelope.payload)
    except ValueError:
        raise TrustRefused("desired: payload is not base64") from None
    if not any(_is_valid(s, payload, root) for s in envelope.signatures[:8]):
        raise TrustRefused("desired: not signed by a trusted key")
    return decode(payload, Assignment, MAX_DESIRED_BYTES)


def _is_valid(signature: Signature, payload: bytes, root: Root) -> bool:
    key = root.keys.get(signature.keyid)
    if key is None:
        return False
    try:
        sig = _from_b64(signature.sig)
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(key.public)).verify(sig, _pae(payload))
    except (InvalidSignature, ValueError):
        return False
    return True


def _pae(payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding: type and length are signed with the payload."""
    kind = PAYLOAD_TYPE.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def _identify(key: Ed25519PrivateKey) -> tuple[str, str]:
    raw = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return _keyid(raw.hex()), raw.hex()


def _keyid(public: str) -> str:
    return hashlib.sha256(public.encode()).hexdigest()


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _from_b64(text: str) -> bytes:
    """Read base64; raises ValueError, also for another spelling of the same bytes."""
    data = base64.b64decode(text, validate=True)
    if _b64(data) != text:
        raise ValueError("base64 with bits that stand for nothing")
    return data
