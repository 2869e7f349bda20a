"""A message is samples, or it is refused by what is wrong with it, whatever it holds."""

import math
import struct

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.sources.json_path import find, parse_path
from edge_agent.sources.payload import Decoder, PayloadRefused

AX_AY = Decoder(2, "json", ["$.imu.ax", "$.imu.ay"])
EACH = Decoder(2, "json", ["$[*].ax", "$[*].ay"], time=("$[*].t", "ms"))
ROWS = Decoder(2, "json", ["$.rows"], scale=0.5)


@pytest.mark.parametrize(
    ("decoder", "payload", "samples"),
    [
        (AX_AY, '{"imu": {"ax": 1, "ay": 2.5}}', [[1, 2.5]]),
        (AX_AY, '{"imu": {"ax": [1, 2], "ay": [3, 4]}, "more": "x"}', [[1, 3], [2, 4]]),
        (ROWS, '{"rows": [[2, 4], [6, 8], [10, 12]]}', [[1, 2], [3, 4], [5, 6]]),
        (ROWS, '{"rows": [2, 4]}', [[1, 2]]),
        (Decoder(1, "json", ["$.v"]), '{"v": [1, 2, 3]}', [[1], [2], [3]]),
        (Decoder(1, "json", ["$"]), "7", [[7]]),
    ],
)
def test_one_sample_or_many_are_found_by_paths(
    decoder: Decoder, payload: str, samples: list[list[float]]
) -> None:
    found, times = decoder.decode(payload.encode())
    assert found.dtype == np.float32
    assert found.tolist() == samples
    assert times is None


def test_times_come_with_each_sample_or_for_the_last() -> None:
    payload = b'[{"t": 1000, "ax": 1, "ay": 2}, {"t": 1010, "ax": 3, "ay": 4}]'
    samples, times = EACH.decode(payload)
    assert samples.tolist() == [[1, 2], [3, 4]]
    assert times is not None
    assert times.tolist() == [1.0, 1.01]
    last = Decoder(1, "json", ["$.v"], time=("$.t", "s"))
    _, times = last.decode(b'{"t": 5, "v": [1, 2, 3]}')
    assert times is not None
    assert times.tolist() == [5.0]


def test_null_is_a_sample_that_is_not_there() -> None:
    samples, _ = AX_AY.decode(b'{"imu": {"ax": [1, null], "ay": [3, 4]}}')
    assert math.isnan(samples[1, 0])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("NaN", math.nan),
        ("-Infinity", -math.inf),
        ("1e999", math.inf),
        ("1" + "0" * 50_000, math.inf),
    ],
)
def test_number_that_is_not_finite_is_that_and_its_neighbours_stay(text: str, value: float) -> None:
    samples, _ = ROWS.decode(b'{"rows": [[2, 4], [%s, 6]]}' % text.encode())
    assert samples[:, 1].tolist() == [2, 3]
    assert samples[:, 0] == pytest.approx([1, value], nan_ok=True)


def test_raw_numbers_are_little_endian_and_scaled() -> None:
    samples, _ = Decoder(2, "int16", scale=0.25).decode(struct.pack("<4h", 4, -8, 12, 16))
    assert samples.tolist() == [[1, -2], [3, 4]]
    samples, _ = Decoder(1, "float32").decode(struct.pack("<2f", 1.5, math.inf))
    assert samples.tolist() == [[1.5], [math.inf]]


