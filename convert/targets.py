"""What each kind of device runs and prefers: data and rules, nothing of a model.

A target is a device profile of ``firmware_configs`` (its order of formats and its threads are read
from there), or ``host``: the machine that this runs on.
"""

import importlib.util
import os
import platform
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import msgspec
from msgspec import Struct

from edge_bundle.errors import ConfigError, RuntimeMissing
from edge_bundle.runtimes.loader import runtime_version
from edge_bundle.toml import find_value, read_toml
from edge_bundle.wording import word_unknown

Format: TypeAlias = Literal["onnx", "tflite"]
HOST: Final = "host"
MIB: Final = 1 << 20
CPUINFO: Final = Path("/proc/cpuinfo")
VNNI_FLAGS: Final = frozenset({"avx512_vnni", "avx_vnni"})
UNSTATED_ORDER: Final[tuple[Format, ...]] = ("tflite", "onnx")
"""The agent's own, where a profile names none."""
JETSON_FIGURES: Final = "https://github.com/the0807/YOLOv8-ONNX-TensorRT"
JETSON_WHY: Final = (
    "published TensorRT figures for YOLOv8 n, s and m on a Jetson Orin Nano: INT8 is 1.26 to 1.39 "
    f"times as fast as FP16 and costs 3.5 to 4.1 points of mAP ({JETSON_FIGURES})"
)


class Runtime(Struct, frozen=True):
    """A runtime in the version that a target's Python gets from PyPI, and what that loads."""

    format: Format
    version: str
    """Such as ``onnxruntime 1.23.2``."""
    max_ir: int | None = None
    """ONNX's file format; None for other formats, and where it is not known."""
    max_opset: int | None = None
    """Of ONNX's own domain; None as above."""


class Target(Struct, frozen=True, kw_only=True):
    """A kind of device, as a converter has to know it."""

    name: str
    machine: Literal["aarch64", "x86_64"] | None
    """None where the profile fits any."""
    python: str
    """Of the system that it comes with, such as ``3.10 (JetPack 6)``."""
    runtimes: tuple[Runtime, ...]
    """Those to be had, in the order of preference."""
    memory_bytes: int | None
    """Of the smallest device of this kind; None where nothing is known."""
    activations: Literal["int8", "uint8"]
    """Type of int8 activations in ONNX files; weights are int8 in both."""
    why: str
    """The reason for ``precision``, in a sentence."""
    threads: int = 1
    """That one inference may use."""
    reduce_range: bool = False
    """Whether ONNX weights need 7 bits, because pairs of 8-bit products overflow."""
    precision: Literal["int8", "fp16"] = "int8"
    """What to try first."""

    @property
    def prefer(self) -> tuple[Format, ...]:
        """Formats that it can run, the preferred one first."""
        return tuple(r.format for r in self.runtimes)

    def runtime(self, form: Format) -> Runtime | None:
        """Return what runs a format here."""
        return next((r for r in self.runtimes if r.format == form), None)


