"""Two seconds of sound at a time for basic-pitch: speech, spoken digits and played chords."""

import wave
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.conversion.samples import Data, Samples
from edge_bundle.tensor import Float32Array

RATE_HZ = 22050
WINDOW = 43844
"""Samples that the model takes at once."""
CHORDS = 48
PER_SOURCE = 24
SEED = 20261123
LOWEST, HIGHEST = 36, 84
"""MIDI notes that are played."""


def read_music(folder: Path) -> Data:
    """Return windows of all kinds, a third to calibrate with and the others to judge by.

    Args:
        folder: with ``audio_speech``, ``audio_vad`` and ``audio_fsdd`` of 16-bit ``.wav``.
    Returns: x float32 [windows, 43844, 1], no labels.
    """
    rng = np.random.default_rng(SEED)
    windows = [play(rng) for _ in range(CHORDS)]
    for name in ("audio_speech", "audio_vad", "audio_fsdd"):
        windows += cut(sorted((folder / name).glob("*.wav")))[:PER_SOURCE]
    x = np.stack(windows)[:, :, None]
    calibration = np.arange(len(x)) % 3 == 0
    return Data(Samples(x[calibration]), Samples(x[~calibration]))


def play(rng: np.random.Generator) -> Float32Array:
    """Return notes that begin one after another: decaying harmonics, with a little noise."""
    sound = rng.standard_normal(WINDOW) * 1e-3
    for _ in range(int(rng.integers(2, 8))):
        hz = 440.0 * 2 ** ((rng.integers(LOWEST, HIGHEST) - 69) / 12)
        start = int(rng.integers(0, WINDOW * 3 // 4))
        time = np.arange(WINDOW - start) / RATE_HZ
        partials = np.arange(1, 7)
        partials = partials[partials * hz < RATE_HZ / 2]
        fade = rng.uniform(1.0, 4.0)
        for n in partials:
            loud = 0.15 / n**1.2 * np.exp(-time * fade * np.sqrt(n))
            sound[start:] += loud * np.sin(2 * np.pi * n * hz * time)
    quiet: Float32Array = np.clip(sound, -1.0, 1.0).astype(np.float32)
    return quiet


def cut(paths: Sequence[Path]) -> list[Float32Array]:
    """Return the files' sound, one after another, in windows that do not overlap."""
    sound = np.concatenate([read_wave(path) for path in paths])
    return [sound[i : i + WINDOW] for i in range(0, len(sound) - WINDOW + 1, WINDOW)]


def read_wave(path: Path) -> Float32Array:
    """Return a 16-bit file's first channel at 22,050 Hz, in -1 to 1."""
    with wave.open(str(path)) as file:
        rate, channels = file.getframerate(), file.getnchannels()
        codes = np.frombuffer(file.readframes(file.getnframes()), "<i2")[::channels]
    at = np.arange(int(len(codes) * RATE_HZ / rate)) * rate / RATE_HZ
    sound: Float32Array = (np.interp(at, np.arange(len(codes)), codes) / 32768).astype(np.float32)
    return sound
