"""Recordings of all formats are what the stream describes, or refused in one line."""

import tempfile
import tracemalloc
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_bundle import recording as recordings
from edge_bundle.errors import ConfigError, RecordingRefused
from edge_bundle.manifest import Channel, Stream
from edge_bundle.recording import Recording, read_recordings
from tests.edge_bundle.bundles import LABELS, RECORDING
from tests.edge_bundle.bundles import STREAM as WATCH
from tests.edge_bundle.test_wav import make_wav

STREAM = Stream(rate_hz=10.0, channels=(Channel("a", "g"), Channel("b", "g")), window=4, hop=2)
VALUES = np.arange(20, dtype=np.float32).reshape(10, 2)


def npz(folder: Path, **arrays: Any) -> Path:
    path = folder / "some.npz"
    np.savez(path, **arrays)
    return path


def csv(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    path = folder / "some.csv"
    path.write_text(text, encoding=encoding)
    return path


def refusal(source: Path | str, stream: Stream = STREAM) -> str:
    with pytest.raises(RecordingRefused) as refused:
        read_recordings(source, stream)
    assert str(refused.value).startswith(str(source).partition("#")[0])
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_example_is_read_whole() -> None:
    read = read_recordings(RECORDING, WATCH)
    assert len(read) == 14
    assert {r.samples.shape for r in read} == {(500, 6)}
    assert {r.samples.dtype for r in read} == {np.dtype(np.float32)}
    assert {r.label(0, 500) for r in read} == set(LABELS)
    assert read[3].name == f"{RECORDING}#3"
    assert read[3].rate_hz == 50.0


def test_recordings_lie_one_after_another(tmp_path: Path) -> None:
    path = npz(tmp_path, values=VALUES.astype(np.int16), lengths=np.array([4, 6], np.uint8))
    first, second = read_recordings(path, STREAM)
    np.testing.assert_array_equal(first.samples, VALUES[:4])
    np.testing.assert_array_equal(second.samples, VALUES[4:])
    assert second.samples.flags.c_contiguous
    assert (first.label(0, 4), first.channels, first.rate_hz) == (None, None, None)


@pytest.mark.parametrize(
    ("chosen", "expected"), [("0", [0]), ("0-2,5", [0, 1, 2, 5]), ("3,1", [3, 1]), ("", range(8))]
)
def test_selection_names_recordings(tmp_path: Path, chosen: str, expected: list[int]) -> None:
    folder = tmp_path / "my #1"
    folder.mkdir()
    path = npz(folder, values=np.repeat(np.arange(8.0), 8).reshape(32, 2), lengths=[4] * 8)
    read = read_recordings(f"{path}#{chosen}", STREAM)
    assert [r.samples[0, 0] for r in read] == list(expected)
    assert [r.name for r in read] == [f"{path}#{n}" for n in expected]


@pytest.mark.parametrize("chosen", ["1", "0-1", "x", "-1", "1-0", "0,", "0-", " 0", "9" * 5000])
def test_selection_that_cannot_be_says_what_can(tmp_path: Path, chosen: str) -> None:
    path = npz(tmp_path, values=VALUES)
    with pytest.raises(ConfigError, match="the file has recordings 0 to 0"):
        read_recordings(f"{path}#{chosen}", STREAM)


def test_label_of_a_window_is_the_one_that_all_its_samples_share() -> None:
    codes = np.array([0, 0, 1, 1, -1, 1])
    read = Recording("r", VALUES[:6], None, None, codes, ("walk", "run"))
    windows = [(0, 2), (1, 3), (2, 4), (3, 5), (4, 5), (5, 6), (6, 6)]
    expected = ["walk", None, "run", None, None, "run", None]
    assert [read.label(*w) for w in windows] == expected


def test_csv_columns_are_found_by_name_with_time_and_labels(tmp_path: Path) -> None:
    rows = [
        f"{n * 100},{n}.5,x,{-n},{'' if n == 4 else 'walk' if n < 3 else 'run'}" for n in range(8)
    ]
    text = "\n".join(["time_ms,b,other,a,label", *rows])
    (read,) = read_recordings(csv(tmp_path, text), STREAM)
    np.testing.assert_array_equal(read.samples[:2], [[0, 0.5], [-1, 1.5]])
    assert read.rate_hz == pytest.approx(10)
    labels = [read.label(n, n + 1) for n in range(8)]
    assert labels == ["walk"] * 3 + ["run", None, "run", "run", "run"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_csv_of_a_spreadsheet_is_read(tmp_path: Path, encoding: str) -> None:
    text = "a,b\r\n" + "1,2\r\n" * 4
    (read,) = read_recordings(csv(tmp_path, text, encoding), STREAM)
    assert read.samples.tolist() == [[1, 2]] * 4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "some.csv: the file is empty, expected a header"),
        ("\na,b\n1,2\n", "line 1 is empty, expected a header"),
        ("a,c\n1,2\n", "no column 'b'; the header has a, c"),
        ("1,2\n3,4\n", "no column 'a'"),
        ("A,b\n1,2\n", "no column 'a'; did you mean 'A'? the header has A, b"),
        ("a,b,a\n" + "1,2,3\n" * 4, "the header has 'a' more than once: leave one column of"),
        ("b,a,b,a\n" + "1,2,3,4\n" * 4, "the header has 'a', 'b' more than once"),
        ("a,b,label,label\n" + "1,2,x,y\n" * 4, "the header has 'label' more than once"),
        ("time_s,time_s,a,b\n" + "1,2,3,4\n" * 4, "the header has 'time_s' more than once"),
        (
            "timestamp,time_s,time_ms,a,b\n" + "1,2,3,4,5\n" * 4,
            "the header has time_s and time_ms and timestamp: leave one column of time",
        ),
        ("a,b\n1,2\n1,x\n", "line 3, column b: 'x', expected a number"),
        ("a,b\n1\n", "line 2: 1 column, the header has 2"),
        ("a,b,c,label\n" + "1,2,3\n" * 4 + "\n1,2\n1\n", "line 8: 1 column, the header has 4"),
        ("a,b,time_s\n" + "1,2\n" * 4, "line 2: 2 columns, the header has 3"),
        ("a,b\n", "0 samples, one window needs 4"),
        ("a,b\n1,2\n1,2\n1,2\n", "3 samples, one window needs 4"),
        ("a,b\n" + "1,2\n" * 3 + "1,nan\n", "line 5, column b: 'nan', expected a finite number"),
        ("a,b\n" + "1,2\n\n" * 3000 + "-inf,2\n", "line 6002, column a: '-inf', expected a fin"),
        ("a,b\n" + "1e300,2\n" * 4, "line 2, column a: '1e300', expected at most 3.4e38 in si"),
        ("time_s,a,b\n0,1,1\n1,1,1\n2,1,1\n3,1,1\n", "1 Hz, the stream has 10 Hz"),
        ("a,b\n" + "1,2\n" * 3000 + "\n\n1,x\n" + "1,2\n" * 5, "line 3004, column b: 'x'"),
        ('a,b,c\n1,2,"x\ny"\n\n1,2\n,2\n', "line 6, column a: '', expected a number"),
        ('a,b\n"' + "1" * 200_000 + '",2\n', "not a readable .csv"),
    ],
)
def test_wrong_csv_is_refused_with_line_and_column(tmp_path: Path, text: str, message: str) -> None:
    assert message in refusal(csv(tmp_path, text))


