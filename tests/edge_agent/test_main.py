"""The command only translates, and costs a device nothing that it does not use."""

import pkgutil
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import edge_agent
from edge_bundle import VERSION
from tests.brokers import RunningBroker
from tests.edge_bundle.bundles import RECORDING, write_small_bundle
from tests.simulators.operator import Operator, make_release

ROOT = Path(__file__).parents[2]
SENSORS = {
    "serial",
    "smbus2",
    "sounddevice",
    "cv2",
    "picamera2",
    "psutil",
    "pymicro_features",
}
"""Libraries of the extras that one kind of source or one feature needs."""
HEAVY = SENSORS | {
    "onnx",
    "onnxruntime",
    "ai_edge_litert",
    "tflite_runtime",
    "tensorflow",
    "torch",
    "pandas",
    "sklearn",
    "rich",
    "scipy",
    "librosa",
}


def run(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *args], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )


def loaded_by(code: str) -> set[str]:
    done = run("-c", f"import sys\n{code}\nprint(*sys.modules, file=sys.stderr)")
    assert done.returncode == 0
    return {name.partition(".")[0] for name in done.stderr.split()}


def test_importing_every_module_loads_no_runtime() -> None:
    names = [m.name for m in pkgutil.walk_packages(edge_agent.__path__, "edge_agent.")]
    assert "edge_agent.service" in names
    assert not HEAVY & loaded_by(f"import {', '.join(names)}")


def test_help_loads_nothing_but_the_command_line() -> None:
    code = (
        "from edge_agent.__main__ import main\nsys.argv = ['edge-agent', '--help']\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code"
    )
    unwanted = {"numpy", "paho", "msgspec", "cryptography", "zstandard"}
    assert not (HEAVY | unwanted) & loaded_by(code)


def test_start_loads_nothing_that_only_a_person_an_update_or_a_refusal_needs(
    tmp_path: Path,
) -> None:
    missing = tmp_path / "gone.toml"
    code = (
        "from edge_agent.__main__ import main\n"
        f"sys.argv = ['edge-agent', 'run', {str(missing)!r}]\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert end.code == 2\n"
        "import edge_agent.sources.replay"
    )
    needless = {"click", "cryptography", "difflib", "subprocess", "zstandard"}
    needless -= loaded_by("import numpy, paho.mqtt.client")  # Python 3.10's load some
    loaded = loaded_by(code)
    assert "msgspec" in loaded
    assert not needless & loaded


def test_agent_that_replays_loads_no_library_of_a_sensor(
    embedded: RunningBroker, tmp_path: Path
) -> None:
    with Operator(embedded.url) as operator:
        config = operator.enrol(tmp_path, runs=make_release(tmp_path, "1.0.0"))
        code = (
            "import sys\nfrom pathlib import Path\nfrom edge_agent.launch import launch\n"
            f"launch(Path({str(config)!r}))\nprint(*sys.modules)"
        )
        agent = subprocess.Popen(
            [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        try:
            operator.wait_for_more(3)
            agent.send_signal(signal.SIGTERM)
            loaded = {name.partition(".")[0] for name in agent.communicate(timeout=60)[0].split()}
        finally:
            agent.kill()
            agent.wait()
    assert agent.returncode == 0
    assert "onnxruntime" in loaded
    assert not SENSORS & loaded


def test_help_takes_less_than_a_third_of_a_second() -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = run("-m", "edge_agent", "--help")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert all(command in done.stdout for command in ("run", "replay", "trust"))
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert spent < 0.3


def test_version_is_that_of_the_package() -> None:
    assert run("-m", "edge_agent", "--version").stdout == f"edge-agent, version {VERSION}\n"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "no command given; see edge-agent --help"),
        (["rub"], "No such command 'rub'."),
        (["replay"], "Missing argument 'BUNDLE'."),
        (["replay", "a", "b", "--threads", "0"], "Invalid value for '--threads'"),
        (["run", "gone.toml"], "gone.toml: No such file or directory"),
        (["run", "-v", "gone.toml"], "gone.toml: No such file or directory"),
        (["run"], "Missing argument 'CONFIG'."),
        (["run", "a.toml", "b.toml"], "Got unexpected extra argument (b.toml)"),
        (["run", "--verbos"], "No such option '--verbos'"),
        (["trust", "gone.toml", "root.json"], "gone.toml: No such file or directory"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(args: list[str], message: str) -> None:
    done = run("-m", "edge_agent", *args)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("edge-agent: ")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_configuration_with_a_mistyped_key_is_one_line(tmp_path: Path) -> None:
    config = tmp_path / "edge.toml"
    config.write_text('[device]\nid = "d1"\n[store]\npaht = "s"\n')
    done = run("-m", "edge_agent", "run", str(config))
    assert (done.returncode, done.stdout) == (2, "")
    expected = f"edge-agent: {config}:4:1: store.paht: unknown key; did you mean 'path'?\n"
    assert done.stderr == expected


def test_bundle_that_is_not_for_live_samples_is_one_line_and_exit_code_3(tmp_path: Path) -> None:
    # No model in it could be loaded: it is refused before.
    bundle = write_small_bundle(tmp_path, stream=None).path
    config = Operator("mqtt://127.0.0.1:1").enrol(tmp_path, model=f'bundle = "{bundle}"')
    for args in (["run", str(config)], ["replay", str(bundle), str(RECORDING)]):
        done = run("-m", "edge_agent", *args)
        assert (done.returncode, done.stdout) == (3, "")
        assert done.stderr.startswith("edge-agent: ")
        assert done.stderr.endswith(
            f"{bundle.name} takes prepared tensors: it has no [stream]; build it with --spec\n"
        )
        assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("command", ["replay", "measure"])
def test_more_threads_than_any_runtime_makes_are_refused(command: str) -> None:
    done = run("-m", "edge_agent", command, "a.bundle", "r.npz", "--threads", "99999999999")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "is not in the range 1<=x<=1024" in done.stderr
