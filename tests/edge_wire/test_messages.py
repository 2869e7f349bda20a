"""Messages have the contract's field names and sizes, and no bytes can do more than be refused."""

import json
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_wire.assignment import Assignment
from edge_wire.errors import MessageRefused
from edge_wire.messages import (
    MAX_DESIRED_BYTES,
    MAX_MESSAGE_BYTES,
    Accepted,
    ChannelInfo,
    Event,
    Info,
    Latency,
    Loss,
    LossCause,
    ModelId,
    ModelReport,
    Plan,
    Prediction,
    PreviousBoot,
    Reason,
    Reported,
    Running,
    State,
    StreamInfo,
    Telemetry,
    Want,
    decode,
    encode,
)
from edge_wire.trust import Envelope, Root

KINDS = [
    *(Prediction, Event, State, Info, Reported, Loss, Telemetry, Want, Plan, Assignment),
    *(Envelope, Root),
]
SHA = "0123456789abcdef" * 4
EXAMPLE = """
{"v":1,"boot":"000017-9f3c01d27a55e1b0","seq":18223,"t":"2026-11-02T10:15:30.123Z",
 "window_ms":2000,"clock":"synced","stream":"imu0",
 "model":{"name":"har","version":"1.4.2","sha":"3fa91c22"},"label":"walking","score":0.93,
 "top":[["walking",0.93],["idle",0.05]],
 "lat_ms":{"queue":1.2,"pre":0.8,"infer":4.1,"e2e":9.0},
 "lost_samples":0,"quality":"ok",
 "skipped_windows":0,"replayed":false}
"""
PREDICTION = Prediction(
    v=1,
    boot="000017-9f3c01d27a55e1b0",
    seq=18223,
    t="2026-11-02T10:15:30.123Z",
    window_ms=2000,
    clock="synced",
    stream="imu0",
    model=ModelId("har", "1.4.2", "3fa91c22"),
    label="walking",
    score=0.93,
    top=[("walking", 0.93), ("idle", 0.05)],
    lat_ms=Latency(queue=1.2, pre=0.8, infer=4.1, e2e=9.0),
    lost_samples=0,
    quality="ok",
)
HAR = ModelId("har", "1.4.2", "3fa91c22")
EVENT = Event(
    v=1,
    boot="000017-9f3c01d27a55e1b0",
    id="000017-9f3c01d27a55e1b0-3",
    n=8,
    kind="end",
    t="2026-11-02T10:15:30.123Z",
    start="2026-11-02T10:15:12.123Z",
    duration_ms=18000.0,
    clock="synced",
    stream="imu0",
    model=HAR,
    label="walking",
    score=0.41,
    peak=0.97,
    cause="over",
)
STATE = State(
    v=1,
    boot="000017-9f3c01d27a55e1b0",
    t="2026-11-02T10:15:30.123Z",
    clock="synced",
    stream="imu0",
    model=HAR,
    label="idle",
    score=0.83,
)
LOSS = Loss(1, "000001-00", "imu0", "har", 3, 9, LossCause.OUTBOX_FULL)
INFO = Info(
    v=1,
    device="press-07",
    agent="0.1.0",
    boot="000002-00",
    group="line-a",
    labels={"site": "x"},
    profile="linux-arm64",
    runtimes={"tflite": "2.1"},
    streams={"imu0": StreamInfo(50.0, (ChannelInfo("ax", "m/s2"),), "replay")},
    previous=PreviousBoot("000001-00", clean=False, last_seq={"imu0/har": 41}),
)
REPORTED = Reported(
    v=1,
    boot="000002-00",
    n=4,
    t="2026-11-02T10:15:30.123Z",
    models={"har": ModelReport(Running("1.0.0", "int8", SHA), "committed", held=(SHA,))},
    accepted=Accepted("line-a", "2026-11-02T10:00:00.000000Z"),
    reason=Reason.UNTRUSTED,
)

SENT = [PREDICTION, EVENT, STATE, LOSS, INFO, REPORTED]


def want(**fields: Any) -> bytes:
    return json.dumps({"v": 1, "blob": SHA, "missing": "3", **fields}).encode()


def plan(ranges: Any) -> bytes:
    return json.dumps({"v": 1, "blob": SHA, "ranges": ranges}).encode()


def test_prediction_is_the_contracts_example() -> None:
    assert json.loads(encode(PREDICTION)) == json.loads(EXAMPLE)
    assert list(json.loads(encode(PREDICTION))) == list(json.loads(EXAMPLE))
    assert decode(EXAMPLE.encode(), Prediction) == PREDICTION


def test_what_only_some_predictions_have_leaves_the_others_their_bytes() -> None:
    assert encode(PREDICTION) == b"".join(line.strip().encode() for line in EXAMPLE.splitlines())
    more = msgspec.structs.replace(
        PREDICTION,
        values=[("water", 61.5, "°C")],
        boxes=[("face", 0.9, 0.25, 0.5, 0.75, 1.0)],
    )
    said = json.loads(encode(more))
    assert said["values"] == [["water", 61.5, "°C"]]
    assert said["boxes"] == [["face", 0.9, 0.25, 0.5, 0.75, 1.0]]
    assert decode(encode(more), Prediction) == more


