"""The environment of onnx2tf is whole, or is not taken for one."""

import fcntl
from collections.abc import Callable
from pathlib import Path

import pytest

from convert.onnx2tf.environment import PINS, WHOLE, environment_folder, find_environment
from convert.onnx2tf.setup import setup_environment
from edge_bundle.errors import ConfigError
from tests.parts import require

World = Callable[..., Path]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """Make an empty cache, and a Python that does as it is told."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def make(version: str = "3.12", venv: str = "true", pip: str = "true") -> Path:
        python = tmp_path / "python"
        python.write_text(
            "#!/bin/sh\n"
            'case "$1$2" in\n'
            f"  -c*) echo {version} ;;\n"
            f'  -mvenv) {{ {venv}; }} && mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;\n'
            f"  -mpip) {pip} ;;\n"
            "esac\n"
        )
        python.chmod(0o755)
        return python

    return make


def ignore(text: str) -> None:
    """Leave progress unseen."""


def test_folder_is_named_for_its_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    first = environment_folder()
    assert first.parent == tmp_path / "edgeward"
    assert all(len(pin.split("==")) == 2 for pin in PINS)
    monkeypatch.setattr("convert.onnx2tf.environment.PINS", ("onnx2tf==9.9.9",))
    assert environment_folder().name.startswith("onnx2tf-9.9.9-")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert environment_folder().parent == tmp_path / "home" / ".cache" / "edgeward"


def test_environment_without_its_mark_is_not_found(world: World) -> None:
    world()
    folder = environment_folder()
    (folder / "bin").mkdir(parents=True)
    assert find_environment() is None
    (folder / WHOLE).touch()
    assert find_environment() == folder


@pytest.mark.parametrize("version", ["3.10", "3.99", "''", "pyenv: no such version"])
def test_unsuitable_python_is_refused(world: World, version: str) -> None:
    with pytest.raises(ConfigError, match=r"python .*: onnx2tf needs Python 3\.11, 3\.12 or 3\.13"):
        setup_environment(ignore, world(version))
    assert not environment_folder().exists()


def test_where_no_python_suits_the_message_says_what_to_install(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = world("3.10")
    # What is on PATH under the right name may be no more than a signpost.
    (old.parent / "python3.12").write_text("#!/bin/sh\nexit 127\n")
    (old.parent / "python3.12").chmod(0o755)
    monkeypatch.setenv("PATH", str(old.parent))
    monkeypatch.setattr("sys.executable", str(old))
    with pytest.raises(ConfigError, match=r"PATH has none: install one .*python3\.12-venv"):
        setup_environment(ignore)


def test_suitable_python_is_found_on_the_path(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = world("3.10")
    new = old.with_name("python3.13")
    new.write_text("#!/bin/sh\ncase $1 in -c) echo 3.13 ;; *) echo no room; exit 1 ;; esac\n")
    new.chmod(0o755)
    monkeypatch.setenv("PATH", f"{old.parent}:/usr/bin:/bin")
    monkeypatch.setattr("sys.executable", str(old))
    with pytest.raises(ConfigError, match=r"python3\.13 -m venv .*: no room"):
        setup_environment(ignore)


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"venv": "echo ensurepip is not available; false"}, "-m venv .*: ensurepip is not"),
        (
            {"pip": "echo trying; echo ERROR: no network >&2; exit 1"},
            "ERROR: no network; does this machine reach",
        ),
        ({}, "onnxsim"),
    ],
)
def test_failed_setup_leaves_nothing(world: World, parts: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as refused:
        setup_environment(ignore, world(**parts))
    assert "\n" not in str(refused.value)
    assert not environment_folder().exists()
    assert find_environment() is None


def test_interrupted_and_broken_environments_are_made_anew(world: World) -> None:
    python = world(pip="echo ERROR: offline; exit 1")
    folder = environment_folder()
    (folder / "bin").mkdir(parents=True)
    (folder / "left").touch()
    (folder / WHOLE).touch()
    said: list[str] = []
    with pytest.raises(ConfigError, match="offline"):
        setup_environment(said.append, python)
    assert "it does not work: " in said[1]
    assert not folder.exists()


def test_two_setups_at_once_are_one(world: World) -> None:
    python = world()
    folder = environment_folder()
    folder.parent.mkdir(parents=True)
    with folder.with_name(f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ConfigError, match="another setup is at work"):
            setup_environment(ignore, python)


def test_cache_that_cannot_be_written_is_said(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = world()
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(ConfigError, match=r"file/edgeward: "):
        setup_environment(ignore, python)


def test_real_environment_is_tried_and_kept() -> None:
    found = find_environment()
    require("onnx2tf", found is not None, "edge-convert setup-tflite")
    said: list[str] = []
    assert setup_environment(said.append) == found
    assert said[-1].endswith(" MB")