def test_blanks_around_the_names_of_columns_do_not_count(tmp_path: Path) -> None:
    text = "time_ms , a,\tb, label\n" + "".join(f"{n * 100}, {n}, 2,walk\n" for n in range(8))
    (read,) = read_recordings(csv(tmp_path, text), STREAM)
    assert read.samples[3].tolist() == [3, 2]
    assert read.label(0, 8) == "walk"
    assert read.rate_hz == pytest.approx(10)
    assert read_recordings(csv(tmp_path, text), None)[0].channels == ("a", "b")


def test_blanks_around_a_label_do_not_count(tmp_path: Path) -> None:
    text = "a, b, label\n" + "1, 2, walk\n" * 4 + "1, 2,walk\t\n" * 4 + "1, 2, \n" * 4
    (read,) = read_recordings(csv(tmp_path, text), STREAM)
    assert read.labels == ("walk",)
    assert [read.label(0, 8), read.label(8, 12)] == ["walk", None]


@pytest.mark.parametrize("name", ["Time_ms", "TIME_MS", " time_ms "])
@pytest.mark.parametrize("stream", [STREAM, None])
def test_time_is_known_whatever_the_case_of_its_name(
    tmp_path: Path, name: str, stream: Stream | None
) -> None:
    times = np.arange(30) * 100
    times[12:] += 500
    (read,) = read_recordings(table(tmp_path, times, name=name), stream)
    assert read.rate_hz == pytest.approx(10)
    assert read.timing.lost == 5
    assert read.channels == ("a", "b")


