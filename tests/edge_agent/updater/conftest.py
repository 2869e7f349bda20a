"""What the tests of updates share: an agent that runs version 1, and versions to move to."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent import download
from edge_agent.store import Store
from edge_bundle.archive import Bundle
from tests.edge_agent.updater.bench import ROOM
from tests.edge_agent.whole_agent import Agent
from tests.simulators.operator import MODEL_2, Operator, make_release, prove


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_wire.link.BACKOFF_S", (0.02, 0.3))
    monkeypatch.setattr(download, "PATIENCE_S", (0.3, 1.0))


@pytest.fixture(scope="package")
def releases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundle]:
    folder = tmp_path_factory.mktemp("releases")
    return {
        "1": make_release(folder, "1.0.0"),
        "2": make_release(folder, "2.0.0", MODEL_2),
        "3": make_release(folder, "3.0.0"),
    }


@pytest.fixture
def running(operator: Operator, releases: dict[str, Bundle], tmp_path: Path) -> Iterator[Agent]:
    """An agent that runs version 1, by its configuration."""
    with Agent(operator.enrol(tmp_path, runs=releases["1"])) as agent:
        prove(agent.store, *releases.values())
        operator.wait_for_more(1)
        yield agent


@pytest.fixture
def stored(tmp_path: Path, releases: dict[str, Bundle]) -> Path:
    """A folder whose store holds all versions, which have proven themselves there."""
    store = Store(tmp_path / "store", ROOM)
    for bundle in releases.values():
        store.take_in(bundle.path)
    prove(store, *releases.values())
    return tmp_path
