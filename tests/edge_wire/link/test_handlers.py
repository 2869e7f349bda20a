"""Handlers that look, fail, or stop the link from inside."""

import pytest

from edge_wire import link as link_module
from edge_wire.broker import Broker
from edge_wire.link import Handlers, Link, Message
from tests.brokers import RunningBroker
from tests.edge_wire.link.owner import PATIENCE_S, Owner, eventually


def test_a_handler_that_fails_is_logged_and_the_link_goes_on(
    broker: RunningBroker, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[str] = []

    def fail(what: str) -> None:
        told.append(what)
        raise RuntimeError(what)

    def connected() -> None:
        link.subscribe(["t/#"])
        fail("connected")

    handlers = Handlers(
        connected,
        disconnected=lambda: fail("disconnected"),
        message=lambda topic, _payload, _retained: fail(topic),
        ack=lambda _ack: fail("ack"),
    )
    link = Link(Broker(broker.url), "owner", handlers)
    link.start()
    link.wait(PATIENCE_S)
    for n in (1, 2):
        eventually(lambda: told.count("connected") == n)  # noqa: B023
        assert link.connected
        link.publish(Message("t/x", b""))
        eventually(lambda: told.count("t/x") == told.count("ack") == n)  # noqa: B023
        if n == 1:
            broker.restart()
    link.stop()
    assert told.count("disconnected") == 2
    errors = [record.exc_info for record in caplog.records if record.name == link_module.__name__]
    assert sorted(str(error[1]) for error in errors if error) == sorted(told)


def test_a_handler_may_stop_the_link(shared_broker: RunningBroker) -> None:
    with Owner(shared_broker.url, "t/#") as owner:
        owner.link._handlers.message = lambda *_: owner.link.stop()
        owner.link.publish(Message("t/x", b""))
        eventually(lambda: owner.told == ["connected", "disconnected"])


def test_the_link_is_connected_when_it_says_so_and_not_when_it_says_otherwise(
    shared_broker: RunningBroker,
) -> None:
    said: list[tuple[str, bool]] = []
    handlers = Handlers(
        connected=lambda: said.append(("connected", link.connected)),
        disconnected=lambda: said.append(("disconnected", link.connected)),
    )
    link = Link(Broker(shared_broker.url), "owner", handlers)
    link.start()
    link.wait(PATIENCE_S)
    link.stop()
    assert said == [("connected", True), ("disconnected", False)]
