"""Only what a trusted key signed is read, and the key stays its owner's."""

import base64
import json
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from edge_wire import trust
from edge_wire.assignment import Assignment
from edge_wire.errors import MessageRefused, TrustRefused
from edge_wire.messages import MAX_DESIRED_BYTES
from edge_wire.trust import (
    MAX_ROOT_BYTES,
    PAYLOAD_TYPE,
    Root,
    make_key,
    make_root,
    read_key,
    read_root,
    sign,
    verify,
    write_key,
)
from tests.edge_wire.blobs import sha256

KEY, OTHER = make_key(), make_key()
ROOT = make_root(KEY)


def make_assignment(rollout: str = "r1", **moves: str) -> Assignment:
    return Assignment(group="g", issued="2026-11-02T10:15:30.123456Z", rollout=rollout, moves=moves)


ASSIGNMENT = make_assignment()
MESSAGE = sign(ASSIGNMENT, KEY)


def altered(**fields: Any) -> bytes:
    return json.dumps({**json.loads(MESSAGE), **fields}).encode()


def test_what_was_signed_is_read() -> None:
    assert verify(MESSAGE, ROOT) == ASSIGNMENT


def test_message_is_a_dsse_envelope() -> None:
    envelope = json.loads(MESSAGE)
    assert set(envelope) == {"payloadType", "payload", "signatures"}
    assert envelope["payloadType"] == PAYLOAD_TYPE
    assert json.loads(base64.b64decode(envelope["payload"])) == msgspec.to_builtins(ASSIGNMENT)
    [signature] = envelope["signatures"]
    assert [signature["keyid"]] == list(ROOT.keys)
    assert len(base64.b64decode(signature["sig"])) == 64


def test_what_is_signed_is_encoded_as_the_dsse_specification_has_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(trust, "PAYLOAD_TYPE", "http://example.com/HelloWorld")
    expected = b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    assert trust._pae(b"hello world") == expected


@given(st.integers(0, len(MESSAGE) - 1), st.integers(0, 255))
def test_message_with_another_byte_anywhere_is_refused(at: int, byte: int) -> None:
    tampered = MESSAGE[:at] + bytes([byte]) + MESSAGE[at + 1 :]
    if tampered != MESSAGE:
        with pytest.raises(MessageRefused):
            verify(tampered, ROOT)


def test_message_with_any_bit_turned_is_refused() -> None:
    # Whichever ends base64 has: one, two or no padding.
    for rollout in ("r1", "r12", "r123"):
        message = sign(make_assignment(rollout), KEY)
        for at in range(len(message)):
            for bit in range(8):
                tampered = bytearray(message)
                tampered[at] ^= 1 << bit
                with pytest.raises(MessageRefused):
                    verify(bytes(tampered), ROOT)


@given(st.integers(0, len(MESSAGE) - 1))
def test_truncated_message_is_refused(keep: int) -> None:
    with pytest.raises(MessageRefused):
        verify(MESSAGE[:keep], ROOT)


def test_message_that_another_key_signed_is_refused() -> None:
    with pytest.raises(TrustRefused, match="not signed by a trusted key"):
        verify(sign(ASSIGNMENT, OTHER), ROOT)


def test_other_key_under_a_trusted_name_is_refused() -> None:
    [signature] = json.loads(sign(ASSIGNMENT, OTHER))["signatures"]
    with pytest.raises(TrustRefused, match="not signed"):
        verify(altered(signatures=[{**signature, "keyid": next(iter(ROOT.keys))}]), ROOT)


def test_signature_of_another_assignment_is_refused() -> None:
    other = json.loads(sign(make_assignment("r2"), KEY))
    with pytest.raises(TrustRefused, match="not signed"):
        verify(altered(payload=other["payload"]), ROOT)


def test_signature_over_the_payload_without_its_type_is_refused() -> None:
    payload = base64.b64decode(json.loads(MESSAGE)["payload"])
    raw = base64.b64encode(KEY.sign(payload)).decode()
    with pytest.raises(TrustRefused, match="not signed"):
        verify(altered(signatures=[{"keyid": next(iter(ROOT.keys)), "sig": raw}]), ROOT)


@pytest.mark.parametrize(
    "signatures",
    [
        [],
        [{"keyid": "", "sig": ""}],
        [{"keyid": next(iter(ROOT.keys)), "sig": "?"}],
        [{"keyid": next(iter(ROOT.keys)), "sig": "ä"}],
        [{"keyid": next(iter(ROOT.keys)), "sig": "AAAA"}],
    ],
)
def test_message_without_a_real_signature_is_refused(signatures: list[dict[str, str]]) -> None:
    with pytest.raises(TrustRefused, match="not signed"):
        verify(altered(signatures=signatures), ROOT)


def test_another_signature_beside_ours_does_no_harm() -> None:
    ours, theirs = (json.loads(sign(ASSIGNMENT, k))["signatures"] for k in (KEY, OTHER))
    assert verify(altered(signatures=[*theirs, *ours]), ROOT) == ASSIGNMENT


def test_message_of_another_type_is_refused() -> None:
    with pytest.raises(TrustRefused, match="of type 'text/plain'"):
        verify(altered(payloadType="text/plain"), ROOT)


@pytest.mark.parametrize("payload", ["%", "AA", "ä", "AA==AA", " AAAA", "AB=="])
def test_payload_that_is_not_base64_is_refused(payload: str) -> None:
    with pytest.raises(TrustRefused, match="payload is not base64"):
        verify(altered(payload=payload), ROOT)


