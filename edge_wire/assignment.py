"""What a group's desired message assigns, and how a device decides without a list of devices.

Pure: the decision is a function of the assignment and of what the device is.
"""

import hashlib
import re
from collections.abc import Mapping
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from edge_wire.messages import Sha256

BUCKETS: Final = 10_000
MAX_INCLUDED: Final = 200

Positive = Annotated[int, Meta(ge=1)]


class Requires(Struct, frozen=True):
    """What a device must have before it fetches a byte of a variant."""

    agent: str = "0.1.0"
    formats: tuple[str, ...] = ()
    profiles: tuple[str, ...] = ()


class Variant(Struct, frozen=True):
    """One bundle of a version."""

    variant: str
    requires: Requires
    sha256: Sha256
    length: Positive


class Ref(Struct, frozen=True):
    """A version of a model: variants in order of preference."""

    version: str
    attempt: int
    variants: Annotated[tuple[Variant, ...], Meta(min_length=1, max_length=32)]


class Candidate(Struct, frozen=True):
    """A version that some devices of the group take before the others."""

    ref: Ref
    salt: str
    basis_points: Annotated[int, Meta(ge=0, le=BUCKETS)]
    match: str = ""
    include: Annotated[tuple[str, ...], Meta(max_length=MAX_INCLUDED)] = ()
    exclude: Annotated[tuple[str, ...], Meta(max_length=MAX_INCLUDED)] = ()
    soak_s: float = 0
    timeout_s: float = 0
    stage_only: bool = False
    activate_at: str | None = None
    window: str | None = None


class ModelAssignment(Struct, frozen=True):
    """What a group runs of one model."""

    stable: Ref | None = None
    candidate: Candidate | None = None


class Encoding(Struct, frozen=True):
    """How a bundle travels."""

    blob_sha256: Sha256
    encoding: Literal["zstd"]
    length: Positive
    """Bytes of the blob, without its index."""
    chunk_bytes: Annotated[int, Meta(ge=1024, le=1 << 20)]
    index_sha256: Sha256
    dictionary_sha256: Sha256 | None = None
    urls: tuple[str, ...] = ()


class Assignment(Struct, frozen=True, kw_only=True):
    """What one group is to run: the signed part of its desired message."""

    v: Literal[1] = 1
    group: str
    issued: str
    """UTC, RFC 3339 with microseconds; orders the assignments of a group."""
    rollout: str
    moves: dict[str, str] = {}
    models: dict[str, ModelAssignment] = {}
    encodings: dict[Sha256, tuple[Encoding, ...]] = {}


def bucket(salt: str, device: str) -> int:
    """Return a device's place in [0, 10,000) of a rollout.

    Source: DESIGN, "An assignment decides without a list": the first 8 bytes of
    sha256(salt + NUL + id), big endian, modulo 10,000.
    """
    digest = hashlib.sha256(f"{salt}\0{device}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % BUCKETS


def choose_ref(model: ModelAssignment, device: str, labels: Mapping[str, str]) -> Ref | None:
    """Return the version that a device is to run: exclude, include, match, then bucket."""
    candidate = model.candidate
    if candidate is None or device in candidate.exclude:
        return model.stable
    if device in candidate.include:
        return candidate.ref
    if matches(candidate.match, labels) and bucket(candidate.salt, device) < candidate.basis_points:
        return candidate.ref
    return model.stable


def matches(expression: str, labels: Mapping[str, str]) -> bool:
    """Tell whether labels fulfil ``key=value``, ``key!=value`` terms, all of them, by commas.

    An expression that cannot be read matches nothing: a device must not take a candidate that it
    was perhaps meant to be spared.
    """
    for term in filter(None, (t.strip() for t in expression.split(","))):
        found = re.fullmatch(r"([A-Za-z0-9._-]+)\s*(!?=)\s*([A-Za-z0-9._-]*)", term)
        if not found or (labels.get(found[1]) == found[3]) != (found[2] == "="):
            return False
    return True
