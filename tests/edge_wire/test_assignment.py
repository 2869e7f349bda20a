"""A device finds its version without a list of devices, and as everybody else computes it."""

import hashlib
from itertools import product

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_wire.assignment import (
    BUCKETS,
    MAX_INCLUDED,
    Assignment,
    Candidate,
    Encoding,
    ModelAssignment,
    Ref,
    Requires,
    Variant,
    bucket,
    choose_ref,
    matches,
)
from edge_wire.errors import MessageRefused
from edge_wire.messages import decode, encode

SHA = "3f" * 32
SALT = "00112233445566778899aabbccddeeff"


def make_ref(version: str) -> Ref:
    return Ref(version, 1, (Variant("onnx-int8", Requires(), SHA, 1000),))


STABLE, NEW = make_ref("1.0.0"), make_ref("2.0.0")


def choose(candidate: Candidate | None, device: str = "d", **labels: str) -> Ref | None:
    return choose_ref(ModelAssignment(STABLE, candidate), device, labels)


def device_in(low: int, high: int) -> str:
    """Return a device whose bucket lies in [low, high)."""
    return next(d for d in map(str, range(10**6)) if low <= bucket(SALT, d) < high)


# --- the bucket


@given(st.text(max_size=40), st.text(max_size=70))
def test_bucket_is_the_contracts_formula(salt: str, device: str) -> None:
    hexadecimal = hashlib.sha256(salt.encode() + bytes(1) + device.encode()).hexdigest()
    assert bucket(salt, device) == int(hexadecimal[:16], 16) % 10_000


def test_bucket_is_what_sha256sum_gives() -> None:
    # printf 'salt\0pi-1' | sha256sum
    assert bucket("salt", "pi-1") == 0x6A11_A2D6_B791_277D % 10_000


def test_salt_and_device_do_not_run_together() -> None:
    assert bucket("ab", "c") != bucket("a", "bc")


