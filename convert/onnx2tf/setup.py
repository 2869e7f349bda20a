"""How the environment of onnx2tf is made: beside nothing else, and whole or not at all."""

import fcntl
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np
import onnx
from onnx import helper, numpy_helper

from convert.child import run_child
from convert.onnx2tf.conversion import convert_onnx
from convert.onnx2tf.environment import (
    PINS,
    SIZE,
    WHOLE,
    clean_variables,
    environment_folder,
    find_environment,
    run_tool,
)
from edge_bundle.disk import replace_file
from edge_bundle.errors import ArtifactRefused, ConfigError
from edge_bundle.runtimes.loader import load_model
from edge_bundle.runtimes.model import write_input
from edge_bundle.tensor import Array, Float32Array

PYTHONS: Final = ((3, 11), (3, 12), (3, 13))
"""For which every pinned package has a wheel; what onnx2tf itself asks for is 3.12 or later, and on
3.11 it gives the same bytes."""
ASK: Final = "import sys, ensurepip, venv; print('.'.join(map(str, sys.version_info[:2])))"
INSTALL_TIMEOUT_S: Final = 1800.0
SHORT_TIMEOUT_S: Final = 120.0
BOUND: Final = 1e-4


def setup_environment(progress: Callable[[str], None], python: Path | None = None) -> Path:
    """Make the environment of onnx2tf in the user's cache, where it is not there and working.

    Args:
        progress: told what begins, and at last where it is and how large.
        python: to make it with; else this one, or the newest suitable one on PATH.
    Returns: the environment's folder.
    Raises: ConfigError: no suitable Python, no network, no room, or another setup is at work.
    """
    folder = environment_folder()
    with _lock(folder):
        if find_environment():
            progress(f"trying the environment at {folder}")
            try:
                _try_out(folder)
            except (ArtifactRefused, ConfigError) as error:
                progress(f"it does not work: {error}")
            else:
                progress(f"{folder} is whole: {_size_mb(folder)} MB")
                return folder
        _make(folder, progress, python)
    progress(f"{folder} is ready: {_size_mb(folder)} MB; delete the folder to undo this")
    return folder


