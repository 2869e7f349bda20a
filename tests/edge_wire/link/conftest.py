"""What the tests of the link share: it loses no time, and leaves nothing behind."""

import gc
from collections.abc import Iterator

import pytest

from edge_wire import link as link_module
from tests.edge_wire.link.owner import threads


@pytest.fixture(autouse=True)
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_module, "BACKOFF_S", (0.02, 0.3))


@pytest.fixture(scope="module", autouse=True)
def _what_was_there_before() -> Iterator[None]:
    """Is not looked through for what a test left."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    """No thread; and no socket, whose warning would be this test's error."""
    yield
    assert threads() == []
    gc.collect()
