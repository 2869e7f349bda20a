"""What a target runs comes from its profile and from what was found out about its runtimes."""

from pathlib import Path

import pytest

from convert.targets import needs_reduced_range, read_target, target_names
from edge_bundle.errors import ConfigError

PROFILES = Path(__file__).parents[2] / "firmware_configs"
XEON = "processor\t: 0\nflags\t\t: fpu sse4_2 avx2 avx512f avx512_vnni\n"
ALDER_LAKE = "processor\t: 0\nflags\t\t: fpu avx2 avx_vnni\n"
HASWELL = "processor\t: 0\nflags\t\t: fpu sse4_2 avx2\n"
PI = "processor\t: 0\nFeatures\t: fp asimd crc32\n"


def test_every_device_profile_is_a_target() -> None:
    assert set(target_names()) == {"host", *(f.stem for f in PROFILES.glob("*.toml"))}


@pytest.mark.parametrize("name", target_names())
def test_target_has_a_runtime_and_gives_a_reason(name: str) -> None:
    target = read_target(name)
    assert target.name == name
    assert target.prefer
    assert target.why
    assert all(target.runtime(form) for form in target.prefer)


def test_order_and_threads_are_those_of_the_profile() -> None:
    assert read_target("jetson-orin").prefer == ("onnx", "tflite")
    assert read_target("jetson-orin").threads == 4
    assert read_target("raspberry-pi-zero-2w").prefer == ("tflite", "onnx")
    assert read_target("raspberry-pi-4").threads == 2


def test_jetson_begins_with_fp16_and_says_where_that_comes_from() -> None:
    target = read_target("jetson-orin")
    assert target.precision == "fp16"
    assert "mAP (https://" in target.why


def test_signed_activations_are_for_arm_alone() -> None:
    assert read_target("raspberry-pi-4").activations == "int8"
    assert read_target("generic").activations == "uint8"


def test_nearest_target_is_named() -> None:
    with pytest.raises(ConfigError, match="no target 'raspberry-pi4'; did you mean 'raspberry-pi-"):
        read_target("raspberry-pi4")


@pytest.mark.parametrize(
    ("cpuinfo", "needed"), [(XEON, False), (ALDER_LAKE, False), (HASWELL, True), (PI, False)]
)
def test_range_is_reduced_for_x86_without_vnni(cpuinfo: str, needed: bool) -> None:
    assert needs_reduced_range(cpuinfo) is needed
