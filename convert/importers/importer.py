"""A model file of another framework, brought to ONNX."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from convert.given.source import MAX_MODEL_BYTES
from convert.importers.child import export_apart
from convert.importers.imported import Imported
from convert.importers.kinds import EXPORTERS, REFUSALS, recognise
from edge_bundle.errors import ConfigError, ModelRefused


def import_model(path: Path, trust: bool, progress: Callable[[str], None]) -> Imported | None:
    """Export a framework's file with the framework's own exporter.

    Args:
        trust: whether the user vouches for a file that can run programs when it is read.
        progress: told what begins.
    Returns: None for a file that is not a framework's: ONNX, TFLite, or unknown.
    Raises: ConfigError: no such file, not trusted, or a package is missing. ModelRefused: damaged,
        or holding what cannot be exported.
    """
    try:
        kind = recognise(path)
        length = path.stat().st_size
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from None
    if kind is None:
        return None
    if kind in REFUSALS:
        raise ModelRefused(f"{path}: {REFUSALS[kind]}")
    exporter = EXPORTERS[kind]
    if length > MAX_MODEL_BYTES:
        raise ModelRefused(f"{path}: {length} bytes, at most {MAX_MODEL_BYTES}")
    if exporter.risk and not trust:
        raise ConfigError(
            f"{path}: {exporter.risk}: add --trust if you made this file or trust who did, or "
            "export it to ONNX where it was trained"
        )
    missing = [name for name in exporter.packages if find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"{path}: {' and '.join(missing)} not installed, needed to read {exporter.framework}'s "
            f"files: pip install 'edgeward[{exporter.extra}]'"
        )
    progress(f"exporting {path.name} with {exporter.framework}")
    return export_apart(kind, path, trust)
