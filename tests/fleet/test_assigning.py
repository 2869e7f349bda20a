"""What a group is to run next, for any history of pushes and rollbacks."""

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_wire.assignment import Assignment, Encoding, ModelAssignment, Ref, Requires, Variant
from fleet.assigning import Stack, Stamp, advance, assign, make_ref, next_issued, retreat
from fleet.errors import NothingBefore

versions = st.sampled_from(["1.0.0", "1.1.0", "2.0.0"])
models = st.sampled_from(["watch", "door", "fan"])
times = st.integers(-62_000_000_000, 253_000_000_000).map(
    lambda s: datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=s)
)
"""From year 5 to 9987."""


def digest(model: str, version: str) -> str:
    return f"{model}-{version}".encode().hex().ljust(64, "0")


def ref_of(model: str, version: str, attempt: int = 1) -> Ref:
    return make_ref(version, attempt, [Variant("v", Requires(), digest(model, version), 1)])


ENCODINGS = {
    digest(m, v): (Encoding(digest(m, v), "zstd", 1, 1024, "0" * 64),)
    for m in ("watch", "door", "fan")
    for v in ("1.0.0", "1.1.0", "2.0.0")
}


@given(st.none() | times, st.lists(times, min_size=1, max_size=5))
def test_issued_always_grows_and_sorts_as_text_whatever_the_clock_does(
    first: datetime | None, clock: list[datetime]
) -> None:
    last = next_issued(None, first) if first else None
    for now in clock:
        issued = next_issued(last, now)
        assert len(issued) == len("2026-11-02T10:15:30.123456Z")
        assert last is None or issued > last
        last = issued


def test_issued_is_the_time_where_the_clock_is_right() -> None:
    now = datetime(2026, 11, 2, 10, 15, 30, 7, timezone(timedelta(hours=2)))
    assert next_issued("2026-11-02T08:15:30.000006Z", now) == "2026-11-02T08:15:30.000007Z"
    assert next_issued("2027-01-01T00:00:00.000000Z", now) == "2027-01-01T00:00:00.000001Z"


@given(st.lists(versions))
def test_rollbacks_undo_pushes_one_by_one_and_each_goes_to_another_version(
    pushed: list[str],
) -> None:
    stack: Stack = ()
    seen: list[Stack] = []
    for version in pushed:
        before = stack
        stack = advance(stack, ref_of("watch", version))
        assert stack[-1].version == version
        if len(stack) > len(before):
            seen.append(before)
    while len(stack) > 1:
        left = stack[-1].version
        stack = retreat(stack)
        assert stack == seen.pop()[: len(stack)]
        assert stack[-1].version != left
    with pytest.raises(NothingBefore):
        retreat(stack)


def test_the_same_version_again_takes_its_own_place() -> None:
    stack = advance(advance((), ref_of("watch", "1.0.0")), ref_of("watch", "2.0.0"))
    again = advance(stack, ref_of("watch", "2.0.0", attempt=2))
    assert [(r.version, r.attempt) for r in again] == [("1.0.0", 1), ("2.0.0", 2)]


@given(st.lists(st.tuples(models, versions), min_size=1))
def test_an_assignment_changes_one_model_and_names_how_each_bundle_travels(
    pushes: list[tuple[str, str]],
) -> None:
    current: Assignment | None = None
    expected: dict[str, Ref] = {}
    for n, (model, version) in enumerate(pushes):
        ref = ref_of(model, version)
        stamp = Stamp(f"2026-01-01T00:00:00.{n:06d}Z", f"r{n}")
        current = assign(
            current,
            "g",
            model,
            ref,
            stamp,
            {digest(model, version): ENCODINGS[digest(model, version)]},
        )
        expected[model] = ref
        assert current.models == {m: ModelAssignment(stable=r) for m, r in expected.items()}
        used = {v.sha256 for r in expected.values() for v in r.variants}
        assert current.encodings == {name: ENCODINGS[name] for name in used}
        assert (current.group, current.issued, current.rollout) == ("g", stamp.issued, f"r{n}")


def test_moves_of_devices_between_groups_stay() -> None:
    first = Assignment(group="g", issued="2026", rollout="r", moves={"d1": "other"})
    stamp = Stamp("2027", "s")
    assert assign(first, "g", "watch", ref_of("watch", "1.0.0"), stamp, ENCODINGS).moves == {
        "d1": "other"
    }
