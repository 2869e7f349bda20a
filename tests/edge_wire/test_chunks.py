"""Chunks are counted once whatever comes, and make the blob exactly when all are there."""

import itertools
import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_wire.chunks import (
    HASH_BYTES,
    MAX_CHUNKS,
    Receipt,
    Wants,
    count_chunks,
    from_bitmap,
    make_index,
    to_bitmap,
    to_ranges,
)
from edge_wire.errors import MessageRefused
from tests.edge_wire.blobs import sha256

NUMBERS = st.sets(st.integers(0, 200))
DAY_S = 86_400.0


# --- bitmaps and ranges


@given(NUMBERS, st.integers(0, 50))
def test_bitmap_is_read_back(numbers: set[int], more: int) -> None:
    chunks = max(numbers, default=0) + 1 + more
    assert from_bitmap(to_bitmap(numbers), chunks) == numbers


def test_bit_n_stands_for_chunk_n() -> None:
    assert to_bitmap({0, 1, 5}) == "23"
    assert from_bitmap("23", 6) == {0, 1, 5}
    assert from_bitmap("00F", 9) == {0, 1, 2, 3}
    assert (to_bitmap(set()), from_bitmap("0", 3)) == ("0", set())


@pytest.mark.parametrize(
    "text",
    ["", " ", "g", "-1", "+1", "0x1", "1_0", " 1", "1\n", "\N{ARABIC-INDIC DIGIT THREE}", "1.0"],
)
def test_bitmap_that_is_not_hexadecimal_is_refused(text: str) -> None:
    with pytest.raises(MessageRefused, match="not hexadecimal"):
        from_bitmap(text, 20)


@pytest.mark.parametrize(("text", "chunks"), [("8", 3), ("ff", 7), ("2", 1), ("1f", 4)])
def test_bitmap_that_names_a_chunk_too_many_is_refused(text: str, chunks: int) -> None:
    with pytest.raises(MessageRefused, match=f"beyond {chunks - 1}"):
        from_bitmap(text, chunks)


def test_bitmap_is_measured_before_it_is_read() -> None:
    with pytest.raises(MessageRefused, match="100000 digits for 8 chunks"):
        from_bitmap("0" * 100_000, 8)


def test_largest_bitmap_costs_little() -> None:
    everything = set(range(MAX_CHUNKS + 1))
    began = time.process_time()
    assert from_bitmap(to_bitmap(everything), MAX_CHUNKS + 1) == everything
    assert time.process_time() - began < 1


@given(NUMBERS)
def test_ranges_are_the_numbers_in_order_and_do_not_touch(numbers: set[int]) -> None:
    ranges = to_ranges(numbers)
    listed = [n for first, last in ranges for n in range(first, last + 1)]
    assert listed == sorted(numbers)
    assert all(a[1] + 1 < b[0] for a, b in itertools.pairwise(ranges))


# --- what a device has


def cut(blob: bytes, size: int) -> list[bytes]:
    """Return every chunk of a blob, the index first."""
    return [make_index(blob, size), *(blob[i : i + size] for i in range(0, len(blob), size))]


def expect(blob: bytes, size: int) -> Receipt:
    return Receipt(len(blob), size, sha256(make_index(blob, size)))


@given(st.binary(min_size=1, max_size=300), st.integers(1, 64), st.integers(0, 1 << 32))
def test_every_chunk_is_accepted_once_in_any_order_among_doubles_and_damage(
    blob: bytes, size: int, seed: int
) -> None:
    rng = random.Random(seed)
    chunks = cut(blob, size)
    receipt = expect(blob, size)
    assembled = bytearray(len(blob))
    accepted: list[int] = []
    while not receipt.complete:
        assert len(accepted) < len(chunks)
        number = rng.randrange(-1, len(chunks) + 1)
        data = bytearray(chunks[number] if 0 <= number < len(chunks) else b"x")
        damage = rng.choice(["none", "none", "bit", "short", "long", "other"])
        if damage == "bit":
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        elif damage == "short":
            del data[-1]
        elif damage == "long":
            data += b"\0"
        elif damage == "other":
            data = bytearray(rng.choice(chunks))
        missing = set(receipt.missing)
        taken = receipt.accept(number, bytes(data))
        right = number in missing and bytes(data) == chunks[number]
        assert taken == (right and (number == 0 or 0 in accepted))
        assert receipt.missing == missing - ({number} if taken else set())
        if taken:
            accepted.append(number)
            if number:
                at = receipt.offset(number)
                assembled[at : at + receipt.size(number)] = data
    assert sorted(accepted) == list(range(len(chunks)))
    assert bytes(assembled) == blob
    assert not any(receipt.accept(n, chunk) for n, chunk in enumerate(chunks))