def test_times_that_differ_in_case_alone_are_two(tmp_path: Path) -> None:
    text = "Time_s,time_s,a,b\n" + "1,1,1,1\n" * 4
    assert "the header has Time_s and time_s: leave one" in refusal(csv(tmp_path, text))


BY_UNIT = "time_s, time_ms, time_us, time_ns by its unit, or timestamp if it is ISO 8601"


@pytest.mark.parametrize(
    ("name", "mend"),
    [
        ("t_ms", "time_ms;"),
        ("timestamp_ms", "time_ms;"),
        ("TimeMs", "time_ms;"),
        ("Time (s)", "time_s;"),
        ("time [us]", "time_us;"),
        ("t/ns", "time_ns;"),
        ("unix_time", BY_UNIT),
        ("time", BY_UNIT),
        ("Time", BY_UNIT),
        ("t", BY_UNIT),
        ("ts", BY_UNIT),
        ("Date", BY_UNIT),
        ("datetime", BY_UNIT),
        ("time_stamp", BY_UNIT),
    ],
)
@pytest.mark.parametrize("stream", [STREAM, None])
def test_column_that_looks_like_a_time_is_refused_with_what_to_call_it(
    tmp_path: Path, name: str, mend: str, stream: Stream | None
) -> None:
    path = table(tmp_path, np.arange(30) * 100, name=name)
    with pytest.raises(RecordingRefused) as refused:
        read_recordings(path, stream)
    assert str(refused.value).startswith(
        f"{path}: column {name!r} looks like a time, which is not read under this name: "
        f"call it {mend}"
    )


@pytest.mark.parametrize(
    "other", ["timer", "timeout_s", "t1", "t_in", "temperature", "dated", "tsx"]
)
def test_column_that_only_begins_like_a_time_is_none(tmp_path: Path, other: str) -> None:
    assert read_recordings(table(tmp_path, np.arange(8), name=other), STREAM)


def test_column_like_a_time_is_left_beside_a_time_and_where_it_is_a_channel(
    tmp_path: Path,
) -> None:
    text = "date,time_ms,a,b\n" + "".join(f"x,{n * 100},1,2\n" for n in range(8))
    (read,) = read_recordings(csv(tmp_path, text), STREAM)
    assert read.rate_hz == pytest.approx(10)
    hot = msgspec.structs.replace(STREAM, channels=(Channel("t", "degC"), Channel("b", "g")))
    (read,) = read_recordings(csv(tmp_path, "t,b\n" + "21,2\n" * 4), hot)
    assert read.samples[0].tolist() == [21, 2]


