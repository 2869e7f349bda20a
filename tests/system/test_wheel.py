"""The wheel, installed in a fresh environment outside the checkout, runs all three commands."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {"convert", "edge_agent", "edge_bundle", "edge_wire", "firmware_configs", "fleet"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build from a copy, so that the build leaves nothing in the checkout."""
    copy, out = tmp_path_factory.mktemp("sources"), tmp_path_factory.mktemp("wheel")
    for name in [*PACKAGES, "pyproject.toml", "README.md", "LICENSE"]:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, copy / name)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation"]
    subprocess.run(
        [*command, "--no-index", "--wheel-dir", str(out), str(copy)],
        check=True,
        capture_output=True,
    )
    (built,) = out.glob("edgeward-*.whl")
    return built


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with the wheel; its dependencies are borrowed from this one."""
    folder = tmp_path_factory.mktemp("fresh environment")
    venv.create(folder, with_pip=False)
    libraries = next((folder / "lib").glob("python3*")) / "site-packages"
    # A path in a .pth file is searched, but its own .pth files are not read: so the checkout's
    # editable install stays out, and only libraries come in.
    (libraries / "borrowed.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    command = [sys.executable, "-m", "pip", "--python", str(folder), "install", "--no-index"]
    subprocess.run([*command, "--no-deps", "--quiet", str(wheel)], check=True, capture_output=True)
    return folder / "bin"


def run(environment: Path, *command: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [str(environment / command[0]), *command[1:]],
        cwd=cwd,
        env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_the_wheel_holds_the_packages_profiles_and_units_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {n.split("/")[0] for n in names if ".dist-info/" not in n}
    assert tops == PACKAGES
    assert "firmware_configs/raspberry-pi-4.toml" in names
    assert "firmware_configs/edge-agent.service" in names


@pytest.mark.parametrize("command", ["edge-convert", "edge-agent", "edge-fleet"])
def test_each_command_says_its_version_and_help(
    environment: Path, tmp_path: Path, command: str
) -> None:
    for option in ("--version", "--help"):
        done = run(environment, command, option, cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        assert command in done.stdout


@pytest.mark.parametrize("module", ["convert", "edge_agent", "fleet"])
def test_each_package_runs_as_a_module(environment: Path, tmp_path: Path, module: str) -> None:
    done = run(environment, "python", "-m", module, "--help", cwd=tmp_path)
    assert done.returncode == 0
    assert "Usage:" in done.stdout


def test_the_installed_commands_convert_and_replay(environment: Path, tmp_path: Path) -> None:
    watch = ROOT / "examples" / "watch"
    recording = str(watch / "watch_example.npz")
    built = run(
        environment,
        "edge-convert",
        "build",
        str(watch / "watch_mlp.onnx"),
        *("--spec", str(watch / "stream.toml")),
        *("--calibration", f"{recording}#0-4,6,11"),
        *("--evaluation", f"{recording}#5,7-10,12,13"),
        *("--precision", "int8", "--name", "watch", "--version", "1.0.0"),
        *("--out", str(tmp_path)),
        cwd=tmp_path,
    )
    assert built.returncode == 0, built.stderr
    bundle = tmp_path / "watch-1.0.0-onnx-int8.bundle"
    replayed = run(environment, "edge-agent", "replay", str(bundle), recording, cwd=tmp_path)
    assert replayed.returncode == 0, replayed.stderr
    assert "126 windows" in replayed.stdout
    # The wheel, not the checkout, is what ran.
    where = run(
        environment, "python", "-c", "import edge_agent; print(edge_agent.__file__)", cwd=tmp_path
    )
    assert str(ROOT) not in where.stdout


def test_the_profiles_are_found_in_the_installed_wheel(environment: Path, tmp_path: Path) -> None:
    code = "from edge_agent.config import profile_names; print(*profile_names())"
    done = run(environment, "python", "-c", code, cwd=tmp_path)
    assert "raspberry-pi-zero-2w" in done.stdout.split()
