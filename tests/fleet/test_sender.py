"""What is asked for leaves once, in bounds, and only to whom it is meant for."""

import hashlib
import logging
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from edge_wire.blob import encode_blob
from edge_wire.chunks import Receipt, make_index, to_bitmap
from edge_wire.errors import LinkError
from edge_wire.link import Ack, Message
from edge_wire.messages import Plan, Want, decode, encode
from edge_wire.topics import Topics
from fleet.sender import MAX_UNACKED, Offer, Sender

TOPICS = Topics()
CHUNKS = 40
"""Without the index."""


class Wire:
    """Takes what is published, and confirms it when it is told to."""

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.down = False
        self._confirmed = 0

    def publish(self, message: Message) -> Ack:
        if self.down:
            raise LinkError("down")
        self.sent.append(message)
        return 1, len(self.sent)

    def confirm(self, sender: Sender) -> None:
        for n in range(self._confirmed, len(self.sent)):
            sender.on_ack((1, n + 1))
        self._confirmed = len(self.sent)

    def chunks(self) -> list[int]:
        return [TOPICS.read_chunk(m.topic)[1] for m in self.sent if "/c/" in m.topic]

    def plans(self) -> list[bytes]:
        return [m.payload for m in self.sent if m.topic.endswith("/plan")]


@pytest.fixture
def offer(tmp_path: Path) -> Offer:
    data = bytes(range(256)) * 4 * CHUNKS
    _, encoding = encode_blob(data, 1024)
    # The blob as it is not compressed: only its chunks matter here.
    file = tmp_path / "blob"
    file.write_bytes(data)
    encoding = msgspec.structs.replace(encoding, length=len(data))
    return Offer(encoding, file, make_index(data, 1024), frozenset({"g"}))


def want(offer: Offer, numbers: set[int]) -> bytes:
    return encode(Want(1, offer.encoding.blob_sha256, to_bitmap(numbers)))


def make(offer: Offer) -> tuple[Wire, Sender]:
    wire = Wire()
    sender = Sender(wire.publish, TOPICS, settle_s=0.2)
    sender.offer([offer])
    return wire, sender


def test_wants_within_the_settle_time_are_announced_and_sent_once(offer: Offer) -> None:
    wire, sender = make(offer)
    assert sender.wait_s(0.0) is None
    sender.on_want("d1", "g", want(offer, {0, 1, 2}), 0.0)
    sender.on_want("d2", "g", want(offer, {2, 3, 7}), 0.1)
    sender.work(0.1)
    assert wire.sent == []
    assert sender.wait_s(0.1) == pytest.approx(0.1)
    sender.work(0.2)
    assert [decode(p, Plan).ranges for p in wire.plans()] == [[(0, 3), (7, 7)]]
    assert wire.chunks() == [0, 1, 2, 3, 7]
    assert sender.bytes_sent == 32 * CHUNKS + 4 * 1024
    receipt = Receipt(offer.encoding.length, 1024, hashlib.sha256(offer.index).hexdigest())
    assert all(
        receipt.accept(n, m.payload) for n, m in zip(wire.chunks(), wire.sent[1:], strict=True)
    )


def test_no_more_than_a_window_is_on_its_way_without_confirmation(offer: Offer) -> None:
    wire, sender = make(offer)
    everything = set(range(CHUNKS + 1))
    sender.on_want("d1", "g", want(offer, everything), 0.0)
    for _ in range(CHUNKS):
        before = len(wire.chunks())
        sender.work(1.0)
        sender.work(1.0)
        assert len(wire.chunks()) - before <= MAX_UNACKED
        wire.confirm(sender)
    assert wire.chunks() == sorted(everything)


def test_a_chunk_that_waits_is_not_queued_twice_but_one_that_left_is_sent_again(
    offer: Offer,
) -> None:
    wire, sender = make(offer)
    sender.on_want("d1", "g", want(offer, set(range(CHUNKS))), 0.0)
    sender.work(1.0)
    sender.on_want("d2", "g", want(offer, {0, CHUNKS - 1}), 1.0)
    for _ in range(5):
        sender.work(2.0)
        wire.confirm(sender)
    assert wire.chunks().count(0) == 2
    assert wire.chunks().count(CHUNKS - 1) == 1


def test_what_another_sender_announces_is_left_to_it(offer: Offer) -> None:
    wire, sender = make(offer)
    sender.on_want("d1", "g", want(offer, {0, 1, 2}), 0.0)
    sender.on_plan(encode(Plan(1, offer.encoding.blob_sha256, [(1, 4)])))
    sender.work(0.2)
    assert wire.chunks() == [0]
    # It stays silent, so the device asks again, and is served.
    sender.on_want("d1", "g", want(offer, {1, 2}), 3.0)
    sender.on_plan(wire.plans()[0])  # the broker sends us our own, which says nothing new
    sender.work(3.2)
    assert wire.chunks() == [0, 1, 2]


def test_who_may_not_have_it_or_asks_too_often_gets_nothing(
    offer: Offer, caplog: pytest.LogCaptureFixture
) -> None:
    wire, sender = make(offer)
    everything = set(range(CHUNKS + 1))
    with caplog.at_level(logging.WARNING):
        sender.on_want("d1", "other", want(offer, {0}), 0.0)
        sender.on_want("d1", "g", encode(Want(1, "f" * 64, "1")), 0.0)
        sender.on_want("d1", "g", encode(Want(1, offer.encoding.blob_sha256, "f" * 99)), 0.0)
        sender.on_want("d1", "g", b"{", 0.0)
    assert sender.wait_s(0.0) is None
    assert len(caplog.records) == 4
    caplog.clear()
    for n in range(10):
        sender.on_want("d1", "g", want(offer, everything), float(n))
        for _ in range(5):
            sender.work(n + 0.5)
            wire.confirm(sender)
    assert len(wire.chunks()) == 3 * len(everything)
    assert len(caplog.records) == 1
    sender.on_want("d2", "g", want(offer, {5}), 20.0)
    sender.work(21.0)
    assert wire.chunks()[-1] == 5


def test_after_a_lost_connection_who_still_lacks_something_asks_again(offer: Offer) -> None:
    wire, sender = make(offer)
    sender.on_want("d1", "g", want(offer, set(range(CHUNKS))), 0.0)
    sender.work(1.0)
    wire.down = True
    sender.on_ack((1, 2))
    sender.work(1.1)
    sender.on_disconnected()
    wire.down = False
    sender.work(1.2)
    sent = len(wire.chunks())
    sender.on_want("d1", "g", want(offer, {30}), 4.0)
    sender.work(5.0)
    assert wire.chunks()[sent:] == [30]


def test_a_blob_that_is_gone_from_the_disk_stops_nobody_else(offer: Offer, tmp_path: Path) -> None:
    wire, sender = make(offer)
    sender.offer([replace(offer, file=tmp_path / "gone")])
    sender.on_want("d1", "g", want(offer, {0, 1}), 0.0)
    sender.work(1.0)
    assert wire.chunks() == [0]
