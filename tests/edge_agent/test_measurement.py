"""What a board writes for a converter, measured with real runtimes in a real child."""

import json
import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest

from edge_agent import measurement
from edge_agent.measurement import Measured, measure, tabulate, write_profile
from edge_bundle.errors import ConfigError, ModelRefused, RuntimeMissing
from edge_bundle.latency import read_profile
from tests.edge_bundle.bundles import MODEL, WAKE_WORD, write_watch_bundle

ROOT = Path(__file__).parents[2]
HERE = "a board, one thread"
SECONDS = 0.1


def ignore(done: int) -> None:
    """Leave progress unseen."""


def digest(file: Path) -> str:
    return sha256(file.read_bytes()).hexdigest()


def test_files_of_every_kind_are_timed_by_the_digest_of_the_model(tmp_path: Path) -> None:
    bundle = write_watch_bundle(tmp_path)
    rounds: list[int] = []
    found = measure([MODEL, WAKE_WORD, bundle.path], 1, SECONDS, rounds.append)
    assert [m.file for m in found] == [str(MODEL), str(WAKE_WORD), str(bundle.path)]
    assert [m.sha256 for m in found] == [digest(MODEL), digest(WAKE_WORD), digest(MODEL)]
    assert all(m.latency_us > 0 for m in found)
    assert rounds == list(range(1, measurement.ROUNDS + 1))


def test_profile_is_what_edge_convert_reads_and_grows(tmp_path: Path) -> None:
    out = tmp_path / "profile.json"
    write_profile([Measured("a", "a" * 64, 10.126), Measured("b", "b" * 64, 5.0)], HERE, out)
    write_profile([Measured("a", "a" * 64, 12.0)], HERE, out)
    profile = read_profile(out)
    assert (profile.machine, profile.latency_us) == (HERE, {"a" * 64: 12.0, "b" * 64: 5.0})
    assert out.stat().st_mode & 0o777 == 0o644


def test_profile_of_another_machine_or_something_else_stays(tmp_path: Path) -> None:
    out = tmp_path / "profile.json"
    found = [Measured("a", "a" * 64, 1.0)]
    write_profile(found, "another board", out)
    before = out.read_bytes()
    with pytest.raises(ConfigError, match="of another board; this is a board, one thread: name"):
        write_profile(found, HERE, out)
    assert out.read_bytes() == before
    out.write_text("notes")
    with pytest.raises(ConfigError, match=r"expected \{machine, latency_us by sha256\}"):
        write_profile(found, HERE, out)
    assert out.read_text() == "notes"
    with pytest.raises(ConfigError, match="File name too long"):
        write_profile(found, HERE, tmp_path / ("n" * 300))
    with pytest.raises(ConfigError, match="No such file or directory"):
        write_profile(found, HERE, tmp_path / "nowhere" / "profile.json")


def test_file_that_ends_the_process_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A child whose runtime aborts on the second file, as real models make it.
    (tmp_path / "sitecustomize.py").write_text(
        "import os\n"
        "import edge_bundle.runtimes.tflite as runtime\n"
        "runtime.TfliteModel = lambda *_: os.abort()\n"
    )
    paths = os.pathsep.join([str(tmp_path), str(ROOT)])
    monkeypatch.setenv("PYTHONPATH", paths)
    with pytest.raises(ModelRefused, match=r"hey_jarvis\.tflite: it ended the process that ran it"):
        measure([MODEL, WAKE_WORD], 1, SECONDS, ignore)


def test_what_is_no_model_or_not_there_is_named(tmp_path: Path) -> None:
    file = tmp_path / "notes.onnx"
    file.write_text("not a model")
    with pytest.raises(ModelRefused, match=rf"{file}: onnxruntime .*protobuf"):
        measure([MODEL, file], 1, SECONDS, ignore)
    with pytest.raises(ConfigError, match=r"none\.onnx: No such file or directory"):
        measure([tmp_path / "none.onnx"], 1, SECONDS, ignore)
    file.write_bytes(b"PK\x03\x04 no bundle")
    with pytest.raises(Exception, match=str(file)):
        measure([file], 1, SECONDS, ignore)


def test_missing_runtime_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import edge_bundle.runtimes.loader as loader\nloader.PACKAGES['tflite'] = ()\n"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(ROOT)]))
    with pytest.raises(RuntimeMissing, match=r"pip install 'edgeward\[tflite\]'"):
        measure([MODEL, WAKE_WORD], 1, SECONDS, ignore)


def test_table_holds_each_file_against_the_first() -> None:
    lines = tabulate([Measured("f", "", 200.0), Measured("q", "", 90.0)]).splitlines()
    assert [line.split() for line in lines[1:]] == [
        ["f", "200.0", "1"],
        ["q", "90.0", "0.45"],
    ]


def test_command_prints_one_object_and_writes_the_profile(tmp_path: Path) -> None:
    out = tmp_path / "profile.json"
    command = [sys.executable, "-m", "edge_agent", "measure", str(MODEL), "--seconds", "0.1"]
    ended = subprocess.run(
        [*command, "--out", str(out), "--json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    told = json.loads(ended.stdout)
    assert told["profile"] == str(out)
    assert told["measured"][0]["sha256"] == digest(MODEL)
    assert told["machine"] == read_profile(out).machine
    assert "onnxruntime" in told["machine"]
    missing = subprocess.run(
        [*command[:-2], str(tmp_path / "no.onnx")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert missing.returncode == 2
    assert missing.stderr.strip().endswith("no.onnx: No such file or directory")