@given(st.integers(1, 10_000), st.integers(1, 3000))
def test_sizes_add_up_to_the_blob(length: int, size: int) -> None:
    receipt = Receipt(length, size, "")
    numbers = range(1, receipt.chunks + 1)
    assert receipt.chunks == count_chunks(length, size)
    assert sum(receipt.size(n) for n in numbers) == length
    assert [receipt.offset(n) for n in numbers] == list(range(0, length, size))
    assert receipt.size(0) == receipt.chunks * HASH_BYTES


def test_nothing_is_taken_before_the_index() -> None:
    chunks, receipt = cut(b"abcdef", 2), expect(b"abcdef", 2)
    assert not receipt.accept(1, chunks[1])
    assert receipt.accept(0, chunks[0])
    assert receipt.accept(1, chunks[1])


def test_index_of_another_blob_is_not_taken() -> None:
    receipt = expect(b"abcdef", 2)
    assert not receipt.accept(0, make_index(b"abcdeg", 2))
    assert 0 in receipt.missing


def test_window_is_the_first_that_are_missing() -> None:
    chunks, receipt = cut(bytes(10), 2), expect(bytes(10), 2)
    assert receipt.next_window(3) == {0, 1, 2}
    receipt.accept(0, chunks[0])
    receipt.accept(2, chunks[2])
    assert receipt.next_window(3) == {1, 3, 4}
    assert receipt.next_window(99) == {1, 3, 4, 5}


@pytest.mark.parametrize("length", [0, -1, MAX_CHUNKS * 1024 + 1, 1 << 62])
def test_more_chunks_than_anybody_should_send_are_refused(length: int) -> None:
    with pytest.raises(MessageRefused, match="expected 1 to"):
        Receipt(length, 1024, "")


# --- what devices want


def test_wants_are_merged_until_they_settle() -> None:
    wants = Wants(chunks=10, settle_s=2)
    assert wants.due(0) is None
    assert wants.add("a", {0, 1}, now=100)
    assert wants.add("b", {1, 2}, now=101.5)
    assert wants.due(101.5) == 0.5
    assert wants.due(200) == 0
    assert wants.take() == {0, 1, 2}
    assert (wants.due(200), wants.take()) == (None, set())


@given(st.lists(NUMBERS, min_size=1, max_size=20))
def test_each_chunk_is_sent_once_for_all(asked: list[set[int]]) -> None:
    wants = Wants(chunks=201, settle_s=1)
    for n, numbers in enumerate(asked):
        assert wants.add(str(n), numbers, float(n))
    assert wants.take() == set().union(*asked)


def test_want_of_nothing_makes_nothing_due() -> None:
    wants = Wants(chunks=10, settle_s=2)
    wants.add("a", set(), now=0)
    assert wants.due(0) is None


def test_want_during_a_sending_is_due_anew() -> None:
    wants = Wants(chunks=10, settle_s=2)
    wants.add("a", {1}, now=0)
    wants.take()
    wants.add("b", {1}, now=5)
    assert wants.due(5) == 2
    assert wants.take() == {1}


def test_device_gets_a_blob_as_often_as_allowed_in_a_day() -> None:
    wants, everything = Wants(chunks=4, settle_s=0, allowance=3), {0, 1, 2, 3}
    for now in (0.0, 1.0, 2.0):
        assert wants.add("a", everything, now)
    wants.take()
    assert not wants.add("a", {0}, now=3)
    assert (wants.due(3), wants.take()) == (None, set())
    assert wants.add("b", {0}, now=3)
    assert not wants.add("a", {0}, now=DAY_S - 1)
    assert wants.add("a", everything, now=DAY_S)
    assert not wants.add("a", {0}, now=DAY_S + 0.5)
    assert wants.add("a", {0}, now=DAY_S + 1)


def test_want_beyond_the_allowance_counts_for_nothing_at_all() -> None:
    wants = Wants(chunks=4, settle_s=0, allowance=1)
    assert wants.add("a", {0, 1}, 0)
    assert not wants.add("a", {1, 2, 3}, 0)
    assert wants.add("a", {2, 3}, 0)
    assert wants.take() == {0, 1, 2, 3}
