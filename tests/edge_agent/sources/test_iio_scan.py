"""Records of an IIO buffer, against C's layout as ``struct`` knows it."""

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.sources.iio_scan import Element, Scan, find_gaps, read_type

CODES = {8: "b", 16: "h", 32: "i", 64: "q"}
MS = 1_000_000


@st.composite
def elements(draw: st.DrawFn) -> list[Element]:
    count = draw(st.integers(1, 6))
    indexes = draw(st.permutations(range(count)))
    made = []
    for i in range(count):
        storage = draw(st.sampled_from(sorted(CODES)))
        shift = draw(st.integers(0, storage - 1))
        signed = draw(st.booleans())
        bits = draw(st.integers(1, min(storage - shift, 64 if signed else 63)))
        made.append(Element(f"e{i}", indexes[i], draw(st.booleans()), signed, bits, storage, shift))
    return made


def pack(layout: list[Element], values: dict[str, int], noise: int) -> bytes:
    """Pack as a C compiler lays out a struct, with noise in the bits that carry no value."""
    ordered = sorted(layout, key=lambda e: e.index)
    words = []
    for e in ordered:
        mask = ((1 << e.bits) - 1) << e.shift
        word = (values[e.name] << e.shift) & mask | (noise & ((1 << e.storage_bits) - 1) & ~mask)
        data = word.to_bytes(e.storage_bits // 8, "big" if e.big_endian else "little")
        words.append(int.from_bytes(data, "little", signed=True))
    codes = "".join(CODES[e.storage_bits] for e in ordered)
    largest = CODES[max(e.storage_bits for e in ordered)]
    return struct.pack(f"@{codes}0{largest}", *words)


@given(elements(), st.data())
def test_record_is_read_as_it_was_packed(layout: list[Element], data: st.DataObject) -> None:
    limits = {
        e.name: (-(1 << e.bits - 1), (1 << e.bits - 1) - 1) if e.signed else (0, (1 << e.bits) - 1)
        for e in layout
    }
    rows = data.draw(
        st.lists(
            st.fixed_dictionaries({n: st.integers(*at) for n, at in limits.items()}), max_size=5
        )
    )
    noise = data.draw(st.integers(0, (1 << 64) - 1))
    packed = b"".join(pack(layout, row, noise) for row in rows)
    scan = Scan(layout)
    records = scan.records(packed + bytes(scan.record_bytes - 1))
    assert len(records) == len(rows)
    for e in layout:
        assert scan.column(records, e.name).tolist() == [row[e.name] for row in rows]


def test_twelve_bits_in_sixteen_beside_a_timestamp() -> None:
    accel = read_type("accel_x", 0, "le:s12/16>>4\n")
    scan = Scan([accel, read_type("timestamp", 3, "le:s64/64>>0")])
    assert scan.record_bytes == 16
    records = scan.records(bytes.fromhex("f0ff") + bytes(6) + (5).to_bytes(8, "little"))
    assert scan.column(records, "accel_x").tolist() == [-1]
    assert scan.column(records, "timestamp").tolist() == [5]


@pytest.mark.parametrize(
    "text", ["", "le:s12/16", "le:s24/24>>0", "le:s17/16>>0", "le:s12/16>>5", "le:s16/16X4>>0"]
)
def test_type_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^rot: type"):
        read_type("rot", 0, text)


# --- gaps


def gaps(times_ms: list[float], previous_ms: float | None) -> list[tuple[int, int, int, bool]]:
    times = np.array([int(t * MS) for t in times_ms], np.int64)
    previous = None if previous_ms is None else int(previous_ms * MS)
    return [(p.begin, p.end, p.lost, p.restart) for p in find_gaps(times, previous, 10 * MS)]


def test_samples_in_step_are_one_piece() -> None:
    assert gaps([10, 20.5, 29.5, 40], 0) == [(0, 4, 0, False)]
    assert gaps([10, 20], None) == [(0, 2, 0, False)]


def test_samples_that_are_missing_are_counted_where_they_are_missing() -> None:
    assert gaps([10, 20, 50, 60], 0) == [(0, 2, 0, False), (2, 4, 2, True)]
    assert gaps([40, 50], 10) == [(0, 2, 2, True)]


@pytest.mark.parametrize("jump", [-3_600_000, 0, 86_400_000])
def test_clock_that_jumps_or_stands_still_breaks_the_stream_and_counts_nothing(jump: float) -> None:
    assert gaps([10, 20, 20 + jump, 30 + jump], 0) == [(0, 2, 0, False), (2, 4, 0, True)]


@given(
    st.lists(st.integers(-100, 100), min_size=1, max_size=50), st.none() | st.integers(-100, 100)
)
def test_pieces_hold_every_sample_once(times: list[int], previous: int | None) -> None:
    pieces = gaps([float(t) for t in times], previous)
    assert [i for begin, end, _, _ in pieces for i in range(begin, end)] == list(range(len(times)))
    assert all(lost >= 0 for _, _, lost, _ in pieces)
