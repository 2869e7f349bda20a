"""The audio front end is the original's, bit for bit, window by window as in one go."""

import sys

import numpy as np
import numpy.typing as npt
import pymicro_features
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_bundle.errors import RuntimeMissing
from edge_bundle.features.chain import compile_steps
from edge_bundle.features.fixed_point import FixedPointFrontend
from edge_bundle.features.micro_frontend import CHANNELS, FRAME
from edge_bundle.features.steps import Form, MicroFrontend
from edge_bundle.tensor import Float32Array

Sound = npt.NDArray[np.int16]
STEP = 160
seeds = st.integers(0, 2**32 - 1)


def original(sound: Sound) -> Float32Array:
    """Return what the original makes of a stream, float32 [frames, 40]."""
    frontend = pymicro_features.MicroFrontend()
    chunks = [sound[i : i + STEP].tobytes() for i in range(0, len(sound) - STEP + 1, STEP)]
    made = [frontend.process_samples(chunk).features for chunk in chunks]
    return np.array([features for features in made if features], np.float32)


def make_sound(seed: int, samples: int) -> Sound:
    """Return tones and noise, loud and soft in turns, some of it clipped."""
    random = np.random.default_rng(seed)
    times = np.arange(samples) / 16000
    sound = random.normal(size=samples) * 10 ** random.uniform(0, 4)
    for hz in random.uniform(50, 8000, 3):
        sound += np.sin(2 * np.pi * hz * times) * 10 ** random.uniform(0, 5)
    sound *= np.repeat(random.uniform(0, 1, samples // 800 + 1) ** 3, 800)[:samples]
    return np.clip(sound, -32768, 32767).astype(np.int16)


def as_stream(sound: Sound) -> Float32Array:
    """Return samples as a source gives them, float32 [n, 1] within -1 and 1."""
    return np.asarray(sound[:, None] / 32768, np.float32)


@settings(max_examples=30)
@given(seeds)
def test_fixed_point_is_the_original_bit_for_bit(seed: int) -> None:
    sound = make_sound(seed, 8000)
    expected = original(sound)
    found = np.empty_like(expected)
    FixedPointFrontend(STEP).push(sound, found)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    "sound",
    [
        np.zeros(4800, np.int16),
        np.full(4800, -32768, np.int16),
        np.tile(np.array([32767, -32768], np.int16), 2400),
        np.repeat(np.tile(np.array([32767, -32768], np.int16), 75), 32),
        np.eye(1, 4800, 2000, np.int16)[0],
    ],
    ids=["silence", "lowest", "fastest", "square", "click"],
)
def test_fixed_point_is_the_original_at_the_ends_of_its_range(sound: Sound) -> None:
    expected = original(sound)
    found = np.empty_like(expected)
    FixedPointFrontend(STEP).push(sound, found)
    np.testing.assert_array_equal(found, expected)


@settings(max_examples=20)
@given(seeds, st.sampled_from([(800, 480), (480, 480), (800, 800), (1000, 160), (16000, 320)]))
def test_stream_is_the_original_fed_without_a_break(seed: int, spans: tuple[int, int]) -> None:
    window, hop = spans
    sound = make_sound(seed, window + 4 * hop)
    expected = original(sound)
    chain = compile_steps([MicroFrontend(full_scale=32768.0)], Form(window, 1, 16000.0))
    values = sound.astype(np.float32)[:, None]
    for number in range(5):
        start = number * hop
        found = chain.run(values[start : start + window], hop if number else None)
        # Frames begin where the stream did, each 10 ms.
        last = (start + window - FRAME) // STEP + 1
        np.testing.assert_array_equal(found, expected[last - len(found) : last])


@settings(max_examples=20)
@given(
    seeds,
    st.sampled_from([(1600, 320), (1600, 640), (1600, 960), (700, 640), (1700, 1600)]),
    st.integers(1, 3),
)
def test_slower_step_too_goes_on_from_window_to_window(
    seed: int, spans: tuple[int, int], windows: int
) -> None:
    window, hop = spans
    sound = as_stream(make_sound(seed, window + windows * hop))
    steps = [MicroFrontend(step_ms=20)]
    whole = compile_steps(steps, Form(len(sound), 1, 16000.0)).run(sound)
    chain = compile_steps(steps, Form(window, 1, 16000.0))
    for number in range(windows + 1):
        start = number * hop
        found = chain.run(sound[start : start + window], hop if number else None)
        first = start // 320
        np.testing.assert_array_equal(found, whole[first : first + len(found)])


@pytest.mark.parametrize("step_ms", [10, 20])
def test_break_makes_it_forget_the_noise(step_ms: int) -> None:
    chain = compile_steps(
        [MicroFrontend(step_ms=step_ms)],  # type: ignore[arg-type]
        Form(1600, 1, 16000.0),
    )
    sound = as_stream(make_sound(3, 3200))
    alone = chain.run(sound[1600:]).copy()
    chain.run(sound[:1600])
    np.testing.assert_array_equal(chain.run(sound[1600:]), alone)
    chain.run(sound[:1600])
    assert (chain.run(sound[1600:], 1600) != alone).any()
    # Frames of another place than those before say nothing about them.
    np.testing.assert_array_equal(chain.run(sound[1600:], 100), alone)


def test_samples_after_the_last_frame_are_not_lost_between_windows_that_touch() -> None:
    sound = as_stream(make_sound(4, 4800))
    steps = [MicroFrontend(step_ms=20)]
    whole = compile_steps(steps, Form(4800, 1, 16000.0)).run(sound)
    chain = compile_steps(steps, Form(1600, 1, 16000.0))
    for number in range(3):
        window = sound[number * 1600 : (number + 1) * 1600]
        found = chain.run(window, 1600 if number else None)
        np.testing.assert_array_equal(found, whole[5 * number : 5 * number + 4])


def test_louder_than_the_loudest_is_the_loudest() -> None:
    chain = compile_steps([MicroFrontend(full_scale=0.5)], Form(FRAME, 1, 16000.0))
    loudest = np.full((FRAME, 1), 0.5, np.float32)
    expected = chain.run(loudest).copy()
    assert expected.shape == (1, CHANNELS)
    np.testing.assert_array_equal(chain.run(loudest + loudest), expected)


@pytest.mark.parametrize("loud", [1.0, 1.5])
def test_sound_at_its_ends_does_not_turn_over(loud: float) -> None:
    square = np.where(np.arange(1600) // 20 % 2, loud, -loud)
    # 32768 is one more than 16 bits hold.
    expected = original(np.clip(square * 32768, -32768, 32767).astype(np.int16))
    chain = compile_steps([MicroFrontend()], Form(1600, 1, 16000.0))
    np.testing.assert_array_equal(chain.run(np.asarray(square[:, None], np.float32)), expected)


def test_what_is_not_a_number_is_silence() -> None:
    chain = compile_steps([MicroFrontend(step_ms=20)], Form(960, 1, 16000.0))
    sound = as_stream(make_sound(6, 960))
    sound[100:130] = 0
    expected = chain.run(sound).copy()
    sound[100:130] = np.nan
    np.testing.assert_array_equal(chain.run(sound), expected)


def test_without_its_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pymicro_features", None)
    form = Form(FRAME, 1, 16000.0)
    with pytest.raises(RuntimeMissing, match=r"pip install 'edgeward\[audio\]'"):
        compile_steps([MicroFrontend()], form)
    compile_steps([MicroFrontend(step_ms=20)], form)
