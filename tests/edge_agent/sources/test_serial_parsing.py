"""Lines and frames are read in whatever pieces they come, and what is damaged is counted."""

import struct
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.sources.serial_parsing import MAX_LINE, FrameParser, LineParser, Parser, Run

SYNC = b"\xaa\x55"


def lines(columns: tuple[int, ...] = (0, 1), skip_lines: int = 0, separator: str = ",") -> Parser:
    return LineParser(columns, separator, "#", skip_lines, 1.0)


def frames(checksum: str = "sum8", values: str = "<f4", scale: float = 1.0) -> FrameParser:
    return FrameParser(SYNC, values, 2, checksum, scale)


def frame(a: float, b: float) -> bytes:
    body = struct.pack("<2f", a, b)
    return SYNC + body + bytes([sum(body) & 0xFF])


def told(runs: list[Run]) -> list[tuple[list[list[float]], int]]:
    return [(samples.tolist(), lost) for samples, lost in runs]


def in_pieces(parser: Parser, data: bytes, cuts: list[int]) -> tuple[list[list[float]], int]:
    """Return the rows and the losses of bytes that come cut at some places."""
    edges = [0, *sorted(c % (len(data) + 1) for c in cuts), len(data)]
    runs = [r for a, b in pairwise(edges) for r in parser.push(data[a:b])]
    rows = [row for samples, _ in runs for row in samples.tolist()]
    return rows, sum(lost for _, lost in runs)


FLOATS = st.floats(width=32, allow_nan=False)
ROWS = st.lists(st.tuples(FLOATS, FLOATS), max_size=8)
CUTS = st.lists(st.integers(0, 1 << 16), max_size=6)


@given(ROWS, CUTS)
def test_lines_are_read_in_any_pieces(rows: list[tuple[float, float]], cuts: list[int]) -> None:
    text = "part\n" + "".join(f"{a!r},{b!r}\r\n" for a, b in rows)
    assert in_pieces(lines(), text.encode(), cuts) == ([list(r) for r in rows], 0)


@given(ROWS, CUTS)
def test_frames_are_read_in_any_pieces(rows: list[tuple[float, float]], cuts: list[int]) -> None:
    data = b"".join(frame(*r) for r in rows)
    assert in_pieces(frames(), data, cuts) == ([list(r) for r in rows], 0)


@given(st.binary(max_size=200), CUTS)
def test_noise_is_survived_and_a_frame_behind_it_is_found(noise: bytes, cuts: list[int]) -> None:
    parser = frames()
    data = noise + b"".join(frame(i, -i) for i in range(20))
    rows, _ = in_pieces(parser, data, cuts)
    assert rows[-1] == [19.0, -19.0]
    assert parser.push(frame(5, 6))[-1][0].tolist() == [[5.0, 6.0]]


@given(st.binary(max_size=300), CUTS)
def test_lines_survive_noise(noise: bytes, cuts: list[int]) -> None:
    rows, _ = in_pieces(lines(), b"\n" + noise + b"\n1,2\n", cuts)
    assert rows[-1] == [1.0, 2.0]


def test_first_line_may_have_begun_earlier_and_is_left_out() -> None:
    assert told(lines().push(b"3,4\n1,2\n")) == [([[1.0, 2.0]], 0)]
    assert told(lines(skip_lines=1).push(b"3,4\nx,y\n1,2\n")) == [([[1.0, 2.0]], 0)]


def test_damaged_line_is_counted_where_it_stood() -> None:
    parser = lines()
    assert told(parser.push(b"\n1,2\n1,\n1\n3,4\nx\n")) == [
        ([[1.0, 2.0]], 0),
        ([[3.0, 4.0]], 2),
    ]
    assert told(parser.push(b"5,6\n")) == [([[5.0, 6.0]], 1)]


def test_comments_and_empty_lines_are_no_loss() -> None:
    assert told(lines().push(b"\n# ready\n\n1,2\n \r\n3,4\n")) == [([[1.0, 2.0], [3.0, 4.0]], 0)]


def test_columns_are_chosen_and_blanks_separate() -> None:
    parser = lines(columns=(3, 1), separator="")
    assert told(parser.push(b"\nt 1  2\t3\n")) == [([[3.0, 1.0]], 0)]


def test_endless_line_is_bounded_and_counted_once() -> None:
    parser = lines()
    assert parser.push(b"\n1,2\n")[0][1] == 0
    for _ in range(50):
        assert parser.push(b"7" * MAX_LINE) == []
        assert len(vars(parser)["_rest"]) <= MAX_LINE
    assert told(parser.push(b",8\n3,4\n")) == [([[3.0, 4.0]], 1)]


def test_value_that_is_not_finite_is_left_to_the_stream() -> None:
    [(samples, lost)] = lines().push(b"\nnan,1\n")
    assert (lost, np.isnan(samples).tolist()) == (0, [[True, False]])


@pytest.mark.parametrize("at", range(len(frame(1, 2))))
def test_damaged_frame_is_counted_once_and_those_around_it_stay(at: int) -> None:
    bad = bytearray(frame(3, 4))
    bad[at] ^= 0x10
    data = frame(1, 2) + bytes(bad) + frame(5, 6) + frame(7, 8)
    assert told(frames().push(data)) == [
        ([[1.0, 2.0]], 0),
        ([[5.0, 6.0], [7.0, 8.0]], 1),
    ]


def test_big_endian_integers_are_scaled_and_summed_by_xor() -> None:
    body = struct.pack(">2h", -2, 300)
    xor = body[0] ^ body[1] ^ body[2] ^ body[3]
    data = SYNC + body + bytes([xor])
    assert told(frames("xor8", ">i2", 0.5).push(data)) == [([[-1.0, 150.0]], 0)]


def test_frame_without_a_checksum_ends_with_its_values() -> None:
    data = (SYNC + struct.pack("<2h", 1, 2)) * 3
    assert told(frames("none", "<i2").push(b"\x00" + data)) == [([[1.0, 2.0]] * 3, 0)]


def test_lines_that_are_no_sample_are_told_with_the_last_of_them() -> None:
    parser = lines()
    parser.push(b"part\n1,2\n# no sample, and none is wanted\n\n")
    assert parser.problems() == ""
    parser.push(b"1;2\n3;4\n5,6\n")
    assert parser.problems() == "2 lines were no sample, the last '3;4'"
    parser.push(b"\xfe\x80" * 3000)  # as at another speed: no line ends
    assert parser.problems().startswith("3 lines were no sample, the last '\ufffd\ufffd")
    parser.push(b"\n5,6\n")
    assert parser.problems().startswith("3 lines were no sample")


def test_bytes_in_no_frame_are_told_where_they_are_more_than_a_part_of_one() -> None:
    parser = frames()
    parser.push(frame(1, 2)[3:] + frame(3, 4))
    assert parser.problems() == ""
    parser.push(b"\xfe" * 100)
    parser.push(frame(5, 6))
    assert parser.problems() == "108 bytes were in no frame"
    never = frames()
    never.push(b"\xfe" * 100)
    assert never.problems() == "99 bytes were in no frame"
