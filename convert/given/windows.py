"""Windows of real recordings, cut as a device cuts them."""

from collections.abc import Sequence
from itertools import chain

import numpy as np

from edge_bundle.errors import ConfigError
from edge_bundle.features.chain import compile_steps
from edge_bundle.features.steps import Step
from edge_bundle.manifest import Stream
from edge_bundle.recording import Recording, read_recordings
from edge_bundle.tensor import Float32Array
from edge_bundle.window import window_starts

Cut = tuple[Float32Array, str | None]
"""One window, float32 [window, channels], and the label that all of its samples share."""


def cut_windows(source: str, stream: Stream) -> list[Cut]:
    """Read the windows of a recording, ``FILE`` or ``FILE#0-2,5``.

    Raises: ConfigError, RecordingRefused: as ``read_recordings``.
    """
    try:
        recordings = read_recordings(source, stream)
    except FileNotFoundError as error:
        raise ConfigError(str(error)) from None
    except OSError as error:
        raise ConfigError(f"{source}: {error.strerror or error}") from None
    return list(chain.from_iterable(_cut(recording, stream) for recording in recordings))


def run_features(
    windows: Sequence[Float32Array], features: Sequence[Step], stream: Stream
) -> list[Float32Array]:
    """Return windows as the model takes them, through the features that a device runs.

    Args:
        windows: float32 [window, channels] each.
    """
    chain = compile_steps(features, stream.form)
    # The features reuse their memory from call to call.
    return [chain.run(window).copy() for window in windows]


def spread(count: int, most: int) -> list[int]:
    """Return at most ``most`` of the numbers below ``count``, evenly over all of them."""
    if count <= most:
        return list(range(count))
    return [round(i) for i in np.linspace(0, count - 1, most).tolist()]


def _cut(recording: Recording, stream: Stream) -> list[Cut]:
    spans = [
        (begin + start, begin + start + stream.window)
        for begin, end in recording.runs()
        for start in window_starts(end - begin, stream.window, stream.hop)
    ]
    return [(recording.samples[a:b], recording.label(a, b)) for a, b in spans]
