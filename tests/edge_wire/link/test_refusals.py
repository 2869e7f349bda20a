"""Why there is no connection: the link says so, and survives whatever answered."""

import socket
import threading

import pytest

from edge_wire import link as link_module
from edge_wire.broker import Broker
from tests.brokers import RunningBroker, free_port
from tests.edge_wire.link.owner import (
    Owner,
    accept_client,
    eventually,
    refusal,
    stranger,
    threads,
    wait_for_end,
)


def test_says_that_nobody_listens() -> None:
    port = free_port()
    said = refusal(Broker(f"mqtt://127.0.0.1:{port}"))
    assert said.startswith(f"broker 127.0.0.1:{port}: ")
    assert "refused" in said


def test_says_that_a_name_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(*_args: object, **_kwargs: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    # Where there is no network, a resolver may take longer than anybody waits.
    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    said = refusal(Broker("mqtt://nowhere.invalid"))
    assert said.startswith("broker nowhere.invalid:1883: ")
    assert "Name or service not known" in said


def test_says_that_tls_is_not_spoken_there(shared_broker: RunningBroker) -> None:
    said = refusal(Broker(f"mqtts://127.0.0.1:{shared_broker.port}"))
    assert "SSL" in said or "reset" in said


def test_says_that_a_broker_hung_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_module, "BACKOFF_S", (0.01, 0.01))
    with stranger(lambda client: client.close()) as url:
        assert "hung up without an answer" in refusal(Broker(url))


def test_says_that_a_broker_did_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_module, "CONNECT_S", 0.1)
    with stranger(wait_for_end) as url:
        assert "no answer within 0.1 s" in refusal(Broker(url))


def test_survives_what_mqtt_has_no_room_for() -> None:
    with stranger(wait_for_end) as url:
        owner = Owner(Broker(url, user="u", password="p" * 65_536))
        owner.link.start()
        eventually(lambda: owner.link.problem != "no answer yet" or not threads())
        assert threads()
        owner.link.stop()


def test_survives_what_is_not_mqtt(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(link_module, "BACKOFF_S", (0.01, 0.01))
    answers = [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x20\x00", b"\x20\x01\x00", b"\xff" * 99]
    left = list(answers)
    served = threading.Event()

    def serve(client: socket.socket) -> None:
        if left:
            client.recv(4096)
            client.sendall(left.pop())
            return
        accept_client(client)
        served.set()
        wait_for_end(client)

    with stranger(serve) as url, Owner(url) as owner:
        assert served.is_set()
        assert owner.told == ["connected"]
    assert all(record.name == link_module.__name__ for record in caplog.records)
