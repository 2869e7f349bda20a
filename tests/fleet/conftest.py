"""What the tests of this folder share: one broker where both are not the point, and a fleet."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.brokers import RunningBroker, find_mosquitto, run_broker
from tests.fleet.world import World


@pytest.fixture
def one_broker(tmp_path: Path) -> Iterator[RunningBroker]:
    """The quicker broker of those that are there."""
    with run_broker("mosquitto" if find_mosquitto() else "embedded", tmp_path) as running:
        yield running


@pytest.fixture
def world(one_broker: RunningBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A new fleet at a broker that is running, and so near that little patience is needed."""
    monkeypatch.setattr("fleet.session.QUIET_S", 0.15)
    monkeypatch.setattr("fleet.office.SETTLE_S", 0.25)
    return World(tmp_path, one_broker.url)