def test_what_was_signed_must_still_be_an_assignment() -> None:
    payload = b'{"v":2}'
    sig = base64.b64encode(KEY.sign(trust._pae(payload))).decode()
    message = altered(
        payload=base64.b64encode(payload).decode(),
        signatures=[{"keyid": next(iter(ROOT.keys)), "sig": sig}],
    )
    with pytest.raises(MessageRefused, match="Assignment: "):
        verify(message, ROOT)


def test_oversize_is_refused_on_both_sides() -> None:
    with pytest.raises(MessageRefused, match=f"at most {MAX_DESIRED_BYTES}"):
        sign(make_assignment(**{f"device-{n}": "group" for n in range(5000)}), KEY)
    padded = MESSAGE + b" " * (MAX_DESIRED_BYTES - len(MESSAGE))
    assert verify(padded, ROOT) == ASSIGNMENT
    with pytest.raises(MessageRefused, match=f"{MAX_DESIRED_BYTES + 1} bytes"):
        verify(padded + b" ", ROOT)


# --- the key file


def test_key_file_is_its_owners_alone(tmp_path: Path) -> None:
    file = tmp_path / "key"
    before = os.umask(0)
    try:
        write_key(KEY, file)
    finally:
        os.umask(before)
    assert file.stat().st_mode & 0o777 == 0o600
    assert make_root(read_key(file)) == ROOT


@pytest.mark.parametrize("content", [b"", b"anything"])
def test_key_file_is_never_replaced(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "key"
    file.write_bytes(content)
    with pytest.raises(FileExistsError):
        write_key(KEY, file)
    assert file.read_bytes() == content


def test_key_is_never_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "key").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError):
        write_key(KEY, tmp_path / "key")
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601, 0o777])
def test_key_file_that_others_may_touch_is_refused(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "key"
    write_key(KEY, file)
    file.chmod(mode)
    with pytest.raises(TrustRefused, match="chmod 600"):
        read_key(file)


def test_file_that_holds_no_signing_key_is_refused(tmp_path: Path) -> None:
    elliptic = ec.generate_private_key(ec.SECP256R1())
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    locked = serialization.BestAvailableEncryption(b"secret")
    for n, content in enumerate(
        [
            b"",
            b"not a key",
            KEY.private_bytes(pem, pkcs8, locked),
            elliptic.private_bytes(pem, pkcs8, serialization.NoEncryption()),
        ]
    ):
        file = tmp_path / str(n)
        file.write_bytes(content)
        file.chmod(0o600)
        with pytest.raises(TrustRefused, match=f"{file}: "):
            read_key(file)


# --- the root


def as_root(**keys: str) -> bytes:
    entries = {keyid: {"keytype": "ed25519", "public": public} for keyid, public in keys.items()}
    return json.dumps({"v": 1, "keys": entries}).encode()


def test_root_is_read_back() -> None:
    assert read_root(msgspec.json.encode(ROOT)) == ROOT


def test_root_trusts_each_of_its_keys() -> None:
    both = Root(v=1, keys={**ROOT.keys, **make_root(OTHER).keys})
    assert verify(sign(ASSIGNMENT, OTHER), read_root(msgspec.json.encode(both))) == ASSIGNMENT


PUBLIC = next(iter(ROOT.keys.values())).public


@pytest.mark.parametrize(
    "data",
    [
        as_root(**{next(iter(make_root(OTHER).keys)): PUBLIC}),
        as_root(**{sha256(PUBLIC.encode())[:8]: PUBLIC}),
        as_root(**{sha256(PUBLIC[2:].encode()): PUBLIC[2:]}),
        as_root(**{sha256(b""): ""}),
        as_root(**{sha256(b"z" * 64): "z" * 64}),
        as_root(**{sha256(b" " * 64): " " * 64}),
    ],
    ids=["another key's", "abbreviated", "short key", "no key", "not hexadecimal", "blank"],
)
def test_root_with_a_key_that_is_not_its_own_is_refused(data: bytes) -> None:
    with pytest.raises(TrustRefused, match=r"is not the id of its public key|Root: .*public"):
        read_root(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b'{"v":2,"keys":{}}',
        b'{"v":1,"keys":{},"threshold":2}',
        b'{"v":1,"keys":{"a":{"keytype":"rsa","public":""}}}',
        msgspec.json.encode(ROOT) + b" " * MAX_ROOT_BYTES,
    ],
)
def test_root_that_cannot_be_read_is_refused(data: bytes) -> None:
    with pytest.raises(TrustRefused, match="Root: "):
        read_root(data)


def test_root_without_a_key_is_refused() -> None:
    with pytest.raises(TrustRefused, match=r"Root: .*keys"):
        read_root(as_root())


def test_only_the_first_eight_signatures_are_looked_at() -> None:
    [ours] = json.loads(MESSAGE)["signatures"]
    [foreign] = json.loads(sign(ASSIGNMENT, OTHER))["signatures"]
    assert verify(altered(signatures=[foreign] * 7 + [ours] + [foreign] * 9), ROOT) == ASSIGNMENT
    with pytest.raises(TrustRefused, match="not signed by a trusted key"):
        verify(altered(signatures=[foreign] * 8 + [ours]), ROOT)
