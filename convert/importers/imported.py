"""What an import gives, and the words for why an exporter could not."""

from dataclasses import dataclass

from convert.given.source import first_line


@dataclass(frozen=True, slots=True)
class Imported:
    """An ONNX model and where it came from."""

    data: bytes
    """ONNX file, opset 17 at most from scikit-learn, 18 from the others."""
    framework: str
    """Name and version: ``scikit-learn 1.9.1``."""
    exporter: str
    """Name and version: ``skl2onnx 1.20.0``."""
    notes: tuple[str, ...]
    """What the user should know, each a sentence about the file."""


def explain(error: Exception) -> str:
    """Return the first line of the error that an exporter's own errors are wrapped around."""
    cause = error.__cause__
    return explain(cause) if isinstance(cause, Exception) else first_line(error)
