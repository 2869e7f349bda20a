"""Topics are built as the contract has them, and only such are read back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_wire.errors import MessageRefused
from edge_wire.topics import Topics, check_identifier

SHA = "3f" * 32
NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True)
TOPICS = Topics()


def test_topics_are_the_contracts() -> None:
    assert TOPICS.desired("greenhouse") == "edge/v1/fleet/greenhouse/desired"
    assert TOPICS.chunk(SHA, 7) == f"edge/v1/blob/{SHA}/c/7"
    assert TOPICS.chunk(SHA, "+") == f"edge/v1/blob/{SHA}/c/+"
    assert TOPICS.plan(SHA) == f"edge/v1/blob/{SHA}/plan"
    for kind in ("want", "availability", "info", "reported", "loss"):
        assert TOPICS.device("pi-1", kind) == f"edge/v1/dev/pi-1/{kind}"
    assert TOPICS.prediction("pi-1", "imu0", "har") == "edge/v1/dev/pi-1/pred/imu0/har"
    assert TOPICS.event("pi-1", "imu0", "har") == "edge/v1/dev/pi-1/event/imu0/har"
    assert TOPICS.state("pi-1", "imu0", "har") == "edge/v1/dev/pi-1/state/imu0/har"


def test_root_stands_before_every_topic() -> None:
    topics = Topics("acme/edge")
    assert topics.desired("g") == "acme/edge/fleet/g/desired"
    assert topics.read_device("acme/edge/dev/d/info") == ("d", "info")
    assert topics.read_chunk(f"acme/edge/blob/{SHA}/c/0") == (SHA, 0)
    with pytest.raises(MessageRefused):
        topics.read_device(TOPICS.device("d", "info"))


@given(NAMES, NAMES)
def test_device_is_read_back(device: str, kind: str) -> None:
    assert TOPICS.read_device(TOPICS.device(device, kind)) == (device, kind)


@given(st.integers(0, 9_999_999))
def test_chunk_is_read_back(number: int) -> None:
    assert TOPICS.read_chunk(TOPICS.chunk(SHA, number)) == (SHA, number)


def test_what_a_model_says_is_read_as_its_devices() -> None:
    assert TOPICS.read_device(TOPICS.prediction("d", "imu0", "har")) == ("d", "pred")
    assert TOPICS.read_device(TOPICS.event("d", "imu0", "har")) == ("d", "event")
    assert TOPICS.read_device(TOPICS.state("d", "imu0", "har")) == ("d", "state")


@pytest.mark.parametrize(
    "topic",
    [
        "",
        "edge/v1/dev",
        "edge/v1/dev/",
        "edge/v1/dev/d",
        "edge/v1/dev/d/info/x",
        "edge/v1/dev/d/info\n",
        "edge/v1/dev//info",
        "edge/v1/dev/+/info",
        "edge/v1/dev/d/pred/imu0",
        "edge/v1/dev/d/event/imu0/har/x",
        "edge/v1/dev/d/xevent/imu0/har",
        "edge/v1/dev/d/pred/imu0/har/x",
        "edge/v1/dev/d/want/imu0/har",
        "edge/v1/dev/d/#",
        "edge/v2/dev/d/info",
        "edgeXv1/dev/d/info",
        "x" * 9999,
    ],
)
def test_topic_that_is_no_devices_is_refused_in_few_words(topic: str) -> None:
    with pytest.raises(MessageRefused, match="expected edge/v1/dev/DEVICE/KIND") as refusal:
        TOPICS.read_device(topic)
    assert len(str(refusal.value)) < 300


@pytest.mark.parametrize(
    "topic",
    [
        "",
        f"edge/v1/blob/{SHA}/plan",
        f"edge/v1/blob/{SHA}/c/",
        f"edge/v1/blob/{SHA}/c/-1",
        f"edge/v1/blob/{SHA}/c/12345678",
        f"edge/v1/blob/{SHA}/c/007",
        f"edge/v1/blob/{SHA}/c/" + "9" * 60_000,
        f"edge/v1/blob/{SHA}/c/+",
        f"edge/v1/blob/{SHA}/c/1/2",
        f"edge/v1/blob/{SHA}/c/1\n",
        f"edge/v1/blob/{SHA}/c/\N{ARABIC-INDIC DIGIT THREE}",
        f"edge/v1/blob/{SHA.upper()}/c/1",
        f"edge/v1/blob/{SHA[1:]}/c/1",
        f"edgeXv1/blob/{SHA}/c/1",
        f"x/edge/v1/blob/{SHA}/c/1",
    ],
)
def test_topic_that_is_no_chunks_is_refused(topic: str) -> None:
    with pytest.raises(MessageRefused, match="expected edge/v1/blob/SHA256/c/NUMBER"):
        TOPICS.read_chunk(topic)


@given(NAMES)
def test_identifier_is_returned(text: str) -> None:
    assert check_identifier(text) == text


@pytest.mark.parametrize(
    "text", ["", "a/b", "a+", "#", "a b", "-a", ".a", "..", "a\n", "a\0", "ä", "a" * 65]
)
def test_what_would_break_a_topic_is_no_identifier(text: str) -> None:
    with pytest.raises(ValueError, match="expected 1 to 64 letters"):
        check_identifier(text)