def _make(folder: Path, progress: Callable[[str], None], python: Path | None) -> None:
    chosen = _check_python(str(python)) if python else _find_python()
    # Scripts hold the path of their Python, so it is made where it stays.
    (folder / WHOLE).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    try:
        progress(f"making an environment with {chosen} at {folder}")
        _run([chosen, "-m", "venv", str(folder)], folder.parent, SHORT_TIMEOUT_S)
        progress(f"installing {len(PINS)} packages, {SIZE}")
        pip = [str(folder / "bin" / "python"), "-m", "pip", "--no-input"]
        options = ["--disable-pip-version-check", "--no-deps", "--ignore-requires-python"]
        try:
            _run(
                [*pip, "install", *options, "--only-binary", ":all:", *PINS],
                folder,
                INSTALL_TIMEOUT_S,
            )
        except ConfigError as error:
            # Offline pip says only that it found no such version.
            raise ConfigError(f"{error}; does this machine reach its package index?") from None
        progress("trying it on a small model")
        try:
            _try_out(folder)
        except ArtifactRefused as error:
            raise ConfigError(f"{folder}: installed, and fails its test: {error}") from None
        replace_file(folder / WHOLE, b"")
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise ConfigError(f"{folder}: {error.strerror or error}") from None
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(
            folder.with_name(f"{folder.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
        )
    except OSError as error:
        raise ConfigError(f"{folder.parent}: {error.strerror or error}") from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise ConfigError(f"{folder}: another setup is at work on it; wait for its end") from None
    finally:
        os.close(handle)


def _find_python() -> str:
    names = [sys.executable, *(f"python{major}.{minor}" for major, minor in reversed(PYTHONS))]
    for name in names:
        found = shutil.which(name) if name else None
        # Some that are on PATH only say which others they would start.
        if found and _version(found) in PYTHONS:
            return found
    raise ConfigError(
        f"onnx2tf needs Python {_show(PYTHONS)} with venv, this is "
        f"{_show([sys.version_info[:2]])} and PATH has none: install one "
        "(Debian: apt-get install python3.12-venv), or name it with --python"
    )


def _check_python(name: str) -> str:
    version = _version(name)
    if version not in PYTHONS:
        found = f"is {_show([version])}" if version else "does not run, or has no venv"
        raise ConfigError(f"{name} {found}: onnx2tf needs Python {_show(PYTHONS)}")
    return name


def _version(python: str) -> tuple[int, ...]:
    """Return major and minor version of a Python that can make environments, else nothing."""
    try:
        ended = run_child([python, "-c", ASK], clean_variables(), Path.cwd(), SHORT_TIMEOUT_S)
    except OSError:
        return ()
    said = re.fullmatch(r"(\d+)\.(\d+)", ended.last_line) if ended.code == 0 else None
    return tuple(map(int, said.groups())) if said else ()


def _run(command: list[str], folder: Path, timeout_s: float) -> None:
    try:
        ended = run_child(command, clean_variables(), folder, timeout_s)
    except OSError as error:
        raise ConfigError(f"{command[0]}: {error.strerror or error}") from None
    if ended.code is None:
        raise ConfigError(f"{' '.join(command[:4])}: not done within {timeout_s:g} s")
    if ended.code != 0:
        raise ConfigError(f"{' '.join(command[:4])}: {ended.last_line}")


def _try_out(folder: Path) -> None:
    """Convert a small model and compare both.

    Raises: ModelRefused: it does not convert, or to another model. ConfigError: a part of the
        environment does not start.
    """
    data = _small_model()
    with tempfile.TemporaryDirectory(prefix="edgeward-setup-") as temporary:
        (Path(temporary) / "model.onnx").write_bytes(data)
        # Without it onnx2tf goes on, and gives other files.
        ended = run_tool(
            folder,
            "onnxsim",
            *("model.onnx", "simple.onnx"),
            folder=Path(temporary),
            timeout_s=SHORT_TIMEOUT_S,
        )
    if ended.code != 0:
        raise ConfigError(f"onnxsim: {ended.last_line}")
    converted = convert_onnx(data, environment=folder, timeout_s=SHORT_TIMEOUT_S)
    before, after = _answer(data, "onnx"), _answer(converted, "tflite")
    worst = float(np.abs(before - after).max())
    if not worst <= BOUND * float(np.ptp(before)):
        raise ConfigError(f"onnx2tf changes the small model's values by {worst:.3g}")


def _small_model() -> bytes:
    """Return a model whose shapes and names onnx2tf changes where it is let."""
    weights = np.random.default_rng(0).standard_normal((4, 3, 3, 3), np.float32)
    made = helper.make_tensor_value_info
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["/in:0", "w"], ["c"], pads=[1, 1, 1, 1]),
            helper.make_node("Tanh", ["c"], ["/out:0"]),
        ],
        "small",
        [made("/in:0", onnx.TensorProto.FLOAT, [1, 3, 8, 6])],
        [made("/out:0", onnx.TensorProto.FLOAT, [1, 4, 8, 6])],
        [numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    data: bytes = model.SerializeToString()
    return data


def _answer(data: bytes, kind: str) -> Float32Array:
    model = load_model(data, kind)
    spec = model.inputs[0]
    write_input(model, 0, np.random.default_rng(1).standard_normal(spec.size, np.float32))
    model.invoke()
    answer: Array = model.output(0).copy()
    model.close()
    return answer


def _size_mb(folder: Path) -> int:
    blocks = sum(file.lstat().st_blocks for file in folder.rglob("*"))
    return round(blocks * 512 / 1e6)


def _show(versions: Iterable[tuple[int, ...]]) -> str:
    *others, last = (".".join(map(str, version)) for version in versions)
    return f"{', '.join(others)} or {last}" if others else last
