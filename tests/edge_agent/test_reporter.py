import threading
from collections.abc import Callable

import pytest

from edge_agent.clock import WallClock
from edge_agent.reporter import Reporter
from edge_wire.broker import Broker
from edge_wire.errors import LinkError
from edge_wire.link import Ack, Handlers, Link, Message
from edge_wire.messages import (
    Accepted,
    Availability,
    Info,
    ModelReport,
    Reason,
    Reported,
    StreamInfo,
    decode,
)
from edge_wire.topics import Topics

INFO = Info(1, "d1", "0.1.0", "000001-ab", "g", {}, "generic", {}, {})


class Wire(Link):
    """A link that keeps what it is given, or is down."""

    def __init__(self) -> None:
        super().__init__(Broker("mqtt://127.0.0.1:1"), "d1", Handlers())
        self.up = True
        self.given: list[Message] = []

    def publish(self, message: Message) -> Ack:
        if not self.up:
            raise LinkError("down")
        self.given.append(message)
        return 1, len(self.given)

    def reports(self) -> list[Reported]:
        return [decode(m.payload, Reported) for m in self.given if m.topic.endswith("reported")]


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
def reporter(wire: Wire) -> Reporter:
    return Reporter(wire, Topics(), INFO, WallClock(lambda: True))


def model(state: str) -> ModelReport:
    return ModelReport(running=None, state=state)


def test_a_connect_says_everything_retained(wire: Wire, reporter: Reporter) -> None:
    reporter.announce()
    kinds = [m.topic.rsplit("/", 1)[1] for m in wire.given]
    assert kinds == ["info", "availability", "reported"]
    assert all(m.retain and m.qos == 1 for m in wire.given)
    assert wire.given[1].payload == b"online"
    assert decode(wire.given[0].payload, Info) == INFO


def test_what_happened_while_the_link_was_down_is_said_after_it(
    wire: Wire, reporter: Reporter
) -> None:
    wire.up = False
    reporter.set_model("watch", model("trial"))
    reporter.set_accepted(Accepted("g", "2026"))
    reporter.change_info(lambda i: Info(**{f: getattr(i, f) for f in i.__struct_fields__}))
    wire.up = True
    reporter.announce()
    report = wire.reports()[-1]
    assert report.models == {"watch": model("trial")}
    assert report.accepted == Accepted("g", "2026")


def test_the_same_state_is_not_said_twice(wire: Wire, reporter: Reporter) -> None:
    for state in ("trial", "trial", "committed", "committed"):
        reporter.set_model("watch", model(state))
    assert [r.models["watch"].state for r in wire.reports()] == ["trial", "committed"]


def test_a_refused_assignment_is_said_until_one_is_accepted(wire: Wire, reporter: Reporter) -> None:
    reporter.set_refused(Reason.UNTRUSTED, "not signed by a trusted key")
    reporter.set_model("watch", model("trial"))
    reporter.set_accepted(Accepted("g", "2026"))
    assert [(r.reason, r.detail) for r in wire.reports()] == [
        (Reason.UNTRUSTED, "not signed by a trusted key"),
        (Reason.UNTRUSTED, "not signed by a trusted key"),
        (None, ""),
    ]


def test_a_source_that_ended_is_said_in_the_birth_message(wire: Wire, reporter: Reporter) -> None:
    ended = {"imu0": StreamInfo(50.0, (), "replay", "ended")}
    reporter.change_info(lambda _info: Info(1, "d1", "0.1.0", "b", "g", {}, "generic", {}, ended))
    reporter.announce()
    infos = [decode(m.payload, Info) for m in wire.given if m.topic.endswith("info")]
    assert [i.streams["imu0"].state for i in infos] == ["ended", "ended"]


def test_stopping_is_said(wire: Wire, reporter: Reporter) -> None:
    reporter.say(Availability.STOPPED)
    assert [m.payload for m in wire.given] == [b"stopped"]


def test_reports_of_many_threads_are_numbered_in_the_order_of_the_wire(
    wire: Wire, reporter: Reporter
) -> None:
    def work(name: str) -> None:
        for n in range(50):
            reporter.set_model(name, model(f"{n}"))

    threads = [threading.Thread(target=work, args=(f"m{i}",)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    reports = wire.reports()
    assert [r.n for r in reports] == list(range(1, 201))
    assert {m.state for m in reports[-1].models.values()} == {"49"}


def test_changes_of_the_birth_message_by_many_threads_are_all_kept(
    wire: Wire, reporter: Reporter
) -> None:
    def label(name: str) -> Callable[[Info], Info]:
        return lambda i: Info(1, "d1", "0", "b", "g", {**i.labels, name: "x"}, "generic", {}, {})

    def work(name: str) -> None:
        for n in range(50):
            reporter.change_info(label(f"{name}{n}"))

    threads = [threading.Thread(target=work, args=(f"l{i}-",)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(decode(wire.given[-1].payload, Info).labels) == 200
