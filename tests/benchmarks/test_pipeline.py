"""The pipeline's benchmark sees an agent that tells something else, and one that waits."""

import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import msgspec
import numpy as np
import pytest

from edge_agent.replay import Replay
from edge_agent.slot import Made
from tests.parts import require_module

COUNT = 4


@pytest.fixture(autouse=True)
def _parts() -> None:
    for module in ("onnx", "onnxruntime"):
        require_module(module)


def test_what_is_published_is_compared_with_the_bare_loop_s_answer(tmp_path: Path) -> None:
    from benchmarks import models, pipeline
    from edge_bundle.runtimes.onnx import OnnxModel

    bundle = models.make_bundle(tmp_path, "mlp", models.make_mlp((8,)))
    samples = models.make_noise(models.WINDOW + (COUNT - 1) * models.HOP)
    recording = tmp_path / "noise.npz"
    np.savez(recording, values=samples)
    replay = Replay(bundle.path, str(recording))
    model = replay.inference.model
    assert isinstance(model, OnnxModel)
    windows = [samples[i * models.HOP :][: models.WINDOW] for i in range(COUNT)]

    def check(made: Iterator[Made]) -> None:
        pipeline.check_answers(model.session, windows, None, made)

    check(replay.run())
    for payload in (b"", b"x", b"{}", next(replay.run()).payload):
        told = (msgspec.structs.replace(made, payload=payload) for made in replay.run())
        with pytest.raises(SystemExit):
            check(told)


def test_agent_that_waits_misses_its_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks import models, pipeline

    def run_and_wait(made: Iterator[Made], count: int) -> None:
        for _ in islice(made, count):
            pass
        time.sleep(0.001)

    case = pipeline.Case(models.make_mlp((8,)), None, COUNT, 3)
    monkeypatch.setattr(pipeline, "run_ours", run_and_wait)
    checks = pipeline.measure("mlp", case)
    assert [check["name"] for check in checks if not check["ok"]] == ["mlp_waits"]