@pytest.mark.parametrize("name", ["G.CSV", "g.Csv", "G.NPZ", "G.WAV"])
def test_kind_of_a_file_is_known_whatever_its_case(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if path.suffix == ".NPZ":
        with path.open("wb") as file:
            np.savez(file, values=VALUES)
    elif path.suffix == ".WAV":
        path.write_bytes(make_wav(bytes(32), 2, 10, 16))
    else:
        path.write_text("a,b\n" + "1,2\n" * 8)
    full = tuple(Channel(n, "1") for n in "ab")
    (read,) = read_recordings(path, msgspec.structs.replace(STREAM, channels=full))
    assert read.samples.shape[1] == 2


def test_columns_that_nobody_reads_may_have_one_name(tmp_path: Path) -> None:
    text = "a,note,b,note,,\n" + "1,x,2,y,,\n" * 4
    (read,) = read_recordings(csv(tmp_path, text), STREAM)
    assert read.samples.tolist() == [[1, 2]] * 4


def test_largest_float32_is_read(tmp_path: Path) -> None:
    (read,) = read_recordings(csv(tmp_path, "a,b\n" + "3.4028235e38,-3.4028235e+38\n" * 4), STREAM)
    assert read.samples[0].tolist() == [np.finfo(np.float32).max, np.finfo(np.float32).min]


def test_labels_and_values_of_a_long_csv_stay_together(tmp_path: Path) -> None:
    rows = [f"{n},{-n},{'' if n % 7 == 0 else 'zebra' if n % 2 else 'ape'}" for n in range(5000)]
    rows[10] = "10,-10"  # shorter than the header: it has no label
    (read,) = read_recordings(csv(tmp_path, "\n".join(["a,b,label", *rows])), STREAM)
    np.testing.assert_array_equal(read.samples[:, 0], np.arange(5000))
    np.testing.assert_array_equal(read.samples[:, 1], -np.arange(5000))
    assert read.labels == ("ape", "zebra")
    found = [read.label(n, n + 1) for n in range(5000)]
    expected = [None if n % 7 == 0 else "zebra" if n % 2 else "ape" for n in range(5000)]
    assert found == [*expected[:10], None, *expected[11:]]


def test_text_of_a_csv_is_not_held_in_memory(tmp_path: Path) -> None:
    path = csv(tmp_path, "time_ms,a,b,label\n" + "1234567,0.123456,-0.654321,walk\n" * 20_000)
    tracemalloc.start()
    try:
        read_recordings(path, None)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 20_000 * 100  # three numbers and a code of 8 bytes, copied; and the blocks


def test_csv_that_is_not_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "some.csv"
    path.write_bytes(b"a,b\n\xff\xfe,1\n")
    assert "not a readable .csv" in refusal(path)


NAN = np.where(np.arange(20).reshape(10, 2) == 7, np.nan, VALUES)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"values": np.empty((0, 2)), "lengths": np.empty(0, int)}, "no recording in it"),
        ({"values": VALUES[:, :1]}, "1 channels, the stream has 2: a, b"),
        (
            {"values": VALUES, "channels": ["A", "b"]},
            "some.npz: no channel 'a'; did you mean 'A'? it has A, b",
        ),
        (
            {"values": np.zeros((9, 3)), "channels": ["a", "b", "a"]},
            "channels: 'a' is there more than once",
        ),
        ({"values": VALUES, "channels": "ab"}, "channels ab, expected a, b"),
        ({"values": VALUES, "rate_hz": 9.7}, "9.7 Hz, the stream has 10 Hz"),
        ({"values": VALUES, "rate_hz": np.nan}, "rate_hz: nan, expected a finite number > 0"),
        (
            {"values": NAN, "channels": ["a", "b"]},
            "sample 3, channel b: nan, expected a finite number",
        ),
        (
            {"values": VALUES * np.float64(1e300)},
            "sample 0, channel 1: inf, expected a finite number",
        ),
        ({"values": VALUES[:3]}, "3 samples, one window needs 4"),
        ({"values": VALUES, "lengths": [7, 3]}, "#1: 3 samples, one window needs 4"),
    ],
)
def test_npz_that_does_not_fit_the_stream_is_refused(
    tmp_path: Path, arrays: dict[str, Any], message: str
) -> None:
    assert message in refusal(npz(tmp_path, **arrays))


def test_value_that_is_not_finite_is_placed_where_names_are_too_few(tmp_path: Path) -> None:
    path = npz(tmp_path, values=NAN, channels=["a"])
    with pytest.raises(RecordingRefused, match="sample 3, channel 1: nan, expected a finite"):
        read_recordings(path, None)


@pytest.mark.parametrize("stream", [STREAM, None])
def test_channels_of_an_npz_are_found_by_name(tmp_path: Path, stream: Stream | None) -> None:
    values = np.arange(30).reshape(10, 3)
    path = npz(tmp_path, values=values, channels=["b", "volt", "a"], lengths=[4, 6])
    names = None if stream else ["a", "b"]
    first, second = read_recordings(path, stream, names=names)
    np.testing.assert_array_equal(first.samples, values[:4, [2, 0]])
    np.testing.assert_array_equal(second.samples, values[4:, [2, 0]])
    assert second.channels == ("a", "b")


def test_rate_within_tolerance_is_taken(tmp_path: Path) -> None:
    for rate in (9.81, 10.19, np.array([10])):
        assert read_recordings(npz(tmp_path, values=VALUES, rate_hz=rate), STREAM)


def test_file_that_is_too_large_is_refused_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = npz(tmp_path, values=VALUES)
    monkeypatch.setattr(recordings, "MAX_BYTES", 100)
    assert "larger than 100 bytes" in refusal(path)


