"""Windows of real recordings, cut as a device cuts them: to calibrate with, and to measure on."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from convert.spec import Spec
from edge_bundle.archive import hash_file
from edge_bundle.errors import ConfigError, RecordingRefused
from edge_bundle.features import compile_steps
from edge_bundle.recording import Recording, read_recordings
from edge_bundle.tensor import Float32Array
from edge_bundle.window import window_starts


@dataclass(frozen=True, slots=True)
class Windows:
    """Raw windows of one recording file, or of a part of it."""

    source: str
    """As the user wrote it."""
    sha256: str
    """Of the whole file."""
    samples: Sequence[Float32Array]
    """float32 [window, channels] each, in the stream's units; at least one."""
    labels: Sequence[str]
    """One for each window, or none at all."""


def read_calibration(source: str, spec: Spec) -> Windows:
    """Read every window of a recording, labelled or not.

    Raises: ConfigError, RecordingRefused: as ``read_recordings``.
    """
    cut = [w for r in _recordings(source, spec) for w, _ in _cut(r, spec)]
    return Windows(source, _hash(source), cut, ())


def read_evaluation(source: str, spec: Spec) -> Windows:
    """Read the labelled windows of a recording; one that two labels share is left out.

    Raises:
        ConfigError: as ``read_recordings``.
        RecordingRefused: also where no window has a label, or one that the model cannot say.
    """
    cut = [
        (window, label)
        for recording in _recordings(source, spec)
        for window, label in _cut(recording, spec)
        if label is not None
    ]
    if not cut:
        raise RecordingRefused(f"{source}: no labelled window to measure on")
    known = spec.decision.labels
    if unknown := sorted({label for _, label in cut} - set(known)):
        raise RecordingRefused(
            f"{source}: label {unknown[0]!r} is not in decision.labels: {', '.join(known)}"
        )
    return Windows(source, _hash(source), [w for w, _ in cut], [label for _, label in cut])


def refuse_overlap(calibration: Windows, evaluation: Windows) -> None:
    """Refuse to measure on what the model was calibrated with.

    Raises: RecordingRefused: where both hold the same window.
    """
    seen = {_digest(window) for window in calibration.samples}
    shared = sum(_digest(window) in seen for window in evaluation.samples)
    if shared:
        raise RecordingRefused(
            f"{evaluation.source}: {shared} of {len(evaluation.samples)} evaluation windows are "
            f"also in the calibration {calibration.source}; choose others, such as FILE.npz#0-6"
        )


def prepare(
    windows: Sequence[Float32Array], spec: Spec, shape: tuple[int, ...]
) -> list[Float32Array]:
    """Return windows as the model takes them, through the features that a device runs.

    Args:
        windows: float32 [window, channels] each.
        shape: of the model's input.
    """
    run = compile_steps(spec.features, *spec.window_shape)
    # The features reuse their memory from call to call.
    return [run(window).reshape(shape).copy() for window in windows]


def spread(count: int, most: int) -> list[int]:
    """Return at most ``most`` of the numbers below ``count``, evenly over all of them."""
    if count <= most:
        return list(range(count))
    return [round(i) for i in np.linspace(0, count - 1, most).tolist()]


def _recordings(source: str, spec: Spec) -> list[Recording]:
    try:
        return read_recordings(source, spec.stream)
    except FileNotFoundError as error:
        raise ConfigError(str(error)) from None
    except OSError as error:
        raise ConfigError(f"{source}: {error.strerror or error}") from None


def _cut(recording: Recording, spec: Spec) -> Iterator[tuple[Float32Array, str | None]]:
    length = spec.stream.window
    for start in window_starts(len(recording.samples), length, spec.stream.hop):
        stop = start + length
        yield recording.samples[start:stop], recording.label(start, stop)


def _hash(source: str) -> str:
    return hash_file(Path(source.partition("#")[0]))


def _digest(window: Float32Array) -> bytes:
    # Adding zero makes -0.0 and 0.0 the same window.
    return hashlib.sha256((window + np.float32(0)).tobytes()).digest()
