"""A whole agent in this process, and what is asked of every one."""

import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec
import pytest

from edge_agent import loading, staging
from edge_agent.config import load_config
from edge_agent.life import Life
from edge_agent.service import Service
from edge_bundle.archive import Bundle
from edge_bundle.errors import ModelRefused
from edge_bundle.features.runner import Fresh
from edge_bundle.inference import Inference
from edge_bundle.tensor import Float32Array
from tests.simulators.operator import MODEL_2, Operator, make_release


class Agent:
    """A whole agent in this process; use as a context manager."""

    def __init__(self, config: Path) -> None:
        self.service = Service(load_config(config))
        self.boot = self.service._boot
        self.store = self.service._store
        self._thread = threading.Thread(target=self._run, name="agent")

    def _run(self) -> None:
        self.service.start()
        self.service.run()

    def __enter__(self) -> "Agent":  # noqa: PYI034
        self._thread.start()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.service.stop()
        self._thread.join(20)
        assert not self._thread.is_alive()

    @property
    def life(self) -> Life:
        return self.service._updater._places["watch"].life


def assert_unbroken(operator: Operator, boot: str) -> None:
    """Check that every number came once, in order, and no sample was lost."""
    predictions = [p for p in operator.seen().predictions if p.boot == boot]
    assert [p.seq for p in predictions] == list(range(len(predictions)))
    assert sum(p.lost_samples for p in predictions) == 0


def count_stagings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that grows by the version of whatever is staged."""
    staged = []
    stage = staging.stage

    def count(bundle: Bundle, *more: Any) -> staging.Verdict | None:
        staged.append(bundle.manifest.version)
        return stage(bundle, *more)

    monkeypatch.setattr(loading, "stage", count)
    return staged


def break_model(monkeypatch: pytest.MonkeyPatch, version: str) -> Callable[[], None]:
    """Let a version fail at every window from when the returned function is called."""
    broken = threading.Event()
    scores = Inference.scores

    def fail(self: Inference, window: Float32Array, fresh: Fresh = None) -> Float32Array:
        if broken.is_set() and self.manifest.version == version:
            raise ModelRefused("a node failed")
        return scores(self, window, fresh)

    monkeypatch.setattr(Inference, "scores", fail)
    return broken.set


def with_false_golden(folder: Path) -> Bundle:
    """Write version 2's weights with the golden vectors of version 1."""
    from edge_bundle.archive import write_bundle

    first = make_release(folder, "1.0.0")
    files = {"model.onnx": MODEL_2.read_bytes(), "golden.npz": first.read("golden.npz")}
    manifest = msgspec.structs.replace(first.manifest, version="2.0.0")
    return write_bundle(folder, manifest, files)