def test_missing_file_and_other_formats_are_named(tmp_path: Path) -> None:
    for missing in ("no.npz", "no.npz#0", "no/no.csv"):
        with pytest.raises(FileNotFoundError, match=f"{missing}: no such recording"):
            read_recordings(tmp_path / missing, STREAM)
    for folder in (tmp_path, f"{tmp_path}/"):
        with pytest.raises(IsADirectoryError, match="is a directory, expected a recording"):
            read_recordings(folder, STREAM)
    other = tmp_path / "some.mp3"
    other.write_bytes(b"ID3")
    assert "expected a .npz, .csv or .wav file" in refusal(other)


@given(
    st.lists(st.tuples(*[st.floats(-(2.0**90), 2.0**90, width=32)] * 2), min_size=4, max_size=30)
)
def test_csv_and_npz_of_the_same_samples_are_equal(rows: list[tuple[float, float]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        text = "\n".join(["b,a", *(f"{b!r},{a!r}" for a, b in rows)])
        (one,) = read_recordings(csv(folder, text), STREAM)
        (two,) = read_recordings(npz(folder, values=np.array(rows)), STREAM)
    np.testing.assert_array_equal(one.samples, two.samples)


def test_stream_of_the_example_refuses_another_rate() -> None:
    other = msgspec.structs.replace(WATCH, rate_hz=100.0)
    assert "50 Hz, the stream has 100 Hz" in refusal(RECORDING, other)


def test_rate_is_told_by_a_clock_that_rounds_repeats_and_has_gaps(tmp_path: Path) -> None:
    # 104.4 Hz as a watch wrote it: whole milliseconds, some samples in one tick, a gap of 137 ms.
    times = np.floor(np.arange(2000) * 1000 / 104.4)
    times[500] = times[499]
    times[1000:] += 137
    file = tmp_path / "watch.csv"
    file.write_text("time_ms,a\n" + "".join(f"{t:.0f},1\n" for t in times))
    (recording,) = read_recordings(file, None)
    assert recording.rate_hz == pytest.approx(104.4, rel=0.002)


def table(folder: Path, times_ms: Any, values: Any = None, name: str = "time_ms") -> Path:
    values = np.arange(len(times_ms)) if values is None else values
    rows = (f"{t},{v},{v}\n" for t, v in zip(times_ms, values, strict=True))
    return csv(folder, f"{name},a,b\n" + "".join(rows))


def test_gap_in_a_table_is_counted_and_ends_a_run(tmp_path: Path) -> None:
    times = np.arange(30) * 100
    times[12:] += 500
    (read,) = read_recordings(table(tmp_path, times), STREAM)
    assert read.runs() == [(0, 12), (12, 30)]
    assert [(b.position, b.lost) for b in read.timing.breaks] == [(12, 5)]
    assert read.rate_hz == pytest.approx(10)


def test_clock_that_is_set_back_a_day_ends_a_run_and_keeps_every_sample(tmp_path: Path) -> None:
    times = np.arange(30) * 100
    times[12:] -= 86_400_000
    (read,) = read_recordings(table(tmp_path, times), STREAM)
    assert read.runs() == [(0, 12), (12, 30)]
    assert (read.timing.jumps, read.timing.lost) == (1, 0)
    assert read.rate_hz == pytest.approx(10)
    np.testing.assert_array_equal(read.samples[:, 0], np.arange(30))


@pytest.mark.parametrize("step_ms", [-100, -500])
def test_table_sorted_newest_first_is_refused(tmp_path: Path, step_ms: int) -> None:
    message = refusal(table(tmp_path, np.arange(30) * step_ms))
    assert "the time goes back at 29 of 29 steps: sort the rows by it, oldest first" in message


def test_equal_times_are_kept_in_order_and_counted(tmp_path: Path) -> None:
    times = np.arange(30) * 100
    times[7] = times[6]
    (read,) = read_recordings(table(tmp_path, times), STREAM)
    assert (read.timing.duplicates, read.timing.breaks) == (1, ())
    np.testing.assert_array_equal(read.samples[:, 0], np.arange(30))


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        ("time_s", [f"{n / 10}" for n in range(8)]),
        ("time_us", [f"{n * 100_000}" for n in range(8)]),
        ("time_ns", [f"{n * 100_000_000}" for n in range(8)]),
        ("timestamp", [f"{1_657_533_977_000 + n * 100}" for n in range(8)]),
        ("timestamp", [f"{1_657_533_977 + n / 10}" for n in range(8)]),
        ("timestamp", [f"2022-07-11T10:06:17.{n}00000Z" for n in range(8)]),
        ("timestamp", [f"2022-07-11 10:06:17.{n}00000" for n in range(8)]),
        ("timestamp", [f"1970-01-01 00:04:40.{n}00000" for n in range(8)]),
        ("timestamp", [f"1969-12-31T23:59:59.{n}00000Z" for n in range(8)]),
        ("timestamp", [f"0001-01-01T00:00:00.{n}00000+23:59" for n in range(8)]),
    ],
)
def test_time_is_read_in_every_unit(tmp_path: Path, name: str, cells: list[str]) -> None:
    (read,) = read_recordings(table(tmp_path, cells, name=name), None)
    assert read.rate_hz == pytest.approx(10, rel=1e-3)
    assert read.channels == ("a", "b")