def test_loss_says_from_and_to() -> None:
    assert json.loads(encode(LOSS)) == {
        "v": 1,
        "boot": "000001-00",
        "stream": "imu0",
        "model": "har",
        "from": 3,
        "to": 9,
        "cause": "outbox_full",
    }


@pytest.mark.parametrize("message", [*SENT, Want(1, SHA, "3")])
def test_message_reads_back(message: Any) -> None:
    assert decode(encode(message), type(message)) == message


@pytest.mark.parametrize("message", [*SENT, Want(1, SHA, "3")])
def test_unknown_fields_are_ignored(message: Any) -> None:
    fields = json.loads(encode(message))
    more = {"new": {"deep": [1, None, "x"]}, **fields, "newer": 1.5}
    assert decode(json.dumps(more).encode(), type(message)) == message


@pytest.mark.parametrize(("limit", "kind"), [(MAX_MESSAGE_BYTES, Want), (MAX_DESIRED_BYTES, Want)])
def test_size_is_capped_to_the_byte(limit: int, kind: type[Want]) -> None:
    full = want().ljust(limit)
    assert decode(full, kind, limit) == Want(1, SHA, "3")
    with pytest.raises(MessageRefused, match=f"Want: {limit + 1} bytes, at most {limit}"):
        decode(full + b" ", kind, limit)


def test_usual_cap_is_that_of_a_message() -> None:
    decode(want().ljust(64 << 10), Want)
    with pytest.raises(MessageRefused, match="at most 65536"):
        decode(want().ljust((64 << 10) + 1), Want)


def test_size_is_refused_before_anything_is_parsed() -> None:
    with pytest.raises(MessageRefused, match="100001 bytes"):
        decode(b"[" * 100_001, Want)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xfe",
        b'{"v":1,"blob":"\xff"}',
        want().replace(b'"3"', b'"\xed\xa0\x80"'),
        want().replace(b'"3"', rb'"\udc00"'),
        want() + b"{}",
        b"\xef\xbb\xbf" + want(),
        b"null",
        b"[]",
        want().replace(b"1", b"1" * 5000),
        want().replace(b"1", b"1e999"),
        want().replace(b"1", b"NaN"),
        want(blob=SHA.upper()),
        want(blob=SHA[1:]),
        want(blob=SHA + "0"),
        want(blob=SHA + "\n"),
        want(missing=3),
    ],
)
def test_what_is_no_want_is_refused(data: bytes) -> None:
    with pytest.raises(MessageRefused, match="Want: "):
        decode(data, Want)


@pytest.mark.parametrize("ranges", [[[-1, 4]], [[-(1 << 62), 4]], [[0, -1]], [[0]], [[0, 1, 2]]])
def test_plan_of_chunks_that_cannot_be_is_refused(ranges: Any) -> None:
    with pytest.raises(MessageRefused, match="Plan: "):
        decode(plan(ranges), Plan)


def test_plan_reads_back() -> None:
    assert decode(plan([[0, 4], [6, 6]]), Plan) == Plan(1, SHA, [(0, 4), (6, 6)])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "unit", [b"[", b'{"a":', b'{"models":', b'{"signatures":[', b'{"v":[{"v":']
)
def test_deep_nesting_is_refused(unit: bytes, kind: type) -> None:
    depth = MAX_MESSAGE_BYTES // len(unit)
    with pytest.raises(MessageRefused):
        decode(unit * depth, kind)


def test_deep_nesting_in_an_unknown_field_is_refused() -> None:
    deep = b'{"new":' + b"[" * 30_000 + b"]" * 30_000 + b"," + want()[1:]
    with pytest.raises(MessageRefused):
        decode(deep, Want)


@given(st.binary(max_size=200), st.sampled_from(KINDS))
def test_random_bytes_are_refused(data: bytes, kind: type) -> None:
    with pytest.raises(MessageRefused):
        decode(data, kind)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.just("v"), inner),
    max_leaves=8,
)


@given(st.sampled_from(SENT), st.data())
def test_any_value_in_any_field_is_read_or_refused(message: Any, data: st.DataObject) -> None:
    fields = json.loads(encode(message))
    fields[data.draw(st.sampled_from(sorted(fields)))] = data.draw(json_values)
    with suppress(MessageRefused):
        assert isinstance(decode(json.dumps(fields).encode(), type(message)), type(message))


@given(st.sampled_from(SENT), st.data())
def test_any_changed_byte_is_read_or_refused(message: Any, data: st.DataObject) -> None:
    raw = bytearray(encode(message))
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    with suppress(MessageRefused):
        assert isinstance(decode(bytes(raw), type(message)), type(message))


@pytest.mark.parametrize("score", [float("nan"), float("inf"), float("-inf")])
def test_score_that_is_no_number_is_still_json(score: float) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    message = msgspec.structs.replace(PREDICTION, score=score, top=[("walking", score)])
    read = json.loads(encode(message), parse_constant=refuse)
    assert read["score"] is None
    assert read["top"] == [["walking", None]]