# The limits were found by loading a file of each version, on x86_64; the versions are what pip
# chose for aarch64 and these Pythons.
ONNX_120: Final = Runtime("onnx", "onnxruntime 1.20", max_ir=10, max_opset=21)
ONNX_123: Final = Runtime("onnx", "onnxruntime 1.23.2", max_ir=11, max_opset=23)
ONNX_132: Final = Runtime("onnx", "onnxruntime 1.32.0", max_ir=14, max_opset=28)
LITERT: Final = Runtime("tflite", "ai-edge-litert 2.3.0")
INT8_WHY: Final = "int8 is a quarter of float's size"
PI_PYTHON: Final = "3.11 or 3.13 (Raspberry Pi OS)"
BOARDS: Final = (
    # Our oldest supported runtimes, and unsigned activations: right on x86, slower on ARM, while
    # signed ones are many times slower on x86.
    Target(
        name="generic",
        machine=None,
        python="3.10 or newer",
        runtimes=(Runtime("tflite", "ai-edge-litert 1.2"), ONNX_120),
        memory_bytes=None,
        activations="uint8",
        why=INT8_WHY,
    ),
    Target(
        name="raspberry-pi-zero-2w",
        machine="aarch64",
        python=PI_PYTHON,
        runtimes=(LITERT, ONNX_132),
        memory_bytes=512 * MIB,
        activations="int8",
        why="int8 is a quarter of float's size, and memory is what this board lacks",
    ),
    Target(
        name="raspberry-pi-4",
        machine="aarch64",
        python=PI_PYTHON,
        runtimes=(LITERT, ONNX_132),
        memory_bytes=1024 * MIB,
        activations="int8",
        why=INT8_WHY,
    ),
    Target(
        name="jetson-orin",
        machine="aarch64",
        python="3.10 (JetPack 6)",
        runtimes=(LITERT, ONNX_123),
        memory_bytes=4096 * MIB,
        activations="int8",
        precision="fp16",
        why=JETSON_WHY,
    ),
)
"""Without what their profiles say: the order of the runtimes, and the threads."""


def target_names() -> tuple[str, ...]:
    """Return the names that ``read_target`` knows."""
    return (HOST, *(board.name for board in BOARDS))


def read_target(name: str) -> Target:
    """Return what a device profile, or this machine, runs and prefers.

    Raises: ConfigError: no such target, with the nearest name.
    """
    if name == HOST:
        return _host()
    board = next((b for b in BOARDS if b.name == name), None)
    if board is None:
        raise ConfigError(f"--target: {word_unknown(name, 'target', target_names())}")
    profile = _read_profile(name)
    order = find_value(profile, ("runtime", "prefer")) or UNSTATED_ORDER
    threads = find_value(profile, ("runtime", "threads")) or 1
    runtimes = tuple(r for form in order if (r := board.runtime(form)))
    return msgspec.structs.replace(board, runtimes=runtimes, threads=threads)


def needs_reduced_range(cpuinfo: str) -> bool:
    """Say whether unsigned activations with 8-bit weights overflow on an x86 processor.

    Args:
        cpuinfo: text of ``/proc/cpuinfo``.
    Source: onnxruntime.ai/docs/performance/model-optimizations/quantization.html, "When and why
        do I need to try reduce-range": without VNNI, AVX2 and AVX-512 add pairs of products in
        16 bits, saturating.
    """
    lines = (line.partition(":") for line in cpuinfo.splitlines())
    flags = next((set(text.split()) for key, _, text in lines if key.strip() == "flags"), None)
    return flags is not None and not flags & VNNI_FLAGS


def _read_profile(name: str) -> dict[str, Any]:
    # It is no Python package: importlib.resources cannot open it from an editable installation.
    spec = importlib.util.find_spec("firmware_configs")
    folders = [Path(p) for p in (spec and spec.submodule_search_locations) or ()]
    file = next((f for folder in folders if (f := folder / f"{name}.toml").is_file()), None)
    if file is None:
        raise ConfigError(f"firmware_configs/{name}.toml is not installed: reinstall edgeward")
    return read_toml(file).data


def _host() -> Target:
    machine = platform.machine()
    is_arm = machine in {"aarch64", "arm64"}
    cpuinfo = ""
    with suppress(OSError):  # another system than Linux has none
        cpuinfo = CPUINFO.read_text("utf-8", "replace")
    return Target(
        name=HOST,
        machine="aarch64" if is_arm else "x86_64",
        python=platform.python_version(),
        runtimes=_installed(),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        activations="int8" if is_arm else "uint8",
        reduce_range=not is_arm and needs_reduced_range(cpuinfo),
        why=INT8_WHY,
    )


def _installed() -> tuple[Runtime, ...]:
    found = []
    for form in UNSTATED_ORDER:
        with suppress(RuntimeMissing):
            found.append(Runtime(form, runtime_version(form)))
    return tuple(found)
