"""Another client of the broker that only listens: plain paho, that knows nothing of the project."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from tests.brokers import RunningBroker

PATIENCE_S = 15.0


@contextmanager
def subscribed(
    broker: RunningBroker, take: Callable[[paho.MQTTMessage], None], *topics: str
) -> Iterator[None]:
    """Hear what comes on topics, once the broker has taken the subscription."""
    ready = threading.Event()
    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.on_message = lambda _client, _data, message: take(message)
    client.on_subscribe = lambda *_: ready.set()
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    client.subscribe([(topic, 1) for topic in topics])
    assert ready.wait(PATIENCE_S)
    try:
        yield
    finally:
        client.disconnect()
        client.loop_stop()
