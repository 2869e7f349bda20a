"""Sound as samples of a stream: one channel of a ``.wav`` or the mean, in the stream's unit."""

import re
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Final, Literal

import numpy as np

from edge_bundle.errors import ConfigError, RecordingRefused
from edge_bundle.npz import MAX_BYTES
from edge_bundle.wav import Wav, read_wav

WAV_UNITS: Final = {"": 1.0, "1": 1.0, "int16": 32768.0}
"""What a WAV file's full scale is in the units that its samples can have."""

Pick = int | Literal["mean"]
"""One channel of a WAV file, or the mean of all."""


def read_sound(file: Path, chosen: str, units: AbstractSet[str], pick: Pick | None) -> Wav:
    """Read a WAV file.

    Args:
        chosen: what stands behind the file's #: a channel, ``mean``, or nothing.
        units: of the channels of the stream.
        pick: which channel, where ``chosen`` does not say it; None for all.
    Returns: its rate, and float32 [samples, channels] in the unit.
    Raises: RecordingRefused: unreadable, or units that sound does not have. ConfigError: no such
        channel. OSError.
    """
    try:
        with file.open("rb") as raw:
            wav = read_wav(raw, MAX_BYTES)
    except ValueError as error:
        raise RecordingRefused(f"{file}: {error}") from None
    samples = wav.samples
    if chosen == "mean":
        pick = "mean"
    elif chosen:
        pick = int(chosen) if re.fullmatch("[0-9]{1,4}", chosen) else -1
    if pick == "mean":
        samples = samples.mean(axis=1, keepdims=True, dtype=np.float32)
    elif pick is not None:
        if not 0 <= pick < samples.shape[1]:
            raise ConfigError(
                f"{file}: channel {chosen or pick}: the file has 0 to {samples.shape[1] - 1}, "
                'and "mean" for the mean of them'
            )
        samples = np.ascontiguousarray(samples[:, pick : pick + 1])
    if not units <= WAV_UNITS.keys():
        raise RecordingRefused(
            f"{file}: the unit of a .wav is 1 (full scale) or int16, not {', '.join(sorted(units))}"
        )
    scales = {WAV_UNITS[u] for u in units}
    if len(scales) > 1:
        raise RecordingRefused(f"{file}: all channels of a .wav have one unit, not {len(units)}")
    samples *= np.float32(scales.pop())
    return Wav(wav.rate_hz, samples)


def choose_one(name: str, count: int) -> str:
    """Return what makes one channel of sound that has several; nothing of what is no sound."""
    if Path(name).suffix.lower() != ".wav":
        return ""
    return f"; {name}#0 to {name}#{count - 1} are one channel each, {name}#mean is their mean"