@pytest.mark.parametrize(
    ("decoder", "payload", "message"),
    [
        (AX_AY, b"", "no JSON"),
        (AX_AY, b"{", "no JSON"),
        (AX_AY, b"\xff\xfe", "no JSON"),
        (AX_AY, b"[" * 100_000, "no JSON"),
        (AX_AY, b"[" * 60_000, "no JSON"),
        (ROWS, b'{"rows": ' + b"[" * 480 + b"]" * 480 + b"}", "no even list of numbers"),
        (AX_AY, b"{}", "without a value where the path says"),
        (AX_AY, b'{"imu": [1, 2]}', "without a value where the path says"),
        (AX_AY, b'{"imu": {"ax": "1", "ay": 2}}', "a value that is no number"),
        (AX_AY, b'{"imu": {"ax": true, "ay": 2}}', "a value that is no number"),
        (AX_AY, b'{"imu": {"ax": {}, "ay": 2}}', "a value that is no number"),
        (AX_AY, b'{"imu": {"ax": [1, 2], "ay": [3]}}', "not equally many"),
        (AX_AY, b'{"imu": {"ax": [[1]], "ay": [[3]]}}', "not equally many"),
        (AX_AY, b'{"imu": {"ax": [], "ay": []}}', "without 1 to 65536 samples"),
        (ROWS, b'{"rows": [[1, 2], [3]]}', "no even list of numbers"),
        (ROWS, b'{"rows": [[1, 2, 3]]}', "without 2 numbers in a sample"),
        (EACH, b'[{"t": NaN, "ax": 1, "ay": 2}]', "without a time"),
        (ROWS, b'{"rows": [nan, 1]}', "no JSON"),
        (EACH, b'[{"t": null, "ax": 1, "ay": 2}]', "without a time"),
        (EACH, b'[{"t": 1e300, "ax": 1, "ay": 2}]', "with a time beyond the year 5138: is its"),
        (EACH, b'[{"t": -1e300, "ax": 1, "ay": 2}]', "with a time beyond the year 5138: is its"),
        (EACH, b'[{"ax": 1, "ay": 2}]', "without a time where"),
        (Decoder(2, "int16"), b"abc", "no whole number of samples \\(4 bytes each\\)"),
        (Decoder(2, "int16"), b"", "no whole number of samples"),
    ],
)
def test_wrong_payload_is_refused_by_what_is_wrong(
    decoder: Decoder, payload: bytes, message: str
) -> None:
    with pytest.raises(PayloadRefused, match=message):
        decoder.decode(payload)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["rows", "imu", "ax"]), inner)
    ),
    max_leaves=8,
)


@given(JSON | st.binary(max_size=40))
def test_no_payload_does_more_than_be_refused(payload: object) -> None:
    raw = payload if isinstance(payload, bytes) else msgspec.json.encode(payload)
    for decoder in (AX_AY, EACH, ROWS, Decoder(2, "int16")):
        try:
            samples, _ = decoder.decode(raw)
        except PayloadRefused:
            continue
        assert samples.ndim == 2
        assert samples.shape[1] == 2


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("$", ()),
        ("$.a.b_c-1", ("a", "b_c-1")),
        ("$[0][12].x", (0, 12, "x")),
        ("$[*].x", (None, "x")),
        ("$['a b'].c", ("a b", "c")),
    ],
)
def test_path_is_read(text: str, path: tuple[str | int | None, ...]) -> None:
    assert parse_path(text) == path


@pytest.mark.parametrize(
    "text", ["", "a", ".a", "$a", "$.", "$[-1]", "$[x]", "$..a", "$.a ", "$[]"]
)
def test_what_is_no_path_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected"):
        parse_path(text)


def test_list_of_lists_is_walked() -> None:
    assert find({"a": [[1, 2], [3, 4]]}, parse_path("$.a[*][1]")) == [2, 4]
    with pytest.raises(LookupError):
        find({"a": [1]}, parse_path("$.a[1]"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((2, "json", ["a", "$.b"]), "paths\\[0\\]: 'a': expected a path such as"),
        ((2, "json", ["$.a", "$.b", "$.c"]), "paths: 3 of them, expected one for each of 2"),
        ((2, "json", []), "paths: 0 of them"),
        ((2, "int16", ["$.a"]), 'paths: is for format = "json" alone'),
        ((2, "int16", [], 1.0, ("$.t", "s")), 'time: is for format = "json" alone'),
        ((1, "json", ["$"], 1.0, ("t", "s")), "time.path: 't': expected"),
    ],
)
def test_description_that_cannot_be_is_refused_by_its_key(
    arguments: tuple[int, "str", list[str]], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Decoder(*arguments)  # type: ignore[arg-type]