@pytest.mark.parametrize(
    ("name", "cell", "message"),
    [
        ("timestamp", "12", "is no time since 1970: name the column by its unit, time_s"),
        ("timestamp", "noon", "line 2, column timestamp: 'noon', expected ISO 8601"),
        ("time_s", "nan", "line 2, column time_s: 'nan', expected a time"),
    ],
)
def test_time_that_is_none_is_refused(tmp_path: Path, name: str, cell: str, message: str) -> None:
    assert message in refusal(table(tmp_path, [cell] * 4, name=name))


@pytest.mark.parametrize(
    ("first", "other", "kind"),
    [("2022-07-11 10:06:17", "1657533978", "ISO 8601"), ("1657533978", "2022-07-11", "a number")],
)
@pytest.mark.parametrize("before", [1, 5000])
def test_dates_among_numbers_are_refused(
    tmp_path: Path, first: str, other: str, kind: str, before: int
) -> None:
    message = refusal(table(tmp_path, [first] * before + [other], name="timestamp"))
    assert (
        f"line {before + 2}, column timestamp: {other!r}, expected {kind} as in the rows above"
        in message
    )


@pytest.mark.parametrize("first", ["2022-07-11 10:06:17", "1657533978"])
@pytest.mark.parametrize("wrong", ["1657533978,1,x", "1657533978,1", "x,1,2"])
def test_wrong_row_is_told_before_any_time_was_read(tmp_path: Path, first: str, wrong: str) -> None:
    message = refusal(csv(tmp_path, f"timestamp,a,b\n{first},1,2\n{wrong}\n"))
    assert "line 3" in message
    assert "rows above" not in message


@pytest.mark.parametrize("before", [0, 1])
def test_date_that_is_not_iso_8601_is_told_what_a_date_is(tmp_path: Path, before: int) -> None:
    stamps = ["2022-07-11 10:06:17"] * before + ["11.07.2022 10:06:18"]
    message = refusal(table(tmp_path, stamps, name="timestamp"))
    assert "'11.07.2022 10:06:18', expected ISO 8601 or a number" in message


def test_window_that_no_run_can_fill_is_refused(tmp_path: Path) -> None:
    times = np.arange(12) * 100 + np.arange(12) // 3 * 2000
    message = refusal(table(tmp_path, times))
    assert "3 samples without a gap, one window needs 4" in message


# --- another rate


def test_rate_ten_percent_off_is_refused_with_what_to_do(tmp_path: Path) -> None:
    message = refusal(npz(tmp_path, values=VALUES, rate_hz=11.0))
    assert '11 Hz, the stream has 10 Hz: resample it, or say resample = "linear"' in message


@pytest.mark.parametrize("policy", ["linear", "polyphase"])
def test_rate_ten_percent_off_is_resampled_by_policy(tmp_path: Path, policy: Any) -> None:
    stream = msgspec.structs.replace(STREAM, resample=policy)
    times = np.arange(400) / 11.0
    wave = np.sin(2 * np.pi * 0.5 * times)
    values = np.stack([wave, wave], axis=1)
    path = npz(tmp_path, values=values, rate_hz=11.0, y=[0], y_labels=["p"])
    (read,) = read_recordings(path, stream)
    assert read.rate_hz == 10.0
    first = 0 if policy == "linear" else 10  # the filter's edge
    at = (first + np.arange(len(read.samples))) / 10.0
    assert read.samples[:, 0] == pytest.approx(np.sin(2 * np.pi * 0.5 * at), abs=0.02)
    assert read.label(0, len(read.samples)) == "p"
    assert 400 / 1.1 - 22 <= len(read.samples) <= 400 / 1.1 + 1


