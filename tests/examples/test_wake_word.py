"""The committed wake word hears its phrase, through the features and the model of a real bundle."""

import wave

import numpy as np
import pytest

from edge_bundle.features.steps import MicroFrontend
from edge_bundle.inference import Inference
from edge_bundle.manifest import Channel, Stream
from edge_bundle.runtimes.loader import load_model
from edge_bundle.tensor import Float32Array
from edge_bundle.window import window_starts
from tests.edge_bundle.bundles import WAKE_WORD, prepared_manifest

CLIP = WAKE_WORD.with_suffix(".wav")
CUTOFF, AVERAGED = 0.97, 5
"""Of hey_jarvis.json: the mean of so many scores that is a detection."""
STREAM = Stream(16000.0, (Channel("sound", "1"),), window=800, hop=480)
"""Three frames of 30 ms, 10 ms apart, each time three new ones."""
QUIET_BEFORE, QUIET_AFTER = 8000, 8000


@pytest.fixture(scope="module")
def inference() -> Inference:
    manifest = prepared_manifest(stream=STREAM, features=(MicroFrontend(),))
    return Inference(manifest, load_model(WAKE_WORD.read_bytes(), "tflite"))


def read_clip() -> Float32Array:
    with wave.open(str(CLIP)) as clip:
        assert (clip.getframerate(), clip.getnchannels(), clip.getsampwidth()) == (16000, 1, 2)
        sound = np.frombuffer(clip.readframes(clip.getnframes()), "<i2")
    quiet = np.random.default_rng(1).normal(size=QUIET_BEFORE + len(sound) + QUIET_AFTER)
    quiet[QUIET_BEFORE:-QUIET_AFTER] += sound
    return np.asarray(quiet[:, None] / 32768, np.float32)


def detection(inference: Inference, samples: Float32Array) -> float:
    """Return the largest mean of five scores on end."""
    inference.reset()
    scores = []
    for start in window_starts(len(samples), STREAM.window, STREAM.hop):
        window = samples[start : start + STREAM.window]
        scores.append(inference.scores(window, STREAM.hop if start else None).item())
    return float(np.convolve(scores, np.ones(AVERAGED) / AVERAGED, "valid").max())


def test_phrase_is_detected_and_again_after_a_reset(inference: Inference) -> None:
    samples = read_clip()
    first = detection(inference, samples)
    assert first > CUTOFF
    assert detection(inference, samples) == first


@pytest.mark.parametrize("kind", ["backwards", "quiet", "noise"])
def test_what_is_not_the_phrase_is_not_detected(inference: Inference, kind: str) -> None:
    samples = read_clip()
    others = {
        "backwards": samples[::-1],
        "quiet": samples[:QUIET_BEFORE],
        "noise": np.asarray(np.random.default_rng(2).normal(0, 0.1, (32000, 1)), np.float32),
    }
    assert detection(inference, others[kind]) < 0.5
