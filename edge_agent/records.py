"""What a device writes down of itself, and how it knows on the next start that it is whole."""

import hashlib
import logging
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct

from edge_agent.lifecycle import State
from edge_wire.messages import Reason

T = TypeVar("T")

log = logging.getLogger(__name__)


class Failure(Struct, frozen=True):
    """A version that this device refused or left, which it does not try again by itself."""

    sha256: str
    attempt: int
    state: State
    reason: Reason
    detail: str


class Record(Struct, frozen=True):
    """Where this device stands with one model."""

    state: State = State.RETIRED
    running: str | None = None
    """sha256 of what runs; during a trial, of the one before."""
    previous: str | None = None
    """sha256 of the last good one before it, kept for instant return."""
    target: str | None = None
    """sha256 of what is on trial, or moved to."""
    attempt: int = 0
    """Of the target where there is one, else of what runs."""
    running_attempt: int = 0
    trial_boots: int = 0
    failures: tuple[Failure, ...] = ()


class Floor(Struct, frozen=True):
    """The newest assignment that was accepted; an older one is refused."""

    group: str
    issued: str


class Proof(Struct, frozen=True):
    """That a bundle passed staging here, with these versions."""

    bundle: str
    runtime: str
    agent: str


class Proofs(Struct, frozen=True):
    """All proofs, newest last."""

    passed: tuple[Proof, ...] = ()


class Boots(Struct, frozen=True):
    """How often this device has started, and how the last run ended."""

    counter: int = 0
    boot: str = ""
    clean: bool = True
    last_seq: dict[str, int] = {}


def seal(record: Struct) -> bytes:
    """Return a record as JSON, behind a line with its checksum."""
    body = msgspec.json.encode(record)
    return hashlib.sha256(body).hexdigest().encode() + b"\n" + body


def read_sealed(file: Path, kind: type[T]) -> T | None:
    """Return the record in a file; None where there is no file, or another one than was written.

    Raises: OSError: it is there, and cannot be read.
    """
    try:
        digest, _, body = file.read_bytes().partition(b"\n")
    except FileNotFoundError:
        return None
    if hashlib.sha256(body).hexdigest().encode() == digest:
        try:
            return msgspec.json.decode(body, type=kind)
        except msgspec.DecodeError as error:
            log.warning("%s: %s: taken as missing", file, error)
            return None
    log.warning("%s: damaged: taken as missing", file)
    return None