def test_no_resampled_value_is_mixed_across_a_gap(tmp_path: Path) -> None:
    stream = msgspec.structs.replace(STREAM, resample="linear")
    times = np.arange(40) * 50
    times[20:] += 1000
    values = np.where(np.arange(40) < 20, 0, 1000)
    (read,) = read_recordings(table(tmp_path, times, values), stream)
    assert set(read.samples[:, 0].tolist()) == {0, 1000}
    assert [(b.position, b.lost) for b in read.timing.breaks] == [(10, 10)]
    assert read.runs() == [(0, 10), (10, 20)]


def test_recording_that_is_too_short_when_resampled_is_told_by_what_is_in_the_file(
    tmp_path: Path,
) -> None:
    ten_seconds = npz(tmp_path, values=np.zeros((300, 2)), rate_hz=30.0)
    stream = msgspec.structs.replace(STREAM, window=100, resample="polyphase")
    assert refusal(ten_seconds, stream).endswith(
        "#0: 300 samples at 30 Hz give 80 at 10 Hz (polyphase gives none at the ends), "
        "one window needs 100"
    )
    longer = msgspec.structs.replace(stream, window=101, resample="linear")
    assert refusal(ten_seconds, longer).endswith(
        "#0: 300 samples at 30 Hz give 100 at 10 Hz, one window needs 101"
    )


def test_rates_too_far_apart_are_refused(tmp_path: Path) -> None:
    stream = msgspec.structs.replace(STREAM, resample="linear")
    message = refusal(npz(tmp_path, values=VALUES, rate_hz=5000.0), stream)
    assert "5000 Hz cannot become 10 Hz: at most 100 times as many or as few" in message


# --- sound

SOUND = Stream(rate_hz=10.0, channels=(Channel("mic", "1"),), window=4, hop=2)


def sound(folder: Path, channels: int = 1, rate: int = 10) -> Path:
    codes = np.arange(channels * 8, dtype="<i2").reshape(8, channels) * 1000
    path = folder / "some.wav"
    path.write_bytes(make_wav(codes.tobytes(), channels, rate, 16))
    return path


def test_wav_is_in_the_unit_of_its_channels(tmp_path: Path) -> None:
    path = sound(tmp_path)
    (read,) = read_recordings(path, SOUND)
    assert read.samples[:, 0].tolist() == [n * 1000 / 32768 for n in range(8)]
    counts = msgspec.structs.replace(SOUND, channels=(Channel("mic", "int16"),))
    (read,) = read_recordings(path, counts)
    assert read.samples[:, 0].tolist() == [n * 1000 for n in range(8)]
    pascal = msgspec.structs.replace(SOUND, channels=(Channel("mic", "Pa"),))
    assert "the unit of a .wav is 1 (full scale) or int16, not Pa" in refusal(path, pascal)


def test_wav_with_other_channels_or_rate_is_refused(tmp_path: Path) -> None:
    assert "2 channels, the stream has 1: mic" in refusal(sound(tmp_path, 2), SOUND)
    assert "20 Hz, the stream has 10 Hz" in refusal(sound(tmp_path, 1, 20), SOUND)


def test_several_channels_of_sound_are_told_with_how_to_make_one_of_them(tmp_path: Path) -> None:
    path = sound(tmp_path, 3)
    assert refusal(path, SOUND) == (
        f"{path}: 3 channels, the stream has 1: mic; {path}#0 to {path}#2 are one channel each, "
        f"{path}#mean is their mean"
    )
    for one in ("#0", "#2", "#mean"):
        assert read_recordings(f"{path}{one}", SOUND)


def test_one_channel_of_a_wav_or_their_mean_is_picked(tmp_path: Path) -> None:
    path = sound(tmp_path, 2)
    for source, pick, first in ((f"{path}#1", None, 1000), (path, 1, 1000), (path, "mean", 500)):
        (read,) = read_recordings(source, None, "int16", pick)  # type: ignore[arg-type]
        assert read.samples[0].tolist() == [first]
    with pytest.raises(ConfigError, match='channel 2: the file has 0 to 1, and "mean"'):
        read_recordings(f"{path}#2", SOUND)
