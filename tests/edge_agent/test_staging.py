import contextlib
import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edge_agent import staging
from edge_agent.staging import StagingFailed, stage
from edge_bundle.archive import Bundle, write_bundle
from edge_bundle.decision.rules import Classification
from edge_bundle.manifest import Golden, Limits, Tensor, Tensors
from edge_wire.messages import Reason
from tests.edge_bundle.bundles import (
    LABELS,
    MODEL,
    watch_manifest,
    watch_windows,
    write_small_bundle,
    write_watch_bundle,
)

ENDLESS = 1 << 50


def never_ending_model() -> bytes:
    """Return an ONNX model that loads, and then counts for years."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["on"], ["on_out"]),
            helper.make_node("Neg", ["s"], ["s_out"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("s", TensorProto.FLOAT, [1, 7]),
        ],
        [
            helper.make_tensor_value_info("on_out", TensorProto.BOOL, []),
            helper.make_tensor_value_info("s_out", TensorProto.FLOAT, [1, 7]),
        ],
    )
    graph = helper.make_graph(
        [
            helper.make_node("Slice", ["X", "begin", "end"], ["start"]),
            helper.make_node("Loop", ["count", "", "start"], ["probabilities"], body=body),
        ],
        "endless",
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, [1, 600])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [1, 7])],
        [
            helper.make_tensor("count", TensorProto.INT64, [], [ENDLESS]),
            helper.make_tensor("begin", TensorProto.INT64, [2], [0, 0]),
            helper.make_tensor("end", TensorProto.INT64, [2], [1, 7]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    data: bytes = model.SerializeToString()
    return data


@pytest.fixture
def hanging(tmp_path: Path) -> Bundle:
    golden = io.BytesIO()
    np.savez(golden, windows=watch_windows(1), scores=np.zeros((1, 7), np.float32))
    manifest = watch_manifest(
        tensors=Tensors(
            inputs=(Tensor("X", (1, 600), "float32"),),
            outputs=(Tensor("probabilities", (1, 7), "float32"),),
        ),
        decision=Classification(labels=LABELS),
    )
    files = {"model.onnx": never_ending_model(), "golden.npz": golden.getvalue()}
    return write_bundle(tmp_path, manifest, files)


def children_of(bundle: Bundle) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            command = (entry / "cmdline").read_text().split("\0")
            if "edge_agent.staging" in command and str(bundle.path) in command:
                found.append(int(entry.name))
    return found


def wait_until(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@contextlib.contextmanager
def when_it_hangs(bundle: Bundle, do: Callable[[int], None]) -> Iterator[None]:
    """Do something to the child once it is at work."""

    def watch() -> None:
        wait_until(lambda: bool(children_of(bundle)))
        do(children_of(bundle)[0])

    thread = threading.Thread(target=watch)
    thread.start()
    yield
    thread.join()


def test_a_good_bundle_is_proven_and_timed(tmp_path: Path) -> None:
    verdict = stage(write_watch_bundle(tmp_path), 1, "generic")
    assert verdict is not None
    assert verdict.ok
    assert 0 < verdict.window_ms < 1000


def test_golden_vectors_that_do_not_come_out_are_refused(tmp_path: Path) -> None:
    golden = io.BytesIO()
    np.savez(golden, windows=watch_windows(2), scores=np.full((2, 7), 0.5, np.float32))
    manifest = watch_manifest(golden=Golden(file="golden.npz", tolerance=0.01))
    files = {"model.onnx": MODEL.read_bytes(), "golden.npz": golden.getvalue()}
    bundle = write_bundle(tmp_path, manifest, files)
    with pytest.raises(StagingFailed, match=r"golden scores off by .*, tolerance 0.01") as failed:
        stage(bundle, 1, "generic")
    assert failed.value.reason is Reason.GOLDEN_FAILED


def test_a_file_that_is_no_model_is_refused_with_what_the_runtime_says(tmp_path: Path) -> None:
    with pytest.raises(StagingFailed, match="onnxruntime") as failed:
        stage(write_small_bundle(tmp_path), 1, "generic")
    assert failed.value.reason is Reason.LOAD_FAILED


def test_a_bundle_that_was_damaged_meanwhile_is_refused(tmp_path: Path) -> None:
    bundle = write_watch_bundle(tmp_path)
    bundle.path.write_bytes(bundle.path.read_bytes()[:-7])
    with pytest.raises(StagingFailed, match="expected") as failed:
        stage(bundle, 1, "generic")
    assert failed.value.reason is Reason.LOAD_FAILED


@pytest.mark.parametrize("profile", ["raspberry-pi-4", "generic"])
def test_a_model_slower_than_its_limit_for_this_profile_is_refused(
    tmp_path: Path, profile: str
) -> None:
    limits = Limits(latency_ms={"default": 1000.0, "raspberry-pi-4": 1e-6})
    bundle = write_watch_bundle(tmp_path, limits=limits)
    if profile == "generic":
        assert stage(bundle, 1, profile)
        return
    with pytest.raises(StagingFailed, match=r"limits\.latency_ms allows 1e-06 ms"):
        stage(bundle, 1, profile)


def test_a_model_that_ends_its_process_is_refused_and_we_live(hanging: Bundle) -> None:
    with (
        when_it_hangs(hanging, lambda pid: os.kill(pid, signal.SIGSEGV)),
        pytest.raises(StagingFailed, match="ended its process: signal 11") as failed,
    ):
        stage(hanging, 1, "generic")
    assert failed.value.reason is Reason.LOAD_FAILED


def test_a_model_that_never_answers_is_refused_and_leaves_no_process(
    hanging: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staging, "TIMEOUT_S", 0.5)
    with pytest.raises(StagingFailed, match=r"no verdict within 0\.5 s"):
        stage(hanging, 1, "generic")
    assert children_of(hanging) == []


def test_staging_ends_at_once_when_it_is_cancelled(hanging: Bundle) -> None:
    stop = threading.Event()
    with when_it_hangs(hanging, lambda _pid: stop.set()):
        began = time.monotonic()
        assert stage(hanging, 1, "generic", stop.is_set) is None
    assert time.monotonic() - began < 5
    assert children_of(hanging) == []


@pytest.mark.parametrize("wait_s", [0.0, 0.5])
def test_a_killed_agent_leaves_no_staging_process_behind(hanging: Bundle, wait_s: float) -> None:
    script = (
        "import sys; from pathlib import Path; from edge_bundle.archive import read_bundle;"
        "from edge_agent.staging import stage; stage(read_bundle(Path(sys.argv[1])), 1, 'generic')"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(hanging.path)]) as agent:
        wait_until(lambda: bool(children_of(hanging)))
        time.sleep(wait_s)
        agent.kill()
    wait_until(lambda: not children_of(hanging))