def test_buckets_are_even() -> None:
    counts = [0] * 20
    for n in range(20_000):
        counts[bucket(SALT, f"device-{n}") * 20 // BUCKETS] += 1
    # Chi-squared with 19 degrees of freedom: one even draw in 10^5 exceeds 58.
    assert sum((c - 1000) ** 2 / 1000 for c in counts) < 58


def test_another_salt_takes_other_devices() -> None:
    devices = [f"device-{n}" for n in range(2000)]
    first, second = (
        {d for d in devices if bucket(salt, d) < 1000} for salt in ("salt-1", "salt-2")
    )
    assert len(first & second) < len(first) / 2


# --- the order


@pytest.mark.parametrize(
    ("excluded", "included", "matched", "below"), list(product([False, True], repeat=4))
)
def test_order_is_exclude_include_match_bucket(
    excluded: bool, included: bool, matched: bool, below: bool
) -> None:
    device = device_in(0, 5000) if below else device_in(5000, BUCKETS)
    candidate = Candidate(
        ref=NEW,
        salt=SALT,
        basis_points=5000,
        match="site=north",
        include=(device,) if included else (),
        exclude=(device,) if excluded else (),
    )
    expected = not excluded and (included or (matched and below))
    chosen = choose(candidate, device, site="north" if matched else "south")
    assert chosen == (NEW if expected else STABLE)


def test_basis_points_bound_the_bucket_exactly() -> None:
    at = bucket(SALT, "d")
    assert choose(Candidate(NEW, SALT, at)) == STABLE
    assert choose(Candidate(NEW, SALT, at + 1)) == NEW


@given(st.text(max_size=64))
def test_none_and_all_are_exact(device: str) -> None:
    assert choose(Candidate(NEW, SALT, 0), device) == STABLE
    assert choose(Candidate(NEW, SALT, BUCKETS), device) == NEW


def test_more_basis_points_never_take_a_device_back() -> None:
    devices = [f"device-{n}" for n in range(300)]
    before: set[str] = set()
    for points in range(0, BUCKETS + 1, 500):
        chosen = {d for d in devices if choose(Candidate(NEW, SALT, points), d) == NEW}
        assert chosen >= before
        before = chosen
    assert before == set(devices)


@pytest.mark.parametrize("size", [1, 2, 5, 20])
def test_smallest_threshold_that_covers_one_device_takes_exactly_that_one(size: int) -> None:
    devices = sorted((f"device-{n}" for n in range(size)), key=lambda d: bucket(SALT, d))
    candidate = Candidate(NEW, SALT, bucket(SALT, devices[0]) + 1)
    assert [d for d in devices if choose(candidate, d) == NEW] == devices[:1]


def test_without_a_candidate_the_stable_version_runs() -> None:
    assert choose(None) == STABLE
    assert choose_ref(ModelAssignment(), "d", {}) is None
    assert choose_ref(ModelAssignment(None, Candidate(NEW, SALT, BUCKETS)), "d", {}) == NEW
    spared = Candidate(NEW, SALT, BUCKETS, exclude=("d",))
    assert choose_ref(ModelAssignment(None, spared), "d", {}) is None


# --- match


LABELS = {"site": "north", "hw.rev": "2", "empty": ""}


@pytest.mark.parametrize(
    "expression",
    [
        "",
        " ",
        ",",
        "site=north",
        " site = north ",
        "site=north,hw.rev=2",
        "site=north, hw.rev=2,",
        "site!=south",
        "none!=south",
        "none!=",
        "empty=",
        "site=north,site!=south",
    ],
)
def test_labels_match(expression: str) -> None:
    assert matches(expression, LABELS)


@pytest.mark.parametrize(
    "expression",
    [
        "site=south",
        "site!=north",
        "site=North",
        "site=north,hw.rev=3",
        "none=",
        "none=x",
        "empty!=",
        "empty=x",
    ],
)
def test_labels_do_not_match(expression: str) -> None:
    assert not matches(expression, LABELS)


@pytest.mark.parametrize(
    "expression",
    [
        "site",
        "=north",
        "site==north",
        "site=north;hw.rev=2",
        "site=north hw.rev=2",
        "site in (north, south)",
        "!site=south",
        "site=nörd",
        "site=north\0",
        "site>south",
        "site=north,?",
    ],
)
def test_expression_that_cannot_be_read_matches_nothing(expression: str) -> None:
    assert not matches(expression, LABELS)
    assert choose(Candidate(NEW, SALT, BUCKETS, expression), **LABELS) == STABLE


@given(st.text(), st.dictionaries(st.text(), st.text()))
def test_no_expression_is_an_error(expression: str, labels: dict[str, str]) -> None:
    assert matches(expression, labels) in {True, False}


# --- on the wire


def test_assignment_has_the_contracts_fields() -> None:
    encoding = Encoding(SHA, "zstd", 900, 65536, SHA)
    whole = Assignment(
        group="g",
        issued="2026-11-02T10:15:30.123456Z",
        rollout="r1",
        moves={"d": "h"},
        models={"har": ModelAssignment(STABLE, Candidate(NEW, SALT, 500))},
        encodings={SHA: (encoding,)},
    )
    fields = msgspec.to_builtins(whole)
    assert set(fields) == {"v", "group", "issued", "rollout", "moves", "models", "encodings"}
    model = fields["models"]["har"]
    assert set(model) == {"stable", "candidate"}
    assert set(model["stable"]) == {"version", "attempt", "variants"}
    assert set(model["stable"]["variants"][0]) == {"variant", "requires", "sha256", "length"}
    assert set(model["candidate"]) == {
        *("ref", "salt", "basis_points", "match", "include", "exclude", "soak_s", "timeout_s"),
        *("stage_only", "activate_at", "window"),
    }
    assert set(fields["encodings"][SHA][0]) == {
        *("blob_sha256", "encoding", "dictionary_sha256", "length", "chunk_bytes"),
        *("index_sha256", "urls"),
    }
    assert decode(encode(whole), Assignment) == whole


@pytest.mark.parametrize(
    "candidate",
    [
        Candidate(NEW, SALT, -1),
        Candidate(NEW, SALT, BUCKETS + 1),
        Candidate(NEW, SALT, 1, include=tuple(map(str, range(MAX_INCLUDED + 1)))),
        Candidate(NEW, SALT, 1, exclude=tuple(map(str, range(MAX_INCLUDED + 1)))),
        Candidate(Ref("1.0.0", 1, ()), SALT, 1),
        Candidate(Ref("1.0.0", 1, (Variant("x", Requires(), SHA, 0),)), SALT, 1),
        Candidate(Ref("1.0.0", 1, (Variant("x", Requires(), "../x", 1),)), SALT, 1),
    ],
)
def test_candidate_beyond_its_bounds_is_refused(candidate: Candidate) -> None:
    with pytest.raises(MessageRefused, match="Candidate: "):
        decode(encode(candidate), Candidate)


@pytest.mark.parametrize(
    "encoding",
    [
        Encoding(SHA, "zstd", 0, 65536, SHA),
        Encoding(SHA, "zstd", 1, 0, SHA),
        Encoding(SHA, "zstd", 1, 1 << 21, SHA),
        Encoding("x", "zstd", 1, 65536, SHA),
        Encoding(SHA, "zstd", 1, 65536, "x"),
        Encoding(SHA, "bsdiff", 1, 65536, SHA),  # type: ignore[arg-type]
    ],
)
def test_encoding_beyond_its_bounds_is_refused(encoding: Encoding) -> None:
    with pytest.raises(MessageRefused, match="Encoding: "):
        decode(encode(encoding), Encoding)
