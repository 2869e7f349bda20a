"""An operator for an agent, and the broker between them."""

from collections.abc import Iterator

import pytest

from tests.brokers import RunningBroker, run_broker
from tests.simulators.operator import Operator


@pytest.fixture(scope="module")
def one_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBroker]:
    """A broker for many tests: each operator has a root of topics of its own."""
    with run_broker("embedded", tmp_path_factory.mktemp("broker")) as broker:
        yield broker


@pytest.fixture
def operator(one_broker: RunningBroker) -> Iterator[Operator]:
    with Operator(one_broker.url) as connected:
        yield connected
